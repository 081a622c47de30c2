"""The one error of this package that is meant for the person who brought the data."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used; the message names the file, the place in it, and the way out."""
