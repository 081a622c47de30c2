"""Stepladder: scaling ladders that say whether an idea pays, by how much, and how surely."""

__version__ = "0.1.0"
