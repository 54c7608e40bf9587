"""Which codes are about customers' data, and what is said in their place.

Guarantee:
    What leaves a client, a message, a log, `/health` or `/metrics`, names a code of `PUBLIC` or
    `client-unready`. A code that nobody has classified counts as one about data. An error that
    came out of reading data is about data whatever its code, and of it nothing else is said:
    no class, no file, no place in the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from common.errors import Code, HushRecError

__all__ = ["OF_DATA", "PUBLIC", "about_data", "as_it_leaves", "hides", "told"]

OF_DATA: Final = frozenset(
    {
        Code.CONTRIBUTION_INVALID,
        Code.DATA_EMPTY,
        Code.DATA_FORMAT,
        Code.DATA_NOT_FOUND,
        Code.DATA_PARTITION,
        Code.SNAPSHOT_CHANGED,
        Code.STORE_SEALED,
    }
)
"""Codes that can tell what the data are like."""
PUBLIC: Final = frozenset(
    {
        Code.ARTIFACT_CATALOGUE,
        Code.ARTIFACT_INVALID,
        Code.BUDGET_LIFETIME,
        Code.BUDGET_PERIOD,
        Code.CATALOGUE_INVALID,
        Code.CATALOGUE_MISMATCH,
        Code.CERTIFICATE_INVALID,
        Code.CLIENT_UNREADY,
        Code.CLOCK_SKEW,
        Code.CONFIG_INVALID,
        Code.CONFIG_NOT_FOUND,
        Code.CONFIG_UNKNOWN_KEY,
        Code.DISK_FULL,
        Code.ENROLL_CARD,
        Code.ENROLL_EXISTS,
        Code.ENROLL_FINGERPRINT,
        Code.FLOWER_VERSION,
        Code.INBOUND_ARRAY,
        Code.INTERNAL,
        Code.JOB_CLOSED,
        Code.LEDGER_BROKEN,
        Code.LEDGER_EXPORT,
        Code.LEDGER_FOREIGN,
        Code.LEDGER_MISSING,
        Code.LEDGER_ROLLED_BACK,
        Code.LEDGER_SIGNATURE,
        Code.LEDGER_WRITE,
        Code.MODEL_KIND,
        Code.MODEL_MISSING,
        Code.MODEL_NOT_PRIVATE,
        Code.MODEL_STALE,
        Code.MODEL_UNKNOWN,
        Code.NODE_REFUSED,
        Code.NOISE_SEEDED,
        Code.PLAN_DELTA,
        Code.PLAN_EPSILON,
        Code.PLAN_MODE,
        Code.PLAN_UNIT,
        Code.PLAN_UNREACHABLE,
        Code.POLICY_BUNDLE,
        Code.POLICY_DELTA,
        Code.POLICY_MESSAGE,
        Code.POLICY_MISSING,
        Code.POLICY_MODE,
        Code.POLICY_MODEL,
        Code.POLICY_PLAN,
        Code.POLICY_POPULATION,
        Code.POLICY_ROSTER,
        Code.POLICY_SAMPLING,
        Code.POLICY_SERVER,
        Code.POLICY_THRESHOLD,
        Code.POLICY_UNIT,
        Code.PROTOCOL_INVALID,
        Code.RELEASE_UNDECLARED,
        Code.REPLAY_CONFLICT,
        Code.REQUEST_INVALID,
        Code.RUN_EXISTS,
        Code.RUN_IN_USE,
        Code.RUN_MISMATCH,
        Code.RUN_NOT_FOUND,
        Code.RUN_QUORUM,
        Code.RUN_STOPPED,
        Code.SERVER_UNREACHABLE,
        Code.SERVICE_TOKEN,
        Code.SUM_PEERS,
        Code.SUM_SESSION,
        Code.SUM_SHARE,
        Code.SUM_STAGE,
        Code.SUM_SURVIVORS,
        Code.SUM_THRESHOLD,
    }
)
"""Codes about requests, settings, keys, models, ledgers and machines. Some of them are about
data where data are read (`catalogue-mismatch` of a log): there `about_data` says so."""
_KNOWN: Final = {str(code): code for code in Code}
_MARK: Final = "hushrec_about_data"


def as_it_leaves(code: object) -> str | None:
    """What is said in the place of a code; None where it is none."""
    known = _KNOWN.get(code) if isinstance(code, str) else None
    return None if known is None else str(_leaving(known))


@contextmanager
def about_data(*, keeps_code: bool = False) -> Iterator[None]:
    """Whatever is raised inside is about data: `told` and logs treat it so.

    Args:
        keeps_code: the code is told as it leaves, and only the rest is not.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            with suppress(AttributeError):
                setattr(error, _MARK, "code" if keeps_code else "nothing")
        raise


def told(error: BaseException) -> Code:
    """The code of an error as it leaves; `internal` where it has none."""
    if getattr(error, _MARK, None) == "nothing":
        return Code.CLIENT_UNREADY
    return _leaving(error.code) if isinstance(error, HushRecError) else Code.INTERNAL


def hides(error: BaseException) -> bool:
    """Whether nothing but its code may be said of an error."""
    if isinstance(error, HushRecError) and error.code in OF_DATA | {Code.CLIENT_UNREADY}:
        return True
    return any(hasattr(one, _MARK) for one in _chain(error))


def _leaving(code: Code) -> Code:
    return code if code in PUBLIC else Code.CLIENT_UNREADY


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
