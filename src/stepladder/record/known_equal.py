"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "e10414fd6bc14fc7": "cf86780cdb95608a",  # dense baseline
    "e9faa5272da1643b": "ab61380acfa9732c",  # dense tst
    "cce1f158c7b2f7fe": "feba3c70959745da",  # dense multi_token
    "fc9e9e52e6b81950": "4018b085f7d387ab",  # moe baseline
    "952a1f5daffe5624": "e3f3fe1386b9bfe4",  # moe tst
    "7d250fa5cd4ced4d": "291c11698069424e",  # moe multi_token
    "32222fef3ebeccd0": "8627bf82bc28019b",  # sliding baseline
    "ddb050a99b921d25": "d90cbf4f178fea65",  # sliding tst
    "19e2cebb426413ac": "55ee2855a9428a95",  # sliding multi_token
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
