"""Runs with secure sums over real clients, and what one of them may do in a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flwr.app import Message

from common.protocol import SUM, SumCall
from common.secure_sum.messages import Stage
from tests.server.tampering import Tamper

SHOPS = ("shop-1", "shop-2", "shop-3", "shop-4", "shop-5")
MARKET = {
    "users": 150, "items": 60, "categories": 4, "shop_sizes": (40, 35, 30, 25, 20),
    "events_per_user": 12.0, "seed": 3,
}  # fmt: skip
COUNTED: Mapping[Stage, bool] = {
    "keys": False, "shares": False, "masked": False, "survivors": True, "reveal": True
}  # fmt: skip
Grid = Callable[..., Any]


def of_stage(tamper: Tamper, stage: Stage, nodes: list[int], session: int | None = None) -> Tamper:
    """Tamper with one stage of some nodes, in one session or in all."""

    def apply(asked: Message, reply: Message) -> Message | None:
        if asked.metadata.message_type != SUM or asked.metadata.dst_node_id not in nodes:
            return reply
        call = SumCall.from_records(asked.content)
        if call.stage != stage or session not in (None, call.session):
            return reply
        return tamper(asked, reply)

    return apply


def silence(_asked: Message, _reply: Message) -> None:
    return None


def killed(_asked: Message, _reply: Message) -> None:
    raise KeyboardInterrupt


def nodes_of(names: Any) -> list[int]:
    return [2 + SHOPS.index(name) for name in names]
