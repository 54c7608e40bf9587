"""Keys, permissions, policy, ledger, roster: what the client's promises rest on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from client.budget_view import WindowView, view_budget
from client.doctor.findings import SKEW, Finding, Patient, fail, fine, warn
from client.enroll.begin import INVITATION
from client.enroll.standing import client_items
from client.store import CLIENT_TOML, POLICY_TOML
from common.bundle import build_bundle, bundle_sha256
from common.enrolment.standing import Item
from common.errors import Code, ConfigError
from common.privacy.roster import Roster

__all__ = ["check_budget", "check_keys", "check_ledger", "check_policy", "check_roster"]

_LITTLE: Final = 0.1
"""Share of a cap below which somebody should know."""
_FEWEST_IN_SUMS: Final = 3


def check_keys(patient: Patient) -> Iterator[Finding]:
    """Files, permissions and certificates, as `hushrec enroll status` sees them."""
    folder = patient.folder
    items = client_items(folder, patient.now)
    if items is None:
        if (folder / CLIENT_TOML).is_file():
            remedy = "Enrol it: `hushrec enroll client`."
            yield warn("this client is not enrolled", folder / INVITATION, remedy)
        return
    good = sum(item.state == "ok" for item in items)
    yield fine(f"{good} of {len(items)} keys, files and certificates are in order")
    missing = any(item.state == "missing" for item in items)
    for item in items:
        follows = missing and item.state == "wrong"  # what does not fit for want of a file
        if item.state != "ok" and not follows:
            yield _item(item)


def _item(item: Item) -> Finding:
    code = Code.CERTIFICATE_INVALID if item.state in {"expired", "ends-soon"} else None
    if item.state == "ends-soon":
        return warn(item.said, item.path, "", code)
    return fail(item.said, item.path, "", code)


def check_policy(patient: Patient) -> Iterator[Finding]:
    """The policy can be read, and lets this client take part in something."""
    policy, where = patient.owner.policy, patient.folder / POLICY_TOML
    if not policy.bundles:
        yield fail(
            "it lists no bundle, so no run has this client",
            f"{where}, `bundles`",
            f"Compare it with the operator's, then: `hushrec bundle --client {patient.folder} "
            "--list`.",
            Code.POLICY_BUNDLE,
        )
    elif _installed() not in (None, *policy.bundles):
        yield warn(
            "the installed version's own bundle is not listed",
            f"{where}, `bundles`",
            "After an upgrade: compare it with the operator's, and list it.",
            Code.POLICY_BUNDLE,
        )
    if not policy.servers:
        yield warn(
            "it names no server, so whoever reaches this client may ask",
            f"{where}, `servers`",
            "Name the server's key, as the invitation has it.",
            Code.POLICY_SERVER,
        )
    yield fine(
        f"{len(policy.servers)} servers, {len(policy.bundles)} bundles, "
        f"modes {', '.join(policy.modes)}",
        where,
    )


def _installed() -> str | None:
    """The bundle of the installed version; None where not all of it is installed."""
    try:
        return bundle_sha256(build_bundle())
    except ConfigError:
        return None


def check_roster(patient: Patient) -> Iterator[Finding]:
    """The roster is one that secure sums can be made with; that it agrees, people compare."""
    policy, where = patient.owner.policy, f"{patient.folder / POLICY_TOML}, [roster]"
    if "distributed" not in policy.modes:
        return
    roster = Roster.of(policy.roster)
    own = patient.settings.name
    if own not in roster.keys:
        yield fail(
            f"{own} itself is not pinned", where, "Run `hushrec roster` here.", Code.POLICY_ROSTER
        )
    if len(roster.keys) < _FEWEST_IN_SUMS:
        remedy = "Pin the others: `hushrec enroll peer`."
        yield fail(
            f"only {len(roster.keys)} clients are pinned, too few for a secure sum",
            where,
            remedy,
            Code.POLICY_ROSTER,
        )
    else:
        yield fine(f"{len(roster.keys)} clients, digest {roster.digest}: all must see the same")


def check_ledger(patient: Patient) -> Iterator[Finding]:
    """The ledger opens, its whole chain holds, it was not halted, it is not of tomorrow."""
    owner = patient.owner
    if not owner.has_ledger:
        yield fine("none yet: it begins with the first message", owner.ledger_path)
        return
    with owner.ledger(mends=False) as ledger:
        ledger.verify()
        halt, rows = ledger.last("halt"), ledger.signed_head().seq + 1
        written = max((datetime.fromisoformat(row.time) for row in ledger.rows()), default=None)
    if halt is not None:
        yield fail(
            f"it was shown to be an old copy: somebody holds its row {halt.body.get('seq')}",
            owner.ledger_path,
            "Put the newest copy back; nothing is answered before.",
            Code.LEDGER_ROLLED_BACK,
        )
    if written is not None and written > patient.now + SKEW:
        yield fail(
            f"its newest row is of {written.astimezone(UTC):%Y-%m-%d %H:%M} UTC, in the future",
            owner.ledger_path,
            "Set the clock of this machine; it was ahead once, or is behind now.",
            Code.CLOCK_SKEW,
        )
    yield fine(f"{rows} rows, every one in its chain", owner.ledger_path)


def check_budget(patient: Patient) -> Iterator[Finding]:
    """What is left of every cap."""
    view = view_budget(patient.owner, patient.now.astimezone(UTC).date())
    for window in view.windows:
        yield _window(window, patient)
    for job in view.open_jobs:
        yield fine(
            f"job {str(job['job_id'])[:12]} of {str(job['admitted'])[:10]} holds "
            f"{job['held']} releases; if it is over, `hushrec budget --close` frees them"
        )


def _window(window: WindowView, patient: Patient) -> Finding:
    left = f"ε {window.left_epsilon:.2f} of {window.cap:g} ({window.name}) is left"
    if window.left_epsilon <= 0:
        is_lifetime = window.name == "lifetime"
        return fail(
            f"nothing of ε {window.cap:g} ({window.name}) is left, so every job is refused",
            patient.folder / POLICY_TOML,
            "Look at `hushrec budget`: close jobs that are over, wait for the period, or decide "
            "anew what may be lost.",
            Code.BUDGET_LIFETIME if is_lifetime else Code.BUDGET_PERIOD,
        )
    if window.left < _LITTLE:
        return warn(left, patient.folder / POLICY_TOML, "Look at `hushrec budget`.")
    return fine(left)
