"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
Bits are those of a CPU: the head and experts of GPUs round otherwise than in entries before 2026-11-27.
"""

KNOWN_EQUAL: dict[str, str] = {
    "95e07af04783d6dd": "cf86780cdb95608a",  # dense baseline
    "598480082829877d": "ab61380acfa9732c",  # dense tst
    "8cd54d5a050700bf": "feba3c70959745da",  # dense multi_token
    "df36036b1ca5ff95": "4018b085f7d387ab",  # moe baseline
    "55bc1b09107b7cfd": "e3f3fe1386b9bfe4",  # moe tst
    "5a5083e5008d95c5": "291c11698069424e",  # moe multi_token
    "29fd1c6b5929bdc6": "8627bf82bc28019b",  # sliding baseline
    "a0d025d7716fecd6": "d90cbf4f178fea65",  # sliding tst
    "dda5e1cc7be7584b": "55ee2855a9428a95",  # sliding multi_token
    "b31ca31e9a940797": "0734144305899e1c",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
