"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from common.files import write_atomic
from simulations.report.data import ReportData
from simulations.report.page import render

__all__ = ["ReportData", "render", "write_report"]


def write_report(data: ReportData, path: Path) -> None:
    """Write the page to `path`; an old file there stays whole until the new one is.

    Raises:
        DataError: `disk-full`, or the place cannot be written.
    """
    write_atomic(path, render(data).encode())
