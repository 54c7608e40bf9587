"""The in-process grid delivers as Flower does, and shares nothing but what is sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from common.errors import Code, ProtocolError, RunError
from server.app import read_job
from server.record import RoundRecord, SilentObserver
from simulations.engine import ENGINES
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessEngine, InProcessGrid


def echo(seen: list[Message]) -> ClientApp:
    app = ClientApp()

    @app.train("step")
    def step(message: Message, _: Any) -> Message:
        seen.append(message)
        return Message(message.content, reply_to=message)

    return app


def to(node: int, records: RecordDict | None = None) -> Message:
    return Message(
        records or RecordDict(), dst_node_id=node, message_type="train.step", group_id="g"
    )


def test_messages_are_copies_in_both_directions(tmp_path: Path) -> None:
    seen: list[Message] = []
    grid = InProcessGrid(echo(seen), [tmp_path])
    records = RecordDict({"a": ArrayRecord({"x": Array(np.ones(3))})})
    sent = to(2, records)
    (reply,) = grid.send_and_receive([sent])
    assert seen[0] is not sent
    assert seen[0].content is not sent.content
    assert reply.content is not seen[0].content
    np.testing.assert_array_equal(reply.content["a"]["x"].numpy(), np.ones(3))
    assert reply.metadata.reply_to_message_id == seen[0].metadata.message_id
    assert reply.metadata.src_node_id == 2


def test_replies_are_made_one_at_a_time(tmp_path: Path) -> None:
    """One client's release is in memory at a time, however many there are."""
    seen: list[Message] = []
    grid = InProcessGrid(echo(seen), [tmp_path] * 5)
    replies = grid.send_and_receive([to(node) for node in grid.get_node_ids()])
    assert len(seen) == 0
    next(replies)
    assert len(seen) == 1
    assert len(list(replies)) == 4


def test_messages_can_be_pushed_and_pulled(tmp_path: Path) -> None:
    grid = InProcessGrid(echo([]), [tmp_path] * 2)
    assert [node.node_id for node in grid.get_nodes()] == list(grid.get_node_ids()) == [2, 3]
    identifiers = list(grid.push_messages([to(2), to(3)]))
    assert len(list(grid.pull_messages([*identifiers, "unknown"]))) == 2
    assert list(grid.pull_messages(identifiers)) == []
    with pytest.raises(ProtocolError) as caught:
        grid.push_messages([to(9)])
    assert caught.value.code is Code.PROTOCOL_INVALID


def test_an_exception_of_the_app_is_an_error_without_its_text(tmp_path: Path) -> None:
    (reply,) = InProcessGrid(ClientApp(), [tmp_path]).send_and_receive([to(2)])
    assert reply.has_error()
    assert reply.error.reason == ""


def test_a_prepared_run_ends_in_a_model(run_folder: Any) -> None:
    InProcessEngine().run(run_folder.path, SilentObserver())
    job = read_job(run_folder.path)
    _, manifest = run_folder.registry.model(job.catalogue_version)
    assert (manifest.job_id, manifest.step, manifest.private) == (job.job_id, 3, False)
    assert set(manifest.heads) == {"shop-1", "shop-2", "shop-3"}


def test_with_noise_of_the_system_the_model_is_private_and_another_each_time(
    prepare_run: Callable[..., Any],
) -> None:
    models = []
    for name in ("one", "two"):
        run = prepare_run(name, fixed_noise=False)
        InProcessEngine().run(run.path, SilentObserver())
        model, manifest = run.registry.model(read_job(run.path).catalogue_version)
        assert manifest.private
        models.append(model.arrays()["popularity"].tobytes())
    assert models[0] != models[1]


def test_a_seed_decides_everything_that_it_should(prepare_run: Callable[..., Any]) -> None:
    def model(name: str, **overrides: Any) -> bytes:
        run = prepare_run(name, **overrides)
        InProcessEngine().run(run.path, SilentObserver())
        path = run.path / "server" / "model" / "arrays.safetensors"
        return bytes(path.read_bytes())

    assert model("a") == model("b") != model("c", seed=8)


@pytest.mark.parametrize("solver", ["popularity", "dpsgd"])
def test_other_solvers_run_on_the_same_parts(prepare_run: Callable[..., Any], solver: str) -> None:
    small = {"rounds": 1, "dim": 4, "settings": {"local_steps": 2}} if solver == "dpsgd" else {}
    run = prepare_run(solver=solver, **{"rounds": None, "dim": None, **small})
    InProcessEngine().run(run.path, SilentObserver())
    model, _ = run.registry.model(read_job(run.path).catalogue_version)
    assert all(np.isfinite(array).all() for array in model.arrays().values())


def test_a_folder_that_was_not_prepared_is_refused(tmp_path: Path, run_folder: Any) -> None:
    for engine in ENGINES.values():
        with pytest.raises(RunError) as caught:
            engine().run(tmp_path / "nothing", SilentObserver())
        assert caught.value.code is Code.RUN_NOT_FOUND
    shutil.rmtree(run_folder.clients)
    with pytest.raises(RunError):
        client_folders(run_folder.path)


def test_ctrl_c_between_rounds_ends_it_and_leaves_a_checkpoint(run_folder: Any) -> None:
    class Stop:
        def round_done(self, record: RoundRecord) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        InProcessEngine().run(run_folder.path, Stop())
    assert len(run_folder.registry.rounds()) == 1
