"""Each thing that can be wrong at a client is one clear line, and hides no other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from client.data_files import EVENTS, REJECTED
from client.doctor.command import CHECKS, NETWORK, examine
from client.doctor.findings import Finding, Patient, fine, run_checks, worst
from client.doctor.machine import pins
from client.enroll.node_key import NODE_KEY
from client.frozen import FROZEN, end_of, write_end
from client.recorded_file import RECORDED
from client.sealing import seal_folder
from client.service.recorded import Event, Recorded
from client.store import CLIENT_TOML, POLICY_TOML
from common.certificates import certificate_pem, make_authority, new_key
from common.errors import Code, LedgerError
from tests.client.doctor.conftest import Ward
from tests.client.enroll.shops import hushrec

NOW = datetime.now(UTC)
ROOT = Path(__file__).resolve().parents[3]


def change(ward: Ward, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Edit the log."""
    path = ward.folder / EVENTS
    edit(pd.read_parquet(path)).to_parquet(path, index=False)
    path.chmod(0o600)


def test_a_client_in_order(ward: Ward) -> None:
    found = ward.examined()
    assert worst(found) == "ok"
    assert "90 events of 30 users about 3 of 3 items, until 2026-01-03" in [
        one.what for one in found
    ]
    assert {one.check for one in found} >= {
        *("disk", "memory", "versions", "clock", "keys", "data", "policy", "ledger", "budget"),
    }


OTHER = f'["{"0" * 64}"]'
SPOILT: dict[str, tuple[Callable[[Ward], Any], str, str, Code | None, str]] = {
    "future": (
        lambda w: change(w, lambda t: t.assign(datetime=t["datetime"] + timedelta(days=36_500))),
        "data", "warn", Code.CLOCK_SKEW, "90 events are in the future",
    ),
    "twice": (
        lambda w: change(w, lambda t: pd.concat([t, t.iloc[:4]], ignore_index=True)),
        "data", "warn", None, "4 events are there twice",
    ),
    "unknown": (
        lambda w: change(w, lambda t: t.assign(item_id=t["item_id"].replace("a", "gone"))),
        "data", "fail", Code.CATALOGUE_MISMATCH, "30 of 90 events (33.3%)",
    ),
    "population": (
        lambda w: change(w, lambda t: t[t["user_id"] != "u1"].reset_index(drop=True)),
        "data", "warn", Code.POLICY_POPULATION, "30 users are declared, the log has 29",
    ),
    "no-events": (
        lambda w: (w.folder / EVENTS).write_bytes(b"PAR1"),
        "data", "fail", Code.DATA_FORMAT, "not Parquet",
    ),
    "too-old": (
        lambda w: w.edit(CLIENT_TOML, lambda t: "retention_days = 30\n" + t),
        "data", "warn", None, "90 events are older",
    ),
    "set-aside": (
        lambda w: write(w.folder / REJECTED, "row,field,reason\n" + "1,x,missing\n" * 9),
        "rejected", "warn", None, "9 rows were set aside: missing 9",
    ),
    "too-open": (
        lambda w: (w.folder / NODE_KEY).chmod(0o644),
        "keys", "fail", None, "can be read by others",
    ),
    "key-gone": (
        lambda w: (w.folder / NODE_KEY).unlink(),
        "keys", "fail", None, "is not there",
    ),
    "no-bundle": (
        lambda w: w.edit(POLICY_TOML, lambda t: t.replace('bundles = ["', 'bundles = [] # ["')),
        "policy", "fail", Code.POLICY_BUNDLE, "lists no bundle",
    ),
    "other-bundle": (
        lambda w: w.edit(POLICY_TOML, lambda t: t.replace("bundles = [", f"bundles = {OTHER} #")),
        "policy", "warn", Code.POLICY_BUNDLE, "is not listed",
    ),
    "no-policy": (
        lambda w: w.edit(POLICY_TOML, lambda t: "nonsense ="),
        "keys", "fail", None, "not valid TOML",
    ),
    "ledger-gone": (
        lambda w: write(w.folder / "ledger_key.pem", "key"),
        "ledger", "fail", Code.LEDGER_MISSING, "",
    ),
    "ledger-broken": (
        lambda w: write(w.folder / "ledger.sqlite", "this is no ledger" * 400),
        "ledger", "fail", Code.LEDGER_BROKEN, "",
    ),
    "roster": (
        lambda w: w.edit(POLICY_TOML, lambda t: t.replace('"local"', '"distributed"')),
        "roster", "fail", Code.POLICY_ROSTER, "only 1 clients are pinned",
    ),
    "clock": (
        lambda w: os.utime(w.folder / EVENTS, (NOW.timestamp() + 86_400,) * 2),
        "clock", "fail", Code.CLOCK_SKEW, "in the future",
    ),
}  # fmt: skip


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


@pytest.mark.parametrize("what", list(SPOILT))
def test_one_thing_that_is_wrong_is_one_line(ward: Ward, what: str) -> None:
    spoil, check, level, code, said = SPOILT[what]
    spoil(ward)
    found = [one for one in ward.trouble() if not _follows(what, one)]
    assert len(found) == 1, [one.line for one in found]
    assert (found[0].check, found[0].level) == (check, level)
    assert said in found[0].what
    assert code is None or found[0].code is code
    assert found[0].where
    assert "\n" not in found[0].line
    assert len([one for one in ward.examined() if one.level == "ok"]) >= 6  # the others are seen


def _follows(what: str, one: Finding) -> bool:
    """A file in two roles may be wrong in two: the key of a ledger, the text of a policy."""
    return (what, one.check) in {("ledger-gone", "budget"), ("ledger-broken", "budget"),
                                 ("ledger-gone", "keys"), ("no-policy", "policy"),
                                 ("roster", "keys")}  # fmt: skip


def test_a_machine_that_is_a_year_behind(ward: Ward) -> None:
    """Everything here is of the future then, and says so of the file and the certificate."""
    found = ward.trouble(now=NOW - timedelta(days=365))
    assert {one.code for one in found if one.level == "fail"} == {Code.CLOCK_SKEW}
    assert {one.check for one in found if one.level == "fail"} == {"clock"}


def test_an_authority_that_is_over(ward: Ward) -> None:
    old = make_authority("test", new_key(), days=10, now=NOW - timedelta(days=30))
    (ward.folder / "ca.pem").write_bytes(certificate_pem(old))
    found = [one for one in ward.trouble() if one.code is Code.CERTIFICATE_INVALID]
    assert "is over since" in found[0].what
    assert found[0].level == "fail"


def test_an_authority_that_is_over_soon(ward: Ward) -> None:
    in_ten_years = ward.trouble(now=NOW + timedelta(days=3640))
    assert [(one.level, one.code) for one in in_ten_years] == [("warn", Code.CERTIFICATE_INVALID)]


def test_settings_that_cannot_be_read_are_named_once(ward: Ward) -> None:
    ward.edit(CLIENT_TOML, lambda _: "name = ")
    found = ward.trouble()
    named = [one for one in found if CLIENT_TOML in one.where and "not valid TOML" in one.what]
    assert len(named) == 1
    assert len([one for one in ward.examined() if one.level == "ok"]) >= 5


def test_encryption(ward: Ward, tmp_path: Path) -> None:
    key = tmp_path / "keys" / "north.key"
    key.parent.mkdir()
    seal_folder(ward.folder, key)
    assert "the data are encrypted" in [one.what for one in ward.examined()]
    assert ward.trouble() == []
    key.chmod(0o644)
    assert "can be read by others" in ward.one().what
    key.chmod(0o600)
    (ward.folder / EVENTS).write_bytes(b"forgotten")
    (ward.folder / EVENTS).chmod(0o600)
    assert "in the clear" in ward.one().what
    (ward.folder / EVENTS).unlink()
    key.unlink()
    assert ward.one().code is Code.STORE_SEALED


def test_recorded_events_of_a_backup_in_a_sealed_folder(ward: Ward, tmp_path: Path) -> None:
    with Recorded.open(ward.folder) as service:
        service.write([Event("e", "u1", "a", 1)], 0)
    backup = shutil.copy(ward.folder / RECORDED, tmp_path / "backup")
    seal_folder(ward.folder, tmp_path / "key")
    assert ward.trouble() == []
    shutil.copy(backup, ward.folder / RECORDED)
    assert f"{RECORDED} also lie there in the clear" in ward.one().what


def test_a_key_beside_what_it_opens(ward: Ward, tmp_path: Path) -> None:
    seal_folder(ward.folder, tmp_path / "key")
    (tmp_path / "key").rename(ward.folder / "key")
    ward.edit(CLIENT_TOML, lambda text: text.replace(str(tmp_path / "key"), "key"))
    assert "beside what it opens" in ward.one().what


def test_what_a_crash_has_left(ward: Ward) -> None:
    left = ward.folder / f".{EVENTS}.4711.part"
    left.write_bytes(b"PAR1 somebody")
    found = ward.one()
    assert (found.check, found.level, found.where) == ("leftovers", "warn", str(left))
    assert hushrec("client", "prune", ward.folder).exit_code == 0
    assert not left.exists()
    copy = ward.folder / FROZEN / "00ff"
    copy.mkdir(parents=True)
    write_end(copy, end_of(NOW, None, None))
    assert ward.trouble() == []
    assert "no job may use any more" in ward.one(now=NOW + timedelta(days=7)).what


def test_recorded_events_wait(ward: Ward) -> None:
    with Recorded.open(ward.folder) as service:
        service.write([Event("e", "u1", "a", 1)], 0)
    waiting = [one for one in ward.examined() if one.check == "recorded"]
    assert [one.level for one in waiting] == ["ok"]
    assert waiting[0].what.startswith("1 recorded events wait")


def test_a_client_that_has_spent_everything(shop: Any) -> None:
    shop.ask(shop.task(0))
    shop.allow(lifetime={**shop.policy.lifetime.model_dump(), "epsilon": 1e-3})
    found = examine(shop.folder, datetime.now(UTC), offline=True)
    (spent,) = [one for one in found if one.code is Code.BUDGET_LIFETIME]
    assert spent.level == "fail"
    assert any(one.check == "ledger" and "every one in its chain" in one.what for one in found)
    assert any(one.check == "keys" and "not enrolled" in one.what for one in found)


def test_a_ledger_of_tomorrow_and_one_that_was_halted(shop: Any) -> None:
    shop.ask(shop.task(0))
    found = examine(shop.folder, datetime.now(UTC) - timedelta(days=1), offline=True)
    assert {one.check for one in found if one.code is Code.CLOCK_SKEW} >= {"ledger", "clock"}
    with shop.ledger() as ledger:
        head = ledger.signed_head().sign(ledger.key, "shop-1", 999, "0" * 64)
        with pytest.raises(LedgerError):
            ledger.check_head(head, "somebody")
    found = examine(shop.folder, datetime.now(UTC), offline=True)
    (halted,) = [one for one in found if one.code is Code.LEDGER_ROLLED_BACK]
    assert "row 999" in halted.what


def test_a_check_that_breaks_hides_no_other(ward: Ward) -> None:
    def broken(_: Patient) -> Iterable[Finding]:
        yield fine("seen before it broke")
        raise ZeroDivisionError("row 7 of somebody")

    def denied(_: Patient) -> Iterable[Finding]:
        raise PermissionError(13, "Permission denied", "/data")

    checks = [("a", broken), ("b", denied), ("c", lambda _: [fine("last")])]
    found = run_checks(checks, Patient(ward.folder, NOW))
    assert [(one.check, one.level) for one in found] == [
        ("a", "ok"), ("a", "fail"), ("b", "fail"), ("c", "ok"),
    ]  # fmt: skip
    assert "row 7" not in found[1].line
    assert (found[2].where, found[2].what) == ("/data", "Permission denied")


def test_what_is_no_folder(ward: Ward, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", ward.folder / EVENTS):
        done = hushrec("doctor", path, "--offline")
        assert done.exit_code == 1
        assert done.output.splitlines() == [
            f"fail  disk      {path}: there is no such folder. Check the path. [config-not-found]"
        ]


def test_the_command(ward: Ward) -> None:
    done = hushrec("doctor", ward.folder, "--offline", "--format", "json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["status"] == "ok"
    assert set(found["findings"][0]) == {"check", "level", "what", "where", "remedy", "code"}
    (ward.folder / NODE_KEY).unlink()
    done = hushrec("doctor", ward.folder, "--offline")
    assert done.exit_code == 1
    assert [line for line in done.output.splitlines() if line.startswith("fail")] == [
        f"fail  keys      {ward.folder / NODE_KEY}: is not there. Restore it from its backup."
    ]


def test_a_warning_is_no_reason_for_a_status(ward: Ward) -> None:
    SPOILT["twice"][0](ward)
    assert hushrec("doctor", ward.folder, "--offline").exit_code == 0


def test_all_checks_have_a_name_of_their_own() -> None:
    names = [name for name, _ in CHECKS + NETWORK]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 9 for name in names)


def test_exact_requirements_alone_are_pins() -> None:
    asked = ["flwr[simulation]==1.41.0", "torch==2.13.0", "pandas<4,>=3", 'x==1; extra == "dev"']
    assert pins(asked) == {"flwr": "1.41.0", "torch": "2.13.0"}


EXAMINES = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from client.doctor.command import examine
now = datetime.now(UTC)
found = {p: [one.to_json() for one in examine(Path(p), now, offline=True)] for p in sys.argv[1:]}
print(json.dumps(found))
"""
MOUNTS = """
mount -t tmpfs -o size=600k tmpfs {full} && mount -t tmpfs -o size=9m tmpfs {fixed} || exit 77
cp -a {client} {full}/north
dd if=/dev/zero of={full}/filler bs=1k 2>/dev/null
cp -a {client} {fixed}/north
mount -o remount,ro {fixed}
exec {python} -c "$EXAMINES" {full}/north {fixed}/north
"""


def test_broken_disks(ward: Ward, tmp_path: Path) -> None:
    """Real file systems in a mount namespace of their own, where the system allows one."""
    full, fixed = tmp_path / "full", tmp_path / "fixed"
    full.mkdir()
    fixed.mkdir()
    script = MOUNTS.format(full=full, fixed=fixed, client=ward.folder, python=sys.executable)
    if shutil.which("unshare") is None:
        pytest.skip("there is no `unshare`")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "EXAMINES": EXAMINES},
    )  # fmt: skip
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.returncode == 0, done.stderr
    codes = {str(full / "north"): Code.DISK_FULL, str(fixed / "north"): Code.DATA_NOT_FOUND}
    for place, findings in json.loads(done.stdout).items():
        (cannot,) = [one for one in findings if "cannot be written" in one["what"]]
        assert (cannot["level"], cannot["check"]) == ("fail", "disk")
        assert cannot["code"] == codes[place]
        assert any(one["check"] == "data" and one["level"] == "ok" for one in findings)
