"""Who belongs to a federation, and when each was last heard of: cards, Flower's nodes, the log.

Flower's database is read, never changed, and is no part of any promise: if it looks otherwise
than expected, members are shown without their nodes.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from common.enrolment.cards import line_of_pem
from server.enroll.home import members
from server.monitor.view import DoorView, MemberView

__all__ = ["DATABASE", "LOG", "tail", "view_door", "view_members"]

DATABASE: Final = "state.db"
LOG: Final = "access.jsonl"
_TAIL_BYTES: Final = 256 * 2**10
"""How much of the access log is read, however long it is."""
_LEASES: Final = 2
"""Heartbeats that Flower waits for a node."""
_NODES: Final = (
    "SELECT node_id, status, online_until, heartbeat_interval, public_key FROM node "
    "WHERE public_key IS NOT NULL"
)


@dataclass(frozen=True)
class _Node:
    id: str
    is_online: bool
    heard: float
    """Seconds since 1970, 0 for never."""


def tail(path: Path, most_bytes: int = _TAIL_BYTES) -> list[dict[str, Any]]:
    """The objects in the last lines of a file that may be growing; half a line is left out."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most_bytes))
            lines = file.read(most_bytes).split(b"\n")
    except OSError:
        return []
    whole = lines[1 if size > most_bytes else 0 : -1]
    found = (_object(line) for line in whole)
    return [entry for entry in found if entry is not None]


def view_door(lines: Sequence[Mapping[str, Any]]) -> DoorView:
    """Who came, by the lines that `tail` found."""
    outside = [line for line in lines if line.get("side") == "outside"]
    refused = [line for line in outside if _is_refusal(line.get("status"))]
    since = lines[0].get("time") if lines else None
    return DoorView(lines=len(lines), since=str(since) if since else None, refused=len(refused))


def view_members(home: Path, lines: Sequence[Mapping[str, Any]]) -> tuple[MemberView, ...]:
    """Every member with its node.

    Args:
        home: the server's.
        lines: of the access log, in order of time.

    Raises:
        ConfigError: a card cannot be read.
    """
    nodes = _nodes(home / DATABASE)
    seen = {str(line["node"]): line.get("time") for line in lines if line.get("node")}
    return tuple(
        _member(name, None if nodes is None else nodes.get(card.transport_key, None), nodes, seen)
        for name, card in members(home).items()
    )


def _member(
    name: str, node: _Node | None, nodes: Mapping[str, _Node] | None, seen: Mapping[str, Any]
) -> MemberView:
    if nodes is None or node is None:
        return MemberView(name=name, registered=None if nodes is None else False)
    heard = max(node.heard, _seconds(seen.get(node.id)))
    return MemberView(
        name=name,
        registered=True,
        online=node.is_online,
        heard_at=datetime.fromtimestamp(heard, UTC) if heard else None,
    )


def _nodes(database: Path) -> dict[str, _Node] | None:
    """Flower's nodes by their public key in OpenSSH; None if they cannot be read."""
    if not database.exists():
        return None
    try:
        with closing(sqlite3.connect(_location(database), uri=True, timeout=2)) as connection:
            rows = connection.execute(_NODES).fetchall()
        return {line: _node(row) for row in rows if (line := line_of_pem(row[4])) is not None}
    except (sqlite3.Error, TypeError, ValueError):
        return None


def _location(database: Path) -> str:
    """Without its log beside it nobody writes to it, and opening it would make one."""
    log = database.with_name(f"{database.name}-wal")
    return f"{database.resolve().as_uri()}?mode=ro{'' if log.exists() else '&immutable=1'}"


def _node(row: Sequence[Any]) -> _Node:
    number, status, until, interval, _ = row
    end = float(until or 0)
    return _Node(
        id=str(int(number) % 2**64),  # as it is in the log; SQLite has signed numbers
        is_online=status == "online" and end > time.time(),
        heard=max(0.0, min(end - _LEASES * float(interval or 0), time.time())),
    )


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _seconds(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


def _is_refusal(status: object) -> bool:
    return isinstance(status, int) and (400 <= status < 500 or status == 503)
