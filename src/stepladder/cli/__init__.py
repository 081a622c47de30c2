"""The `stepladder` command."""

from stepladder.cli.main import app

__all__ = ["app"]
