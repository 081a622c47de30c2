"""A fuzz harness: files that people bring, mutated, and what may never come of them.

Every kind of file is a module of this package with

    make(rng: random.Random) -> case       one input, made of nothing but `rng`
    check(case) -> str | None              None if all is well, else what is wrong with it, one sentence

`check` catches the one error that explains such a file to a person; any other exception that leaves it is
a finding, and so is an input that takes longer than `runner.SECONDS`. `make test` tries some inputs of each
kind (test_fuzz.py), `python -m tests.fuzz --inputs 20000` as many as you like.
"""

KINDS = ("ladders", "documents")
"""Modules of this package, one per kind of file."""
