"""Kinds of tasks, a file each: the settings that a ladder file may give, and the items.

A kind has a `Config`, a `FORMAT` that says in words how an item is put to a model, and `items(config,
held_out)`. The top level is free of torch and pandas: ladder files are validated without them.
"""
