"""The terminal that tables are printed to."""

from __future__ import annotations

MIN_WIDTH = 116
"""Columns that the table needs; a narrower terminal wraps its lines rather than lose figures."""
