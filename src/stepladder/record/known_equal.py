"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "bb330004c215a414": "cf86780cdb95608a",  # dense baseline
    "a186c1ea598db427": "ab61380acfa9732c",  # dense tst
    "3a290d5cee304486": "feba3c70959745da",  # dense multi_token
    "474a34f2a1239494": "4018b085f7d387ab",  # moe baseline
    "6ac7bc4ce4c3b8a1": "e3f3fe1386b9bfe4",  # moe tst
    "4991322cd3c9c4d9": "291c11698069424e",  # moe multi_token
    "e6f24240956a217a": "8627bf82bc28019b",  # sliding baseline
    "5fec45765701bfb3": "d90cbf4f178fea65",  # sliding tst
    "3b956056a89e4cb8": "55ee2855a9428a95",  # sliding multi_token
    "0a69219f281dd0d5": "0734144305899e1c",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
