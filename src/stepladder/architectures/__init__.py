"""How a token is processed: one file per architecture, found by name from the ladder file.

Each module defines `Config` (its YAML settings), `resolve` (settings and shape to the run's
options), `count_feed_forward` (parameters of a layer) and `build_feed_forward` (the torch module).
"""
