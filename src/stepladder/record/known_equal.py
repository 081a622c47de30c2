"""Fingerprints of code that gives the same numbers as code before it, shown by a run: the earlier one counts,
and what was trained with it stays.

To add entries: climb `smoke` with the old code and with the new, compare the losses of every logged step bit
for bit, and write down what `stepladder.record.fingerprint` says before and after. Only ever for equal bits.
"""

KNOWN_EQUAL: dict[str, str] = {
    "c368f8ac8e07ac87": "cf86780cdb95608a",  # dense baseline
    "1ae0ac18580ea9b4": "feba3c70959745da",  # dense multi_token
    "b93adb32dbfae0ef": "ab61380acfa9732c",  # dense tst
    "bec83832aee8dc29": "a937c3087e795555",  # moe baseline
    "faa23c30cb3c52f5": "bbbbd45e8914c72f",  # moe multi_token
    "bfa509ce100521f2": "52a2b22b1aa5065a",  # moe tst
    "8ed7019607122f90": "8627bf82bc28019b",  # sliding baseline
    "d29c2a7149fd47d2": "55ee2855a9428a95",  # sliding multi_token
    "03dc7759910f189a": "d90cbf4f178fea65",  # sliding tst
    "01ae21311be55a28": "126436f53d919e17",  # preparation
}
"""Fingerprint to the one that it is known to equal. An entry serves as long as its code is today's; a test
asks for its removal after that."""
