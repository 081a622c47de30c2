"""Text to token shards, and shards to batches.

`prepare` (source → tokens → shards + manifest: `stdlib`, `files`, `opening`, `documents`, `quality`, `cache`,
`tokenization`, `shards`) · `manifest` (what is in the shards) · `verification` (whether it still is) ·
`batches` (reading them). Settings are in `stepladder.schema.data`.
"""
