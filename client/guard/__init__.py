"""The guard: a policy, a budget and a ledger between a server and a client's data."""

from __future__ import annotations

from client.guard.entrance import Clock, Entrance
from client.guard.guard import Check, Guard
from client.guard.sums import SumCheck, SumGuard

__all__ = ["Check", "Clock", "Entrance", "Guard", "SumCheck", "SumGuard"]
