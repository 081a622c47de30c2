"""`budgets:` how much compute a run gets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stepladder.schema.settings import Positive, Settings


class Steps(Settings):
    """A budget given as optimizer steps instead of a compute multiple."""

    steps: Positive


Budget = Annotated[float, Field(gt=0)] | Steps
