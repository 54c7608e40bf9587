"""What docker-compose.yml says, run as processes: a training to its end, and an orderly end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from simulations.deployment.processes import Processes, until
from tests.simulations.deployment.composed import Composed

SHOPS = ("north", "south", "east")
LASTING = ("server", "superexec", "monitor", *SHOPS)


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    with Processes(tmp_path / "logs") as processes:
        yield Composed(tmp_path, processes)


def figures(composed: Composed, name: str) -> dict[str, float]:
    """A figure of the monitor's by client; without clients by nothing."""
    text = httpx.get(f"http://{composed.address('monitor')}:9090/metrics", timeout=60).text
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples)
    return {one.labels.get("client", ""): one.value for one in samples if one.name == name}


@pytest.mark.long
def test_a_federation_comes_up_trains_delivers_and_ends(composed: Composed) -> None:
    for name in LASTING:
        composed.up(name)
    for name in ("server", "monitor"):
        composed.wait_healthy(name)
    done = composed.run("train", "--rounds=1", "--dim=4")
    assert done.returncode == 0, done.stderr + composed.log("superexec")
    rounds = figures(composed, "hushrec_run_rounds_total")[""]
    assert rounds == figures(composed, "hushrec_run_steps")[""]
    assert figures(composed, "hushrec_run_answered_total") == dict.fromkeys(SHOPS, rounds)
    assert figures(composed, "hushrec_run_refused_total") == {}
    assert figures(composed, "hushrec_member_online") == dict.fromkeys(SHOPS, 1)
    assert figures(composed, "hushrec_model_serial") == {"": 1}
    for shop in SHOPS:
        place = f"http://{composed.address(shop)}:9464/health"
        until(
            lambda place=place: httpx.get(place, timeout=60).json()["model"], f"{shop}'s model", 120
        )
        assert httpx.get(place, timeout=60).json()["status"] == "ok"
    assert "handed out before" in composed.run("setup").stdout
    for name in reversed(LASTING):
        assert composed.processes.stop(name) == 0, composed.log(name)
