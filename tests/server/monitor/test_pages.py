"""The figures for Prometheus and the page for people, of one home."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.models import Models
from server.monitor.lookout import Lookout
from server.monitor.page import render
from server.monitor.serve import pages_of
from server.monitor.view import HomeView
from tests.client.enroll.shops import hushrec
from tests.server.monitor.homes import make_home, make_round, make_run


@pytest.fixture
def home(tmp_path: Path, run_folder: Any) -> Path:
    made = make_home(tmp_path / "server", "north", "east")
    folder = make_run(made, "<i>first", run_folder.path)
    make_round(folder, 1, {"south": "policy-bundle"})
    make_round(folder, 2, {"south": "policy-bundle"}, noise_std=None, signal_to_noise=None)
    return made


def figures(home: Path) -> dict[tuple[Any, ...], float]:
    """Every sample by its name and the values of its labels, in order of theirs."""
    answer = pages_of(Lookout(home))["/metrics"]()
    assert answer.kind.startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.body.decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_figures_are_those_of_the_rounds(home: Path) -> None:
    found, run = figures(home), "<i>first"
    assert found["hushrec_run_rounds_total", run] == 2
    assert found["hushrec_run_steps", run] == 3
    assert found["hushrec_run_answered_total", "north", run] == 2
    assert found["hushrec_run_refused_total", "south", "policy-bundle", run] == 2
    assert found["hushrec_run_received_bytes_total", run] == 4000
    assert found["hushrec_run_sent_bytes_total", run] == 2000
    assert found["hushrec_run_round_seconds_total", run] == 3
    assert found["hushrec_run_state", run, "going"] == 1
    assert found["hushrec_run_state", run, "done"] == 0
    assert found["hushrec_certificate_days", "tls"] in (395, 396)
    assert found["hushrec_model_serial",] == 0
    assert found["hushrec_member_online", "north"] == 0
    assert ("hushrec_run_noise_std", run) not in found
    assert ("hushrec_server_up",) not in found


def test_noise_is_that_of_the_last_round(home: Path) -> None:
    make_round(home / "runs" / "<i>first", 3, {})
    found = figures(home)
    assert found["hushrec_run_noise_std", "<i>first"] == 12.5
    assert found["hushrec_run_signal_to_noise", "<i>first"] == 0.25
    assert found["hushrec_run_state", "<i>first", "done"] == 1


def test_health_is_200_or_503(home: Path) -> None:
    answer = pages_of(Lookout(home))["/health"]()
    assert (answer.status, json.loads(answer.body)["ok"]) == (200, True)
    answer = pages_of(Lookout(home, "127.0.0.1:1"))["/health"]()
    assert answer.status == 503
    assert json.loads(answer.body)["faults"] == ["the gateway does not answer"]


def test_the_promoted_model_is_shown(home: Path) -> None:
    make_round(home / "runs" / "<i>first", 3, {})
    models = Models(home)
    version = models.register("first", home / "runs" / "<i>first" / "server" / "model")
    assert figures(home)["hushrec_model_versions",] == 1
    models.promote(version.version, not_private=True)
    models.promote(version.version, not_private=True)
    assert figures(home)["hushrec_model_serial",] == 2
    text = render(Lookout(home).look())
    assert f"Promotion 2 is version {version.version}, of 1; promoted just now." in text
    assert f"Promotion 2 is version {version.version} of 1." in hushrec(
        "server", "status", home, "--probe", ""
    ).stdout.replace("\n", " ")


class Outline(HTMLParser):
    """What a screen reader goes by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found.setdefault(tag, []).append(dict(attrs))


def test_the_page_is_read_without_a_network_and_by_ear(home: Path) -> None:
    text = render(Lookout(home).look())
    outline = Outline(text)
    assert text.startswith("<!doctype html>")
    assert outline.found["html"] == [{"lang": "en"}]
    assert not {"script", "img", "link", "iframe", "form", "i"} & set(outline.tags)
    assert "http" not in text.replace("http-equiv", "")
    assert [a["href"] for a in outline.found["a"]] == ["/"]
    headings = [tag for tag in outline.tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}
    assert outline.tags.count("caption") == outline.tags.count("table") >= 4
    assert all(cell["scope"] in ("col", "row") for cell in outline.found["th"])
    assert all(one["tabindex"] == "0" for one in outline.found["div"])
    assert "width=device-width" in text
    assert "&lt;i&gt;first" in text
    assert "south policy-bundle" in text


def test_an_empty_home_has_a_page_too(tmp_path: Path) -> None:
    text = render(Lookout(make_home(tmp_path / "server")).look())
    assert "None." in text
    assert "No model is promoted" in text


def test_status_says_the_same_in_the_terminal_and_as_json(home: Path) -> None:
    done = hushrec("server", "status", home, "--probe", "")
    assert done.exit_code == 0, done.output
    assert "Nothing is known to be wrong." in done.stdout
    assert "policy-bundle" in done.stdout
    done = hushrec("server", "status", home, "--probe", "127.0.0.1:1", "--format", "json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["faults"] == ["the gateway does not answer"]
    (run,) = said["runs"]
    assert (run["completed"], run["last"]["refused"]) == (2, {"south": "policy-bundle"})
    assert "rounds" not in run
    assert set(said) >= set(HomeView.model_fields)


def test_status_of_a_run_has_every_round(home: Path) -> None:
    done = hushrec("server", "status", home, "<i>first")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("south policy-bundle") == 2
    done = hushrec("server", "status", home, "<i>first", "--format", "json")
    assert [record["step"] for record in json.loads(done.stdout)["rounds"]] == [0, 1]
    done = hushrec("server", "status", home, "second")
    assert done.exit_code == 2
    assert "run-not-found" in done.stderr
