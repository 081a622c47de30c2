"""Weights and evaluation sets to scores: tasks, text, samples; and checkpoints that leave and enter."""
