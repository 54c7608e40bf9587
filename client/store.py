"""What a client keeps on its own disk: who it is, what it allows, its events."""

from __future__ import annotations

import functools
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from pydantic import Field

from common.arrays import Histories, Ints
from common.catalogue import Catalogue
from common.config import Settings
from common.errors import Code, DataError, PolicyError
from common.interactions.table import histories
from common.privacy.policy import Policy

__all__ = ["CLIENT_TOML", "POLICY_TOML", "ClientSettings", "ClientStore", "read_policy"]

CLIENT_TOML: Final = "client.toml"
POLICY_TOML: Final = "policy.toml"
_EVENTS: Final = "events.parquet"
_HELDOUT: Final = "heldout.parquet"


class ClientSettings(Settings):
    """`client.toml`, written once when a client is set up."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    """The client's name on the roster."""
    dataset_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Identity of the data set; survives re-enrolment, and the ledger is bound to it."""
    population: int = Field(gt=0, le=10**12)
    """Declared number of users: a public constant, chosen once, never a count."""
    catalogue: str
    """Path of the public catalogue, relative to the client's folder."""
    simulated: bool = False
    """The folder was laid out by a simulation: its users are nobody's customers."""
    no_privacy: bool = False
    """The owner lets exact sums leave (mode `none`); a server alone cannot ask for them."""
    noise_seed: int | None = Field(default=None, ge=0)
    """Simulation only: makes noise repeatable, and everything made with it not private."""


@dataclass(frozen=True)
class ClientStore:
    """One client's folder, read once per process; sensitive.

    Attributes:
        folder: where the client lives.
        settings: who it is.
        catalogue: the public list of items.
        user_ids: `[users]`, in the order of `histories`.
        histories: training events; every interaction counts as 1.
        heldout: catalogue position of each user's held-out item, -1 for none, `[users]`.
        snapshot: SHA-256 of the files that histories and held-out items came from; stays
            here, since it would confirm a guess at them.
    """

    folder: Path
    settings: ClientSettings
    catalogue: Catalogue
    user_ids: tuple[str, ...]
    histories: Histories
    heldout: Ints | None
    snapshot: str

    @classmethod
    def open(cls, folder: Path) -> ClientStore:
        """Read a client's folder.

        Raises:
            ConfigError: `client.toml` is missing or wrong.
            DataError: the events or the catalogue cannot be read.
        """
        folder = folder.resolve()
        settings = _settings(folder, _stamp_of(folder / CLIENT_TOML))
        files = (CLIENT_TOML, _EVENTS, _HELDOUT, settings.catalogue)
        return _open(folder, tuple(_stamp_of(folder / name) for name in files))

    @property
    def ledger_path(self) -> Path:
        """Where the ledger lives."""
        return self.folder / "ledger.sqlite"


def read_policy(folder: Path) -> Policy:
    """`policy.toml` of a client's folder, read again whenever it is replaced.

    Raises:
        PolicyError: `policy-missing`, there is none: nothing is allowed by default.
        ConfigError: it cannot be read or meant.
    """
    path = folder.resolve() / POLICY_TOML
    stamp = _stamp_of(path)
    if not stamp:
        raise PolicyError(
            Code.POLICY_MISSING,
            "no policy: nobody has said what a server may ask for.",
            where=str(path),
            remedy="Write one, with at least `[lifetime]`, `epsilon` and `delta`.",
        )
    return _policy(path, stamp)


def _stamp_of(path: Path) -> tuple[int, ...]:
    """Changes whenever the file is replaced."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


@functools.lru_cache(maxsize=1024)
def _settings(folder: Path, _stamp: tuple[int, ...]) -> ClientSettings:
    return ClientSettings.load_toml(folder / CLIENT_TOML)


@functools.lru_cache(maxsize=1024)
def _policy(path: Path, _stamp: tuple[int, ...]) -> Policy:
    return Policy.load_toml(path)


@functools.lru_cache(maxsize=1024)
def _open(folder: Path, stamp: tuple[tuple[int, ...], ...]) -> ClientStore:
    settings = _settings(folder, stamp[0])
    where = (folder / settings.catalogue).resolve()
    catalogue = _catalogue(where, stamp[-1])
    events, heldout = _bytes(folder / _EVENTS), _bytes(folder / _HELDOUT)
    if events is None:
        raise DataError(
            Code.DATA_NOT_FOUND,
            "no events.",
            where=str(folder / _EVENTS),
            remedy="Import the shop's log.",
        )
    rows = histories(_table(events, folder / _EVENTS), catalogue)
    return ClientStore(
        folder=folder,
        settings=settings,
        catalogue=catalogue,
        user_ids=rows.user_ids,
        histories=rows.histories.unweighted(),
        heldout=None
        if heldout is None
        else _heldout(_table(heldout, folder / _HELDOUT), rows.user_ids, catalogue),
        snapshot=_snapshot(events, heldout),
    )


@functools.lru_cache(maxsize=4)
def _catalogue(path: Path, _stamp: tuple[int, ...]) -> Catalogue:
    return Catalogue.load(path)


def _bytes(path: Path) -> bytes | None:
    """The file, read once: what is hashed is what is parsed."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(
            Code.DATA_NOT_FOUND, f"cannot be read: {error.strerror}.", where=str(path)
        ) from None


def _table(data: bytes, path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(io.BytesIO(data))
    except (OSError, ValueError) as error:
        raise DataError(Code.DATA_FORMAT, f"not Parquet: {error}.", where=str(path)) from None


def _heldout(table: pd.DataFrame, user_ids: tuple[str, ...], catalogue: Catalogue) -> Ints:
    positions = pd.Series(catalogue.positions(table["item_id"]), index=table["user_id"].to_numpy())
    return positions.reindex(user_ids, fill_value=-1).to_numpy(dtype=np.int64)


def _snapshot(*files: bytes | None) -> str:
    parts = ["" if data is None else hashlib.sha256(data).hexdigest() for data in files]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
