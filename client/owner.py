"""A client's folder as its owner's commands see it: settings, policy and ledger, never events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.ledger_key import KEY_NAME
from client.ledger_store import LedgerStore
from client.store import CLIENT_TOML, ClientSettings, read_policy
from common.catalogue import Catalogue
from common.errors import Code, LedgerError, RunError
from common.privacy.policy import Policy

__all__ = ["Owner", "owners"]


@dataclass(frozen=True)
class Owner:
    """One client's folder.

    Attributes:
        folder: where it is.
        settings: who it is.
    """

    folder: Path
    settings: ClientSettings

    @classmethod
    def of(cls, folder: Path) -> Owner:
        """Read a client's settings.

        Raises:
            ConfigError: they are missing or cannot be meant.
        """
        return cls(folder, ClientSettings.load_toml(folder / CLIENT_TOML))

    @property
    def policy(self) -> Policy:
        """What may be asked of the client.

        Raises:
            PolicyError: `policy-missing`.
            ConfigError: it cannot be read or meant.
        """
        return read_policy(self.folder)

    @property
    def n_items(self) -> int:
        """Size of the public catalogue."""
        return len(Catalogue.load((self.folder / self.settings.catalogue).resolve()))

    @property
    def ledger_path(self) -> Path:
        """Where the ledger lives."""
        return self.folder / "ledger.sqlite"

    @property
    def has_ledger(self) -> bool:
        """Whether the client was ever asked; a key without its ledger means that it was."""
        return self.ledger_path.exists() or self.ledger_path.with_name(KEY_NAME).exists()

    @contextmanager
    def ledger(self, *, mends: bool = True) -> Iterator[LedgerStore]:
        """The ledger, which a command looks at and never begins.

        Args:
            mends: make derived tables again where they are not those of the last row; an
                audit looks at the file as it is.

        Raises:
            LedgerError: `ledger-missing`, nothing was ever asked of this client; or the
                ledger is broken, foreign or cannot be read.
        """
        if not self.has_ledger:
            raise LedgerError(
                Code.LEDGER_MISSING,
                "there is no ledger here yet.",
                where=str(self.ledger_path),
                remedy="It begins with the first message that the client answers.",
            )
        settings = self.settings
        with LedgerStore.open(
            self.ledger_path,
            settings.name,
            settings.dataset_id,
            survives_power_cut=not settings.simulated,
            mends=mends,
        ) as ledger:
            yield ledger


def owners(path: Path) -> list[Owner]:
    """The client whose folder `path` is, or all clients of a run, in order of name.

    Raises:
        RunError: `run-not-found`, it is neither.
        ConfigError: the settings of one cannot be meant.
    """
    if (path / CLIENT_TOML).is_file():
        return [Owner.of(path)]
    found = sorted(one.parent for one in path.glob(f"clients/*/{CLIENT_TOML}"))
    if not found:
        raise RunError(
            Code.RUN_NOT_FOUND,
            "neither a client's folder nor a run.",
            where=str(path),
            remedy=f"A client's folder has a {CLIENT_TOML}, a run has clients/NAME/{CLIENT_TOML}.",
        )
    return [Owner.of(folder) for folder in found]
