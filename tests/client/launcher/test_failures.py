"""A node that cannot go on says so in one line with a code; one that can, goes on by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from flwr.proto.control_pb2 import RegisterNodeRequest, UnregisterNodeRequest

from client.launcher import door
from client.launcher.endings import Passing
from client.launcher.fleet import SuperLink, connected
from common.errors import Code
from simulations.engine.folders import client_folders
from tests.client.launcher.deployment import until
from tests.client.launcher.failing import SHIFTED, Failing, Impostor, impostors
from tests.conftest import lay_out

REGISTERED = ("stays", "killed", "leaves", "renumbered", "forgotten", "early", "late", "ahead")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failing]:
    """A gateway, and nodes of which some are wrong from the beginning."""
    folder = tmp_path_factory.mktemp("failures")
    market = {"users": 40, "items": 30, "categories": 3, "shop_sizes": (40,)}
    run = lay_out(folder / "run", fixed_noise=False, rounds=1, marketplace=market)
    net = folder / "net"
    net.mkdir()
    deployment = Failing(net, home=client_folders(run.path)[0])
    with impostors(folder) as found:
        try:
            deployment.serve()
            _start(deployment, found)
            yield deployment
        finally:
            deployment.close()


def _start(scene: Failing, found: dict[str, Impostor]) -> None:
    keys = {name: scene.register(name) for name in REGISTERED}
    for name in ("killed", "stays", "leaves", "renumbered", "forgotten"):
        scene.start(name, keys[name])
    scene.start("never", scene.new_key("never"))
    scene.start("ahead", keys["ahead"], "-c", SHIFTED, 1)
    for name, one in found.items():
        scene.start(name, keys["stays"], address=one.address, roots=one.roots)


def test_nodes_that_go_wrong(scene: Failing, subtests: pytest.Subtests) -> None:
    """One test, since tests of one module may be dealt to several processes."""
    checks: list[Callable[[Failing], None]] = [
        a_node_that_was_killed_starts_again,
        a_key_that_nobody_registered_is_refused,
        a_clock_that_is_a_day_ahead_is_named,
        a_certificate_that_is_over_is_named_with_its_days,
        a_certificate_of_tomorrow_means_a_wrong_clock,
        certificates_of_others_are_named,
        a_node_that_is_unregistered_ends,
        a_second_process_of_a_node_waits_and_may_try_again,
        the_node_that_was_killed_is_back,
        a_server_that_comes_back_finds_its_nodes,
        a_server_that_lost_its_state_ends_its_nodes,
    ]
    for check in checks:
        with subtests.test(check.__name__):
            check(scene)


def a_node_that_was_killed_starts_again(scene: Failing) -> None:
    """It is looked for again further down, when its lease is over."""
    until(lambda: scene.is_heard("killed"), f"killed to be let in:\n{scene.log('killed')}")
    scene.kill("killed")
    scene.start("killed", scene.folder / "killed.key")


def a_key_that_nobody_registered_is_refused(scene: Failing) -> None:
    status, line = scene.ended_by("never", Code.NODE_REFUSED)
    assert status == 2
    assert "not registered" in line


def a_clock_that_is_a_day_ahead_is_named(scene: Failing) -> None:
    status, line = scene.ended_by("ahead", Code.CLOCK_SKEW)
    assert status == 2
    assert "1 day ahead of the server's" in line


def a_certificate_that_is_over_is_named_with_its_days(scene: Failing) -> None:
    status, line = scene.ended_by("over", Code.CERTIFICATE_INVALID)
    assert status == 2
    assert "over since 3 days" in line


def a_certificate_of_tomorrow_means_a_wrong_clock(scene: Failing) -> None:
    status, line = scene.ended_by("tomorrow", Code.CLOCK_SKEW)
    assert status == 2
    assert "begins in 1 day" in line


def certificates_of_others_are_named(scene: Failing) -> None:
    status, line = scene.ended_by("stranger", Code.CERTIFICATE_INVALID)
    assert status == 2
    assert "another authority" in line
    status, line = scene.ended_by("elsewhere", Code.CERTIFICATE_INVALID)
    assert status == 2
    assert "127.0.0.1" in line


def a_node_that_is_unregistered_ends(scene: Failing) -> None:
    node = scene.online("leaves")
    scene.control.UnregisterNode(UnregisterNodeRequest(node_id=node))
    status, line = scene.ended_by("leaves", Code.NODE_REFUSED)
    assert status == 2
    assert "not registered any more" in line
    scene.start("leaves", scene.folder / "leaves.key")  # by a supervisor
    assert scene.ended("leaves") == 2


def a_second_process_of_a_node_waits_and_may_try_again(scene: Failing) -> None:
    """Here in this process, which does not wait for long."""
    scene.online("stays")
    memory = scene.folder / "stays-home" / "node_number.json"
    key = scene.folder / "stays.key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "_LONGEST_LEASE_SECONDS", 0.5)
        superlink = SuperLink(scene.address, scene.roots, key, memory=memory)
        with pytest.raises(Passing, match="another process") as caught, connected(superlink):
            pass
    assert (caught.value.code, caught.value.exit_status) == (Code.NODE_REFUSED, 1)
    assert scene.is_online("stays")


def the_node_that_was_killed_is_back(scene: Failing) -> None:
    """The same process that was started right after the kill."""
    until(lambda: scene.is_heard("killed") == 2, f"killed to be back:\n{scene.log('killed')}")
    assert scene.is_online("killed")
    assert not scene.said("killed", Code.NODE_REFUSED)
    assert scene.log("killed").count("still counted") == 1


def a_server_that_comes_back_finds_its_nodes(scene: Failing) -> None:
    """One line when it is gone and one when it is back, also where it was not there before."""
    scene.kill("server")
    scene.start("late", scene.folder / "late.key")
    for name in ("stays", "late"):
        scene.waits(name, Code.SERVER_UNREACHABLE)
    scene.serve()
    for name in ("stays", "late"):
        until(lambda name=name: "answers again" in scene.log(name), f"{name} to find it")  # type: ignore[misc]
        until(lambda name=name: scene.is_online(name), f"{name} to be online")  # type: ignore[misc]
        assert len(scene.said(name, Code.SERVER_UNREACHABLE)) == 1
        assert scene.alive(name)


def a_server_that_lost_its_state_ends_its_nodes(scene: Failing) -> None:
    """None is alive and deaf; the one that is registered anew may start again."""
    for name in ("renumbered", "forgotten"):
        scene.online(name)
    os.kill(scene.processes["renumbered"].pid, signal.SIGSTOP)
    scene.kill("server")
    for file in scene.server.path.glob("state.db*"):
        file.unlink()
    scene.serve()
    _register_again(scene, scene.folder / "renumbered.key")
    os.kill(scene.processes["renumbered"].pid, signal.SIGCONT)
    assert scene.ended_by("renumbered", Code.NODE_REFUSED)[0] == 1
    status, line = scene.ended_by("forgotten", Code.NODE_REFUSED)
    assert status == 2
    assert "not registered any more" in line


def _register_again(scene: Failing, key: Path) -> None:
    public = serialization.load_ssh_private_key(key.read_bytes(), None).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    scene.control.RegisterNode(RegisterNodeRequest(public_key=pem, name="again"))
