"""Rules of secure sums: which way a job is answered, with whom, and how many must be honest."""

from __future__ import annotations

from common.errors import Code, PolicyError, SumError
from common.job import Job
from common.privacy.policy import Policy
from common.privacy.roster import Roster, Terms
from common.privacy.signing import SigningKey
from common.protocol import SumCall
from common.secure_sum.party import Party

__all__ = ["check_way", "party_of"]


def check_way(job: Job, *, in_sums: bool) -> None:
    """A job whose clients share the noise is answered in secure sums, every other one is not.

    Guarantee:
        What holds one share of the noise alone leaves under masks or not at all.

    Raises:
        SumError: `sum-stage`.
    """
    if (job.mode == "distributed") == in_sums:
        return
    way = "stages of secure sums" if job.mode == "distributed" else "plain releases"
    raise SumError(
        Code.SUM_STAGE,
        f"a job of mode `{job.mode}` is answered in {way} alone.",
        where="message type",
        remedy="The server is broken or hostile: nothing was computed.",
    )


def party_of(policy: Policy, call: SumCall, name: str, key: SigningKey) -> Party:
    """The part of a client in the sum that is asked for, if its policy lets it have one.

    Args:
        policy: the owner's.
        call: what is asked.
        name: the client's name on the roster.
        key: its roster key.

    Raises:
        PolicyError: `policy-roster`, the sum is with others than the policy pins, or not with
            this client's own key; `policy-threshold`, too few of them have to be honest.
    """
    roster, terms = Roster.of(policy.roster), _terms(policy, call.job)
    if roster.digest != call.job.roster:
        raise _roster("the job names another roster than the policy pins")
    if len(roster.keys) != call.job.clients:
        raise _roster(f"the job counts {call.job.clients} clients, the roster {len(roster.keys)}")
    if roster.keys.get(name) != key.public:
        raise _roster(f"{name} does not stand on it with the key that it has")
    return Party(name=name, key=key, roster=roster, terms=terms, context=call.context)


def _terms(policy: Policy, job: Job) -> Terms:
    terms = job.terms
    if terms is None:  # the job's own rules leave no such job of this mode
        raise _roster("the job names no roster")
    terms.check()
    if terms.colluders < policy.colluders:
        raise PolicyError(
            Code.POLICY_THRESHOLD,
            f"the job withstands {terms.colluders} colluding clients, the owner wants "
            f"{policy.colluders} withstood (`colluders`).",
            where="threshold",
            remedy="Only the owner can change that.",
        )
    return terms


def _roster(what: str) -> PolicyError:
    return PolicyError(
        Code.POLICY_ROSTER,
        f"{what}.",
        where="roster",
        remedy="Compare rosters with the other clients by a way that avoids the server.",
    )
