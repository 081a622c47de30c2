"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "61f650cbbc6797e6": "cf86780cdb95608a",  # dense baseline
    "4c31763fc30bda99": "ab61380acfa9732c",  # dense tst
    "d3b5884e64233764": "feba3c70959745da",  # dense multi_token
    "8541ffc10bd87a27": "4018b085f7d387ab",  # moe baseline
    "8a3d91eea9427a3a": "e3f3fe1386b9bfe4",  # moe tst
    "e2a32aab78fca553": "291c11698069424e",  # moe multi_token
    "7afb7095aa86b378": "8627bf82bc28019b",  # sliding baseline
    "ef9b884a311704e7": "d90cbf4f178fea65",  # sliding tst
    "c321cd199b0448bb": "55ee2855a9428a95",  # sliding multi_token
    "61c50d7f8c6f45ba": "126436f53d919e17",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
