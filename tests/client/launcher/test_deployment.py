"""Hostile bundles over a real SuperLink: none of their lines run at a client of ours.

Three nodes: `lax`, whose owner listed everything that came; `strict`, who listed the
project's own bundle; and `stock`, Flower's own node, which shows that the lines would run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from client.owner import Owner
from client.store import POLICY_TOML
from common.errors import Code
from common.privacy.policy import Policy
from common.protocol import OK
from simulations.engine.folders import client_folders
from simulations.policies import policy_toml
from simulations.run_folder import RunFolder
from tests.client.launcher.bundles import (
    Canaries,
    altered,
    built,
    built_by_flower,
    elsewhere,
    project,
    rubbish,
    shadowing,
)
from tests.client.launcher.deployment import Deployment, answers
from tests.conftest import lay_out

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pathspec.*")
HOSTILE = {
    "altered": ("altered",),
    "shadowing": ("shadow-client", "shadow-common", "shadow-numpy"),
    "elsewhere": ("elsewhere",),
}
"""Each hostile bundle, and the canaries of its lines."""
CANARIES = [name for names in HOSTILE.values() for name in names]
RUNS_AT_STOCK = {"altered", "shadow-client", "shadow-common", "elsewhere"}
"""Flower has loaded numpy before it looks at a bundle."""


@dataclass
class Scene:
    """What the tests look at: everything has happened."""

    deployment: Deployment
    canaries: Canaries
    run: RunFolder
    nodes: dict[str, int]
    bundles: dict[str, bytes]
    answers: dict[str, dict[int, dict[str, Any]]]
    ended: dict[str, str]

    def code(self, run: str, node: str) -> Any:
        return self.answers[run][self.nodes[node]].get("code")

    def rows(self, node: int, kind: str) -> list[Any]:
        with Owner.of(client_folders(self.run.path)[node]).ledger() as ledger:
            return list(ledger.rows(kind))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two clients of a prepared run and a node of Flower's, through five runs."""
    folder = tmp_path_factory.mktemp("deployment")
    run = lay_out(folder / "run", fixed_noise=False, rounds=1, marketplace=_two_shops())
    canaries = Canaries(folder / "canaries")
    canaries.folder.mkdir()
    bundles = _bundles(folder, canaries)
    lax, strict = client_folders(run.path)
    _list(lax, *bundles.values())
    _list(strict, bundles["own"], bundles["rubbish"])
    deployment = Deployment(folder / "net")
    deployment.folder.mkdir()
    try:
        deployment.start_superlink()
        deployment.start_node("lax", lax)
        deployment.start_node("strict", strict)
        deployment.start_supernode("stock")
        nodes = {name: deployment.online(name) for name in ("lax", "strict", "stock")}
        seen, ended = _asked(deployment, bundles, tuple(HOSTILE), 3)
        deployment.end("stock")  # before the rubbish, of which it would die
        more, also = _asked(deployment, bundles, ("rubbish",), 2)
        own = deployment.start_run(bundles["own"], {"run": str(run.path)})
        also["own"] = deployment.finished(own)
        yield Scene(deployment, canaries, run, nodes, bundles, seen | more, ended | also)
    finally:
        deployment.close()


def _two_shops() -> dict[str, Any]:
    return {
        "users": 80,
        "items": 60,
        "categories": 4,
        "shop_sizes": (44, 36),
        "events_per_user": 12.0,
        "seed": 3,
    }


def _bundles(folder: Path, canaries: Canaries) -> dict[str, bytes]:
    sources = folder / "sources"
    return {
        "own": built_by_flower(project(sources / "own"), folder / "fabs"),
        "altered": built(altered(sources / "altered", canaries)),
        "shadowing": built(shadowing(sources / "shadowing", canaries)),
        "elsewhere": built(elsewhere(sources / "elsewhere", canaries)),
        "rubbish": built(rubbish(sources / "rubbish")),
    }


def _list(home: Path, *bundles: bytes) -> None:
    policy = Owner.of(home).policy
    listed = tuple(sha256(bundle).hexdigest() for bundle in bundles)
    changed = Policy.load({**policy.model_dump(), "bundles": listed})
    (home / POLICY_TOML).write_text(policy_toml(changed))


def _asked(
    deployment: Deployment, bundles: dict[str, bytes], names: Sequence[str], nodes: int
) -> tuple[dict[str, dict[int, dict[str, Any]]], dict[str, str]]:
    """Run the bundles at once; what each server was answered, and how its run ended."""
    outs = {name: deployment.folder / f"{name}.json" for name in names}
    runs = {
        name: deployment.start_run(bundles[name], {"run": str(out), "nodes": nodes})
        for name, out in outs.items()
    }
    ended = {name: deployment.finished(run) for name, run in runs.items()}
    return {name: answers(out) for name, out in outs.items()}, ended


def test_a_deployment_with_hostile_bundles(scene: Scene, subtests: pytest.Subtests) -> None:
    """One test, since tests of one module may be dealt to several processes."""
    checks: list[Callable[[Scene], None]] = [
        hostile_lines_run_under_flowers_own_node,
        no_hostile_line_runs_at_a_client_of_ours,
        the_installed_app_answers_where_a_hostile_bundle_is_listed_by_mistake,
        an_unlisted_bundle_is_refused_with_its_code_and_a_row,
        rubbish_under_a_listed_name_is_refused_and_the_node_stays,
        a_run_of_the_listed_bundle_releases_and_is_charged,
        nothing_of_a_bundle_is_on_a_clients_disk,
        a_node_that_nobody_registered_is_not_let_in_and_ends,
        a_node_that_is_told_to_end_says_goodbye,
    ]
    for check in checks:
        with subtests.test(check.__name__):
            check(scene)


def hostile_lines_run_under_flowers_own_node(scene: Scene) -> None:
    """Otherwise the canaries would show nothing."""
    assert {name for name in CANARIES if "stock" in scene.canaries.seen(name)} == RUNS_AT_STOCK


def no_hostile_line_runs_at_a_client_of_ours(scene: Scene) -> None:
    assert set().union(*map(scene.canaries.seen, CANARIES)) == {"stock"}


def the_installed_app_answers_where_a_hostile_bundle_is_listed_by_mistake(scene: Scene) -> None:
    for bundle in HOSTILE:
        assert scene.code(bundle, "lax") == OK, bundle
        hello = scene.answers[bundle][scene.nodes["lax"]]["hello"]
        assert Owner.of(client_folders(scene.run.path)[0]).settings.name in hello


def an_unlisted_bundle_is_refused_with_its_code_and_a_row(scene: Scene) -> None:
    details = [row.body["detail"] for row in scene.rows(1, "refuse")]
    for bundle in HOSTILE:
        assert scene.ended[bundle].startswith("completed"), scene.ended
        assert scene.code(bundle, "strict") == Code.POLICY_BUNDLE
        assert any(sha256(scene.bundles[bundle]).hexdigest() in detail for detail in details)


def rubbish_under_a_listed_name_is_refused_and_the_node_stays(scene: Scene) -> None:
    for node in ("lax", "strict"):
        assert scene.code("rubbish", node) == Code.POLICY_BUNDLE
        assert scene.deployment.alive(node)


def a_run_of_the_listed_bundle_releases_and_is_charged(scene: Scene) -> None:
    assert scene.ended["own"].startswith("completed"), scene.deployment.logs()
    for node in (0, 1):
        assert len(scene.rows(node, "spend")) == 2  # popularity, and one round
    assert (scene.run.path / "server" / "witness.jsonl").exists()


def nothing_of_a_bundle_is_on_a_clients_disk(scene: Scene) -> None:
    """Home and Flower's home of the nodes; the clients' own folders hold what they held."""
    for node in ("lax", "strict"):
        assert [one for one in (scene.deployment.folder / node).rglob("*") if one.is_file()] == []
    for home in client_folders(scene.run.path):
        assert not list(home.rglob("*.py")), home


def a_node_that_nobody_registered_is_not_let_in_and_ends(scene: Scene) -> None:
    home = client_folders(scene.run.path)[0]
    scene.deployment.start_node("stranger", home, registered=False)
    assert scene.deployment.ended("stranger") == 2
    assert "error node-refused" in scene.deployment.log("stranger")


def a_node_that_is_told_to_end_says_goodbye(scene: Scene) -> None:
    assert scene.deployment.end("lax") == 0
    assert not scene.deployment.is_online("lax")
