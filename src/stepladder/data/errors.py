"""The one error of this package that is meant for the person who brought the data, and words for others."""

from __future__ import annotations

import re


class DataError(ValueError):
    """Data that cannot be used; the message names the file, the place in it, and the way out."""


CLOSED = ("permission", "forbidden", "credential", "unauthorized", "401", "403")
"""Words by which a door that is closed is told from a file that is damaged."""


ADDRESS = re.compile(r"(https?://[^\s'\"?#]*)[?#][^\s'\")]*")
"""A web address with parameters: a server may have sent us on to one that it has signed."""


def why(error: BaseException) -> str:
    """What kept a file from being read, in words, without its path and without signed addresses."""
    told = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return ADDRESS.sub(r"\1", told)


def mend(error: BaseException) -> str:
    """What helps against it."""
    told = f"{type(error).__name__} {error}".casefold()
    if any(word in told for word in CLOSED):
        return ": give yourself access (files elsewhere: by the environment, as docs/data.md says)"
    if "range requests" in told:
        return ": this kind of file is read in parts, which its server does not serve: download it first"
    return ": fetch or write it again"
