"""How a model is trained: one file per recipe, found by name from the ladder file.

Each module defines `Config` (its YAML settings), `phases` (the stretches of training it consists
of), `embed` (token ids to input vectors) and `loss` (logits and targets to a scalar).
"""
