"""Everything that an answer is made from: stock, models, recorded events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client.service.models import Models
from client.service.recorded import Recorded
from client.service.reloading import Reloading
from client.service.served import Served
from client.service.stock import Stock, stock_of
from client.service.v1 import recommender_pb2 as pb
from common.arrays import Histories, Ints

__all__ = ["Desk", "now"]

_SERVING = {"joint": pb.JOINT, "shop": pb.SHOP}


def now() -> datetime:
    """What time it is, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Desk:
    """One client's folder, open for answers.

    Attributes:
        stock_file: log and catalogue, followed while they change.
        models: followed likewise.
        recorded: events of the service's own.
        clock: what time it is.
    """

    stock_file: Reloading[Stock]
    models: Models
    recorded: Recorded
    clock: Callable[[], datetime] = now

    @classmethod
    def open(cls, folder: Path, clock: Callable[[], datetime] = now) -> Desk:
        """Open a client's folder.

        Raises:
            ConfigError: it is none, or its settings cannot be meant.
            DataError: log, catalogue or recorded events cannot be read.
        """
        folder = folder.resolve()
        stock = stock_of(folder)
        stock.get()
        return cls(stock, Models(folder), Recorded.open(folder), clock)

    def close(self) -> None:
        """Close the file of recorded events."""
        self.recorded.close()

    @property
    def stock(self) -> Stock:
        """Log and catalogue as they are now."""
        return self.stock_file.get()

    def had(self, stock: Stock, user_id: str) -> tuple[Ints, Ints]:
        """Positions of a shopper's items, oldest first: in the log, recorded by the service.

        Nobody's, whose name is empty, are none: the file is not asked, nor need it be readable.
        """
        if not user_id:
            return stock.shelf.known(()), stock.shelf.known(())
        recorded = stock.shelf.known(self.recorded.items_of(user_id))
        return stock.in_log(user_id), recorded

    def history(self, stock: Stock, user_id: str, context: Iterable[int] = ()) -> Histories:
        """One shopper's items, each once, those of the context as the newest; and their ratings."""
        if not user_id:
            return stock.history(list(context))
        items, ratings = self.recorded.met(user_id)
        parts = stock.in_log(user_id), stock.shelf.known(items), list(context)
        return stock.history(*parts, user_id=user_id, recorded=ratings)

    def basis(
        self, method: pb.Method, served: Served | None = None, *, scored: bool = False
    ) -> pb.Basis:
        """What an answer rests on.

        Args:
            method: how it was made.
            served: the model; None where none was used.
            scored: it has scores of the model's own.
        """
        return pb.Basis(
            model_version="" if served is None else served.version,
            model_serial=0 if served is None else served.serial,
            serving=pb.JOINT if served is None else _SERVING[served.serving],
            method=method,
            personal=method in (pb.SHOPPER, pb.RECORDS),
            held_back=self.models.held_back or self.stock_file.held_back,
            scores_are_ratings=scored and served is not None and served.units is not None,
        )
