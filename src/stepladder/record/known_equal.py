"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "5cb50bb3e9a0b4c6": "cf86780cdb95608a",  # dense baseline
    "5c1dd0287f87d80b": "feba3c70959745da",  # dense multi_token
    "f85f0720fc6e517c": "ab61380acfa9732c",  # dense tst
    "51539e2c12f92185": "a937c3087e795555",  # moe baseline
    "0e74a5ec678d13fa": "bbbbd45e8914c72f",  # moe multi_token
    "398250fe96a41264": "52a2b22b1aa5065a",  # moe tst
    "e1ac059a14a22386": "8627bf82bc28019b",  # sliding baseline
    "21a9d3e636802f95": "55ee2855a9428a95",  # sliding multi_token
    "6001b3bf53257633": "d90cbf4f178fea65",  # sliding tst
    "c84bd5301d70dc95": "126436f53d919e17",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
