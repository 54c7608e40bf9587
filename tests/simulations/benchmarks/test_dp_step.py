"""The benchmark of one private step: real Opacus beside ours, at tiny sizes."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from simulations.benchmarks import mf_load
from simulations.benchmarks.dp_step import NETWORKS, VARIANTS, How, main, measure
from simulations.benchmarks.dp_step_compare import relative_errors, world_of
from simulations.benchmarks.dp_step_page import aims, ratios
from simulations.benchmarks.step_load import Load

TITLES = ("Attention", "Two towers", "Matrix factorisation")
TINY = Load(items=60, users=7, events=9, shared=20, dim=8)


@pytest.mark.parametrize("network", NETWORKS)
def test_opacus_and_ours_sum_the_same_without_noise(network):
    errors = relative_errors(replace(TINY, network=network))
    assert set(errors) == {"hooks", "ghost"}
    assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("network", NETWORKS)
def test_a_client_step_is_one_noisy_sum_over_everybody(network):
    world = world_of(replace(TINY, network=network))
    step = world.client_step()
    first, second = step(), step()
    assert first.shape == (world.rows, TINY.dim)
    assert np.isfinite(first).all()
    assert not np.array_equal(first, second)  # noise is drawn anew
    assert 0.5 < np.std(first) < 4.5  # of σ = 1.5, with seven users of norm 1


def test_one_network_alone(tmp_path, capsys):
    sizes = ["--items", "60", "--users", "6", "--events", "8", "--shared", "10", "--dim", "8"]
    main(["--network", "neural", *sizes, "--repeats", "1", "--out", str(tmp_path)])
    result = json.loads(capsys.readouterr().out)
    assert {row["network"] for row in result["runs"]} == set(result["errors"]) == {"neural"}
    assert "Attention: " not in (tmp_path / "dp-step-neural.md").read_text()


def test_hooks_are_refused_where_memory_does_not_hold_them():
    huge = Load(items=10**9)
    row = measure(huge, "hooks", How(1, 1, memory=1e9))
    assert row["items"] == 10**9
    assert "seconds" not in row
    assert "256, 1,000,000,000, 64" in row["refused"]


def test_the_page_has_every_variant_and_what_was_refused(tmp_path, capsys):
    sizes = ["--items", "60", "90", "--users", "6", "--events", "8", "--shared", "10", "--dim", "8"]
    memory = 2.4 * 4 * 6 * 75 * 8 / 1e9  # between the two
    more = ["--repeats", "1", "--threads", "1", "--memory-gb", str(memory)]
    main([*sizes, *more, "--out", str(tmp_path)])
    said = capsys.readouterr()
    result = json.loads(said.out)
    measured = [(row["network"], row["items"], row["variant"]) for row in result["runs"]]
    assert measured == list(product(NETWORKS, (60, 90), VARIANTS))
    timed = [row for row in result["runs"] if "refused" not in row]
    assert len(timed) == 27
    assert all(row["seconds"] > 0 and row["peak_mb"] >= row["base_mb"] > 0 for row in timed)
    assert max(error for found in result["errors"].values() for error in found.values()) < 1e-6
    assert set(result["aims"]) == set(NETWORKS)
    assert {aim[""] for aims in result["aims"].values() for aim in aims} == {"not measured"}
    page = (tmp_path / "dp-step.md").read_text()
    assert all(page.count(f"## {title}: ") == 6 for title in TITLES)
    assert "refused" in page
    runs = json.loads((tmp_path / "dp-step.json").read_text())["runs"]
    assert runs[:-1] == result["runs"]


def rows(ours, hooks):
    seconds = {"ours": ours, "plain": 1.0, "noise": 1.0, "hooks": hooks, "ghost": 10.0}
    found = [
        {"items": 20_000, "variant": name, "seconds": s, "processor": s}
        for name, s in seconds.items()
    ]
    return [*found, {"items": 1_000_000, "variant": "ours", "seconds": 3.0, "peak_mb": 1999.0}]


@pytest.mark.parametrize(
    ("ours", "hooks", "verdicts"),
    [
        (2.0, 40.0, ["met", "met", "met", "met"]),
        (2.0, 39.0, ["missed", "met", "met", "met"]),
        (3.1, 70.0, ["met", "missed", "missed", "met"]),
    ],
)
def test_aims_are_met_or_missed(ours, hooks, verdicts):
    assert [aim[""] for aim in aims(rows(ours, hooks))] == verdicts
    assert ratios(rows(ours, hooks), 20_000)["ours / (plain + noise)"] == ours / 2


def test_what_was_refused_is_no_ratio():
    found = [row for row in rows(1.0, 30.0) if row["variant"] != "hooks"]
    found.append({"items": 20_000, "variant": "hooks", "refused": "too large"})
    assert "hooks / ours" not in ratios(found, 20_000)
    assert aims(found)[0][""] == "not measured"


def test_a_table_is_the_same_as_a_linear_layer_and_as_an_embedding(monkeypatch):
    mf = replace(TINY, network="mf")
    assert isinstance(mf_load.MfWorld(mf).twin().items, torch.nn.Linear)
    monkeypatch.setattr(mf_load, "_LINEAR_UP_TO", 0)
    assert isinstance(mf_load.MfWorld(mf).twin().items, torch.nn.Embedding)
    assert max(relative_errors(mf).values()) < 1e-6
