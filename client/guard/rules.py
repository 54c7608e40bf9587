"""The rules of a policy that need no budget: one function, one code each.

They look at what is asked for and at what the owner wrote down, never at data. What a
request may cost is `client.guard.budget`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import Array, ArrayRecord, RecordDict

from client.store import ClientSettings
from common.errors import Code, PolicyError
from common.job import Job
from common.privacy.plan import PrivacyPlan
from common.privacy.policy import Policy
from common.protocol import SumCall, Task

__all__ = [
    "check_delta",
    "check_job",
    "check_message",
    "check_mode",
    "check_model",
    "check_plan",
    "check_population",
    "check_sampling",
    "check_server",
    "check_server_key",
    "check_unit",
    "message_bytes",
]


def check_job(policy: Policy, job: Job, settings: ClientSettings) -> None:
    """Everything that a job says before its plan is made.

    Raises:
        PolicyError: the code of the first rule that it breaks.
    """
    check_unit(policy, job)
    check_mode(policy, job, settings)
    check_model(policy, job)
    check_population(policy, job)
    check_delta(policy, job, settings)


def check_message(policy: Policy, records: RecordDict) -> None:
    """The message is no larger than the owner looks at; nothing in it is parsed for that.

    Raises:
        PolicyError: `policy-message`.
    """
    found = message_bytes(records)
    if found > policy.max_message_bytes:
        raise _refused(
            Code.POLICY_MESSAGE,
            f"a message of {found} bytes",
            f"at most {policy.max_message_bytes}",
            "max_message_bytes",
        )


def message_bytes(records: RecordDict) -> int:
    """Bytes of all names, strings, numbers and serialised arrays in `records`."""
    return sum(_size(name) + _record_size(record) for name, record in records.items())


def _record_size(record: Any) -> int:
    values = record.values() if not isinstance(record, ArrayRecord) else ()
    arrays = record.values() if isinstance(record, ArrayRecord) else ()
    names = sum(_size(name) for name in record)
    return names + sum(map(_size, values)) + sum(map(_array_size, arrays))


def _array_size(array: Array) -> int:
    return len(array.data) + _size(array.dtype) + _size(array.stype) + 8 * len(array.shape)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass"))
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Iterable):
        return sum(_size(part) for part in value)
    return 8


def check_server(policy: Policy, task: Task | SumCall) -> None:
    """The task is signed by the server that its job names, and the policy knows that server.

    Raises:
        PolicyError: `policy-server`.
    """
    check_server_key(policy, task.job.server)
    task.check_signature()


def check_server_key(policy: Policy, server: str | None) -> None:
    """`server` is one of the policy's servers, if the policy names any.

    Raises:
        PolicyError: `policy-server`.
    """
    if policy.servers and server not in policy.servers:
        allowed = ", ".join(f"{key[:8]}…" for key in policy.servers)
        asked = "a server without a key" if server is None else f"server {server[:8]}…"
        raise _refused(Code.POLICY_SERVER, asked, f"{allowed} alone", "servers")


def check_unit(policy: Policy, job: Job) -> None:
    """The job protects what the policy protects.

    Raises:
        PolicyError: `policy-unit`.
    """
    if job.unit != policy.unit:
        raise _refused(Code.POLICY_UNIT, f"unit `{job.unit}`", f"`{policy.unit}`", "unit")


def check_mode(policy: Policy, job: Job, settings: ClientSettings) -> None:
    """The noise is added by whom the policy lets add it; nobody at all takes two words.

    Raises:
        PolicyError: `policy-mode`.
    """
    if job.mode not in policy.modes:
        allowed = ", ".join(f"`{mode}`" for mode in policy.modes) or "none at all"
        raise _refused(Code.POLICY_MODE, f"mode `{job.mode}`", allowed, "modes")
    if job.mode == "none" and not settings.no_privacy:
        raise _refused(
            Code.POLICY_MODE,
            "exact sums (mode `none`)",
            "them only if client.toml says `no_privacy` as well",
            "modes",
        )


def check_model(policy: Policy, job: Job) -> None:
    """The job is fitted by a solver that the policy names.

    Raises:
        PolicyError: `policy-model`.
    """
    if job.solver not in policy.solvers:
        allowed = ", ".join(policy.solvers) or "none at all"
        raise _refused(Code.POLICY_MODEL, f"solver {job.solver!r}", allowed, "solvers")


def check_population(policy: Policy, job: Job) -> None:
    """Enough users are declared; declared, since a true count would be a release.

    Raises:
        PolicyError: `policy-population`.
    """
    if job.population < policy.min_population:
        raise _refused(
            Code.POLICY_POPULATION,
            f"a job over {job.population} declared users",
            f"no fewer than {policy.min_population}",
            "min_population",
        )


def check_delta(policy: Policy, job: Job, settings: ClientSettings) -> None:
    """δ is at most the policy's, and below one over the client's own declared users.

    Raises:
        PolicyError: `policy-delta`.
    """
    if job.mode == "none":
        return
    if job.delta > policy.lifetime.delta:
        raise _refused(
            Code.POLICY_DELTA,
            f"δ = {job.delta:g}",
            f"at most {policy.lifetime.delta:g}",
            "lifetime.delta",
        )
    if job.delta >= 1.0 / settings.population:
        raise _refused(
            Code.POLICY_DELTA,
            f"δ = {job.delta:g}",
            f"less than 1/{settings.population}, one over the declared users",
            "population",
        )


def check_plan(policy: Policy, releases: int) -> None:
    """The job's plan has no more releases than the owner lets it have; before it is made.

    Raises:
        PolicyError: `policy-plan`.
    """
    if releases > policy.max_releases:
        raise _refused(
            Code.POLICY_PLAN,
            f"a plan of {releases} releases",
            f"at most {policy.max_releases}",
            "max_releases",
        )


def check_sampling(policy: Policy, plan: PrivacyPlan) -> None:
    """No release takes users at a higher rate than the policy allows.

    Raises:
        PolicyError: `policy-sampling`.
    """
    rate = max(release.sampling_rate for release in plan.releases)
    if rate > policy.max_sampling_rate:
        raise _refused(
            Code.POLICY_SAMPLING,
            f"a sampling rate of {rate:g}",
            f"at most {policy.max_sampling_rate:g}",
            "max_sampling_rate",
        )


def _refused(code: Code, asked: str, allowed: str, setting: str) -> PolicyError:
    return PolicyError(
        code,
        f"the server asks for {asked}, the owner allows {allowed} (`{setting}`).",
        remedy="Only the owner can change that.",
    )
