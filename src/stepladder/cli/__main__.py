"""`python -m stepladder.cli`."""

from stepladder.cli.main import app

app()
