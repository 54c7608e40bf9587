"""The calls that the outside has: those of Flower's Fleet router, letter by letter, and `/health`.

Guarantee:
    What is not on the list does not exist outside. The list is made from the router itself, and
    it is not made at all if a route is more than one fixed path below `/v1/fleet/`, or if Flower
    would not ask for a node's signature there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.routers.fleet.router import router
from starlette.routing import Route

from common.errors import Code, RunError

__all__ = ["HEALTH", "Call", "fleet_calls", "served_calls"]

Call: TypeAlias = tuple[str, str]
"""Method and path, exactly."""
HEALTH: Final[frozenset[Call]] = frozenset({("GET", "/health"), ("HEAD", "/health")})
_FLEET: Final = re.compile(r"/v1/fleet/[a-z]+(-[a-z]+)*")


def fleet_calls(app: FastAPI) -> frozenset[Call]:
    """What the outside may call of the SuperLink's app.

    Raises:
        RunError: `flower-version`, the routes are not what was tested.
    """
    fleet = {call for route in router.routes for call in _calls(route)}
    odd = sorted(path for method, path in fleet if method != "POST" or not _FLEET.fullmatch(path))
    if odd or not fleet:
        raise _unfit(f"Flower's Fleet routes are not fixed paths of their own: {odd}.")
    if unchecked := sorted(fleet - PROTOBUF_REQUEST_TYPES.keys()):
        raise _unfit(f"Flower does not ask who calls {unchecked}.")
    missing = (fleet | HEALTH) - served_calls(app)
    if missing:
        raise _unfit(f"Flower's SuperLink does not serve {sorted(missing)}.")
    return frozenset(fleet) | HEALTH


def served_calls(app: FastAPI) -> frozenset[Call]:
    """Every call that the app answers, inside."""
    contexts = iter_route_contexts(app.routes)
    return frozenset(call for context in contexts for call in _calls(context.route))


def _calls(route: object) -> Iterator[Call]:
    if not isinstance(route, Route):
        raise _unfit(f"a route of Flower's is a {type(route).__name__}.")
    yield from ((method, route.path) for method in route.methods or ())


def _unfit(what: str) -> RunError:
    return RunError(
        Code.FLOWER_VERSION,
        what,
        where="gateway",
        remedy="Install HushRec anew with its constraints.txt; never upgrade Flower alone.",
    )
