"""How a model is trained: one file per recipe, found by name from the ladder file.

Each module defines `Config` (its YAML settings), `phases` (the stretches of training it consists
of), `embed` (token ids to input vectors) and `loss` (the model's output and targets to a scalar); the last
two are told of documents where attention stays within them. A recipe that trains more than the model besides
defines `build_heads` and `extra_forward_flops`.
"""
