"""`hushrec simulate` as a user meets it: results, wrong inputs, resume."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from hushrec import command_line

SMALL = """
rounds = 2
dim = 4
min_users = 1
[marketplace]
users = 120
items = 60
categories = 4
shop_sizes = [60, 40, 20]
events_per_user = 12.0
seed = 3
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command_line(), ["simulate", *map(str, arguments)])


def result_of(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_result_has_the_promised_shape(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    found = result_of("--scenario", scenario, "--out", out, "--evaluation-share", 0.1)
    assert {"hr@10", "ndcg@10"} <= set(found["metrics"])
    assert found["metrics"] == found["serving"]["joint"]
    assert set(found["serving"]) == {"joint", "shop"}
    assert {"popularity", "random", "alone", "noised-popularity"} == set(found["baselines"])
    assert sum(row["shops"] for row in found["by_shop_size"]) == 3
    for row in found["by_shop_size"]:
        assert row["gain_shop"] == pytest.approx(row["shop"] - row["alone"], abs=2e-6)
        assert row["gain_shop_low"] <= row["gain_shop"] <= row["gain_shop_high"]
    privacy = found["privacy"]
    assert privacy["mode"] == "local"
    assert privacy["threshold"] is None
    assert privacy["colluders"] is None
    assert privacy["unit"] == "user"
    assert privacy["neighbouring"]
    assert privacy["accountant"]
    assert 7.9 < privacy["epsilon"] <= 8.0
    assert set(privacy["per_client"]) == {"shop-1", "shop-2", "shop-3"}
    assert found["bytes"]["up"] > 0
    assert found["bytes"]["down"] > 0
    assert found["private_metrics"]["users_std"] > 0
    assert found["note"] == "exact figures of a simulation, not a private release"
    for name in ("report.html", "summary.json", "rounds.jsonl", "rounds.parquet", "users.parquet"):
        assert (out / name).stat().st_size > 0
    assert json.loads((out / "summary.json").read_text()) == found


def test_secure_sums_from_the_command_line(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ("--scenario", scenario, "--mode", "distributed", "--epsilon", 4, "--colluders", 2)
    done = run(*asked, "--out", out)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "against the server and 2 of 3 clients, totals of at least 3" in said
    assert "3/3 subspace.round2: 3 clients, 0 refused, " in done.stderr
    assert "1 sessions" in done.stderr
    found = result_of("--resume", out)
    privacy = found["privacy"]
    assert (privacy["mode"], privacy["threshold"], privacy["colluders"]) == ("distributed", 3, 2)
    assert 3.9 < privacy["epsilon"] <= 4.0
    assert privacy["private"] is True
    assert sum(row["shops"] for row in found["by_shop_size"]) == 3
    assert "noised-popularity" in found["baselines"]
    page = (out / "report.html").read_text()
    assert "runs the server and up to 2 of the 3 clients" in page
    assert "Noise in the totals" in page
    assert re.search(r"threshold</th><td[^>]*>3<", page)
    assert "local mode" not in page


def test_rounds_are_written_as_lines_and_as_parquet(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result_of("--scenario", scenario, "--out", out)
    lines = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == [
        "subspace.popularity",
        "subspace.round1",
        "subspace.round2",
    ]
    assert len(pd.read_parquet(out / "rounds.parquet")) == 3


@pytest.mark.parametrize("solver", ["ials", "dpsgd", "popularity"])
def test_every_solver_runs_from_the_command_line(
    scenario: Path, tmp_path: Path, solver: str
) -> None:
    scenario.write_text(SMALL.replace("rounds = 2", "").replace("dim = 4", ""))
    more = ["--mode", "none", "--no-privacy"] if solver == "ials" else ["--epsilon", 8]
    found = result_of("--scenario", scenario, "--out", tmp_path / "r", "--solver", solver, *more)
    assert found["metrics"]["hr@10"] > 0


def test_no_privacy_is_said_on_everything(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    found = result_of("--scenario", scenario, "--out", out, "--mode", "none", "--no-privacy")
    assert found["privacy"]["private"] is False
    assert "NOT PRIVATE" in found["privacy"]["warning"]
    assert found["privacy"]["epsilon"] is None
    manifest = json.loads((out / "server" / "model" / "manifest.json").read_text())
    assert manifest["private"] is False
    assert "not private" in (out / "report.html").read_text().lower()


def test_fixed_noise_repeats_and_is_marked(scenario: Path, tmp_path: Path) -> None:
    first = result_of("--scenario", scenario, "--out", tmp_path / "a", "--fixed-noise")
    second = result_of("--scenario", scenario, "--out", tmp_path / "b", "--fixed-noise")
    assert first["metrics"] == second["metrics"]
    assert first["privacy"]["private"] is False
    manifest = json.loads((tmp_path / "a" / "server" / "model" / "manifest.json").read_text())
    assert manifest["private"] is False


def test_noise_differs_between_runs_of_one_seed(scenario: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        result_of("--scenario", scenario, "--out", tmp_path / name)
    models = [
        (tmp_path / name / "server" / "model" / "arrays.safetensors").read_bytes()
        for name in ("a", "b")
    ]
    assert models[0] != models[1]


def test_a_finished_run_resumes_to_the_same_result(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = result_of("--scenario", scenario, "--out", out)
    again = result_of("--resume", out)
    assert again["metrics"] == first["metrics"]
    assert again["privacy"] == first["privacy"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--epsilon", "0"], "plan-epsilon"),
        (["--epsilon", "-1"], "plan-epsilon"),
        (["--epsilon", "nan"], "config-invalid"),
        (["--delta", "0.5"], "plan-delta"),
        (["--delta", "0"], "plan-delta"),
        (["--unit", "interaction"], "plan-unit"),
        (["--mode", "none"], "plan-mode"),
        (["--no-privacy"], "plan-mode"),
        (["--mode", "none", "--no-privacy", "--epsilon", "3"], "plan-mode"),
        (["--mode", "secret"], "config-invalid"),
        (["--mode", "distributed", "--no-privacy"], "plan-mode"),
        (["--mode", "distributed", "--clients", "1", "--partition", "hash"], "plan-mode"),
        (["--mode", "distributed", "--threshold", "2", "--colluders", "1"], "policy-threshold"),
        (["--mode", "distributed", "--threshold", "4"], "policy-threshold"),
        (["--mode", "distributed", "--colluders", "3"], "policy-threshold"),
        (["--mode", "distributed", "--colluders", "0"], "config-invalid"),
        (["--threshold", "3"], "plan-mode"),
        (["--colluders", "1"], "plan-mode"),
        (["--record-sums"], "plan-mode"),
        (["--clients", "121", "--partition", "hash"], "data-partition"),
        (["--partition", "column:planet"], "data-partition"),
        (["--partition", "half"], "data-partition"),
        (["--solver", "magic"], "config-invalid"),
        (["--set", "wings=2"], "config-unknown-key"),
        (["--data", "nowhere.csv"], "data-not-found"),
        (["--solver", "ials"], "plan-mode"),
        (["--rounds", "0"], "config-invalid"),
        (["--epsilon", "1e9"], "plan-unreachable"),
        (["--epsilon", "1e-300"], "plan-unreachable"),
        (["--delta", "1e-300"], "plan-unreachable"),
        (["--delta", "2"], "plan-delta"),
        (["--delta", "-1"], "plan-delta"),
        (["--clients", "5", "--partition", "column:shop"], "config-invalid"),
        (["--clients", "5", "--partition", "sizes:shops.txt"], "config-invalid"),
        (["--min-users", "5", "--partition", "hash"], "config-invalid"),
        (["--set", "rounds=3"], "config-invalid"),
        (["--set", "embedding_dim=3"], "config-invalid"),
    ],
)
def test_wrong_input_is_a_code_and_leaves_nothing_behind(
    scenario: Path, tmp_path: Path, arguments: list[str], code: str
) -> None:
    if "--data" in arguments:
        scenario.write_text("rounds = 2\n")
    out = tmp_path / "run"
    done = run("--scenario", scenario, "--out", out, *arguments)
    assert done.exit_code == 2
    assert code in done.output
    assert not out.exists()


def test_unknown_keys_of_a_scenario_are_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("epsilom = 3\n[marketplace]\nuser = 5\n")
    done = run("--scenario", path, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "config-unknown-key" in done.output
    assert "epsilom" in done.output
    assert "marketplace.user" in done.output


def test_a_full_folder_is_left_alone(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for more in ([], ["--force"]):
        done = run("--scenario", scenario, "--out", out, *more)
        assert done.exit_code == 2
        assert "run-exists" in done.output
    assert (out / "thesis.txt").read_text() == "years of work"


def test_resume_needs_a_run_and_no_other_options(tmp_path: Path) -> None:
    assert "run-not-found" in run("--resume", tmp_path).output
    for other in (["--epsilon", "3"], ["--force"], ["--prepare"], ["--out", "x"]):
        assert "run-mismatch" in run("--resume", tmp_path, *other).output


def test_csv_of_ones_own_is_read_split_and_dealt_out(tmp_path: Path) -> None:
    rows = ["user_id,item_id,datetime,city"]
    for user in range(30):
        city = "Oslo" if user % 3 else "Rome"
        rows += [f"u{user},i{(user + 7 * k) % 25},2025-01-{k + 1:02d},{city}" for k in range(6)]
    rows.append("u1,,2025-01-02,Oslo")
    data = tmp_path / "shop.csv"
    data.write_text("\n".join(rows))
    out = tmp_path / "run"
    found = result_of("--data", data, "--partition", "column:city", "--min-users", 5,
                      "--rounds", 1, "--dim", 2, "--out", out)  # fmt: skip
    assert set(found["privacy"]["per_client"]) == {"Oslo", "Rome"}
    assert "missing" in (out / "rejected.csv").read_text()


@pytest.mark.parametrize("text", ["settings = 3", "settings = [1]"])
def test_settings_that_are_no_table_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    done = run("--scenario", path, "--set", "a=1", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "config-invalid" in done.output


@pytest.mark.parametrize("name", ["folder", "folder.json"])
def test_a_folder_is_no_scenario(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    done = run("--scenario", tmp_path / name, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "config-not-found" in done.output


@pytest.mark.parametrize("name", ["scenario.json", "versions.json", "data.json"])
def test_a_damaged_run_is_a_code(scenario: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "run"
    assert run("--scenario", scenario, "--out", out, "--prepare").exit_code == 0
    (out / name).write_text('{"cut sho')
    done = run("--resume", out)
    assert done.exit_code == 2
    assert "config-invalid" in done.output


def test_what_nobody_foresaw_is_a_code_with_its_type(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("row 7 of a customer")

    monkeypatch.setattr("simulations.commands.prepare_run", broken)
    arguments = ("--scenario", scenario, "--out", tmp_path / "run", "--prepare")
    for debug in ("0", "1"):
        monkeypatch.setenv("HUSHREC_DEBUG", debug)
        done = run(*arguments)
        assert done.exit_code == 2
        assert "internal: ZeroDivisionError" in done.output
        assert ("row 7 of a customer" in caplog.text) is (debug == "1")


def orders(city: str = "Rome", last: int = 5) -> str:
    rows = ["user_id,item_id,datetime,city"]
    for user in range(30):
        home = "Oslo" if user % 3 else city
        rows += [f"u{user},i{(user + 7 * k) % 25},2025-01-{k + 1:02d},{home}" for k in range(last)]
        rows.append(f"u{user},i{(user + 1) % 25},2025-02-01,{home}")
    return "\n".join(rows)


def test_a_run_with_relative_paths_resumes_from_any_folder_on_the_same_data_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "orders.csv").write_text(orders())
    (tmp_path / "shops.txt").write_text("20\n10\n")
    (tmp_path / "s.toml").write_text('data = "orders.csv"\nrounds = 1\ndim = 2\n')
    monkeypatch.chdir(tmp_path)
    laid = run("--scenario", "s.toml", "--partition", "sizes:shops.txt", "--out", "run",
               "--prepare")  # fmt: skip
    assert laid.exit_code == 0, laid.output
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name, text in (("orders.csv", orders(last=4)), ("shops.txt", "19\n11\n")):
        kept = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text)
        done = run("--resume", tmp_path / "run")
        assert done.exit_code == 2
        assert "run-mismatch" in done.output
        (tmp_path / name).write_text(kept)
    assert result_of("--resume", tmp_path / "run")["metrics"]["hr@10"] >= 0


def test_progress_is_plain_lines_where_there_is_no_terminal(scenario: Path, tmp_path: Path) -> None:
    done = run("--scenario", scenario, "--out", tmp_path / "run", "--format", "json")
    json.loads(done.stdout)
    lines = done.stderr.splitlines()
    assert sum("subspace." in line for line in lines) == 3
    assert "3/3 subspace.round2: 3 clients, 0 refused, " in done.stderr
    assert "training" in lines
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("protocol", ["full", "ncf", "temporal"])
def test_the_exact_counterpart_of_a_release_ranks_one_item_among_all(
    scenario: Path, tmp_path: Path, protocol: str
) -> None:
    out = tmp_path / "run"
    found = result_of("--scenario", scenario, "--out", out, "--protocol", protocol,
                      "--evaluation-share", 0.5, "--mode", "none", "--no-privacy")  # fmt: skip
    private = found["private_metrics"]
    assert private["exact_hit_rate"] == pytest.approx(private["hit_rate"], abs=1e-5)
    assert private["exact_ndcg"] == pytest.approx(private["ndcg"], abs=1e-5)
    if protocol == "full":
        assert private["exact_hit_rate"] == pytest.approx(found["metrics"]["hr@10"], abs=1e-5)
    assert "among all items, whatever the protocol" in (out / "report.html").read_text()
