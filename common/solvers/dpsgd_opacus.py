"""The two places where the gradient solver meets Opacus: clipping and the optimiser's step.

One sample is one user, so Opacus' per-sample clipping is per-user clipping. The trained
table is one linear layer from a user's vector to items: the gradient of one user is the outer
product of the residuals r and the vector u, and Opacus' ghost clipping (Li et al. 2022,
"Large language models can be strong differentially private learners", section 4) gets its
norm ‖r‖ ‖u‖ without writing `[users, items, dim]` out. Opacus would then add the users up;
here the factors go to a mechanism instead, which sums, and adds the noise of its own source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizerFastGradientClipping

from common.arrays import Floats, Ints
from common.errors import Code, PrivacyError
from common.privacy.contributions import RankOne

__all__ = ["MOMENTS", "Descent", "GradientClipper", "NoisyTotalOptimizer", "SquareLoss"]

MOMENTS: Final = "moments."
"""How the arrays of an optimiser's state are named."""


@dataclass(frozen=True)
class SquareLoss:
    """Half the weighted squared error of each user of a batch; a user's loss is one row.

    L_u = ½ Σ_i weight_ui (s_ui − target_ui)², s_ui = scale_i (table_i · u) + offset_ui.

    Attributes:
        weight: `[batch, items]`, zero where the item is no part of the user's loss. Sensitive.
        target: `[batch, items]`. Sensitive.
        offset: `[batch, items]`, the part of the score that is not trained. Sensitive.
        scale: `[items]`, public.
    """

    weight: Floats
    target: Floats
    offset: Floats
    scale: Floats

    def __call__(self, products: torch.Tensor) -> torch.Tensor:
        """Sum over the batch, for `products` = table_i · u, `[batch, items]`."""
        scores = products * torch.from_numpy(self.scale) + torch.from_numpy(self.offset)
        error = scores - torch.from_numpy(self.target)
        return 0.5 * (torch.from_numpy(self.weight) * error * error).sum()


class GradientClipper:
    """Per-user gradients of a table, clipped by Opacus and not summed.

    Guarantee:
        Each user's rows depend on that user and public state alone, and have a Frobenius
        norm of at most `clip_norm` up to rounding (the mechanism clips again, exactly).
        To the last bit that holds for a batch of one user only: in a larger one the order
        of a sum in the linear layer depends on the size of the batch.
    """

    def __init__(self, table: NDArray[Any], clip_norm: float) -> None:
        self._layer = linear_layer(table)
        self._module = GradSampleModuleFastGradientClipping(
            self._layer, max_grad_norm=clip_norm, loss_reduction="sum", use_ghost_clipping=True
        )

    def gradients(self, users: Ints, vectors: Floats, loss: SquareLoss) -> RankOne:
        """Clipped gradients of a batch of users by the table.

        Args:
            users: positions, increasing, `[batch]`.
            vectors: u, `[batch, width]`.
            loss: the users' losses.

        Returns:
            A contribution per user on the items of their loss; a gradient that is not finite
            stays so, and the mechanism makes it zero.
        """
        products = self._module(torch.tensor(vectors).requires_grad_())  # aligned by torch
        products.retain_grad()
        torch.autograd.backward([loss(products)])
        factors: Floats = self._module.get_clipping_coef().numpy()
        residuals: Floats = products.grad.numpy()
        self._layer.weight.grad = None  # autograd's own sum over the batch, for nobody
        batch, rows = np.nonzero(loss.weight)
        left = (residuals * factors[:, None])[batch, rows]
        indptr = np.searchsorted(batch, np.arange(len(users) + 1))
        return RankOne(users, indptr.astype(np.int64), rows, left, vectors)


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
        where="dpsgd optimiser",
        remedy="This is a defect of the solver: use `step_with`.",
    )
