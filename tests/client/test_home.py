"""Which folder a node is, and that only simulated nodes may draw repeatable noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict

from client.app import app, make_app
from client.home import RUN_VARIABLE, Home, check_home, resolve_home
from common.errors import Code, ConfigError
from common.protocol import HELLO, OK, Hello, Reply


@pytest.fixture(autouse=True)
def _no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_VARIABLE, raising=False)


def context(node: dict[str, Any], run_config: dict[str, Any] | None = None) -> Context:
    return Context(1, 5, node, RecordDict(), run_config or {})


def test_the_owners_home_wins_over_everything_a_server_says(tmp_path: Path) -> None:
    node = {"home": "/srv/shop", "partition-id": 0, "num-partitions": 3}
    found = resolve_home(context(node, {"run": str(tmp_path)}), None)
    assert found == Home(Path("/srv/shop"), simulated=False)
    assert resolve_home(context(node), None, simulation=True).simulated


def test_a_simulated_node_is_a_client_of_the_run_by_position(run_folder: Any) -> None:
    for position, name in enumerate(["shop-1", "shop-2", "shop-3"]):
        found = resolve_home(context(node_of(position)), run_folder.path)
        assert found == Home(run_folder.path / "clients" / name, simulated=True)


def node_of(position: int) -> dict[str, Any]:
    return {"partition-id": position, "num-partitions": 3}


def test_the_run_comes_from_the_nodes_own_environment(
    run_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUN_VARIABLE, str(run_folder.path))
    found = resolve_home(context(node_of(1), {"run": "/srv/of/the/server"}), None)
    assert found == Home(run_folder.path / "clients" / "shop-2", simulated=True)
    assert resolve_home(context({"home": "/srv/shop"}), None).folder == Path("/srv/shop")


@pytest.mark.usefixtures("open_shop")
def test_the_run_configuration_of_a_server_names_no_folder(run_folder: Any) -> None:
    with pytest.raises(ConfigError, match=RUN_VARIABLE) as caught:
        resolve_home(context(node_of(0), {"run": str(run_folder.path)}), None)
    assert caught.value.code is Code.CONFIG_INVALID
    refused = hello(node_of(0), run_folder.path)
    assert Reply.from_records(refused.content) == Reply(str(Code.CONFIG_INVALID))


@pytest.mark.parametrize(
    ("node", "asked"),
    [
        ({}, True),
        ({"partition-id": 0}, True),
        ({"partition-id": 3, "num-partitions": 3}, True),
        ({"partition-id": -1, "num-partitions": 3}, True),
        ({"partition-id": "0", "num-partitions": 3}, True),
        ({"partition-id": 0, "num-partitions": 3}, False),
        ({"home": ""}, True),
    ],
)
def test_a_node_without_a_folder_is_refused(
    run_folder: Any, node: dict[str, Any], asked: bool
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_home(context(node), run_folder.path if asked else None)
    assert caught.value.code is Code.CONFIG_INVALID


def hello(node: dict[str, Any], run: Path, given: Any = app) -> Message:
    message = Message(RecordDict(), dst_node_id=5, message_type=HELLO, group_id="g")
    return given(message, context(node, {"run": str(run)}))


def test_a_deployed_client_refuses_a_noise_seed(
    shop: Any, open_shop: Callable[..., Any], run_folder: Any
) -> None:
    """Whatever the server's run configuration says; nothing is reserved."""
    deployed = open_shop(run_folder, deployed=True)
    assert deployed.ask(deployed.task()) == Reply(str(Code.NOISE_SEEDED))
    refused = hello({"home": str(shop.folder)}, run_folder.path)
    assert Reply.from_records(refused.content) == Reply(str(Code.NOISE_SEEDED))
    assert not (shop.folder / "ledger.sqlite").exists()


def test_the_same_folder_serves_in_a_simulation(shop: Any, run_folder: Any) -> None:
    assert shop.ask(shop.task()).code == OK
    simulated = hello(node_of(1), run_folder.path, make_app(run_folder.path))
    answered = Hello.from_records(simulated.content)
    assert (answered.client, answered.private) == ("shop-2", False)
    answered = Hello.from_records(
        hello({"home": str(shop.folder)}, run_folder.path, make_app(simulation=True)).content
    )
    assert (answered.client, answered.private) == ("shop-1", False)


def test_a_simulated_node_does_not_use_a_real_clients_folder(shop: Any, run_folder: Any) -> None:
    toml = shop.folder / "client.toml"
    toml.write_text(toml.read_text().replace("simulated = true", ""))
    refused = hello(node_of(0), run_folder.path, make_app(run_folder.path))
    assert Reply.from_records(refused.content) == Reply(str(Code.CONFIG_INVALID))
    with pytest.raises(ConfigError):
        check_home(Home(shop.folder, simulated=True), shop.store.settings)


def test_without_a_seed_a_deployed_client_answers_and_calls_itself_private(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> None:
    run = prepare_run(fixed_noise=False)
    deployed = open_shop(run, deployed=True)
    assert deployed.ask(deployed.task()).code == OK
    answered = Hello.from_records(hello({"home": str(deployed.folder)}, run.path).content)
    assert answered.private
