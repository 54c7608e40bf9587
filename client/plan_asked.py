"""What a plan is asked for: options or a scenario, with what a client's folder knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from client.owner import Owner
from client.what_if import Asked, what_if
from common.config import read_json, read_toml
from common.errors import Code, ConfigError
from common.job import Job

__all__ = ["asked_job", "complete", "named"]

_SHARED: Final = (
    "solver", "epsilon", "delta", "evaluation_share", "mode", "threshold", "colluders",
)  # fmt: skip
"""Keys of a scenario that a plan depends on and that mean the same here."""


def asked_job(path: Path, owner: Owner) -> Job:
    """The job in a `job.json`, or that of a scenario for this client alone.

    Raises:
        ConfigError: the file is neither.
    """
    values = read_toml(path) if path.suffix == ".toml" else read_json(path)
    if "job_id" in values:
        return Job.load(values, where=str(path))
    if values.get("mode") == "none":
        raise ConfigError(
            Code.PLAN_MODE,
            "in mode `none` there is no plan that a budget could hold.",
            where=str(path),
            remedy="Choose mode `local`.",
        )
    keys = {"rounds": "rounds", "dim": "embedding_dim"}
    inner = values.get("settings", {})
    settings = dict(inner) if isinstance(inner, dict) else {}
    settings |= {ours: values[theirs] for theirs, ours in keys.items() if theirs in values}
    asked = {name: values[name] for name in _SHARED if values.get(name) is not None}
    asked = {"epsilon": 8.0, "clients": values.get("clients"), **asked, "settings": settings}
    asked.setdefault("mode", "local")
    return what_if(complete(asked, owner, where=str(path))).job


def complete(values: Mapping[str, Any], owner: Owner | None, *, where: str = "options") -> Asked:
    """With what the client's folder knows; its declared users stand for one of equal clients."""
    known = {name: value for name, value in values.items() if value is not None}
    if owner is not None:
        known = {**_known(owner, known), **known}
    missing = [f"--{name}" for name in ("items", "population") if name not in known]
    if missing:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{' and '.join(missing)} must be known.",
            where=where,
            remedy="Give them, or --client with a client's folder.",
        )
    if known["population"] > 1:
        known.setdefault("delta", known["population"] ** -1.1)
    return Asked.load(known, where=where)


def _known(owner: Owner, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a client's folder says where nobody asked otherwise; its policy's first mode."""
    policy = owner.policy
    secure = asked.get("mode", policy.modes[0] if policy.modes else "local") == "distributed"
    clients = int(asked.get("clients") or (len(policy.roster) if secure else 1) or 1)
    known = {
        "clients": clients,
        "items": asked.get("items") or owner.n_items,
        "population": owner.settings.population * clients,
        "delta": policy.lifetime.delta,
        "renyi_order": policy.renyi_order,
        "shops": policy.max_shops_per_shopper,
    }
    return known | ({"mode": "distributed", "colluders": policy.colluders} if secure else {})


def named(job: Job) -> str:
    """A job in a few words: solver, and what it promises."""
    target = "mode none" if job.epsilon is None else f"ε = {job.epsilon:g}"
    return f"{job.solver}, {target} at δ = {job.delta:.3g}"
