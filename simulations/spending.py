"""What each client's ledger says was spent, read after a run."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from client.ledger_store import LedgerStore
from client.store import ClientStore
from common.privacy.accounting import epsilon
from common.privacy.events import read_event
from common.privacy.ledger import verify

__all__ = ["ClientLedger", "read_ledgers"]


@dataclass(frozen=True)
class ClientLedger:
    """One client's spending.

    Attributes:
        client: its name.
        epsilon: ε of everything in the ledger after each reservation, as if all had been
            fixed in advance; infinite where something left without privacy.
        steps: step index of each reservation.
        refused: codes of refusals.
        head: hash of the last row.
        reproducible: a seed decided the noise of some release, so that no ε holds.
    """

    client: str
    epsilon: tuple[float, ...]
    steps: tuple[int, ...]
    refused: tuple[str, ...]
    head: str
    reproducible: bool = False

    @property
    def last(self) -> float:
        """ε of everything in the ledger."""
        return self.epsilon[-1] if self.epsilon else 0.0

    def after_round(self, step: int) -> float:
        """ε after all reservations up to and including `step`."""
        spent = [e for e, s in zip(self.epsilon, self.steps, strict=True) if s <= step]
        return spent[-1] if spent else 0.0


def read_ledgers(stores: Sequence[ClientStore], delta: float) -> list[ClientLedger]:
    """Read and verify every client's ledger.

    Raises:
        LedgerError: a chain is broken, or a ledger is foreign.
    """
    return [_read(store, delta) for store in stores]


def _read(store: ClientStore, delta: float) -> ClientLedger:
    settings = store.settings
    with LedgerStore.open(store.ledger_path, settings.name, settings.dataset_id) as ledger:
        rows = ledger.rows()
    verify(rows)
    reserved = [row for row in rows if row.kind == "reserve"]
    events = [json.dumps(row.body["event"], sort_keys=True) for row in reserved]
    return ClientLedger(
        client=settings.name,
        epsilon=tuple(_epsilon(tuple(events[: n + 1]), delta) for n in range(len(events))),
        steps=tuple(int(row.body["step"]) for row in reserved),
        refused=tuple(str(row.body["code"]) for row in rows if row.kind == "refuse"),
        head=rows[-1].hash,
        reproducible=any(row.body.get("reproducible") for row in reserved),
    )


@functools.lru_cache(maxsize=4096)
def _epsilon(events: tuple[str, ...], delta: float) -> float:
    """ε of events by their JSON; clients of one job share most of them."""
    parsed: list[Any] = [read_event(json.loads(text)) for text in events]
    return epsilon(parsed, delta)
