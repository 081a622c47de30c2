"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "78fbccfba09cca36": "cf86780cdb95608a",  # dense baseline
    "2fadaa50d72825a0": "feba3c70959745da",  # dense multi_token
    "c73c1fe1e668586c": "ab61380acfa9732c",  # dense tst
    "efd6c495775783fd": "8627bf82bc28019b",  # sliding baseline
    "5eeed972b5984903": "55ee2855a9428a95",  # sliding multi_token
    "59d93327f638554b": "d90cbf4f178fea65",  # sliding tst
    "61c50d7f8c6f45ba": "126436f53d919e17",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
