"""A step of Opacus' optimiser on a mechanism's total, as a function of public arrays.

Opacus would sum over users and add noise itself. Here a mechanism has done both, with noise of
its own source, and the optimiser takes the total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

import torch
from numpy.typing import NDArray
from opacus.optimizers import DPOptimizerFastGradientClipping

from common.arrays import Floats
from common.errors import Code, PrivacyError

__all__ = ["MOMENTS", "Descent", "NoisyTotalOptimizer"]

MOMENTS: Final = "moments."
"""How the arrays of an optimiser's state are named."""


class NoisyTotalOptimizer(DPOptimizerFastGradientClipping):  # type: ignore[misc]
    """Opacus' optimiser without its sum and without its noise: both are a mechanism's.

    Guarantee:
        The wrapped optimiser sees nothing but the total handed to `step_with`, divided by
        the declared batch size; no generator is read.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        clip_norm: float,
        expected_batch_size: float,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=0.0,  # of Opacus' own source, which is not used
            max_grad_norm=clip_norm,
            expected_batch_size=expected_batch_size,
        )
        self._noised: torch.Tensor | None = None

    def step_with(self, noised_total: Floats) -> None:
        """One step on a mechanism's total, `[items, width]`."""
        self._noised = torch.tensor(noised_total)  # a copy: it will be scaled in place
        self.step()
        self._noised = None

    def accumulate(self) -> None:
        """Take the mechanism's total in place of a sum over users.

        Raises:
            PrivacyError: `release-undeclared`, there is none.
        """
        if self._noised is None:
            raise _no_total()
        (table,) = self.params
        table.summed_grad = self._noised.to(table.dtype)

    def add_noise(self) -> None:
        """Add nothing: the total came with its noise."""
        for parameter in self.params:
            parameter.grad = parameter.summed_grad.view_as(parameter)

    def clip_and_accumulate(self) -> NoReturn:
        """Refuse: users are summed by a mechanism only.

        Raises:
            PrivacyError: `release-undeclared`, always.
        """
        raise _no_total()


@dataclass(frozen=True)
class Descent:
    """One step of descent as a pure function of public arrays; torch keeps nothing between.

    Attributes:
        optimizer: `sgd` or `adam`.
        learning_rate: step length in units of the mean gradient (`sgd`) or of a table entry.
        momentum: of `sgd`, or the first moment's decay of `adam`.
        clip_norm: largest norm of one user's gradient.
    """

    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    momentum: float
    clip_norm: float

    def step(
        self,
        table: NDArray[Any],
        moments: Mapping[str, NDArray[Any]],
        noised_total: Floats,
        expected_batch_size: float,
    ) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """Step on a mechanism's total.

        Args:
            table: parameters, `[items, width]`.
            moments: what the last step returned, empty before the first.
            noised_total: `[items, width]`, a mechanism's.
            expected_batch_size: declared users times sampling rate, never a count.

        Returns:
            The next table and the moments to go on with.
        """
        layer = linear_layer(table)
        inner = self._inner(layer)
        optimizer = NoisyTotalOptimizer(
            inner, clip_norm=self.clip_norm, expected_batch_size=expected_batch_size
        )
        if moments:
            inner.state[layer.weight] = {
                key.removeprefix(MOMENTS): torch.tensor(value) for key, value in moments.items()
            }
        optimizer.step_with(noised_total)
        kept = inner.state[layer.weight]
        return layer.weight.detach().numpy(), {
            MOMENTS + key: value.numpy() for key, value in kept.items() if value is not None
        }

    def _inner(self, layer: torch.nn.Linear) -> torch.optim.Optimizer:
        if self.optimizer == "adam":
            betas = (self.momentum, 0.999)
            return torch.optim.Adam(layer.parameters(), lr=self.learning_rate, betas=betas)
        return torch.optim.SGD(layer.parameters(), lr=self.learning_rate, momentum=self.momentum)


def linear_layer(table: NDArray[Any]) -> torch.nn.Linear:
    """A linear layer with `table` `[items, width]` as weights, in float64.

    Made without values first: random ones would be read from torch's global generator.
    """
    items, width = table.shape
    layer = torch.nn.Linear(width, items, bias=False, device="meta")
    layer.weight = torch.nn.Parameter(torch.tensor(table, dtype=torch.float64))
    return layer


def _no_total() -> PrivacyError:
    return PrivacyError(
        Code.RELEASE_UNDECLARED,
        "a gradient step was asked for without a mechanism's total.",
        where="optimiser",
        remedy="This is a defect of the solver: use `step_with`.",
    )
