"""How a node is let in by a SuperLink, stays, and leaves."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import httpx
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.launcher.endings import Expelled, not_registered, renumbered, still_counted
from client.launcher.link import Link
from client.launcher.number import Number
from common.errors import HushRecError

__all__ = ["Door"]

_LOG: Final = logging.getLogger("hushrec.launcher")
_LONGEST_LEASE_SECONDS: Final = 65.0
"""What a node of Flower's own interval may still be counted for, and some."""
_DECLINED: Final = (400, 412)
"""What a SuperLink answers to a node that it does not let in."""
_NO_RUN: Final = (403, 404)
"""What it answers of a run that there is not."""


@dataclass(frozen=True)
class Door:
    """How a node comes in, stays and leaves.

    Attributes:
        link: how it asks.
        client: what it asks with.
        public_key: by which the server knows it.
        heartbeat_seconds: it is counted as connected for twice this long after its last word.
    """

    link: Link
    client: FleetHttpClient
    public_key: bytes
    heartbeat_seconds: float

    def enter(self, number: Number) -> int:
        """The node's number; waits while an earlier process of it is counted as connected.

        Raises:
            HushRecError: it is not let in.
        """
        began = time.monotonic()
        while (node_id := self._activated()) is None:
            waited = time.monotonic() - began
            if not self._is_registered(number.known()):
                raise not_registered(self.link.address, was=number.known() is not None)
            if waited > _LONGEST_LEASE_SECONDS:
                raise still_counted(self.link.address, waited)
            if not waited > 1:
                _LOG.warning("an earlier process of this node is still counted; waiting for it")
            time.sleep(1)
        number.keep(node_id)
        return node_id

    def why_expelled(self) -> HushRecError:
        """What a node is told that was connected."""
        node_id = self._activated()
        if node_id is None:
            return not_registered(self.link.address, was=True)
        self.leave(node_id)
        return renumbered(self.link.address)

    def beat(self, node_id: int) -> None:
        """Say that the node is there."""
        request = SendNodeHeartbeatRequest(
            node=NodeProto(node_id=node_id), heartbeat_interval=self.heartbeat_seconds
        )
        self.link.once(self.client.SendNodeHeartbeat, request)

    def leave(self, node_id: int) -> None:
        """Say goodbye, if anybody listens."""
        with suppress(httpx.HTTPError, ValueError):
            self.client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))

    def _activated(self) -> int | None:
        """The node's number; None if the server does not let it in now."""
        request = ActivateNodeRequest(
            public_key=self.public_key, heartbeat_interval=self.heartbeat_seconds
        )
        call = self.client.ActivateNode
        try:
            return int(self.link.ask(call, request, patient=True, told=_DECLINED).node_id)
        except (Expelled, httpx.HTTPStatusError):  # nothing but key and time is looked at here
            return None

    def _is_registered(self, node_id: int | None) -> bool:
        """Whether the server takes the key for this number's; of no number it cannot be asked."""
        if node_id is None:
            return False
        request = GetRunRequest(node=NodeProto(node_id=node_id), run_id=0)
        try:
            self.link.ask(self.client.GetRun, request, patient=True, told=_NO_RUN)
        except Expelled:
            return False
        except httpx.HTTPStatusError:
            pass  # there is no such run: the signature was taken
        return True
