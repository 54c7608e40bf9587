"""Settings of gradient solvers that the mode of a job forbids."""

from __future__ import annotations

from common.errors import Code, ConfigError, PlanError
from common.solvers.base import PublicFacts
from common.solvers.gradient.settings import GradientSettings
from common.solvers.local_steps import check_central

__all__ = ["check_mode", "check_selection"]


def check_mode(settings: GradientSettings, facts: PublicFacts) -> None:
    """Refuse what would promise too little.

    Raises:
        PlanError: `plan-mode`.
    """
    if facts.central:
        check_central(
            local_steps=settings.local_steps,
            sampling_rate=settings.sampling_rate,
            row_selection=settings.row_selection,
        )
    if facts.private and settings.dropout:
        raise PlanError(
            Code.PLAN_MODE,
            f"dropout {settings.dropout:g} with privacy: what a user contributes would depend on "
            "a draw that is not theirs.",
            where="dropout",
            remedy="Leave it out: the noise keeps a network from fitting too well.",
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
