"""A real server behind its gateway: nodes get through, and whoever has no credentials nowhere."""

from __future__ import annotations

import datetime
import json
import os
import ssl
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, RegisterNodeRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supercore.runtime import RuntimeHttpClient

from client.owner import Owner
from client.store import POLICY_TOML
from common.privacy.policy import Policy
from server.gateway.folder import ServerFolder
from server.gateway.routes import HEALTH, Call, fleet_calls, served_calls
from server.gateway.superlink import make_app
from simulations.engine.folders import client_folders
from simulations.policies import policy_toml
from simulations.run_folder import RunFolder
from tests.client.launcher.bundles import built, project
from tests.client.launcher.deployment import BIN, until
from tests.conftest import lay_out
from tests.server.gateway.operated import Operated

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pathspec.*")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
KINDS = ("application/protobuf", "application/protobuf; x=y", "application/json", "text/plain", "")
LOGIN = {"get-login-details", "get-auth-tokens", "refresh-auth-tokens"}
"""Calls that Flower answers before anybody is known; here they have nothing to say."""
SHOPS = ("north", "south")


@dataclass
class Scene:
    """A server through which a run has gone."""

    deployment: Operated
    run: RunFolder
    nodes: dict[str, int]
    ended: str
    served: frozenset[Call]
    outside: frozenset[Call]

    def at(self, side: str) -> httpx.Client:
        """Somebody without credentials, outside or inside."""
        here = self.deployment
        address, roots = {
            "outside": (here.address, here.roots),
            "inside": (here.inside, here.inside_roots),
        }[side]
        trusted = ssl.create_default_context(cafile=str(roots))
        return httpx.Client(
            base_url=f"https://{address}", verify=trusted, headers=version(), trust_env=False
        )

    def state(self) -> tuple[set[int], dict[int, str]]:
        """Nodes that are registered, and how the runs are."""
        control = self.deployment.control
        nodes = control.ListNodes(ListNodesRequest()).nodes_info
        runs = control.ListRuns(ListRunsRequest()).run_dict
        return {node.node_id for node in nodes}, {k: v.status.status for k, v in runs.items()}


def version() -> dict[str, str]:
    """What every client of Flower's says of its version; without it, some calls fail early."""
    request = httpx.Request("POST", "https://nowhere")
    context = ProtobufRequestContext("", ListRunsRequest(), request)
    added = RuntimeVersionHttpInterceptor(component_name="flwr CLI")
    added.intercept(context, lambda _: httpx.Response(200))
    return {name: value for name, value in request.headers.items() if name.startswith("flwr")}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two clients under the launcher, a run by `flwr run`, both through the gateway."""
    folder = tmp_path_factory.mktemp("gateway")
    market = {"users": 80, "items": 60, "categories": 4, "shop_sizes": (44, 36)}
    market |= {"events_per_user": 12.0, "seed": 3}
    run = lay_out(folder / "run", fixed_noise=False, rounds=1, marketplace=market)
    sources = project(folder / "sources")
    for home in client_folders(run.path):
        _list(home, built(sources))
    app = make_app(ServerFolder.opened(folder / "table"), "127.0.0.1", 8000)
    deployment = Operated(folder / "net")
    deployment.folder.mkdir()
    try:
        deployment.start_server(BIN / "hushrec", "server", "run")
        deployment.login()
        for name, home in zip(SHOPS, client_folders(run.path), strict=True):
            deployment.start_node(name, home)
        nodes = {name: deployment.online(name) for name in SHOPS}
        config = f'run="{run.path}"'
        printed = deployment.operator(
            *(BIN / "flwr", "run", sources, "hushrec", "--run-config", config, "--format", "json")
        )
        ended = deployment.finished(int(json.loads(printed)["run-id"]))
        yield Scene(deployment, run, nodes, ended, served_calls(app), fleet_calls(app))
    finally:
        deployment.close()


def _list(home: Path, bundle: bytes) -> None:
    policy = Owner.of(home).policy
    listed = (sha256(bundle).hexdigest(),)
    changed = Policy.load({**policy.model_dump(), "bundles": listed})
    (home / POLICY_TOML).write_text(policy_toml(changed))


def test_a_deployment_behind_the_gateway(scene: Scene, subtests: pytest.Subtests) -> None:
    """One test, since tests of one module may be dealt to several processes."""
    checks: list[Callable[[Scene], None]] = [
        a_run_that_was_started_inside_ends_well,
        what_is_reached_from_outside_has_no_training_loaded,
        outside_a_call_without_credentials_gets_nowhere,
        outside_there_are_no_other_methods,
        outside_the_operators_token_is_worth_nothing,
        a_key_that_nobody_registered_gets_nowhere,
        inside_the_operator_is_asked_for_the_token,
        inside_the_runtime_asks_for_a_secret_or_a_tasks_token,
        nothing_of_all_this_left_a_trace_in_the_state,
        a_node_that_nobody_registered_ends,
        the_log_knows_nodes_by_their_signatures,
        a_server_that_was_killed_comes_back_with_its_state,
        a_server_that_is_told_to_end_leaves_nothing,
    ]
    for check in checks:
        with subtests.test(check.__name__):
            check(scene)


def a_run_that_was_started_inside_ends_well(scene: Scene) -> None:
    assert scene.ended.startswith("completed"), scene.deployment.logs()
    for home in client_folders(scene.run.path):
        with Owner.of(home).ledger() as ledger:
            assert len(ledger.rows("spend")) == 2  # popularity, and one round


def what_is_reached_from_outside_has_no_training_loaded(scene: Scene) -> None:
    loaded = Path("/proc", str(scene.deployment.processes["server"].pid), "maps").read_text()
    assert "python" in loaded
    assert "torch" not in loaded


def outside_a_call_without_credentials_gets_nowhere(scene: Scene) -> None:
    """Every call of the SuperLink's own table, those of another Flower too."""
    with scene.at("outside") as client:
        for method, path in sorted(scene.served):
            for kind in KINDS if (method, path) in scene.outside else KINDS[:1]:
                answer = client.request(method, path, headers={"content-type": kind})
                if (method, path) in HEALTH:
                    assert (answer.status_code, answer.content) == (200, b"")
                elif (method, path) in scene.outside:
                    expected = 401 if kind.startswith("application/protobuf") else 415
                    assert answer.status_code == expected, path
                else:
                    assert_not_there(answer)


def outside_there_are_no_other_methods(scene: Scene) -> None:
    with scene.at("outside") as client:
        for path in sorted({path for _, path in scene.served}):
            for method in METHODS:
                if (method, path) not in scene.outside:
                    assert_not_there(client.request(method, path))


def outside_the_operators_token_is_worth_nothing(scene: Scene) -> None:
    here = scene.deployment
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    control = here.controlling(here.address, here.roots)
    for call in (
        lambda: control.RegisterNode(RegisterNodeRequest(public_key=public_key_to_bytes(public))),
        lambda: control.ListRuns(ListRunsRequest()),
    ):
        with pytest.raises(Exception, match="404"):
            call()
    control.close()


def a_key_that_nobody_registered_gets_nowhere(scene: Scene) -> None:
    """Every Fleet call, well signed, in the name of a node that there is."""
    key = ec.generate_private_key(ec.SECP384R1())
    with scene.at("outside") as client:
        for call in sorted(scene.outside - HEALTH):
            request = PROTOBUF_REQUEST_TYPES[call]()
            fields = request.DESCRIPTOR.fields_by_name
            if "public_key" in fields:
                request.public_key = public_key_to_bytes(key.public_key())  # type: ignore[attr-defined]
            if "node_id" in fields:
                request.node_id = scene.nodes["north"]  # type: ignore[attr-defined]
            if "node" in fields:
                request.node.node_id = scene.nodes["north"]  # type: ignore[attr-defined]
            headers = {**signed(key), "content-type": "application/protobuf"}
            answer = client.post(call[1], content=request.SerializeToString(), headers=headers)
            assert 400 <= answer.status_code < 500, (call, answer.text)


def inside_the_operator_is_asked_for_the_token(scene: Scene) -> None:
    token = scene.deployment.server.operator_token()
    wrong = ({}, *({"authorization": f"Bearer {one}"} for one in ("x", token[:-1], token + "0")))
    with scene.at("inside") as client:
        for method, path in sorted(scene.served):
            if not path.startswith("/v1/control/"):
                continue
            for headers in wrong:
                kind = {"content-type": "application/protobuf"}
                answer = client.request(method, path, headers={**headers, **kind})
                if path.rpartition("/")[2] in LOGIN:
                    assert answer.status_code >= 400 or answer.content == b""
                    assert token not in answer.text
                else:
                    assert answer.status_code == 401, path


def inside_the_runtime_asks_for_a_secret_or_a_tasks_token(scene: Scene) -> None:
    tries: tuple[dict[str, str], ...] = ({}, {"flwr-task-token": "x", "authorization": "Bearer x"})
    with scene.at("inside") as client:
        for method, path in sorted(scene.served):
            if path.startswith("/v1/runtime/"):
                for headers in tries:
                    kind = {"content-type": "application/protobuf"}
                    answer = client.request(method, path, headers={**headers, **kind})
                    assert answer.status_code in {401, 403}, (path, answer.text)
    assert_no_task(scene, b"another secret")
    assert_no_task(scene, scene.deployment.server.operator_token().encode())


def nothing_of_all_this_left_a_trace_in_the_state(scene: Scene) -> None:
    nodes, runs = scene.state()
    assert nodes == set(scene.nodes.values())
    assert list(runs.values()) == ["finished"]
    assert all(map(scene.deployment.alive, ("server", *SHOPS)))


def a_node_that_nobody_registered_ends(scene: Scene) -> None:
    home = client_folders(scene.run.path)[0]
    scene.deployment.start_node("stranger", home, registered=False)
    assert scene.deployment.ended("stranger") != 0
    assert "error node-refused" in scene.deployment.log("stranger")


def the_log_knows_nodes_by_their_signatures(scene: Scene) -> None:
    lines = scene.deployment.accesses()
    known = {line["node"] for line in lines if "node" in line}
    assert known == {str(node) for node in scene.nodes.values()}
    for line in lines:
        if line["side"] == "outside" and (line["method"], line["path"]) not in scene.outside:
            assert (line["status"], line["sent"]) == (404, 0)
        if "node" in line:
            assert line["status"] == 200
    started = [line for line in lines if line["path"] == "/v1/control/start-run"]
    assert ("inside", 200) in {(line["side"], line["status"]) for line in started}
    text = scene.deployment.server.access_log.read_text()
    assert scene.deployment.server.operator_token() not in text


def a_server_that_was_killed_comes_back_with_its_state(scene: Scene) -> None:
    """What it had started ends with it."""
    before = scene.state()
    executor = _executor(scene)
    process = scene.deployment.processes.pop("server")
    process.kill()
    process.wait()
    until(lambda: not _lives(executor), "the SuperExec to end")
    (scene.deployment.folder / "server.log").unlink()
    scene.deployment.start_server(sys.executable, "-I", "-m", "server.gateway")
    assert scene.state() == before


def a_server_that_is_told_to_end_leaves_nothing(scene: Scene) -> None:
    for name in SHOPS:
        scene.deployment.end(name)
    executor = _executor(scene)
    scene.deployment.processes["server"].terminate()
    assert scene.deployment.processes["server"].wait(60) == 0
    assert not _lives(executor)
    with pytest.raises(httpx.ConnectError), scene.at("outside") as client:
        client.get("/health")


def assert_not_there(answer: httpx.Response) -> None:
    assert answer.status_code == 404, answer.url
    assert answer.content == b""
    assert set(answer.headers) == {"content-length"}


def assert_no_task(scene: Scene, secret: bytes) -> None:
    runtime = RuntimeHttpClient.from_server_address(
        server_address=scene.deployment.inside,
        insecure=False,
        root_certificates=scene.deployment.inside_roots.read_bytes(),
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperExec"),
            SuperExecAuthHttpInterceptor(
                master_secret=secret,
                protected_methods=frozenset({"/flwr.proto.Runtime/AcquireTask"}),
            ),
        ],
    )
    with pytest.raises(Exception, match=r"40[13]|uthent"):
        runtime.AcquireTask(AcquireTaskRequest(supported_task_types=["flwr-serverapp"]))
    runtime.close()


def signed(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """What a node with this key adds to a call."""
    timestamp = datetime.datetime.now(datetime.UTC).isoformat()
    return {
        FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(public_key_to_bytes(key.public_key())).decode(),
        FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(key, timestamp.encode())).decode(),
        TIMESTAMP_HEADER: timestamp,
    }


def _executor(scene: Scene) -> int:
    (line,) = [
        line
        for line in scene.deployment.log("server").splitlines()
        if line.startswith("superexec process")
    ]
    return int(line.split()[-1])


def _lives(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False
