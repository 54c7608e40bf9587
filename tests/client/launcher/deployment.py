"""A deployment on loopback: a SuperLink, nodes, an operator who starts runs. TLS, node keys."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
)
from flwr.proto.fab_pb2 import Fab as FabProto
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from simulations.deployment import processes
from tests.client.launcher.bundles import MARK

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
PATIENCE_SECONDS = 200


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of `condition`, looked at until it is too late."""
    return processes.until(condition, what, seconds)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Deployment:
    """Everything that runs; `close` ends it, by process id."""

    folder: Path
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def roots(self) -> Path:
        return self.folder / "ca.pem"

    def start_superlink(self) -> None:
        certificate, key = write_certificate(self.folder)
        self.spawn(
            "superlink",
            [
                sys.executable,
                HERE / "superlink.py",
                MARK,
                *("--host", "127.0.0.1", "--port", str(self.port)),
                *("--ssl-certfile", certificate, "--ssl-keyfile", key),
                *("--ssl-ca-certfile", self.roots),
                *("--database", self.folder / "state.db"),
                "--enable-supernode-auth",
            ],
        )
        until(lambda: self._is_up("superlink"), f"the SuperLink to start:\n{self.log('superlink')}")

    def start_node(self, name: str, home: Path, *, registered: bool = True) -> None:
        """A client under the launcher."""
        key = self.register(name) if registered else self.new_key(name)
        self.spawn(
            name,
            [
                *(sys.executable, "-I", "-m", "client.launcher", home),
                *("--superlink", self.address, "--root-certificates", self.roots),
                *("--key", key, "--poll-seconds", "0.1"),
            ],
        )

    def start_supernode(self, name: str) -> None:
        """Flower's own node, which runs what the bundle brings."""
        self.spawn(
            name,
            [
                *(BIN / "flower-supernode", "--superlink", self.address),
                *("--root-certificates", self.roots),
                *("--auth-supernode-private-key", self.register(name)),
                *("--host", "127.0.0.1", "--port", str(free_port())),
            ],
        )

    def register(self, name: str) -> Path:
        """Make a node's key and have the SuperLink know it; where the private half is."""
        path = self.new_key(name)
        public = serialization.load_ssh_private_key(path.read_bytes(), None).public_key()
        public = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.control.RegisterNode(RegisterNodeRequest(public_key=public, name=name))
        return path

    def new_key(self, name: str) -> Path:
        """A key that nobody knows yet."""
        path = self.folder / f"{name}.key"
        path.write_bytes(_openssh(ec.generate_private_key(ec.SECP384R1())))
        return path

    def start_run(self, fab: bytes, config: Mapping[str, Any]) -> int:
        """Start a run of the bundle; its id."""
        request = StartRunRequest(
            fab=FabProto(hash_str=hashlib.sha256(fab).hexdigest(), content=fab),
            override_config=user_config_to_proto(dict(config)),
        )
        return int(self.control.StartRun(request).run_id)

    def finished(self, run_id: int) -> str:
        """How the run ended, after it has: `finished:completed` or what else."""

        def ended() -> str:
            run = self.control.ListRuns(ListRunsRequest(run_id=run_id)).run_dict[run_id]
            status = run.status
            return f"{status.sub_status}: {status.details}" if status.status == "finished" else ""

        return str(until(ended, f"run {run_id} to end:\n{self.logs()}"))

    @cached_property
    def control(self) -> ControlHttpClient:
        """What an operator's commands use."""
        return ControlHttpClient.from_server_address(
            self.address,
            insecure=False,
            root_certificates=self.roots.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def spawn(self, name: str, command: list[Any], **variables: str) -> None:
        """Start a process in a session of its own; `variables` join its environment."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**environment(self.folder / name, node=name), **variables},
                start_new_session=True,
            )

    def alive(self, name: str) -> bool:
        return self.processes[name].poll() is None

    def end(self, name: str) -> int:
        """End a process as a supervisor would; its exit status."""
        self.processes[name].terminate()
        return self.ended(name)

    def ended(self, name: str) -> int:
        """The exit status of a process that ends by itself."""
        status = self.processes[name].wait(timeout=PATIENCE_SECONDS)
        self.kill(name)
        return status

    def kill(self, name: str) -> None:
        """Kill a process and whatever it started: its own session, and nothing else."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        self.control.close()
        for name in list(self.processes):
            self.kill(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def logs(self) -> str:
        return "\n".join(f"--- {name}\n{self.log(name)[-3000:]}" for name in self.processes)

    def online(self, name: str) -> int:
        """The id of a node, once the SuperLink has it online."""

        def found() -> int:
            if not self.alive(name):
                raise RuntimeError(self.log(name))
            return self._nodes_online().get(name, 0)

        return int(until(found, f"{name} to be online"))

    def is_online(self, name: str) -> bool:
        """Whether the SuperLink has the node online."""
        return name in self._nodes_online()

    def _nodes_online(self) -> dict[str, int]:
        nodes = self.control.ListNodes(ListNodesRequest()).nodes_info
        return {node.name: node.node_id for node in nodes if node.status == "online"}

    def _is_up(self, name: str) -> bool:
        if not self.alive(name):
            raise RuntimeError(self.log(name))
        try:
            self.control.ListRuns(ListRunsRequest())
        except httpx.HTTPError:
            return False
        return True


def environment(home: Path, **known: str) -> dict[str, str]:
    """Nothing phones home, nothing is installed, nothing is shared between processes."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": f"{BIN}:{os.defpath}",
        "HOME": str(home),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.05",
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
        "HUSHREC_TEST_NODE": known["node"],
    }


def answers(path: Path) -> dict[int, dict[str, Any]]:
    """What the probing server wrote down, by node."""
    return {int(node): seen for node, seen in json.loads(path.read_text()).items()}


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, signed by itself; where it and its key are."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    alternatives = [
        x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
        x509.DNSName("localhost"),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "ca.pem", folder / "server.key"


def _openssh(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
