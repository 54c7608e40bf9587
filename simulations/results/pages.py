"""A study's rows as a page of `docs/results/`, with command, seeds, versions and machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from common.files import write_atomic
from simulations.run_folder import versions

__all__ = ["mean_and_spread", "write_page"]


def mean_and_spread(rows: Sequence[Mapping[str, Any]], by: Sequence[str]) -> pd.DataFrame:
    """Means over seeds of every numeric column, with the largest minus the smallest of HR@10."""
    table = pd.DataFrame(rows)
    numeric = [c for c in table.select_dtypes("number").columns if c not in {*by, "seed"}]
    grouped = table.groupby(list(by), sort=False, dropna=False)
    means = grouped[numeric].mean()
    for name in [c for c in numeric if c.endswith("hr@10")]:
        means[f"{name} spread"] = grouped[name].max() - grouped[name].min()
    means.insert(0, "seeds", grouped["seed"].nunique())
    return means.reset_index()


def write_page(
    folder: Path,
    name: str,
    *,
    title: str,
    command: str,
    notes: str,
    rows: Sequence[Mapping[str, Any]],
    tables: Mapping[str, pd.DataFrame],
    words: Mapping[str, str] | None = None,
) -> None:
    """Write `NAME.md` for people and `NAME.json` with every single run.

    `words` are said under the table with the same caption.
    """
    facts = versions()
    parts = [f"# {title}", "", f"```\n{command}\n```", "", notes.strip(), ""]
    for caption, table in tables.items():
        parts += [f"## {caption}", "", _markdown(table), ""]
        parts += [words[caption].strip(), ""] if words and caption in words else []
    libraries = ", ".join(f"{k} {v}" for k, v in facts.items() if k != "platform")
    machine = f"Machine: {os.cpu_count()} cores, {facts['platform']}. Versions: {libraries}."
    parts += [f"{machine} Every run: [{name}.json]({name}.json).", ""]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / f"{name}.md", "\n".join(parts).encode())
    body = {"command": command, "versions": versions(), "runs": list(rows)}
    write_atomic(folder / f"{name}.json", (json.dumps(body, indent=1) + "\n").encode())


def _markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.4g}"
    return str(value)
