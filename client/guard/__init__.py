"""The guard: a policy, a budget and a ledger between a server and a client's data."""

from __future__ import annotations

from client.guard.guard import Check, Clock, Guard

__all__ = ["Check", "Clock", "Guard"]
