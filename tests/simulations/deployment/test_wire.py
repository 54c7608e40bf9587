"""A recorded run: every byte that left a shop is accounted for, and one value more is found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from client.enroll.node_key import NODE_KEY
from client.enroll.start_files import ROOTS
from client.owner import Owner
from common.address import Address
from common.bundle import build_bundle, bundle_sha256
from common.protocol import HELLO, MODEL, RECEIPT, STEP, SUM
from common.secure_sum.messages import STAGES
from server.gateway.control import Control
from server.gateway.folder import ServerFolder
from server.job_files import read_job
from server.training.driver import Driver
from server.training.folder import Training
from server.training.request import Request
from simulations.deployment.processes import Unit
from simulations.deployment.topology import Federation, Pace, environment
from tests.simulations.deployment.wire_account import FIELDS, Account
from tests.simulations.deployment.wire_proxy import Recorder
from tests.simulations.deployment.wire_requests import Undeclared, requests_of

HONEST_NODE = ("-m", "client.launcher")
LEAKING_NODE = """
import runpy, sys
from client.launcher import child
child._COMMAND = (sys.executable, "-I", "-c", sys.argv.pop(1))
sys.argv[0] = "launcher"
runpy.run_module("client.launcher", run_name="__main__")
"""
LEAKING_TASK = """
from flwr.app import MetricRecord
from client.launcher import task
from client.launcher.parcel import Packed
honest = Packed.of.__func__
def leaking(cls, message):
    message.content["extra"] = MetricRecord({"users": 42})
    return honest(cls, message)
Packed.of = classmethod(leaking)
task.main()
"""
"""A task that says one number more than the app; the node around it is ours."""


@dataclass
class Scene:
    """Two runs that are over: what the shops sent, and whose they are."""

    federation: Federation
    recorders: dict[str, Recorder]
    runs: dict[int, Path]

    def account(self, name: str) -> Account:
        """Of one shop, nothing taken yet."""
        home = self.federation.places.shop(name)
        key = load_ssh_private_key((home / NODE_KEY).read_bytes(), None).public_key()
        recorder = self.recorders[name]
        told = b"".join(map(bytes, recorder.told))
        public = public_key_to_bytes(key)  # type: ignore[arg-type]
        return Account(home, recorder.address, public, self.runs, told)

    def sent(self, name: str) -> list[bytes]:
        return [bytes(one) for one in self.recorders[name].sent]


@pytest.fixture(scope="module")
def scene(laid_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Shop north is as it should be; south says one number more."""
    with ExitStack() as stack:
        federation = stack.enter_context(Federation(laid_out, Pace(restart_seconds=None)))
        bundle = _allowed(federation)
        recorders = {}
        for name in federation.shops:
            recorders[name] = stack.enter_context(
                Recorder(
                    federation.places.server,
                    federation.layout.listen,
                    tmp_path_factory.mktemp(name),
                )
            )
        federation.start_server()
        federation.processes.start(federation.superexec_unit())
        for name, recorder in recorders.items():
            program = ("-c", LEAKING_NODE, LEAKING_TASK) if name == "south" else HONEST_NODE
            federation.processes.start(_node(federation, name, program, recorder.address))
        federation.wait_online(federation.shops)
        runs = dict(_trained(federation, bundle))
        for name in federation.shops:
            federation.processes.stop(name)
        yield Scene(federation, recorders, runs)


def _node(federation: Federation, name: str, program: Sequence[str], address: str) -> Unit:
    """A shop's node alone, behind its recorder."""
    home = federation.places.shop(name)
    command = (
        *(sys.executable, "-I", *program, str(home), "--superlink", address),
        *("--root-certificates", str(home / ROOTS), "--poll-seconds", "0.1"),
    )
    return Unit(name, command, environment(federation.places.logs / f"wire-{name}"))


def _allowed(federation: Federation) -> bytes:
    """Policies for these runs, by the shops' owners."""
    bundle = build_bundle()
    for name in federation.shops:
        file = federation.places.shop(name) / "policy.toml"
        listed = Owner.of(file.parent).policy.bundles
        text = file.read_text().replace("epsilon = 30.0", "epsilon = 16.0")
        file.write_text(text.replace(listed[-1], bundle_sha256(bundle)))
    return bundle


def _trained(federation: Federation, bundle: bytes) -> Iterator[tuple[int, Path]]:
    home = federation.places.server
    control = Control(ServerFolder.opened(home), Address.read(federation.layout.inside))
    asked = {
        "wire-local": Request(rounds=1, dim=4, quorum=2, epsilon=4.0, delta=5e-4),
        "wire-sums": Request(solver="popularity", mode="distributed", epsilon=2.0, delta=2e-4),
    }
    for name, request in asked.items():
        training = Training.create(home, request, name)
        said: list[str] = []
        try:
            Driver(training, home, control, bundle, said.append, restarts=0).run()
        except Exception as error:
            raise RuntimeError("\n".join([*said, federation.processes.log("north")])) from error
        yield training.run_ids[-1], training.path


def test_what_leaves_a_shop(scene: Scene, subtests: pytest.Subtests) -> None:
    """One test, since tests of one module may be dealt to several processes."""
    checks: list[Callable[[Scene], None]] = [
        every_byte_of_an_honest_shop_is_accounted_for,
        one_number_more_in_a_reply_is_found,
        whatever_else_is_added_is_found,
        every_field_of_the_table_was_seen,
    ]
    for check in checks:
        with subtests.test(check.__name__):
            check(scene)


def every_byte_of_an_honest_shop_is_accounted_for(scene: Scene) -> None:
    account = scene.account("north")
    account.take(scene.sent("north"))
    steps = [f"{STEP} 0", f"{STEP} 1"]
    stages = [f"{SUM} {stage}" for stage in STAGES]
    wanted = {HELLO, RECEIPT, MODEL, *steps, *stages}
    assert set(account.answers) == wanted
    with Owner.of(account.shop).ledger() as ledger:
        spent = [row.body["release_sha256"] for row in ledger.rows("spend")]
    assert account.charged == spent
    items = read_job(next(iter(scene.runs.values()))).n_items
    assert account.data_bytes[f"{STEP} 0"] == 4 * items  # one number for each item of the catalogue
    silent = wanted - {*steps, f"{SUM} masked"}
    assert all(account.data_bytes[one] == 0 for one in silent)


def one_number_more_in_a_reply_is_found(scene: Scene) -> None:
    with pytest.raises(Undeclared, match="more than its reply"):
        scene.account("south").take(scene.sent("south"))


def whatever_else_is_added_is_found(scene: Scene) -> None:
    for what, change in CHANGES.items():
        changed = [change(stream) for stream in scene.sent("north")]
        assert changed != scene.sent("north"), what
        with pytest.raises(Undeclared):
            scene.account("north").take(changed)


def every_field_of_the_table_was_seen(scene: Scene) -> None:
    """No field stands in it that no shop sends."""
    streams = [one for name in scene.recorders for one in scene.sent(name)]
    seen = {name for one in streams for request in requests_of(one) for name, _ in request.fields}
    assert set(FIELDS) <= {name.replace(".children.children", ".children") for name in seen}


def _with_header(stream: bytes) -> bytes:
    return stream.replace(b"\r\n\r\n", b"\r\nx-users: 42\r\n\r\n", 1)


def _with_runtime(stream: bytes) -> bytes:
    zero = PushMessagesRequest(clientapp_runtime_list=[0.0]).SerializeToString()
    more = PushMessagesRequest(clientapp_runtime_list=[1.5]).SerializeToString()
    return stream.replace(zero, more)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a header": _with_header,
    "a duration": _with_runtime,
    "a query": lambda stream: stream.replace(b" HTTP/1.1", b"?users=42 HTTP/1.1", 1),
    "another program": lambda stream: stream.replace(b"python-httpx/", b"python-httpx/42 ", 1),
    "a byte behind": lambda stream: stream + b"\n",
    "another time": lambda stream: stream.replace(b"flwr-timestamp: 20", b"flwr-timestamp: 19"),
}
"""Ways to say more than a reply does."""
