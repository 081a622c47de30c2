"""Text to token shards, and shards to batches.

`config` (settings) · `prepare` (source → tokens → shards + manifest: `stdlib`, `files`, `documents`,
`cache`, `tokenization`, `shards`) · `manifest` (what is in the shards) · `batches` (reading them).
"""
