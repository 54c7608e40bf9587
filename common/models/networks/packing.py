"""Dense parameters as rows of the matrix that is released: behind the vectors of the items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packing"]


@dataclass(frozen=True)
class Packing:
    """Where each dense parameter stands: one after another, in rows of `width`, zeros behind.

    Attributes:
        shapes: of the parameters, by name, in their order.
        width: length of a row.
    """

    shapes: Mapping[str, tuple[int, ...]]
    width: int

    @classmethod
    def of(cls, parameters: Mapping[str, NDArray[Any]], width: int) -> Packing:
        """The packing of parameters like these."""
        return cls({name: value.shape for name, value in parameters.items()}, width)

    @property
    def size(self) -> int:
        """Numbers in all parameters together."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    @property
    def rows(self) -> int:
        """Rows that they take."""
        return -(-self.size // self.width)

    def pack(self, parameters: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """`[rows, width]`."""
        flat = np.concatenate([np.ravel(parameters[name]) for name in self.shapes])
        return np.pad(flat, (0, self.rows * self.width - self.size)).reshape(-1, self.width)

    def unpack(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The parameters in `rows`, as views."""
        flat, at, parameters = rows.reshape(-1), 0, {}
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            parameters[name] = flat[at : at + size].reshape(shape)
            at += size
        return parameters
