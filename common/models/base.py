"""What every finished model can do, whatever it is made of: shared state, a personal half.

The shared half is `arrays` and `settings`, functions of releases and public facts. The personal
half is what `fold_in` makes of one shopper's own events; it stays on the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories
from common.config import Settings as BaseSettings
from common.privacy.inbound import ArraySpec

__all__ = ["Model", "ModelClass"]


class Model(Protocol):
    """The shared half of a model, and how a shopper is folded in and scored by it.

    Guarantee:
        A row of `fold_in` is a function of that shopper's events and of the shared half alone,
        a row of `scores` of that vector and the shared half: what is shown of it to the shopper
        holds the guarantee `joint`.

    Attributes:
        kind: its name in `common.models.registry.KINDS`.
    """

    kind: ClassVar[str]

    @property
    def settings(self) -> BaseSettings:
        """What it needs to fold in and to score, beside the arrays; public, in the manifest."""
        ...

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        ...

    @property
    def dim(self) -> int:
        """Length of a shopper's vector."""
        ...

    @property
    def popularity(self) -> NDArray[np.float32]:
        """What a shopper without events is shown, `[items]`, positive."""
        ...

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """Where items that are alike lie close, `[items, width]`: similar items, diversity."""
        ...

    def fold_in(self, histories: Histories) -> Floats:
        """Vectors of shoppers from their own events alone, `[users, dim]`. Personal.

        Zero for a shopper without events.
        """
        ...

    def scores(self, user_vectors: Floats) -> Floats:
        """Scores of all items, `[users, items]`; the popularity where the vector is zero."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The shared arrays by name, for safetensors; the settings go to the manifest."""
        ...


class ModelClass(Protocol):
    """What a class of models offers to those that load one."""

    @property
    def Settings(self) -> type[BaseSettings]:  # noqa: N802  a class, as solvers have theirs
        """Frozen settings of the kind."""
        ...

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], settings: BaseSettings) -> Model:
        """Rebuild a model from its arrays; a classmethod.

        Raises:
            ArtifactError: `artifact-invalid`, names, shapes or values are wrong.
        """
        ...

    def specs(
        self, n_items: int, settings: BaseSettings, arrays: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, ArraySpec]:
        """What a receiver demands of each array; a staticmethod.

        Args:
            n_items: size of the receiver's catalogue.
            settings: of the model that was sent.
            arrays: that were sent, unchecked: only names and shapes may be read, for sizes
                that no setting holds and that the kind bounds.

        Raises:
            InboundError: `inbound-array`, the shapes are none that the kind can have.
        """
        ...
