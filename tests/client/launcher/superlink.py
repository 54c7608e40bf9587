"""Flower's own SuperLink, which delivers rubbish in the place of bundles that hold a mark.

`python superlink.py MARK ARGUMENTS…`: everything else is Flower's `flower-superlink`.
"""

from __future__ import annotations

import io
import sys
import zipfile
from typing import Any

from flwr.supercore.fab import Fab
from flwr.superlink.cli.flower_superlink import flower_superlink
from flwr.superlink.servicer.fleet import fleet_handlers

RUBBISH = b"PK\x03\x04 not a zip after all"
MARK = sys.argv.pop(1)
_honest = fleet_handlers.fab_to_proto


def _delivered(fab: Fab) -> Any:
    names = zipfile.ZipFile(io.BytesIO(fab.content)).namelist()
    if any(MARK in name for name in names):
        fab = Fab(fab.hash_str, RUBBISH, fab.verifications)
    return _honest(fab)


fleet_handlers.fab_to_proto = _delivered

if __name__ == "__main__":
    sys.argv[0] = "flower-superlink"
    flower_superlink()
