"""The list of the outside is made from Flower's own routes, and from nothing that it was not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from flwr.superlink.routers.fleet.router import router
from starlette.routing import Mount

from common.errors import Code, RunError
from server.gateway import routes
from server.gateway.folder import ServerFolder
from server.gateway.routes import HEALTH, fleet_calls, served_calls
from server.gateway.superlink import make_app


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder = ServerFolder.opened(tmp_path_factory.mktemp("server") / "folder")
    return make_app(folder, "127.0.0.1", 8000)


def test_of_all_that_the_superlink_serves_the_outside_has_fleet_and_health(app: FastAPI) -> None:
    kinds = {path.split("/")[2] for _, path in served_calls(app) if path.startswith("/v1/")}
    assert kinds == {"fleet", "control", "runtime"}
    fleet = {call for call in served_calls(app) if call[1].startswith("/v1/fleet")}
    assert fleet_calls(app) == fleet | HEALTH


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/fleet/{anything:path}", ["POST"]),
        ("/v1/fleet/../control/start-run", ["POST"]),
        ("/v1/control/start-run", ["POST"]),
        ("/v1/fleet/get-run", ["POST", "GET"]),
        ("/v1/fleet/new-call", ["POST"]),
    ],
    ids=["pattern", "dots", "control", "method", "unsigned"],
)
def test_a_router_that_changed_is_not_served(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, path: str, methods: list[str]
) -> None:
    changed = _changed(lambda new: new.add_api_route(path, _nothing, methods=methods))
    monkeypatch.setattr(routes, "router", changed)
    with pytest.raises(RunError) as caught:
        fleet_calls(app)
    assert caught.value.code is Code.FLOWER_VERSION


def test_an_app_mounted_among_the_routes_is_not_served(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = _changed(lambda new: new.routes.append(Mount("/v1/fleet/x", app=app)))
    monkeypatch.setattr(routes, "router", changed)
    with pytest.raises(RunError, match="Mount"):
        fleet_calls(app)


def test_a_superlink_that_lacks_the_routes_is_not_served() -> None:
    with pytest.raises(RunError, match="does not serve"):
        fleet_calls(FastAPI())


def test_ports_of_flowers_own_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two variables would have the SuperLink start servers beside the gateway."""
    for name in ("FLWR_INTERNAL_GRPC_CONTROL_API", "FLWR_INTERNAL_GRPC_FLEET_API"):
        monkeypatch.setenv(name, "1")
    made = make_app(ServerFolder.opened(tmp_path / "folder"), "127.0.0.1", 8000)
    made.state.superlink_lifespan.startup()
    assert made.state.superlink_lifespan.grpc_servers == []
    assert made.state.superlink_lifespan.superexec_process is None


def _changed(change: Callable[[APIRouter], None]) -> APIRouter:
    new = APIRouter()
    new.routes.extend(router.routes)
    change(new)
    return new


def _nothing() -> None:
    """What a route of another Flower might do."""
