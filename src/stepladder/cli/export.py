"""Models and prepared tokens for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepladder.cli.files import ready
from stepladder.cli.words import one_of
from stepladder.documents.files import written_below

NewFolder = Annotated[Path, typer.Option(help="New folder to write.")]


def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run, below runs/.")],
    out: NewFolder,
    to: Annotated[
        str, typer.Option(help="Format: hf, a folder that Hugging Face's transformers loads.")
    ] = "hf",
    step: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps after which the checkpoint was saved.", show_default="the run's last"
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="manifest.json of the shards that the run was trained on.",
            show_default="in the ladder's folder",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights: float32 or bfloat16.")] = "float32",
) -> None:
    """Write a trained model as transformers loads it: weights, config and tokenizer.

    Reads the checkpoint of RUN, every byte of which is checked, and the tokenizer beside the manifest; writes
    model.safetensors, config.json, generation_config.json, tokenizer.json, tokenizer_config.json and
    stepladder.json into OUT; prints the class of transformers that computes the same. Where none does, it
    says why.

    Example: stepladder export results/smoke/runs/dense-baseline/d1/0.25x/seed0 --to hf --out smoke-model
    """
    one_of("--to", to, ("hf",))
    one_of("--dtype", dtype, ("float32", "bfloat16"))
    ready(out)
    from stepladder.evaluation.hugging_face.writing import export_run

    name = export_run(run, out, step, manifest, "bfloat16" if dtype == "bfloat16" else "float32")
    typer.echo(f"{out}: {name}")


def export_data(
    manifest: Annotated[Path, typer.Argument(help="manifest.json of the prepared shards.")], out: NewFolder
) -> None:
    """Write prepared shards in Megatron's format, so that the same tokens can train elsewhere.

    Reads and checks the shards beside MANIFEST; writes a .bin and an .idx per domain and split, with
    tokenizer.json and about.json, into OUT; prints the prefixes that Megatron's --data-path takes.

    Example: stepladder export-data results/smoke/data/manifest.json --out smoke-tokens
    """
    from stepladder.data.export import export

    ready(out)
    with written_below(out):
        for prefix in export(manifest, out):
            typer.echo(out / prefix)
