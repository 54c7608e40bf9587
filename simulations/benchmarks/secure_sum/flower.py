"""Flower's own SecAgg+: its workflow and its client mod, over a grid in this process.

SecAgg+ exists for Flower's legacy API alone. Nothing of it is replaced: `SecAggPlusWorkflow`
talks to a `ClientApp` with `secaggplus_mod`, which calls a client that returns its values. With
as many shares as clients its graph is complete, as ours is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.server import LegacyContext, SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from numpy.typing import NDArray

from common.arrays import Floats
from simulations.benchmarks.secure_sum.clock import Clock, Seconds
from simulations.engine.inprocess import CLIENT_RAISED, SERVER_NODE, InProcessGrid

if TYPE_CHECKING:
    from flwr.common import FitRes, Parameters, Scalar
    from flwr.server.client_proxy import ClientProxy

__all__ = ["CLIPPING", "LEVELS", "flower_mean"]

CLIPPING: Final = 8.0
LEVELS: Final = 2**22
"""Flower's defaults: values in ±8 on 2^22 levels, added modulo 2^32."""


def flower_mean(
    values: NDArray[np.float32], threshold: int, gone: int = 0
) -> tuple[Floats, Seconds]:
    """Mean of the survivors' values by SecAgg+ on a complete graph.

    Args:
        values: `[clients, words]`, within `CLIPPING`.
        threshold: shares that restore a secret.
        gone: how many clients, the last ones, fall silent after the stage of shares.

    Returns:
        The mean, `[words]`, each within one level, and how long it took.

    Raises:
        SystemExit: the workflow halted.
    """
    clients = len(values)
    grid = _Grid(_app(values), clients, gone)
    context = _context(grid, clients)
    workflow = SecAggPlusWorkflow(
        num_shares=clients,
        reconstruction_threshold=threshold,
        max_weight=1.0,
        clipping_range=CLIPPING,
        quantization_range=LEVELS,
    )
    with _quiet(), Clock() as clock:
        workflow(grid, context)
    mean = cast("_TakesWhatComes", context.strategy).mean
    if mean is None:
        raise SystemExit("Flower's SecAgg+ halted")
    return mean, clock.seconds


class _Values(NumPyClient):
    """A client whose training is done: it returns its values with weight one."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values

    def fit(
        self, parameters: list[NDArray[Any]], config: dict[str, Scalar]
    ) -> tuple[list[NDArray[Any]], int, dict[str, Scalar]]:
        """The values."""
        del parameters, config
        return [self._values], 1, {}


class _TakesWhatComes(FedAvg):
    """Flower hands every client's result the same mean: the first one is kept."""

    mean: Floats | None = None

    def aggregate_fit(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, FitRes]],
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """The mean that the workflow made."""
        del server_round, failures
        parameters = results[0][1].parameters
        (self.mean,) = parameters_to_ndarrays(parameters)
        return parameters, {}


class _Grid(InProcessGrid):
    """All replies at once, since the workflow reads them twice; some clients fall silent."""

    def __init__(self, app: ClientApp, clients: int, gone: int) -> None:
        super().__init__(app, [Path(str(place)) for place in range(clients)])
        self._gone = set(sorted(self.get_node_ids())[clients - gone :])

    def send_and_receive(  # type: ignore[override]  # the workflow wants a list
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Replies, and errors in place of those who are gone by then."""
        del timeout
        return [
            Message(Error(code=CLIENT_RAISED, reason=""), reply_to=message)
            if self._is_silent(message)
            else next(iter(self.pull_messages(self.push_messages([message]))))
            for message in messages
        ]

    def _is_silent(self, message: Message) -> bool:
        stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
        gone = message.metadata.dst_node_id in self._gone
        return gone and stage == Stage.COLLECT_MASKED_VECTORS


def _app(values: NDArray[np.float32]) -> ClientApp:
    def client(context: Context) -> Any:
        return _Values(values[context.node_id - SERVER_NODE - 1]).to_client()

    return ClientApp(client, mods=[secaggplus_mod])


def _context(grid: _Grid, clients: int) -> LegacyContext:
    manager = SimpleClientManager()
    for node in grid.get_node_ids():
        manager.register(GridClientProxy(node, grid, grid.run.run_id))
    strategy = _TakesWhatComes(min_fit_clients=clients, min_available_clients=clients)
    plain = Context(grid.run.run_id, SERVER_NODE, {}, RecordDict(), {})
    context = LegacyContext(plain, strategy=strategy, client_manager=manager)
    config: Any = {WorkflowKey.CURRENT_ROUND: 1}
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord(config)
    context.state.array_records[MAIN_PARAMS_RECORD] = ArrayRecord([np.zeros(1)])
    return context


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Flower's progress on standard error."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
