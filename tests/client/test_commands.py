"""`hushrec budget` and `hushrec plan` as an owner meets them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from client.budget_text import budget_bar
from client.budget_view import Part, WindowView, fit, view_budget
from client.guard.budget import Budget
from client.owner import Owner, owners
from common.errors import Code, RunError
from common.privacy.events import event_of
from common.schedule import schedule_of
from hushrec import command_line

TODAY = date(2026, 11, 21)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command_line(), list(map(str, arguments)))


def result_of(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def lifetime(found: dict[str, Any]) -> dict[str, Any]:
    (window,) = [one for one in found["windows"] if one["window"] == "lifetime"]
    return window


def total(window: dict[str, Any]) -> float:
    parts = [window[name] for name in ("spent", "reserved_without_bytes", "held_for_open_jobs")]
    return sum(part["share"] for part in parts) + window["left"]["share"]


def test_a_client_that_was_never_asked_has_everything_left(shop: Any) -> None:
    found = result_of("budget", shop.folder)
    window = lifetime(found)
    assert window["epsilon_in_force"] == 0
    assert window["left"]["share"] == 1.0
    assert window["left"]["epsilon"] == window["epsilon_cap"]
    assert window["left"]["numbers"] > 10**6
    assert found["refused"]["count"] == 0
    assert found["head"] is None
    assert not (shop.folder / "ledger.sqlite").exists()


def test_spent_held_and_left_add_up_to_the_cap(shop: Any) -> None:
    shop.ask(shop.task(0))
    found = result_of("budget", shop.folder)
    window = lifetime(found)
    assert window["spent"]["releases"] == 1
    assert window["held_for_open_jobs"]["releases"] == len(shop.schedule.steps) - 1
    assert total(window) == pytest.approx(1.0)
    (job,) = found["open_jobs"]
    assert job["job_id"] == shop.job.job_id
    assert (job["releases"], job["held"]) == (3, 2)
    assert found["head"] == shop.rows()[-1].hash


def test_every_epsilon_has_what_belongs_to_it(shop: Any) -> None:
    shop.ask(shop.task(0))
    found = result_of("budget", shop.folder)
    assert found["unit"] == "user"
    assert found["neighbouring"] == "add/remove one user"
    assert found["modes"] == ["local"]
    assert lifetime(found)["filter"] == "GDP filter"
    assert lifetime(found)["delta"] > 0
    words = " ".join(run("budget", shop.folder).stdout.split())
    for part in ("unit user", "add/remove one user", "mode local", "GDP filter", "δ ="):
        assert part in words, part
    assert "█" in words
    assert "░" in words


def test_closing_a_job_lets_go_of_what_it_held_and_of_nothing_that_it_spent(shop: Any) -> None:
    shop.ask(shop.task(0))
    before = lifetime(result_of("budget", shop.folder))
    found = result_of("budget", shop.folder, "--close", shop.job.job_id[:8])
    after = lifetime(found)
    assert found["open_jobs"] == []
    assert after["held_for_open_jobs"]["releases"] == 0
    assert after["spent"] == before["spent"]
    assert after["left"]["share"] > before["left"]["share"]
    assert run("budget", shop.folder, "--close", shop.job.job_id).exit_code == 2


def test_a_reservation_without_bytes_is_counted_apart(shop: Any) -> None:
    """As a client leaves it that dies between reserving and sending."""
    with shop.ledger() as ledger:
        ledger.append(
            "reserve",
            {
                "job_id": shop.job.job_id,
                "step": 0,
                "session": 0,
                "request_hash": "x",
                "event": event_of(shop.schedule.plan.releases[0]).model_dump(mode="json"),
            },
        )
    window = lifetime(result_of("budget", shop.folder))
    assert window["reserved_without_bytes"]["releases"] == 1
    assert window["spent"]["releases"] == 0
    assert 0 < window["reserved_without_bytes"]["share"] < 1


def test_refusals_are_shown_with_what_they_would_have_cost(shop: Any) -> None:
    shop.ask(shop.task(0))
    greedy = shop.variant(job_id="f" * 32, epsilon=20.0)
    reply = greedy.ask(greedy.task(0))
    assert reply.code == str(Code.BUDGET_LIFETIME)
    refused = result_of("budget", shop.folder)["refused"]
    assert refused["by_code"] == {"budget-lifetime": 1}
    assert refused["last"][0]["would_be"]["epsilon_then"] > 20
    text = run("budget", shop.folder).stdout
    assert "budget-lifetime" in text
    assert "ε would be" in text


def test_whether_a_plan_still_fits(shop: Any, run_folder: Any, tmp_path: Path) -> None:
    job = run_folder.path / "job.json"
    fresh = result_of("budget", shop.folder, "--job", job)["plan"]
    assert (fresh["whole_plans_that_fit"], fresh["releases"]) == (1, 3)
    assert fresh["refused_by"] == []
    shop.ask(shop.task(0))
    held = result_of("budget", shop.folder, "--job", job)["plan"]
    assert held["whole_plans_that_fit"] == 0
    assert held["refused_by"] == ["lifetime"]
    assert held["epsilon_then"]["lifetime"] > 8
    scenario = tmp_path / "small.toml"
    scenario.write_text("epsilon = 0.5\nrounds = 2\ndim = 4\n[marketplace]\nusers = 100\n")
    small = result_of("budget", shop.folder, "--job", scenario)["plan"]
    assert small["releases"] == 3
    assert small["whole_plans_that_fit"] >= 1
    assert small["rounds_that_fit"] >= 3 * small["whole_plans_that_fit"]
    assert "fits" in run("budget", shop.folder, "--job", scenario).stdout


def test_the_fit_is_what_the_guard_would_decide(shop: Any) -> None:
    """As many whole plans as are said to fit are admitted by the same budget, and no more."""
    view = view_budget(Owner.of(shop.folder), TODAY)
    plan = schedule_of(shop.job.model_copy(update={"epsilon": 2.0})).plan
    events = [event_of(release) for release in plan.releases]
    found = fit(view, "x", events)
    assert found.plans >= 2
    budget: Budget = view.budget.after(events * found.plans)
    budget.hold()
    with pytest.raises(Exception, match="cap"):
        budget.after(events).hold()


def test_a_plan_in_mode_none_has_no_budget(shop: Any, tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    path.write_text('mode = "none"\nno_privacy = true\n')
    done = run("budget", shop.folder, "--job", path)
    assert done.exit_code == 2
    assert "plan-mode" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("budget", "nowhere"),
        ("plan", "--epsilon", 1),
        ("plan", "--items", 10, "--population", 100),
        ("plan", "--items", 10, "--population", 100, "--epsilon", -1),
        ("plan", "--items", 10, "--population", 100, "--epsilon", 1, "--solver", "magic"),
        ("plan", "--items", 10, "--population", 100, "--epsilon", 1, "--set", "x=1"),
        ("plan", "--items", 10, "--population", 100, "--epsilon", 1, "--mode", "distributed"),
        ("plan", "--items", 10, "--population", 100, "--epsilon", 1, "--threshold", 3),
        ("plan", "--items", 10, "--population", 100, "--epsilon", 1, "--mode", "none"),
    ],
    ids=str,
)
def test_wrong_input_is_one_line_with_a_code_and_status_2(arguments: tuple[Any, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(("error ", "planning\nerror "))
    assert "docs/errors/" in done.stderr


def test_plan_goes_both_ways() -> None:
    facts = ("--items", 200, "--population", 2000, "--delta", 1e-5, "--rounds", 2, "--dim", 4)
    there = result_of("plan", *facts, "--epsilon", 4)
    back = result_of("plan", *facts, "--noise-multiplier", there["noise_multiplier"])
    assert back["epsilon"] == pytest.approx(there["epsilon"], rel=1e-3)
    assert [r["step"] for r in there["releases"]] == [r["step"] for r in back["releases"]]
    assert there["unit"] == "user"
    assert there["mode"] == "local"
    assert there["delta"] == 1e-5
    assert there["client"] is None
    assert there["rounds"] == 3
    text = run("plan", *facts, "--epsilon", 4).stdout
    assert "GDP filter" in text
    assert "subspace.round2" in text


def test_a_sampling_rate_of_dpsgd() -> None:
    facts = ("--solver", "dpsgd", "--items", 50, "--population", 2000, "--rounds", 1)
    found = result_of("plan", *facts, "--sampling-rate", 0.2, "--epsilon", 4)
    assert {r["sampling_rate"] for r in found["releases"]} == {1.0, 0.2}
    assert any("Rényi" in name for name in found["epsilon_by_accountant"])


def test_a_plan_that_chooses_rows_says_how_sure_of_it_one_can_be() -> None:
    facts = ("--solver", "dpsgd", "--items", 50, "--population", 2000, "--rounds", 2)
    asked = (*facts, "--epsilon", 4, "--set", 'row_selection={"threshold": 9.0}')
    chosen = result_of("plan", *asked)["releases"][1]["selection"]
    assert chosen == {"share": 0.1, "clip_norm": 1.0, "threshold": 9.0, "dense_rows": 0}
    text = " ".join(run("plan", *asked).stdout.split())
    assert text.count("those leave whose noised count is at least 9. The noise of a count") == 1
    assert "noised count" not in run("plan", *facts, "--epsilon", 4).stdout


def test_a_plan_of_secure_sums_says_against_whom_and_who_gains() -> None:
    facts = ("--items", 200, "--population", 2000, "--rounds", 2, "--dim", 4, "--epsilon", 2)
    secure = ("--mode", "distributed", "--clients", 10, "--threshold", 8, "--colluders", 1)
    found = result_of("plan", *facts, *secure, "--shops", 3)
    assert found["mode"] == "distributed"
    assert found["against"] == {
        "clients": 10, "threshold": 8, "colluders": 1, "most_before_masks_fall": 5
    }  # fmt: skip
    assert found["shops"] == 3
    assert found["epsilon_of_shops"] > 3 * found["epsilon"] * 0.99
    assert found["noise_in_total"] == pytest.approx((10 / 7) ** 0.5)
    assert found["noise_in_total_local"] == pytest.approx(10**0.5)
    text = " ".join(run("plan", *facts, *secure, "--shops", 3).stdout.split())
    for part in (
        "against the server and up to c = 1 colluding clients", "at least t = 8 of n = 10",
        "user of m = 3 clients", "m times the sensitivity of one sum", "1.2 times", "3.16 times",
        "√h = 2.65", "t - c' shares of noise are left", "more than 2t - n - 1 = 5 the masks",
        "restored from a backup",
    ):  # fmt: skip
        assert part in text, part
    tight = run("plan", *facts, "--mode", "distributed", "--clients", 2).stdout
    assert "With more than c = 1 of them the masks" in " ".join(tight.split())
    local = " ".join(run("plan", *facts, "--clients", 10, "--shops", 3).stdout.split())
    assert "masks" not in local
    assert "m times the releases" in local
    assert "colluding" not in local
    assert result_of("plan", *facts)["against"] is None


def test_plan_knows_a_client(shop: Any) -> None:
    found = result_of("plan", "--client", shop.folder, "--epsilon", 1, "--rounds", 2, "--dim", 4)
    assert found["items"] == len(shop.store.catalogue)
    assert found["population"] == shop.store.settings.population
    assert found["delta"] == pytest.approx(shop.job.delta)
    assert found["client"]["whole_plans_that_fit"] > 1
    text = run("plan", "--client", shop.folder, "--epsilon", 20, "--rounds", 2).stdout
    assert "refused" in text


def test_plan_and_budget_know_a_client_that_sums_securely(shop: Any, tmp_path: Path) -> None:
    """Its policy's first mode, its roster as all clients, its colluders, its m."""
    roster = {f"shop-{k}": f"{k:064x}" for k in range(5)}
    shop.allow(modes=["distributed", "local"], roster=roster, colluders=2, max_shops_per_shopper=3)
    asked = ("plan", "--client", shop.folder, "--epsilon", 1, "--delta", 1e-4)
    found = result_of(*asked, "--rounds", 2, "--dim", 4)
    assert found["against"] == {
        "clients": 5, "threshold": 4, "colluders": 2, "most_before_masks_fall": 2
    }  # fmt: skip
    assert found["population"] == 5 * shop.store.settings.population
    assert found["shops"] == 3
    local = result_of(*asked, "--mode", "local")
    assert (local["mode"], local["clients"], local["against"]) == ("local", 1, None)
    path = tmp_path / "secure.toml"
    path.write_text('mode = "distributed"\nepsilon = 1.0\ndelta = 1e-4\nrounds = 2\ndim = 4\n')
    fits = result_of("budget", shop.folder, "--job", path)["plan"]
    assert fits["releases"] == 3
    assert fits["whole_plans_that_fit"] == found["client"]["whole_plans_that_fit"]


def test_a_run_has_its_clients_and_a_folder_is_one(run_folder: Any, tmp_path: Path) -> None:
    found = owners(run_folder.path)
    assert [owner.settings.name for owner in found] == ["shop-1", "shop-2", "shop-3"]
    assert owners(found[0].folder)[0].settings == found[0].settings
    with pytest.raises(RunError) as raised:
        owners(tmp_path)
    assert raised.value.code is Code.RUN_NOT_FOUND


@given(st.lists(st.floats(0, 1.2), min_size=3, max_size=3), st.integers(1, 80))
def test_a_bar_is_as_wide_as_it_should_be(shares: list[float], width: int) -> None:
    parts = [Part(1, share, 1.0) for share in shares]
    window = WindowView("lifetime", "GDP filter", 8.0, 1e-5, 1.0, *parts, 0.0, 0.0, 0)
    bar = budget_bar(window, width).plain
    assert len(bar) == width
    assert bar == "".join(sorted(bar, key="█▓▒░".index))
    if sum(shares) >= 1:
        assert "░" not in bar


def test_a_bar_of_what_has_no_epsilon_is_full() -> None:
    part, bare = Part(1, 0.1, 1.0), Part(1, float("inf"), float("inf"))
    window = WindowView("lifetime", "f", 8.0, 1e-5, 1.0, bare, part, part, 0.0, 0.0, 0)
    assert budget_bar(window, 10).plain == "█" * 10


def test_every_period_has_a_window_of_its_own(shop: Any) -> None:
    shop.allow(periods=[{"days": 30, "epsilon": 8.0}, {"days": 7, "epsilon": 8.0}])
    shop.ask(shop.task(0))
    windows = result_of("budget", shop.folder)["windows"]
    assert [one["window"] for one in windows] == ["lifetime", "any 30 days", "any 7 days"]
    assert [one["epsilon_cap"] for one in windows[1:]] == [8.0, 8.0]
    assert all(total(one) == pytest.approx(1.0) for one in windows)
    late = view_budget(Owner.of(shop.folder), date(2999, 1, 1))
    assert late.windows[0].spent.releases == 1
    assert late.windows[2].spent.releases == 0  # a week forgets; a lifetime does not
    assert late.windows[2].held.releases == 2


def test_a_ledger_that_was_put_back_is_told(shop: Any) -> None:
    shop.ask(shop.task(0))
    with shop.ledger() as ledger:
        ledger.append("halt", {"seq": 99, "hash": "0" * 64, "server": "f" * 64})
    assert result_of("budget", shop.folder)["halted"]["seq"] == 99
    assert "HALTED" in run("budget", shop.folder).stdout


def test_a_job_is_closed_by_its_whole_id_or_by_one_beginning(shop: Any) -> None:
    shop.allow_much()
    for job_id in ("ab" * 16, "ac" * 16):
        other = shop.variant(job_id=job_id, epsilon=2.0)
        assert other.ask(other.task(0)).code == "ok"
    done = run("budget", shop.folder, "--close", "a")
    assert done.exit_code == 2
    assert "job-closed" in done.stderr
    assert run("budget", shop.folder, "--close", "ab").exit_code == 0
    (left,) = result_of("budget", shop.folder)["open_jobs"]
    assert left["job_id"] == "ac" * 16


def test_a_cap_that_leaves_the_samplers_nothing_says_so(shop: Any) -> None:
    """e^-ε of δ is set aside for them: a higher cap admits less, not more."""
    few = {}
    for cap in (8.0, 20.0, 30.0):
        shop.allow(lifetime={"epsilon": cap, "delta": shop.job.delta})
        few[cap] = lifetime(result_of("budget", shop.folder))["left"]
    assert few[8.0]["numbers"] > few[20.0]["numbers"] > few[30.0]["numbers"]
    assert few[30.0]["numbers"] < 10**6
    assert few[30.0]["epsilon"] == pytest.approx(30.0)
    assert "numbers at most" in run("budget", shop.folder).stdout
