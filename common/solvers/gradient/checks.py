"""Settings of gradient solvers that the mode of a job forbids."""

from __future__ import annotations

from common.errors import Code, ConfigError, PlanError
from common.solvers.base import PublicFacts
from common.solvers.gradient.settings import GradientSettings

__all__ = ["check_mode", "check_selection"]


def check_mode(settings: GradientSettings, facts: PublicFacts) -> None:
    """Refuse what would promise too little.

    Raises:
        PlanError: `plan-mode`.
    """
    if facts.central and settings.local_steps not in (None, 1):
        raise _refuse(
            f"{settings.local_steps} local steps in mode `distributed`: between secure sums a "
            "client would train on its own share of the noise alone.",
            "local_steps",
            "Leave it out, and ask for more rounds: each is one sum.",
        )
    if facts.central and settings.sampling_rate not in (None, 1):
        raise _refuse(
            f"a sampling rate of {settings.sampling_rate:g} in mode `distributed`: a secure sum "
            "is planned and charged as one over all users.",
            "sampling_rate",
            "Leave it out: 1 is the default.",
        )
    if facts.central and settings.row_selection is not None:
        raise _refuse(
            "a choice of rows in mode `distributed`, where none is proven.",
            "row_selection",
            "Leave it out, or use mode `local`.",
        )
    if facts.private and settings.dropout:
        raise _refuse(
            f"dropout {settings.dropout:g} with privacy: what a user contributes would depend on "
            "a draw that is not theirs.",
            "dropout",
            "Leave it out: the noise keeps a network from fitting too well.",
        )


def check_selection(settings: GradientSettings, *, train_items: bool) -> None:
    """Refuse a choice of rows where there is none to choose.

    Raises:
        ConfigError: `config-invalid`.
    """
    if settings.row_selection is not None and not train_items:
        raise ConfigError(
            Code.CONFIG_INVALID,
            "rows are chosen among items, and vectors of items are not trained.",
            where="row_selection",
            remedy="Leave it out, or say train_items = true.",
        )


def _refuse(what: str, where: str, remedy: str) -> PlanError:
    return PlanError(Code.PLAN_MODE, what, where=where, remedy=remedy)
