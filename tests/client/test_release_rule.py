"""What leaves a client: a code, public facts, or a release that was charged. Nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.serde import message_to_proto

from client import release
from client.store import CLIENT_TOML
from common.errors import (
    Code,
    ConfigError,
    DataError,
    HushRecError,
    PolicyError,
    ReleaseError,
)
from common.privacy.heads import SignedHead
from common.protocol import HELLO, MODEL, OK, RECEIPT, STEP
from common.public_codes import OF_DATA
from common.schedule import Schedule, schedule_of
from common.solvers import popularity, registry
from common.solvers.base import NoisyTotal, Step
from server.registry import Registry
from server.roster import gather
from server.rounds import Rounds

ROOT = Path(__file__).parents[2]
SECRET = "user-4711 bought item-0815"


def fields(message: Message) -> dict[str, Any]:
    """Every value that a message carries, by record and key; arrays as numpy."""
    found: dict[str, Any] = {}
    for name, record in message.content.items():
        found[name] = None
        for key, value in record.items():
            found[f"{name}.{key}"] = value.numpy() if isinstance(record, ArrayRecord) else value
    return found


def wire(message: Message) -> bytes:
    """The bytes that Flower would send, metadata included."""
    return bytes(message_to_proto(message).SerializeToString())


def assert_code_only(message: Message, code: str) -> None:
    assert not message.has_error()
    assert fields(message) == {
        "reply": None, "reply.code": str(code), "reply.head": "", "release": None
    }  # fmt: skip
    for quoted in (b"4711", b"0815", SECRET.encode()):
        assert quoted not in wire(message)


def test_every_field_of_a_recorded_job_is_accounted_for(
    run_folder: Any, recording_grid: Callable[..., Any], spent: Callable[..., Any]
) -> None:
    from server.app import read_job

    job, grid = read_job(run_folder.path), recording_grid(run_folder.path)
    Rounds(grid, job, gather(grid, job), Registry(run_folder.path / "server")).run()
    steps = schedule_of(job).steps
    assert len(grid.exchanged) == 3 * (1 + len(steps) + 1)
    for asked, reply in grid.exchanged:
        assert not reply.has_error()
        assert reply.metadata.message_type == asked.metadata.message_type
        if asked.metadata.message_type == HELLO:
            assert_hello(reply)
        elif asked.metadata.message_type == RECEIPT:
            assert_code_only(reply, OK)
        else:
            assert_release(reply, steps[int(asked.metadata.group_id)])
    for name, kinds in spent(run_folder.path).items():
        assert kinds == ["open", "admit", *(["reserve", "spend"] * len(steps))], name


def assert_hello(reply: Message) -> None:
    import json

    found = fields(reply)
    assert set(found) == {"reply", "reply.code", "reply.hello"}
    hello = json.loads(found["reply.hello"])
    assert set(hello) == {
        "client", "population", "catalogue_version", "version", "private", "ledger_key"
    }  # fmt: skip
    assert hello["population"] in {48, 40, 32}  # declared in client.toml


def assert_release(reply: Message, step: Step) -> None:
    found = fields(reply)
    names = {f"release.{name}": spec for name, spec in step.outputs.items()}
    assert set(found) == {"reply", "reply.code", "reply.head", "release", *names}
    assert found["reply.code"] == OK
    SignedHead.model_validate_json(found["reply.head"]).check()
    for name, spec in names.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == spec.shape


def test_what_flower_itself_carries_of_a_reply_quotes_no_data(shop: Any) -> None:
    """Around the records are ids of the request and times; no folder, no data set, no hash."""
    message = Message(shop.task().to_records(), dst_node_id=5, message_type=STEP, group_id="g")
    reply = shop.app(message, shop.context)
    metadata = dict(reply.metadata.__dict__)
    assert metadata.pop("_created_at") > 0
    assert metadata.pop("_delivered_at") == ""
    assert 0 < metadata.pop("_ttl") <= message.metadata.ttl
    known = {"_run_id", "_message_id", "_src_node_id", "_dst_node_id", "_src_task_id"}
    known |= {"_dst_task_id", "_reply_to_message_id", "_group_id", "_message_type"}
    assert set(metadata) == known
    assert (metadata["_group_id"], metadata["_message_type"]) == ("g", STEP)
    store = shop.store
    for quoted in (store.snapshot, store.settings.dataset_id, str(shop.folder)):
        assert quoted.encode() not in wire(reply)


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


class RustPanic(BaseException):
    """What a panic in a Rust extension looks like: not an Exception."""


PHASES = [
    ("client.app.resolve_home", "resolve home"),
    ("client.store.ClientStore.open", "open store"),
    ("client.app.check_home", "check home"),
    ("client.guard.Guard.open", "open ledger"),
    ("common.protocol.Task.from_records", "read task"),
    ("client.ledger_store.LedgerStore.find", "look for a replay"),
    ("client.guard.guard.schedule_of", "plan"),
    ("client.training.check_arrays", "check arrays"),
    ("client.guard.guard.mechanism_for", "make mechanism"),
    ("client.guard.releasing._snapshot_now", "look whether the log is current"),
    ("client.ledger_store.LedgerStore.append", "reserve"),
    ("common.privacy.mechanisms.GaussianSum.sample", "sample"),
    ("common.privacy.mechanisms.GaussianSum.sum", "sum"),
    ("client.training.declared", "declare"),
    ("client.guard.guard.arrays_to_bytes", "serialise"),
    ("client.ledger_store.LedgerStore.commit_release", "commit"),
    ("client.guard.guard.arrays_from_bytes", "read back"),
    ("client.app.answer", "build reply"),
    ("client.ledger_store.LedgerStore.close", "close ledger"),
]
ERRORS = [
    ValueError(SECRET),
    MemoryError(SECRET),
    RecursionError(SECRET),
    UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
    RustPanic(SECRET),
    GeneratorExit(SECRET),
]


READING = {"open store", "look whether the log is current"}


def told(phase: str, error: BaseException, otherwise: Code) -> Code:
    """What is wrong with a client's own data has one code for everything."""
    unready = phase in READING and isinstance(error, Exception)
    return Code.CLIENT_UNREADY if unready else otherwise


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(("target", "phase"), PHASES, ids=[name for _, name in PHASES])
def test_an_exception_in_any_phase_leaves_as_a_code(
    shop: Any, monkeypatch: Any, target: str, phase: str, error: BaseException
) -> None:
    monkeypatch.setattr(target, raising(error))
    code = told(phase, error, Code.INTERNAL)
    assert_code_only(shop.send(shop.task().to_records()), code)


@pytest.mark.parametrize(("target", "phase"), PHASES, ids=[name for _, name in PHASES])
def test_an_error_of_our_own_leaves_as_its_code(
    shop: Any, monkeypatch: Any, target: str, phase: str
) -> None:
    error = DataError(Code.CATALOGUE_MISMATCH, SECRET, where=SECRET, remedy=SECRET)
    monkeypatch.setattr(target, raising(error))
    code = told(phase, error, Code.CATALOGUE_MISMATCH)
    assert_code_only(shop.send(shop.task().to_records()), code)


@pytest.mark.parametrize("code", sorted(OF_DATA))
@pytest.mark.parametrize(("target", "phase"), PHASES, ids=[name for _, name in PHASES])
def test_no_code_about_data_leaves(
    shop: Any, monkeypatch: Any, target: str, phase: str, code: Code
) -> None:
    monkeypatch.setattr(target, raising(DataError(code, SECRET)))
    assert_code_only(shop.send(shop.task().to_records()), Code.CLIENT_UNREADY)


@pytest.mark.parametrize(("target", "phase"), PHASES, ids=[name for _, name in PHASES])
def test_an_error_after_data_was_looked_at_is_not_quoted_in_the_ledger(
    shop: Any, monkeypatch: Any, target: str, phase: str
) -> None:
    """A ledger is shown to others; before that, text is made of the request alone."""
    looked = {"sample", "sum", "declare", "serialise", "commit"}
    if phase not in {*looked, "look whether the log is current"}:
        return
    with monkeypatch.context() as patch:
        patch.setattr(target, raising(DataError(Code.DATA_FORMAT, SECRET)))
        shop.send(shop.task().to_records())
    (row,) = shop.rows("refuse")
    assert (row.body["code"], row.body["detail"]) == ("client-unready", "DataError")


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_no_code_tells_that_contributing_failed(
    shop: Any, monkeypatch: Any, caplog: Any, error: BaseException
) -> None:
    """What data do while they are looked at is in the client's own log and nowhere else."""
    monkeypatch.setattr("common.schedule.Schedule.contribute", raising(error))
    reply = shop.send(shop.task().to_records())
    assert_noise_alone(shop, reply)
    assert caplog.records[-1].exc_info[1] is error


def assert_noise_alone(shop: Any, reply: Message, step: int = 0) -> None:
    assert_release(reply, shop.schedule.steps[step])
    assert SECRET.encode() not in wire(reply)
    assert shop.kinds() == ["open", "admit", "reserve", "spend"]
    release = shop.schedule.plan.releases[step]
    noise = fields(reply)["release.sum"] / (release.noise_multiplier * release.clip_norm)
    assert 0.6 < noise.std() < 1.4  # 60 draws
    assert abs(noise.mean()) < 0.5


def test_contributions_that_the_mechanism_does_not_take_end_there(
    shop: Any, monkeypatch: Any
) -> None:
    """A user twice, whom a defect of a solver yields for some data and not for others."""
    contribute = Schedule.contribute

    def twice(self: Schedule, *args: Any) -> Iterator[Any]:
        batches = list(contribute(self, *args))
        yield from batches
        yield from batches

    reply = shop.send(shop.task().to_records())
    monkeypatch.setattr(Schedule, "contribute", twice)
    shop.allow_much()
    again = replace(shop.task(), job=shop.job.model_copy(update={"job_id": "ef" * 16}))
    doubled = shop.send(again.signed(shop.key).to_records())
    assert fields(doubled)["reply.code"] == OK
    assert np.array_equal(fields(doubled)["release.sum"], fields(reply)["release.sum"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(SECRET), SystemExit(SECRET)])
@pytest.mark.parametrize("target", ["common.schedule.Schedule.contribute", "client.app.answer"])
def test_being_told_to_stop_sends_nothing_at_all(
    shop: Any, monkeypatch: Any, target: str, error: BaseException
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(target, raising(error))
        with pytest.raises(type(error)):
            shop.send(shop.task().to_records())
    assert shop.ask(shop.task()).code == OK


@pytest.mark.parametrize("phase", ["open store", "contribute"])
def test_the_hello_is_guarded_too(shop: Any, monkeypatch: Any, phase: str) -> None:
    monkeypatch.setattr("client.store.ClientStore.open", raising(ValueError(SECRET)))
    assert_code_only(shop.send(RecordDict(), HELLO), Code.CLIENT_UNREADY)


@pytest.mark.parametrize("error", [ConfigError, DataError, PolicyError])
@pytest.mark.parametrize("kind", [STEP, HELLO])
def test_what_goes_wrong_with_what_is_too_old_tells_nothing_of_the_log(
    shop: Any, monkeypatch: Any, kind: str, error: type[HushRecError]
) -> None:
    """Whether events have times, or one is too old, is about data."""
    path = shop.folder / CLIENT_TOML
    path.write_text(f"retention_days = 30\n{path.read_text()}")
    failing = raising(error(Code.CONFIG_INVALID, SECRET, where=SECRET))
    monkeypatch.setattr("client.keeping.current_store", failing)
    assert_code_only(shop.send(RecordDict(), kind), Code.CLIENT_UNREADY)


@pytest.mark.parametrize("kind", ["train", "train.other", "evaluate", "query.profile"])
def test_an_unknown_kind_of_message_leaves_as_a_code(shop: Any, kind: str) -> None:
    message = Message(RecordDict(), dst_node_id=5, message_type="train.step", group_id="g")
    message.metadata.__dict__["_message_type"] = kind
    assert_code_only(shop.app(message, shop.context), Code.INTERNAL)


GARBAGE = {
    "nothing": {},
    "no inputs": {"task": ConfigRecord({"job": "{}", "step": 0, "session": 0})},
    "wrong record": {"task": ArrayRecord(), "inputs": ArrayRecord()},
    "no JSON": {
        "task": ConfigRecord({"job": "{" * 100_000, "step": 0, "session": 0}),
        "inputs": ArrayRecord(),
    },
    "text for a number": {
        "task": ConfigRecord({"job": "{}", "step": "0", "session": 0}),
        "inputs": ArrayRecord(),
    },
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_answered_with_a_code_and_recorded(shop: Any, name: str) -> None:
    reply = shop.send(RecordDict(GARBAGE[name]))
    code = fields(reply)["reply.code"]
    assert code in {Code.PROTOCOL_INVALID, Code.CONFIG_INVALID}
    assert_code_only(reply, Code(code))
    assert shop.kinds() == ["open", "refuse"]


class Leaky(popularity.Popularity):
    """A solver that tries to send more than a mechanism's sum: `how` says in what way."""

    how = ""

    @property
    def steps(self) -> tuple[Step, ...]:
        (step,) = super().steps
        return (Step(step.release, self.specs, "average"),)

    @property
    def specs(self) -> dict[str, Any]:
        return {"popularity": popularity.ArraySpec((self.facts.n_items,), positive=True)}

    def initial_state(self, seed: int) -> dict[str, Any]:
        return {"popularity": np.ones(self.facts.n_items)}

    def contribute(self, step: int, state: Any, data: Any, users: Any) -> Iterator[Any]:
        if self.how == "write into the state":
            state["popularity"][:] = np.bincount(data.histories.items, minlength=60)
        if self.how == "put into the state":
            state["more"] = data.histories.items
        yield from super().contribute(step, state, data, users)

    def advance(self, step: int, state: Any, total: NoisyTotal) -> dict[str, Any]:
        if self.how == "leave out":
            return {}
        if self.how == "another shape":
            return {"popularity": np.append(total.values[:, 0], 48.0)}
        return super().advance(step, state, total)


@pytest.fixture
def leaky_shop(shop: Any, monkeypatch: Any) -> Callable[[str], Any]:
    module = ModuleType("leaky_solver")
    module.Leaky = Leaky  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "leaky_solver", module)
    monkeypatch.setitem(registry.SOLVERS, "leaky", "leaky_solver:Leaky")
    job = shop.job.model_copy(update={"solver": "leaky", "settings": {}, "job_id": "ee" * 16})
    shop.allow(solvers=("leaky",))

    def make(how: str) -> Any:
        monkeypatch.setattr(Leaky, "how", how)
        return replace(shop, job=job)

    return make


def test_a_solver_that_does_as_it_declares_may_release(leaky_shop: Callable[[str], Any]) -> None:
    shop = leaky_shop("")
    assert shop.ask(shop.task()).code == OK


@pytest.mark.parametrize("how", ["write into the state", "put into the state"])
def test_a_solver_that_writes_into_public_state_contributes_nothing(
    leaky_shop: Callable[[str], Any], how: str
) -> None:
    """Public state is read-only where data are seen; the failure is no answer either."""
    shop = leaky_shop(how)
    reply = shop.send(shop.task().to_records())
    assert fields(reply)["reply.code"] == OK
    noise_std = shop.schedule.plan.releases[0].noise_multiplier
    assert fields(reply)["release.popularity"].max() < 5 * noise_std


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("leave out", Code.RELEASE_UNDECLARED),
        ("another shape", Code.RELEASE_UNDECLARED),
    ],
)
def test_a_solver_that_sends_what_it_did_not_declare_sends_nothing(
    leaky_shop: Callable[[str], Any], how: str, code: Code
) -> None:
    shop = leaky_shop(how)
    assert_code_only(shop.send(shop.task().to_records()), code)
    assert shop.kinds() == ["open", "admit", "reserve", "refuse"]


def test_only_declared_arrays_pass_the_gate() -> None:
    spec = {"sum": popularity.ArraySpec((2, 1))}
    good = np.ones((2, 1))
    assert release.declared({"sum": good}, spec)["sum"].dtype == np.float32
    for arrays in ({}, {"sum": good, "users": good}, {"other": good}, {"sum": np.ones(2)}):
        with pytest.raises(ReleaseError) as caught:
            release.declared(arrays, spec)
        assert caught.value.code is Code.RELEASE_UNDECLARED


HEAVY = ["pandas", "scipy", "safetensors", "dp_accounting", "randomgen", "opacus", "torch"]
BLOCKED = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError("{secret}")

sys.meta_path.insert(0, Missing())
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
from client.app import app
message = Message(RecordDict(), dst_node_id=5, message_type="{kind}", group_id="g")
message.metadata.__dict__["_message_id"] = "m"
reply = app(message, Context(1, 5, {{"home": "{home}"}}, RecordDict(), {{}}))
assert not reply.has_error()
print({{name: dict(record) for name, record in reply.content.items()}})
"""


@pytest.mark.parametrize("kind", [STEP, HELLO, MODEL])
def test_an_import_that_fails_leaves_as_a_code(run_folder: Any, kind: str) -> None:
    home = run_folder.path / "clients" / "shop-1"
    script = BLOCKED.format(blocked=HEAVY, secret=SECRET, kind=kind, home=home)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{'reply': {'code': 'internal', 'head': ''}, 'release': {}}"
