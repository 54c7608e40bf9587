"""The errors of HushRec, one tree.

HushRecError
├── ConfigError        a setting, a scenario or a job that cannot be meant
├── DataError          events, catalogues and files that cannot be read
├── ArtifactError      models and manifests that do not fit
├── PrivacyError       anything that would break or overspend a guarantee
│   ├── PlanError      a plan that cannot be made
│   ├── PolicyError    a request outside what the client's owner allows
│   ├── InboundError   an array from the server that is not safe to use
│   ├── ReleaseError   a value on its way out that nothing declared
│   ├── SumError       a secure sum that must not go on
│   └── LedgerError    a ledger that is broken, foreign or cannot be written
├── ProtocolError      a message of the wrong form
└── RunError           a run that cannot start, go on or be resumed

Every error carries a `code`; `docs/errors/CODE.md` explains it. The code alone may
leave a client: message, place and remedy may quote data and stay local.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

__all__ = [
    "ArtifactError",
    "Code",
    "ConfigError",
    "DataError",
    "HushRecError",
    "InboundError",
    "LedgerError",
    "PlanError",
    "PolicyError",
    "PrivacyError",
    "ProtocolError",
    "ReleaseError",
    "RunError",
    "SumError",
]


class Code(StrEnum):
    """Stable names of what can go wrong. Append; never rename or re-use one."""

    CONFIG_INVALID = "config-invalid"
    CONFIG_UNKNOWN_KEY = "config-unknown-key"
    CONFIG_NOT_FOUND = "config-not-found"
    DATA_NOT_FOUND = "data-not-found"
    DATA_FORMAT = "data-format"
    DATA_EMPTY = "data-empty"
    DATA_PARTITION = "data-partition"
    CATALOGUE_INVALID = "catalogue-invalid"
    CATALOGUE_MISMATCH = "catalogue-mismatch"
    ARTIFACT_INVALID = "artifact-invalid"
    ARTIFACT_CATALOGUE = "artifact-catalogue"
    PLAN_EPSILON = "plan-epsilon"
    PLAN_DELTA = "plan-delta"
    PLAN_UNIT = "plan-unit"
    PLAN_MODE = "plan-mode"
    PLAN_UNREACHABLE = "plan-unreachable"
    INBOUND_ARRAY = "inbound-array"
    RELEASE_UNDECLARED = "release-undeclared"
    CONTRIBUTION_INVALID = "contribution-invalid"
    LEDGER_FOREIGN = "ledger-foreign"
    LEDGER_BROKEN = "ledger-broken"
    LEDGER_WRITE = "ledger-write"
    REPLAY_CONFLICT = "replay-conflict"
    SNAPSHOT_CHANGED = "snapshot-changed"
    PROTOCOL_INVALID = "protocol-invalid"
    RUN_EXISTS = "run-exists"
    RUN_IN_USE = "run-in-use"
    RUN_NOT_FOUND = "run-not-found"
    RUN_MISMATCH = "run-mismatch"
    RUN_QUORUM = "run-quorum"
    DISK_FULL = "disk-full"
    INTERNAL = "internal"
    NOISE_SEEDED = "noise-seeded"
    CLIENT_UNREADY = "client-unready"
    POLICY_MISSING = "policy-missing"
    POLICY_SERVER = "policy-server"
    POLICY_MESSAGE = "policy-message"
    POLICY_UNIT = "policy-unit"
    POLICY_MODE = "policy-mode"
    POLICY_MODEL = "policy-model"
    POLICY_POPULATION = "policy-population"
    POLICY_DELTA = "policy-delta"
    POLICY_SAMPLING = "policy-sampling"
    BUDGET_LIFETIME = "budget-lifetime"
    BUDGET_PERIOD = "budget-period"
    JOB_CLOSED = "job-closed"
    LEDGER_MISSING = "ledger-missing"
    LEDGER_SIGNATURE = "ledger-signature"
    LEDGER_ROLLED_BACK = "ledger-rolled-back"
    LEDGER_EXPORT = "ledger-export"
    POLICY_PLAN = "policy-plan"
    POLICY_ROSTER = "policy-roster"
    POLICY_THRESHOLD = "policy-threshold"
    SUM_PEERS = "sum-peers"
    SUM_THRESHOLD = "sum-threshold"
    SUM_STAGE = "sum-stage"
    SUM_SESSION = "sum-session"
    SUM_SURVIVORS = "sum-survivors"
    SUM_SHARE = "sum-share"
    POLICY_BUNDLE = "policy-bundle"
    FLOWER_VERSION = "flower-version"
    ENROLL_FINGERPRINT = "enroll-fingerprint"
    ENROLL_EXISTS = "enroll-exists"
    ENROLL_CARD = "enroll-card"
    CERTIFICATE_INVALID = "certificate-invalid"
    MODEL_MISSING = "model-missing"
    MODEL_UNKNOWN = "model-unknown"
    MODEL_STALE = "model-stale"
    NODE_REFUSED = "node-refused"
    SERVER_UNREACHABLE = "server-unreachable"
    CLOCK_SKEW = "clock-skew"
    STORE_SEALED = "store-sealed"
    MODEL_NOT_PRIVATE = "model-not-private"
    REQUEST_INVALID = "request-invalid"
    SERVICE_TOKEN = "service-token"  # noqa: S105  the name of a code
    RUN_STOPPED = "run-stopped"
    MODEL_KIND = "model-kind"


class HushRecError(Exception):
    """What was wrong, where, and what to do.

    Args:
        code: the stable name of the error; the only part that may leave a client.
        message: what was wrong, with the offending value.
        where: file, row, field, setting or option.
        remedy: what the reader should do next.
    """

    exit_status: ClassVar[int] = 2
    """Of a command that ends with it: a person has to mend something."""

    def __init__(self, code: Code, message: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.message}{remedy} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.code, self.message, self.where, self.remedy)


def _rebuild(
    kind: type[HushRecError], code: Code, message: str, where: str, remedy: str
) -> HushRecError:
    return kind(code, message, where=where, remedy=remedy)


class ConfigError(HushRecError):
    """A setting, a scenario or a job that cannot be meant."""


class DataError(HushRecError):
    """Events, catalogues and files that cannot be read."""


class ArtifactError(HushRecError):
    """Models and manifests that do not fit."""


class PrivacyError(HushRecError):
    """Anything that would break or overspend a guarantee."""


class PlanError(PrivacyError):
    """A plan that cannot be made."""


class PolicyError(PrivacyError):
    """A request outside what the client's owner allows."""


class InboundError(PrivacyError):
    """An array from the server that is not safe to use."""


class ReleaseError(PrivacyError):
    """A value on its way out that nothing declared."""


class SumError(PrivacyError):
    """A secure sum that must not go on."""


class LedgerError(PrivacyError):
    """A ledger that is broken, foreign or cannot be written."""


class ProtocolError(HushRecError):
    """A message of the wrong form."""


class RunError(HushRecError):
    """A run that cannot start, go on or be resumed."""
