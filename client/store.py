"""What a client keeps on its own disk: who it is, what it allows, its events."""

from __future__ import annotations

import functools
import hashlib
import io
import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from pydantic import Field

from client.data_files import EVENTS, HELDOUT, DataFiles, Stamp, stamp_of
from client.frozen import FROZEN, end_of, is_over
from client.sealed import Sealer
from common.arrays import Histories, Ints
from common.catalogue import Catalogue
from common.config import Settings
from common.errors import Code, DataError, HushRecError, PolicyError
from common.interactions.table import histories
from common.logs import ONLY_HERE
from common.privacy.policy import Policy
from common.public_codes import about_data

__all__ = [
    "CLIENT_TOML",
    "POLICY_TOML",
    "ClientPlace",
    "ClientSettings",
    "ClientStore",
    "data_files",
    "forget_opened",
    "read_policy",
    "read_table",
    "sealer_of",
]

CLIENT_TOML: Final = "client.toml"
POLICY_TOML: Final = "policy.toml"
_LOG: Final = logging.getLogger("hushrec.client")


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
    retention_days: int | None = Field(default=None, gt=0, le=36_525)
    """Events older than so many days are deleted, and no new job sees them; None keeps all."""
    key_file: Path | None = None
    """Key that the customers' data are sealed with, outside of the folder; None: not sealed."""
    simulated: bool = False
    """The folder was laid out by a simulation: its users are nobody's customers."""
    no_privacy: bool = False
    """The owner lets exact sums leave (mode `none`); a server alone cannot ask for them."""
    noise_seed: int | None = Field(default=None, ge=0)
    """Simulation only: makes noise repeatable, and everything made with it not private."""


@dataclass(frozen=True)
class ClientPlace:
    """One client's folder without its customers: what is taken in without a look at data.

    Attributes:
        folder: where the client lives.
        settings: who it is.
        catalogue: the public list of items.
    """

    folder: Path
    settings: ClientSettings
    catalogue: Catalogue

    @classmethod
    def open(cls, folder: Path) -> ClientPlace:
        """Read settings and catalogue, and no events.

        Raises:
            ConfigError: `client.toml` is missing or wrong.
            DataError: the catalogue cannot be read.
        """
        folder = folder.resolve()
        settings = _settings(folder, stamp_of(folder / CLIENT_TOML))
        path = (folder / settings.catalogue).resolve()
        return ClientPlace(folder, settings, _catalogue(path, stamp_of(path)))

    @property
    def ledger_path(self) -> Path:
        """Where the ledger lives."""
        return self.folder / "ledger.sqlite"


@dataclass(frozen=True)
class ClientStore(ClientPlace):
    """One client's folder, read once per process; sensitive.

    Attributes:
        user_ids: `[users]`, in the order of `histories`.
        rated: training events with the latest rating of each for its weight, NaN for one that
            came without; for readers of weights alone (`common.solvers.base.given_to`).
        rated_at: `[entries]` of `rated`, when each was rated so, in microseconds since 1970 UTC;
            -1 for none.
        histories: the same; every interaction counts as 1.
        heldout: catalogue position of each user's held-out item, -1 for none, `[users]`.
        snapshot: SHA-256 of the files that histories and held-out items came from, sealed or
            not; stays here, since it would confirm a guess at them.
        oldest: time of the oldest event, with a zone; None without events.
    """

    user_ids: tuple[str, ...]
    rated: Histories
    rated_at: Ints
    histories: Histories
    heldout: Ints | None
    snapshot: str
    oldest: datetime | None

    @classmethod
    def open(cls, folder: Path) -> ClientStore:
        """Read a client's folder.

        Raises:
            ConfigError: `client.toml` is missing or wrong.
            DataError: the events or the catalogue cannot be read; `store-sealed`, their key
                is not there or is another one.
        """
        return _opened(folder.resolve(), "")

    def frozen(self, name: str, now: datetime) -> ClientStore | None:
        """The data as they were when a job began, if they are kept and may still be used.

        Args:
            name: of the copy: the keyed hash of its snapshot.
            now: with a zone.
        """
        if is_over(self.folder / FROZEN / name, now):
            return None
        try:
            store = _opened(self.folder, f"{FROZEN}/{name}")
        except HushRecError as error:
            _LOG.warning("a frozen copy cannot be read: %s", error, extra=ONLY_HERE)
            return None
        # the owner may have shortened `retention_days` since it was made
        return store if now < end_of(now, store.oldest, store.settings.retention_days) else None


def read_policy(folder: Path) -> Policy:
    """`policy.toml` of a client's folder, read again whenever it is replaced.

    Raises:
        PolicyError: `policy-missing`, there is none: nothing is allowed by default.
        ConfigError: it cannot be read or meant.
    """
    path = folder.resolve() / POLICY_TOML
    stamp = stamp_of(path)
    if not stamp:
        raise PolicyError(
            Code.POLICY_MISSING,
            "no policy: nobody has said what a server may ask for.",
            where=str(path),
            remedy="Write one, with at least `[lifetime]`, `epsilon` and `delta`.",
        )
    return _policy(path, stamp)


def forget_opened() -> None:
    """Let go of all stores that were opened: of those that were replaced, nobody else does."""
    _open.cache_clear()


def data_files(folder: Path, place: str = "") -> DataFiles:
    """The files with customers' events, as `client.toml` says that they are to be kept.

    Args:
        folder: the client's.
        place: of a frozen copy, below the folder.

    Raises:
        ConfigError: `client.toml` is missing or wrong.
    """
    folder = folder.resolve()
    key_file = _settings(folder, stamp_of(folder / CLIENT_TOML)).key_file
    return DataFiles(folder / place, None if key_file is None else folder / key_file)


def sealer_of(folder: Path) -> Sealer | None:
    """What seals a client's data, None if its owner leaves them as they are.

    Raises:
        ConfigError: `client.toml` is missing or wrong.
        DataError: `store-sealed`, the key is not there.
    """
    return data_files(folder).sealer


def _opened(folder: Path, place: str) -> ClientStore:
    files = data_files(folder, place)
    settings = _settings(folder, stamp_of(folder / CLIENT_TOML))
    stamps = (stamp_of(folder / CLIENT_TOML), stamp_of(folder / settings.catalogue))
    return _open(folder, files, stamps + files.stamps(EVENTS, HELDOUT))


@functools.lru_cache(maxsize=1024)
def _settings(folder: Path, _stamp: Stamp) -> ClientSettings:
    return ClientSettings.load_toml(folder / CLIENT_TOML)


@functools.lru_cache(maxsize=1024)
def _policy(path: Path, _stamp: Stamp) -> Policy:
    return Policy.load_toml(path)


@functools.lru_cache(maxsize=1024)
def _open(folder: Path, files: DataFiles, stamps: tuple[Stamp, ...]) -> ClientStore:
    settings = _settings(folder, stamps[0])
    catalogue = _catalogue((folder / settings.catalogue).resolve(), stamps[1])
    with about_data():
        return _read(folder, files, settings, catalogue)


def _read(
    folder: Path, files: DataFiles, settings: ClientSettings, catalogue: Catalogue
) -> ClientStore:
    events, heldout = files.read(EVENTS), files.read(HELDOUT)
    if events is None:
        raise DataError(
            Code.DATA_NOT_FOUND,
            "no events.",
            where=str(files.path(EVENTS)),
            remedy="Import the shop's log.",
        )
    table = read_table(events, files.path(EVENTS))
    rows = histories(table, catalogue)
    return ClientStore(
        folder=folder,
        settings=settings,
        catalogue=catalogue,
        user_ids=rows.user_ids,
        rated=rows.histories,
        rated_at=rows.weighed_at,
        histories=rows.histories.unweighted(),
        heldout=None
        if heldout is None
        else _heldout(read_table(heldout, files.path(HELDOUT)), rows.user_ids, catalogue),
        snapshot=_snapshot(events, heldout),
        oldest=table["datetime"].min().to_pydatetime() if len(table) else None,
    )


@functools.lru_cache(maxsize=4)
def _catalogue(path: Path, _stamp: Stamp) -> Catalogue:
    return Catalogue.load(path)


def read_table(data: bytes, path: Path) -> pd.DataFrame:
    """A table in Parquet.

    Args:
        data: its bytes.
        path: where they are from, for errors.

    Raises:
        DataError: `data-format`.
    """
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
