"""Each shop in a network of its own, where the machine allows that without rights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.deployment.topology import environment

UNSHARE = ("unshare", "-Urnm")


def why_not() -> str:
    """Why networks cannot be made here; empty if they can."""
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if ip is None or shutil.which("unshare") is None:
        return "needs unshare and ip"
    tried = f"mount -t tmpfs none /run && {ip} link add hub type bridge && {ip} netns add one"
    done = subprocess.run([*UNSHARE, "sh", "-c", tried], check=False, capture_output=True)
    return "" if done.returncode == 0 else f"not allowed here: {done.stderr.decode().strip()}"


def test_shops_reach_the_gateway_from_networks_of_their_own_and_nothing_else(
    laid_out: Path, tmp_path: Path
) -> None:
    if reason := why_not():
        pytest.skip(reason)
    command = [*UNSHARE, sys.executable, "-m", "simulations.deployment.namespaces"]
    done = subprocess.run(
        [*command, str(laid_out)],
        env=environment(tmp_path / "lab"),
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["online"] == ["north", "south"]
    cabled = [address for address in found["came_from"] if not address.startswith("127.")]
    assert cabled == sorted(found["addresses"].values())
    assert found["outside_reached"] == {"north": True, "south": True}
    assert found["inside_reached"] == {"north": False, "south": False}
    assert found["reached_without_cable"] is False
