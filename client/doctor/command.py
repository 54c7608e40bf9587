"""`hushrec doctor`: everything about a client that somebody could have to mend."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from client.data_files import EVENTS, HELDOUT, REJECTED
from client.doctor.data import (
    check_data,
    check_leftovers,
    check_recorded,
    check_rejected,
    check_sealing,
)
from client.doctor.findings import Check, Finding, Patient, run_checks, worst
from client.doctor.machine import check_clock, check_disk, check_memory, check_versions
from client.doctor.model import check_model
from client.doctor.promises import (
    check_budget,
    check_keys,
    check_ledger,
    check_policy,
    check_roster,
)
from client.doctor.reach import check_server
from client.recorded_log import RECORDED
from common.terminal import Format, FormatOption, finish, print_json

__all__ = [
    "CHECKS",
    "NETWORK",
    "READS_DATA",
    "READS_NONE",
    "doctor",
    "examine",
    "examine_without_data",
]

CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("disk", check_disk),
    ("memory", check_memory),
    ("versions", check_versions),
    ("clock", check_clock),
    ("keys", check_keys),
    ("sealing", check_sealing),
    ("data", check_data),
    ("rejected", check_rejected),
    ("recorded", check_recorded),
    ("leftovers", check_leftovers),
    ("model", check_model),
    ("policy", check_policy),
    ("roster", check_roster),
    ("ledger", check_ledger),
    ("budget", check_budget),
)
"""What needs no network, in the order in which it is shown."""
READS_DATA: Final = frozenset({"memory", "data", "rejected", "recorded", "leftovers"})
"""Checks whose findings can follow the customers' data; memory that is free does, too."""
READS_NONE: Final = frozenset(
    {
        "disk",
        "versions",
        "clock",
        "keys",
        "sealing",
        "model",
        "policy",
        "roster",
        "ledger",
        "budget",
    }
)
"""Checks of the machine, of settings and keys, and of what was released and refused."""
_DATA: Final = (EVENTS, HELDOUT, REJECTED, RECORDED)
NETWORK: Final[tuple[tuple[str, Check], ...]] = (("server", check_server),)


def doctor(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    offline: Annotated[bool, typer.Option("--offline", help="Leave the network alone.")] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Look for everything that could keep a client from working, and say what to do."""

    def work() -> int:
        found = examine(client_dir, datetime.now(UTC), offline=offline)
        level = worst(found)
        if output is Format.JSON:
            findings = [one.to_json() for one in found]
            print_json({"folder": str(client_dir), "status": level, "findings": findings})
        else:
            for one in found:
                typer.echo(one.line)
        return 1 if level == "fail" else 0

    finish(work)


def examine(folder: Path, now: datetime, *, offline: bool = False) -> list[Finding]:
    """Every finding about a client.

    Args:
        folder: perhaps a client's.
        now: with a zone.
        offline: leave out what needs the network.
    """
    checks = CHECKS if offline else CHECKS + NETWORK
    if not folder.is_dir():
        checks = CHECKS[:1]
    return run_checks(checks, Patient(folder, now))


def examine_without_data(folder: Path, now: datetime) -> list[Finding]:
    """What a log may tell, since a log may leave the machine; nothing here needs the network.

    Guarantee:
        No check runs that opens the customers' data, and nothing is told of their files.
    """
    checks = [one for one in CHECKS if one[0] in READS_NONE]
    found = run_checks(checks, Patient(folder, now))
    return [one for one in found if not any(name in one.where for name in _DATA)]
