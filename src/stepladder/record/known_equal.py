"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "0c22f95f582bb346": "cf86780cdb95608a",  # dense baseline
    "680cbb38d8981170": "ab61380acfa9732c",  # dense tst
    "334944a7f222c64f": "feba3c70959745da",  # dense multi_token
    "31c6460ea048d9af": "4018b085f7d387ab",  # moe baseline
    "2423ed7f5e98b980": "e3f3fe1386b9bfe4",  # moe tst
    "58c7fe2faa3ac53b": "291c11698069424e",  # moe multi_token
    "23e52bcc73548f4f": "8627bf82bc28019b",  # sliding baseline
    "8ef4ef6b48caec0a": "d90cbf4f178fea65",  # sliding tst
    "c67fc2d7987b464a": "55ee2855a9428a95",  # sliding multi_token
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
