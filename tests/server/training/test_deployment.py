"""`hushrec server train` over real processes: whoever is killed, it comes to its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from flwr.proto.control_pb2 import StopRunRequest

from server.models import Models
from server.registry import Registry
from server.training.folder import Training
from tests.client.enroll.shops import said
from tests.client.launcher.deployment import BIN
from tests.server.training.federation import NAMES, Federation

ASKED = ("--rounds", 1, "--dim", 4, "--epsilon", 2, "--delta", 1e-3, "--deadline-seconds", 60)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Everybody enrolled, let in and started."""
    found = Federation(tmp_path_factory.mktemp("training") / "net")
    found.folder.mkdir()
    try:
        found.enrol()
        found.start_gateway()
        for name in NAMES:
            found.let_in(name)
            found.start_shop(name)
        yield found
    finally:
        found.close()


def test_a_deployment_trains(federation: Federation, subtests: pytest.Subtests) -> None:
    """One test, since tests of one module may be dealt to several processes."""
    in_turn(federation, subtests, a_training_survives_its_server_app)


@pytest.mark.long
def test_a_deployment_goes_on_whatever_happens(
    federation: Federation, subtests: pytest.Subtests
) -> None:
    """Kills of the server, promotion, revocation, a run that its operator stops."""
    in_turn(
        federation,
        subtests,
        a_training_survives_its_server_app,
        a_server_app_outlives_a_server_that_is_killed,
        what_is_promoted_can_be_delivered_again,
        who_is_revoked_takes_part_no_more,
        a_run_that_is_stopped_is_not_started_again,
    )


def in_turn(
    federation: Federation,
    subtests: pytest.Subtests,
    *checks: Callable[[Federation], None],
) -> None:
    """Each check by its name; one builds on what another left."""
    for check in checks:
        with subtests.test(check.__name__):
            check(federation)


def hashes(folder: Path) -> dict[str, str]:
    """Of every file of the checkpoints that are there."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def a_training_survives_its_server_app(here: Federation) -> None:
    here.start_training("train", "--name", "first", *ASKED)
    here.said("train", "round     1/2")
    here.kill_server_app("first")
    before = hashes(here.run_folder("first") / "server" / "checkpoints" / "step-0001")
    assert here.ended("train") == 0, here.logs()
    log = here.log_of("train")
    assert log.count("started   run") == 2
    assert "stopped   internal: the server app of run" in log
    assert [line.split()[1] for line in log.splitlines() if line.startswith("round ")] == [
        "1/2", "2/2"
    ]  # fmt: skip
    assert "delivered shop-1: ok" in log
    assert hashes(here.run_folder("first") / "server" / "checkpoints" / "step-0001") == before
    assert [r.answered for r in Registry(here.run_folder("first") / "server").rounds()] == [
        NAMES, NAMES
    ]  # fmt: skip
    assert here.charged() == dict.fromkeys(NAMES, (1, 2))
    current = Models(here.home).current
    assert current is not None
    assert json.loads((here.shop("shop-1") / "models" / "current.json").read_text())


def a_server_app_outlives_a_server_that_is_killed(here: Federation) -> None:
    """Where another supervisor has the process that starts it."""
    assert here.end("server") == 0
    here.start_gateway("--without-superexec")
    here.start_superexec()
    here.start_training("again", "--name", "second", "--no-promote", *ASKED)
    here.said("again", "round     1/2")
    here.kill("server")
    here.start_gateway("--without-superexec")
    assert here.ended("again") == 0, here.logs()
    log = here.log_of("again")
    assert log.count("started   run") == 1, log
    assert "round     2/2" in log
    assert "promoted" not in log
    assert here.charged() == dict.fromkeys(NAMES, (2, 4))


def what_is_promoted_can_be_delivered_again(here: Federation) -> None:
    where = (here.home, "--inside", here.inside, "--bundle", here.bundle)
    here.spawn("deliver", [BIN / "hushrec", "server", "deliver", *where, "--format", "json"])
    assert here.ended("deliver") == 0, here.logs()
    current = Models(here.home).current
    assert current is not None
    assert json.loads(here.log_of("deliver").splitlines()[-1]) == {
        "version": current.version, "promotion": 1, "delivered": dict.fromkeys(NAMES, "ok")
    }  # fmt: skip


def who_is_revoked_takes_part_no_more(here: Federation) -> None:
    """Its node is still registered and connected."""
    said("enroll", "revoke", here.home, "shop-2")
    here.start_training("without", "--name", "third", "--no-promote", *ASKED)
    assert here.ended("without") == 0, here.logs()
    for record in Registry(here.run_folder("third") / "server").rounds():
        assert record.answered == ("shop-1",)
        assert list(record.refused.values()) == ["enroll-card"]
    assert here.charged() == {"shop-1": (3, 6), "shop-2": (2, 4)}


def a_run_that_is_stopped_is_not_started_again(here: Federation) -> None:
    """As by `flwr stop`: Flower ends the server app, which says no last word."""
    here.start_training("stopped", "--name", "halted", "--no-promote", *ASKED)
    here.said("stopped", "round     1/2")
    (run_id,) = Training.existing(here.home, "halted").run_ids
    here.control.StopRun(StopRunRequest(run_id=run_id))
    assert here.ended("stopped") == 2, here.logs()
    log = here.log_of("stopped")
    assert "error run-stopped" in log
    assert log.count("started   run") == 1
