"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "14f46f76eae2bb46": "cf86780cdb95608a",  # dense baseline
    "f1de9577122c3df6": "feba3c70959745da",  # dense multi_token
    "8acf59dd9c0f20af": "ab61380acfa9732c",  # dense tst
    "c09dae9fb732d135": "a937c3087e795555",  # moe baseline
    "5ddb8d7eb4c3ac14": "bbbbd45e8914c72f",  # moe multi_token
    "2b2a5b5fa4c834a8": "52a2b22b1aa5065a",  # moe tst
    "ae98589abd56e489": "8627bf82bc28019b",  # sliding baseline
    "e83675b973609a59": "55ee2855a9428a95",  # sliding multi_token
    "3e94532b46109037": "d90cbf4f178fea65",  # sliding tst
    "c818a79cbd387f33": "126436f53d919e17",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
