"""A small prepared run that many tests start from, and a client to ask by real messages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from client.app import make_app
from client.ledger_store import LedgerStore
from client.store import POLICY_TOML, ClientStore, read_policy
from common.job import Job
from common.privacy.ledger import Row, verify
from common.privacy.policy import Policy
from common.privacy.signing import SigningKey
from common.protocol import STEP, Reply, Task
from common.schedule import Schedule, schedule_of
from server.app import read_job
from server.keys import server_key
from simulations.dataset import load_dataset
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessGrid
from simulations.policies import policy_toml
from simulations.prepare import make_job, prepare
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

# A check that lands or refuses a change must not throw dice: `make test` tries the same cases
# each time, and `make fuzz` looks for new ones.
hypothesis.settings.register_profile("fixed", derandomize=True)
hypothesis.settings.register_profile("search")
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
os.environ.pop("HUSHREC_SERVER_HOME", None)  # runs of tests are servers of their own


def small_scenario(**overrides: Any) -> Scenario:
    """Three shops of about 40 users, 60 items, a popularity sum and two rounds of dim 4."""
    values: dict[str, Any] = {
        "marketplace": {
            "users": 120,
            "items": 60,
            "categories": 4,
            "shop_sizes": (48, 40, 32),
            "events_per_user": 12.0,
            "seed": 3,
        },
        "min_users": 1,
        "rounds": 2,
        "dim": 4,
        "seed": 7,
        "fixed_noise": True,
    }
    return Scenario.load({**values, **overrides})


def lay_out(path: Path, **overrides: Any) -> RunFolder:
    scenario = small_scenario(**overrides)
    dataset = load_dataset(scenario)
    job = make_job(scenario, dataset)
    folder = RunFolder.create(path, force=False)
    prepare(folder, scenario, dataset, job)
    return folder


@pytest.fixture
def prepare_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Prepare a run; keywords override the scenario, `name` is its folder in `tmp_path`."""
    return lambda name="run", **overrides: lay_out(tmp_path / name, **overrides)


@pytest.fixture(name="small_scenario")
def small_scenario_fixture() -> Callable[..., Scenario]:
    return small_scenario


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("prepared") / "run").path


@pytest.fixture
def run_folder(_template: Path, tmp_path: Path) -> RunFolder:
    """A prepared run of this test's own, with fixed noise."""
    return RunFolder(Path(shutil.copytree(_template, tmp_path / "run")))


@dataclass(frozen=True)
class Shop:
    """One client of a prepared run, asked through the real ClientApp."""

    folder: Path
    job: Job
    app: Any
    context: Context
    key: SigningKey

    @property
    def schedule(self) -> Schedule:
        return schedule_of(self.job)

    @property
    def store(self) -> ClientStore:
        return ClientStore.open(self.folder)

    def variant(self, key: SigningKey | None = None, **fields: Any) -> Shop:
        """The same client, asked for another job, by another server if there is a key."""
        job = self.job.model_copy(update=fields)
        return replace(self, job=job, key=key if key is not None else self.key)

    def inputs(self, step: int) -> dict[str, NDArray[np.float32]]:
        """What a server would send: positive ones and a basis of unit columns."""
        specs = self.schedule.steps[step].inputs
        return {
            name: np.ones(spec.shape, np.float32)
            if spec.positive or len(spec.shape) == 1
            else np.eye(*spec.shape, dtype=np.float32)
            for name, spec in specs.items()
        }

    def task(self, step: int = 0, **changes: Any) -> Task:
        return replace(Task(self.job, step, self.inputs(step)), **changes).signed(self.key)

    def send(self, records: RecordDict, message_type: str = STEP) -> Message:
        message = Message(records, dst_node_id=5, message_type=message_type, group_id="g")
        message.metadata.__dict__["_message_id"] = "m"
        return self.app(message, self.context)

    def ask(self, task: Task) -> Reply:
        """Signed by the run's server, whatever was changed since; `send` leaves it as it is."""
        return Reply.from_records(self.send(task.signed(self.key).to_records()).content)

    @property
    def policy(self) -> Policy:
        return read_policy(self.folder)

    def allow(self, **changes: Any) -> None:
        """Change the policy, as the client's owner."""
        policy = Policy.load({**self.policy.model_dump(), **changes})
        (self.folder / POLICY_TOML).write_text(policy_toml(policy))

    def allow_much(self) -> None:
        """A budget that is not what a test is about."""
        self.allow(lifetime={**self.policy.lifetime.model_dump(), "epsilon": 25.0})

    def ledger(self) -> LedgerStore:
        settings = self.store.settings
        return LedgerStore.open(self.store.ledger_path, settings.name, settings.dataset_id)

    def rows(self, kind: str | None = None) -> list[Row]:
        """The ledger's rows, its chain and tables verified."""
        with self.ledger() as ledger:
            ledger.verify()
            return ledger.rows(kind)  # type: ignore[arg-type]

    def kinds(self) -> list[str]:
        return [row.kind for row in self.rows()]


def shop_of(run: Path, position: int = 0, *, deployed: bool = False) -> Shop:
    """A client of the run in the folder `run`."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    folder = client_folders(run)[position]
    context = Context(1, 5, {"home": str(folder)}, RecordDict(), {})
    app, key = make_app(simulation=not deployed), server_key(run)
    return Shop(folder, read_job(run), app, context, key)


@pytest.fixture
def open_shop() -> Callable[..., Shop]:
    """A client of a prepared run: `open_shop(run, 0)`; with `deployed`, no simulation."""
    return lambda run, position=0, **options: shop_of(run.path, position, **options)


@pytest.fixture
def shop(run_folder: RunFolder, open_shop: Callable[..., Shop]) -> Shop:
    """The first client of a prepared run."""
    return open_shop(run_folder)


class RecordingGrid(InProcessGrid):
    """The in-process grid, with a record of every message and a place to tamper."""

    def __init__(self, run: Path) -> None:
        super().__init__(make_app(simulation=True), client_folders(run))
        self.exchanged: list[tuple[Message, Message]] = []
        self.tampering: Callable[[Message, Message], Message | None] = lambda _, reply: reply

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        for message in messages:
            (reply,) = super().send_and_receive([message], timeout=timeout)
            self.exchanged.append((message, reply))
            tampered = self.tampering(message, reply)
            if tampered is not None:
                yield tampered


@pytest.fixture
def recording_grid() -> Callable[[Path], RecordingGrid]:
    """Make a grid over the clients of a run that records and may tamper with replies."""
    return RecordingGrid


@pytest.fixture
def spent() -> Callable[[Path], Mapping[str, list[str]]]:
    """Kinds of the rows in the ledger of every client of a run, chains verified."""

    def read(run: Path) -> dict[str, list[str]]:
        found = {}
        for folder in client_folders(run):
            settings = ClientStore.open(folder).settings
            path = folder / "ledger.sqlite"
            with LedgerStore.open(path, settings.name, settings.dataset_id) as ledger:
                rows = ledger.rows()
            verify(rows)
            found[settings.name] = [row.kind for row in rows]
        return found

    return read
