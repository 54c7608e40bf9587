"""A recorded run: every byte that left a shop is accounted for, and one value more is found."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
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
from tests.simulations.deployment.wire_account import Account
from tests.simulations.deployment.wire_changes import CHANGES
from tests.simulations.deployment.wire_fields import FIELDS, folded
from tests.simulations.deployment.wire_network import ELSEWHERE, UNSHARE, why_not
from tests.simulations.deployment.wire_proxy import Connection, Recorder
from tests.simulations.deployment.wire_requests import Undeclared, requests_of

PROGRAM = Path(__file__).with_name("wire_program.py")
NETWORK = Path(__file__).with_name("wire_network.py")
LOOKS_FOR_IPV6 = {(repr(("::1", 0)),)}
"""urllib3, which Flower imports, takes a free port on loopback, and nobody listens there."""
GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "privacy.md"


@dataclass
class Scene:
    """Two runs that are over: what the shops sent, and whose they are."""

    federation: Federation
    recorders: dict[str, Recorder]
    runs: dict[int, Path]
    folder: Path
    no_network: str
    """Why the shops have no networks of their own; empty where they have."""

    def account(self, name: str) -> Account:
        """Of one shop, nothing taken yet."""
        home = self.federation.places.shop(name)
        key = load_ssh_private_key((home / NODE_KEY).read_bytes(), None).public_key()
        public = public_key_to_bytes(key)  # type: ignore[arg-type]
        return Account(home, self.recorders[name].address, public, self.runs)

    def connections(self, name: str) -> list[Connection]:
        return self.recorders[name].connections

    def asked_for(self, name: str) -> list[tuple[str, str, list[str]]]:
        """Who in the shop asked Python for a way out: event, and with whom."""
        lines = (self.folder / f"{name}.jsonl").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]

    def counted(self, name: str) -> dict[str, int]:
        """What the kernel counted in the shop's network; what is not there was nought."""
        return Counter(json.loads((self.folder / f"{name}.json").read_text()))


@pytest.fixture(scope="module")
def scene(laid_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Shop north is as it should be; south says one number more."""
    folder = tmp_path_factory.mktemp("wire")
    with ExitStack() as stack:
        federation = stack.enter_context(
            Federation(laid_out, Pace(task_poll_seconds=0.3, restart_seconds=None))
        )
        bundle = _allowed(federation)
        recorders = {}
        for name in federation.shops:
            (folder / name).mkdir()
            recorder = Recorder(federation.places.server, federation.layout.listen, folder / name)
            recorders[name] = stack.enter_context(recorder)
        scene = Scene(federation, recorders, {}, folder, why_not())
        federation.start_server()
        federation.processes.start(federation.superexec_unit())
        for name in federation.shops:
            federation.processes.start(_node(scene, name))
        federation.wait_online(federation.shops)
        scene.runs.update(_trained(federation, bundle))
        for name in federation.shops:  # who is killed leaves no counts
            federation.processes.stop(name, wait_seconds=60.0)
        yield scene


def _node(scene: Scene, name: str) -> Unit:
    """A shop's node alone, behind its recorder; in a network of its own where there can be."""
    federation, recorder = scene.federation, scene.recorders[name]
    home, listen = federation.places.shop(name), recorder.address
    kind = "leaking-node" if name == "south" else "honest-node"
    port, counted = listen.rpartition(":")[2], scene.folder / f"{name}.json"
    alone = (*UNSHARE, sys.executable, "-I", "-S", str(NETWORK), port, str(recorder.unix))
    command = (
        *(() if scene.no_network else (*alone, str(counted))),
        *(sys.executable, "-I", str(PROGRAM), str(scene.folder / f"{name}.jsonl"), kind),
        *(str(home), "--superlink", listen, "--root-certificates", str(home / ROOTS)),
        *("--poll-seconds", "0.3"),
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
        "wire-local": Request(
            solver="popularity", quorum=2, epsilon=2.0, delta=2e-4, promote=False
        ),
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


@pytest.mark.long
def test_what_leaves_a_shop(scene: Scene, subtests: pytest.Subtests) -> None:
    """One test, since tests of one module may be dealt to several processes."""
    checks: list[Callable[[Scene], None]] = [
        every_byte_of_an_honest_shop_is_accounted_for,
        an_honest_shop_asks_for_no_other_way_out,
        an_honest_shop_has_no_other_way_out,
        one_number_more_in_a_reply_is_found,
        a_datagram_elsewhere_is_found,
        whatever_else_is_added_is_found,
        every_field_of_the_table_was_seen,
    ]
    for check in checks:
        with subtests.test(check.__name__):
            check(scene)


def test_the_guide_counts_the_changes_right() -> None:
    found = re.search(r"so are (\d+) other ways", GUIDE.read_text())
    assert found is not None
    assert int(found[1]) == len(CHANGES)


def every_byte_of_an_honest_shop_is_accounted_for(scene: Scene) -> None:
    account = scene.account("north")
    account.take(scene.connections("north"))
    stages = [f"{SUM} {stage}" for stage in STAGES]
    wanted = {HELLO, RECEIPT, MODEL, f"{STEP} 0", *stages}
    assert set(account.answers) == wanted
    jobs = {read_job(run).job_id for run in scene.runs.values()}  # others trained these shops too
    with Owner.of(account.shop).ledger() as ledger:
        ours = {row.seq for row in ledger.rows("reserve") if row.body["job_id"] in jobs}
        spends = [row.body for row in ledger.rows("spend") if row.body["reservation"] in ours]
    assert account.charged == [spend["release_sha256"] for spend in spends]
    items = read_job(next(iter(scene.runs.values()))).n_items
    assert account.data_bytes[f"{STEP} 0"] == 4 * items  # one number for each item of the catalogue
    silent = wanted - {f"{STEP} 0", f"{SUM} masked"}
    assert all(account.data_bytes[one] == 0 for one in silent)


def an_honest_shop_asks_for_no_other_way_out(scene: Scene) -> None:
    """Of Python: only its node connects, only to the server, and starts nothing but tasks."""
    assert scene.recorders["north"].failed == []
    host, port = scene.recorders["north"].address.split(":")
    seen = scene.asked_for("north")
    by_event: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for who, event, said in seen:
        by_event.setdefault((who, event), set()).add(tuple(said))
    task = [sys.executable, "-I", str(PROGRAM), str(scene.folder / "north.jsonl"), "honest-task"]
    assert by_event == {
        ("honest-node", "subprocess.Popen"): {(repr(sys.executable), repr(task))},
        ("honest-node", "socket.getaddrinfo"): {(repr(host), port)},  # an address: nobody is asked
        ("honest-node", "socket.connect"): {(repr((host, int(port))),)},
        ("honest-node", "socket.bind"): LOOKS_FOR_IPV6,
        ("honest-task", "socket.bind"): LOOKS_FOR_IPV6,
    }
    connects = [event for _, event, _ in seen if event == "socket.connect"]
    assert len(connects) == len(scene.connections("north"))


def an_honest_shop_has_no_other_way_out(scene: Scene) -> None:
    """Of the kernel, which counts what libraries do too."""
    if scene.no_network:
        pytest.skip(scene.no_network)
    counted = scene.counted("north")
    assert counted["passed"] == counted["Tcp ActiveOpens"] == len(scene.connections("north"))
    assert {name: counted[name] for name in ELSEWHERE} == dict.fromkeys(ELSEWHERE, 0)


def one_number_more_in_a_reply_is_found(scene: Scene) -> None:
    with pytest.raises(Undeclared, match="more than its reply"):
        scene.account("south").take(scene.connections("south"))


def a_datagram_elsewhere_is_found(scene: Scene) -> None:
    events = [event for who, event, _ in scene.asked_for("south") if who == "leaking-task"]
    sent = events.count("socket.sendto")
    assert sent == len(events) / 2 > 0  # it looks for IPv6 too
    if not scene.no_network:
        assert scene.counted("south")["Udp OutDatagrams"] == sent


def whatever_else_is_added_is_found(scene: Scene) -> None:
    recorded = scene.connections("north")
    for what, change in CHANGES.items():
        changed = [one.saying(change.make(bytes(one.sent.data))) for one in recorded]
        assert any(a.sent.data != b.sent.data for a, b in zip(changed, recorded, strict=True)), what
        with pytest.raises(Undeclared, match=change.found):
            scene.account("north").take(changed)


def every_field_of_the_table_was_seen(scene: Scene) -> None:
    """No field stands in it that no shop sends."""
    streams = [bytes(one.sent.data) for name in scene.recorders for one in scene.connections(name)]
    seen = {name for one in streams for request in requests_of(one) for name, _ in request.fields}
    assert set(FIELDS) <= set(map(folded, seen))
