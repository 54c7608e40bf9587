"""Why a secure sum does not go on: one way to say it, for both halves of the protocol."""

from __future__ import annotations

from typing import Final

from common.errors import Code, SumError
from common.privacy.roster import Terms

__all__ = ["refusal", "require_enough"]

_REMEDIES: Final = {
    Code.SUM_PEERS: "Compare the rosters of all clients; if they agree, somebody changed the keys.",
    Code.SUM_THRESHOLD: "Wait until more clients are there: the next session begins anew.",
    Code.SUM_STAGE: "Begin a new session.",
    Code.SUM_SURVIVORS: "Begin a new session; if no server crashed, tell the other clients.",
    Code.SUM_SHARE: "Begin a new session; if it is always the same client, look at its version.",
}


def refusal(code: Code, message: str, *, where: str) -> SumError:
    """The error of a stage, with what to do about it."""
    return SumError(code, message, where=where, remedy=_REMEDIES[code])


def require_enough(found: int, terms: Terms, *, where: str) -> None:
    """Hold a stage to the threshold.

    Raises:
        SumError: `sum-threshold`.
    """
    if found < terms.threshold:
        message = f"{found} of {terms.clients} clients are left, it takes {terms.threshold}."
        raise refusal(Code.SUM_THRESHOLD, message, where=where)
