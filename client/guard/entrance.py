"""What is asked of every message, and all that is answered without a client's data.

Guarantee:
    Nothing here reads an event: a receipt or a model is taken whatever the log is like, and
    that it is taken says nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from typing import Generic, Self, TypeAlias, TypeVar

from flwr.app import RecordDict

from client.guard.admission import check_halted
from client.guard.receipts import keep_receipt
from client.guard.refusals import Asked, refusing
from client.guard.rules import check_message
from client.guard.sent_model import check_sent_model
from client.ledger_store import LedgerStore
from client.models import ModelStore
from client.store import ClientPlace, read_policy
from common.privacy.policy import Policy
from common.protocol import ModelMessage, ReceiptMessage

__all__ = ["Clock", "Entrance", "today"]

Clock: TypeAlias = Callable[[], datetime]
"""Says what time it is, in UTC."""
_Place = TypeVar("_Place", bound=ClientPlace)


class Entrance(Generic[_Place]):
    """A client's ledger under its policy, as far as no data are needed. A context manager."""

    def __init__(
        self, store: _Place, policy: Policy, ledger: LedgerStore, clock: Clock | None = None
    ) -> None:
        self._store = store
        self._policy = policy
        self._ledger = ledger
        self._clock = clock

    @classmethod
    def open(cls, store: _Place, clock: Clock | None = None) -> Self:
        """Open the client's ledger under its policy.

        Args:
            store: the client's folder.
            clock: what time it is, in UTC; None is the machine's.

        Raises:
            LedgerError: the ledger is foreign, broken, missing, or cannot be written.
            PolicyError: `policy-missing`: what nobody allowed is refused.
            ConfigError: the policy cannot be read.
        """
        settings = store.settings
        ledger = LedgerStore.open(
            store.ledger_path,
            settings.name,
            settings.dataset_id,
            survives_power_cut=not settings.simulated,
            clock=clock,
        )
        try:
            with refusing(ledger, stranger=today(clock)):
                return cls(store, read_policy(store.folder), ledger, clock)
        except BaseException:
            ledger.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()

    @property
    def ledger_key(self) -> str:
        """Public half of the key that signs the ledger's heads."""
        return self._ledger.public_key

    def refusing(
        self, task: Asked | None = None, *, quote: bool = True, known: bool = True
    ) -> AbstractContextManager[None]:
        """Record what goes wrong inside, and let it go on; see `refusals.refusing`."""
        stranger = None if known else today(self._clock)
        return refusing(self._ledger, task, quote=quote, stranger=stranger)

    def look(self, records: RecordDict) -> None:
        """What is asked of every message before anything in it is parsed.

        Raises:
            PolicyError: `policy-message`, it is too large.
            LedgerError: `ledger-rolled-back`, nothing is answered any more.
        """
        with self.refusing(known=False):
            check_message(self._policy, records)
            check_halted(self._ledger)

    def take_receipt(self, records: RecordDict) -> None:
        """Keep the receipt that a message brings.

        Raises:
            HushRecError: it is refused; after `ledger-rolled-back` everything is.
        """
        self.look(records)
        with self.refusing(known=False):
            receipt = ReceiptMessage.from_records(records).receipt
            keep_receipt(self._ledger, self._policy, receipt)

    def take_model(self, records: RecordDict) -> None:
        """Keep the model that a message brings, and serve it from now on.

        Raises:
            HushRecError: it is refused, and the one before stays.
        """
        self.look(records)
        with self.refusing(known=False):  # who sends again what was signed is no server
            message = ModelMessage.from_records(records)
            check_sent_model(self._policy, self._store.settings, self._store.catalogue, message)
            ModelStore(self._store.folder).take(message)


def today(clock: Clock | None) -> date:
    """The day (UTC) by the client's clock."""
    now = datetime.now(UTC) if clock is None else clock()
    return now.astimezone(UTC).date()
