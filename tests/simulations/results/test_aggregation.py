"""The study of aggregation: its liar lies, and nobody else does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.protocol import STEP, Reply, Task
from server.registry import Registry
from simulations.results.aggregation import LyingGrid, lie
from tests.server.tampering import rounds


def test_a_lie_goes_ten_times_the_other_way() -> None:
    sent = {"table": np.array([[1.0, 2.0]], np.float32), "counts": np.ones(3, np.float32)}
    honest = {"table": np.array([[1.5, 1.0]], np.float32), "counts": np.arange(1, 4.0)}
    found = lie(sent, honest)
    np.testing.assert_allclose(found["table"], [[-4.0, 12.0]])
    np.testing.assert_allclose(found["counts"], [3.0, 2.0, 1.0])
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_a_sum_is_turned_upside_down_whatever_its_shape() -> None:
    np.testing.assert_allclose(lie({}, {"sum": np.array([[5.0], [1.0], [2.0]])})["sum"].ravel(),
                               [1.0, 5.0, 4.0])  # fmt: skip


class Listening(LyingGrid):
    """Keeps what arrives."""

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
        self.heard: list[tuple[int, Reply]] = getattr(self, "heard", [])
        for message in messages:
            for reply in super().send_and_receive([message], timeout=timeout):
                if message.metadata.message_type == STEP:
                    assert Task.from_records(message.content).step >= 0
                    node = message.metadata.dst_node_id
                    self.heard.append((node, Reply.from_records(reply.content)))
                yield reply


@pytest.mark.parametrize("liars", [0, 1])
def test_only_the_first_clients_lie(prepare_run: Any, liars: int) -> None:
    runs = [prepare_run(f"{n}", solver="dpsgd", rounds=1) for n in (0, liars + 10)]
    heard = []
    for run, count in zip(runs, (0, liars), strict=True):
        grid = Listening(run.path, count)
        rounds(run, grid).run()
        heard.append(grid.heard)
        assert [len(r.answered) for r in Registry(run.path / "server").rounds()] == [3, 3]
    for (node, honest), (_, given) in zip(*[found[:3] for found in heard], strict=True):
        same = all(np.array_equal(honest.arrays[n], given.arrays[n]) for n in honest.arrays)
        assert same == (node > 1 + liars)
