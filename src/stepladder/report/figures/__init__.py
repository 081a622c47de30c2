"""The report's figures: pure functions from tables to a matplotlib Figure."""
