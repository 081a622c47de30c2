"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "81920b5913020309": "cf86780cdb95608a",  # dense baseline
    "5ac00eb80113b55e": "ab61380acfa9732c",  # dense tst
    "72753608b7b4a324": "feba3c70959745da",  # dense multi_token
    "2369ed1a66bd7526": "4018b085f7d387ab",  # moe baseline
    "df1ce11b239b21e0": "e3f3fe1386b9bfe4",  # moe tst
    "f472c034d94b7eab": "291c11698069424e",  # moe multi_token
    "f071214344384c9c": "8627bf82bc28019b",  # sliding baseline
    "cf8fe8ff344d6279": "d90cbf4f178fea65",  # sliding tst
    "20a0036f2ce0c901": "55ee2855a9428a95",  # sliding multi_token
    "61c50d7f8c6f45ba": "126436f53d919e17",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
