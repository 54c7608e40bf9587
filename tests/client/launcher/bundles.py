"""Bundles as an operator would ship them: the project's own, and three that are hostile.

A hostile line writes a canary: a file that says which process ran it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from flwr.cli.build import build_fab_from_disk

ROOT = Path(__file__).resolve().parents[3]
COMPONENT = 'clientapp = "client.app:app"'
MARK = "deliver-rubbish"
"""A file of this name in a bundle has the tests' SuperLink deliver rubbish."""
SEEN = """
from flwr.clientapp import ClientApp

app = ClientApp()

@app.query("hello")
def hello(message, context):
    raise ValueError("the bundle's app was called")
"""
PROBE = '''
"""A ServerApp that says hello to all nodes and writes down what each answers."""
import json
import time
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    deadline = time.monotonic() + 100
    while len(list(grid.get_node_ids())) < context.run_config["nodes"]:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)
    questions = [
        Message(RecordDict(), dst_node_id=node, message_type="query.hello", group_id="hello")
        for node in grid.get_node_ids()
    ]
    seen = {}
    for reply in grid.send_and_receive(questions, timeout=100):
        node = str(reply.metadata.src_node_id)
        if reply.has_error():
            seen[node] = {"error": reply.error.reason}
        else:
            seen[node] = dict(reply.content.config_records["reply"])
    Path(context.run_config["run"]).write_text(json.dumps(seen))
'''


@dataclass(frozen=True)
class Canaries:
    """Where hostile lines leave traces."""

    folder: Path

    def line(self, name: str) -> str:
        """One line of Python; its file gets the name of the node that ran it."""
        path = self.folder / name
        who = 'os.environ.get("HUSHREC_TEST_NODE", "launcher")'
        return f'import os; open({str(path)!r}, "a").write({who} + "\\n")\n'

    def seen(self, name: str) -> set[str]:
        """Who ran the line."""
        path = self.folder / name
        return set(path.read_text().split()) if path.exists() else set()


def project(folder: Path) -> Path:
    """A copy of what the project's bundle is made of."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("common", "client", "server"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def probing(folder: Path) -> Path:
    """A copy whose server asks for the public facts alone, as any operator could change it."""
    project(folder)
    (folder / "server" / "app.py").write_text(PROBE)
    config = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(config.replace('run = ""', 'run = ""\nnodes = 0'))
    return folder


def altered(folder: Path, canaries: Canaries) -> Path:
    """The client app has a line more."""
    app = probing(folder) / "client" / "app.py"
    app.write_text(canaries.line("altered") + SEEN)
    return folder


def shadowing(folder: Path, canaries: Canaries) -> Path:
    """Packages of the names that the installed ones have."""
    probing(folder)
    for name in ("client", "common"):
        shutil.rmtree(folder / name)
    for name in ("client", "common", "numpy"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(canaries.line(f"shadow-{name}"))
    (folder / "client" / "app.py").write_text("import common, numpy\n" + SEEN)
    _include(folder, '"numpy/**/*.py"')
    return folder


def elsewhere(folder: Path, canaries: Canaries) -> Path:
    """The bundle names another client app than `client.app`."""
    probing(folder)
    (folder / "payload").mkdir()
    (folder / "payload" / "__init__.py").write_text("")
    (folder / "payload" / "app.py").write_text(canaries.line("elsewhere") + SEEN)
    config = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(
        config.replace(COMPONENT, 'clientapp = "payload.app:app"')
    )
    _include(folder, '"payload/**/*.py"')
    return folder


def rubbish(folder: Path) -> Path:
    """What the SuperLink accepts, and replaces by rubbish on the way to the nodes."""
    (probing(folder) / "common" / f"{MARK}.py").write_text("")
    return folder


def built(folder: Path) -> bytes:
    """What `flwr build` makes of a folder."""
    return build_fab_from_disk(folder)


def built_by_flower(folder: Path, out: Path) -> bytes:
    """The same by the command itself."""
    out.mkdir()
    flwr = Path(sys.executable).with_name("flwr")
    quiet = {"FLWR_HOME": str(out), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    subprocess.run(
        [flwr, "build", "--app", folder],
        cwd=out,
        env={**os.environ, **quiet},
        check=True,
        capture_output=True,
        timeout=100,
    )
    (bundle,) = out.glob("*.fab")
    return bundle.read_bytes()


def _include(folder: Path, pattern: str) -> None:
    config = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(
        config.replace("fab-include = [", f"fab-include = [{pattern}, ")
    )
