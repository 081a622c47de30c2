"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
Bits are those of a CPU: the head and experts of GPUs round otherwise than in entries before 2026-11-27.
"""

KNOWN_EQUAL: dict[str, str] = {
    "3f548d8fa893f4fb": "cf86780cdb95608a",  # dense baseline
    "d76a175b573acb86": "ab61380acfa9732c",  # dense tst
    "001a3815c26a13f9": "feba3c70959745da",  # dense multi_token
    "92479cb2d9fdc0ec": "4018b085f7d387ab",  # moe baseline
    "94ff8a6a375cbcfe": "e3f3fe1386b9bfe4",  # moe tst
    "554eb24aa2864b01": "291c11698069424e",  # moe multi_token
    "582df64d01f369ba": "8627bf82bc28019b",  # sliding baseline
    "8a5c4a510060e2ca": "d90cbf4f178fea65",  # sliding tst
    "38bda1755073b092": "55ee2855a9428a95",  # sliding multi_token
    "b31ca31e9a940797": "0734144305899e1c",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
