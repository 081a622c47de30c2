"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "2bf918df5207ee45": "cf86780cdb95608a",  # dense baseline
    "019259fef05b99b9": "feba3c70959745da",  # dense multi_token
    "85fda3712ac005d5": "ab61380acfa9732c",  # dense tst
    "543735135b44a7ba": "a937c3087e795555",  # moe baseline
    "51f6ff673131c5a8": "bbbbd45e8914c72f",  # moe multi_token
    "13ff2ba55e1e3712": "52a2b22b1aa5065a",  # moe tst
    "510e2006508c6b55": "8627bf82bc28019b",  # sliding baseline
    "2be6e9d29d1b7a13": "55ee2855a9428a95",  # sliding multi_token
    "4423123938c26657": "d90cbf4f178fea65",  # sliding tst
    "61c50d7f8c6f45ba": "126436f53d919e17",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
