"""What the report was made from: code, machines, data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stepladder.data.manifest import DegenerateDocuments, Manifest
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.ladder.mixture import in_words
from stepladder.ladder.provenance import domains_in_words, read_by_variants
from stepladder.record.plan import Plan
from stepladder.schema.design import MixtureSwarm
from stepladder.schema.ladder import Ladder

MAX_EXAMPLES = 8
"""Degenerate documents that are named."""

WITHIN = "within_documents_attention_share"
"""Column of runs whose attention stays within documents."""


def provenance_table(
    runs: pd.DataFrame, manifests: Mapping[str | None, Manifest], ladder: Ladder, plan: Plan
) -> Table:
    """What the report was made from. Where runs differ, every value is listed with its number of runs."""
    columns = [
        ("Code commit", "lineage_code_commit"),
        ("Uncommitted changes", "lineage_code_dirty"),
        ("Code fingerprint", "lineage_code_fingerprint"),
        ("Python", "lineage_python"),
        ("Processor", "lineage_hardware_cpu"),
        ("Cores", "lineage_hardware_cores"),
        ("Accelerator", "lineage_hardware_accelerator"),
        ("Threads per run", "lineage_threads"),
        ("Host", "lineage_hostname"),
        ("Dtype of matrix products", "mfu_dtype"),
        ("Peak rate", "mfu_peak_flops_per_second"),
        ("Source of the peak", "mfu_peak_source"),
        ("FLOPs formula", "flops_formula"),
        ("Data", "lineage_data_description"),
        ("Data sha256", "lineage_data_sha256"),
    ]
    rows = [[label, _values(runs[column])] for label, column in columns if column in runs]
    packages = [c for c in runs.columns if c.startswith("lineage_packages_")]
    named = ", ".join(f"{c.removeprefix('lineage_packages_')} {_values(runs[c])}" for c in packages)
    if named:
        rows.insert(4, ["Packages", named])
    if "spec_sha256" in runs:
        rows.append(
            ["Specifications", f"{runs['spec_sha256'].nunique()} distinct sha256 in {len(runs)} runs"]
        )
    if "lineage_started" in runs:
        rows.append(["Trained", f"{runs['lineage_started'].min()} to {runs['lineage_finished'].max()}"])
    for name, manifest in manifests.items():
        rows += [[_corpora(ladder, name) + label, text] for label, text in _manifest_rows(manifest)]
    for corpus in ladder.corpora or (None,):
        if isinstance(ladder.design, MixtureSwarm) and corpus == ladder.design.arm:
            rows.append([f"{corpus}: mixture", "found by the swarm: see the section on it"])
        elif mixture := ladder.data_of(corpus).mixture:
            rows.append([f"{corpus}: mixture" if corpus else "Mixture", in_words(mixture)])
    if WITHIN in runs:
        shares = runs.groupby("variant")[WITHIN].mean().items()
        seen = ", ".join(f"{variant} {fmt.percent(share)}" for variant, share in shares)
        rows.append(["Attention within documents, of causal attention", seen])
    rows += _text_rows(manifests, ladder, plan)
    weights = ladder.data.domain_weights.items()
    rows.append(["Weights of the target loss", ", ".join(f"{name} {fmt.percent(v)}" for name, v in weights)])
    return table(["<", "<<"], rows)


def peaks(runs: pd.DataFrame) -> str:
    """The peak rates that MFU refers to: `102 GFLOP/s (fp32), 225 GFLOP/s (bf16)`."""
    columns = ["mfu_peak_flops_per_second", "mfu_dtype"]
    if not set(columns) <= set(runs.columns):
        return fmt.MISSING
    known = runs[columns].dropna().drop_duplicates("mfu_dtype").itertuples(index=False)
    return ", ".join(f"{fmt.rate(peak)} ({dtype})" for peak, dtype in known) or fmt.MISSING


def _manifest_rows(manifest: Manifest) -> list[list[str]]:
    """Tokens and documents of each domain and split, and what of them is no text."""
    rows = [
        [
            f"Domain {name}, {'held-out' if split == 'validation' else 'training'}",
            f"{fmt.count(shard.tokens)} tokens in {fmt.count(shard.documents)} documents",
        ]
        for name, splits in manifest.domains.items()
        for split, shard in splits.items()
        if shard.documents
    ]
    rows.insert(0, ["Tokenizer", f"{manifest.tokenizer['kind']}, {fmt.whole(manifest.vocab_size)} ids"])
    if manifest.degenerate is not None:
        rows.append(["Degenerate documents", _degenerate(manifest.degenerate)])
    if manifest.without_text is not None:
        skipped = ", ".join(f"{name} {fmt.whole(n)}" for name, n in manifest.without_text.items())
        rows.append(["Records without text, skipped", skipped])
    return rows


def _text_rows(manifests: Mapping[str | None, Manifest], ladder: Ladder, plan: Plan) -> list[list[str]]:
    """Where each domain comes from, and how much of what each variant read models wrote."""
    domains = [[f"Text of {name}", words] for name, words in domains_in_words(ladder).items()]
    mixes = {name: manifest.mix for name, manifest in manifests.items()}
    return [*domains, *(["Of the tokens read", words] for words in read_by_variants(ladder, plan, mixes))]


def _corpora(ladder: Ladder, prepared: str | None) -> str:
    """`a, b: `, the corpora whose shards lie under a name; empty for a ladder without corpora."""
    names = [name for name in ladder.corpora if ladder.prepared_as(name) == prepared]
    return f"{', '.join(names)}: " if names else ""


def _degenerate(found: DegenerateDocuments) -> str:
    """How many documents are of one character, repetitive or no text, by domain, and where the first are."""
    parts = [
        f"{domain} {flaw.replace('_', ' ')} {fmt.whole(n)}"
        for domain, flaws in found.counts.items()
        for flaw, n in flaws.items()
    ]
    total = sum(n for flaws in found.counts.values() for n in flaws.values())
    text = f"{fmt.whole(total)} of {fmt.whole(found.documents)} documents"
    if not total:
        return text
    done = "left out" if found.dropped else "counted and kept"
    named = found.examples[:MAX_EXAMPLES]
    more = "; more in data/manifest.json" if len(named) < len(found.examples) else ""
    return f"{text}, {done} ({', '.join(parts)}): {', '.join(named)}{more}"


def _values(column: pd.Series) -> str:
    """The one value of a column, or each value with its number of runs."""
    texts = column.map(_cell)
    counts = texts.value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    return ", ".join(f"{text} ({n} runs)" for text, n in counts.items())


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not fmt.is_number(value)):
        return fmt.MISSING
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "yes" if value else "no"
    if isinstance(value, float) and value > 1e8:
        return fmt.rate(value)
    return str(value)
