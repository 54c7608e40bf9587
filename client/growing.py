"""A larger catalogue in a client's folder: the owner takes it, and nobody else can.

What the catalogue said so far stays as it is, row for row, so that the model that is served, and
earlier ones that a server may go back to, are about its first items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from client.data_files import check_own
from client.guard.alone import alone
from client.owner import Owner
from common.catalogue import Catalogue
from common.errors import Code, ConfigError, DataError

__all__ = ["Grown", "take_catalogue"]


@dataclass(frozen=True)
class Grown:
    """What came of it.

    Attributes:
        items: in the catalogue now.
        new: those that it did not have before.
        version: of the catalogue now.
    """

    items: int
    new: tuple[str, ...]
    version: str


def take_catalogue(folder: Path, file: Path) -> Grown:
    """Replace a client's catalogue by one that begins with it.

    The same one once more changes nothing. Events are not touched: those that were set aside
    because the catalogue lacked their items come in with the next import of the log.

    Args:
        folder: the client's.
        file: `catalogue.json`, or a product file, of all items.

    Raises:
        DataError: `catalogue-mismatch`, it does not begin with the client's; or one of the two
            cannot be read, or the folder not written.
        ConfigError: `config-invalid`, the folder is a simulation's, or another user's.
    """
    owner = Owner.of(folder)
    check_own(folder)
    if owner.settings.simulated:
        raise ConfigError(
            Code.CONFIG_INVALID,
            "the clients of a simulation share one catalogue.",
            where=str(folder),
            remedy="Prepare another run with the larger catalogue.",
        )
    new = Catalogue.of_federation(file)
    path = (folder / owner.settings.catalogue).resolve()
    with alone(owner.ledger_path):
        old = Catalogue.load(path)
        if not new.begins_with(old.version, len(old)):
            raise _other(new, old, file)
        if new.version != old.version:
            new.save(path)
            path.chmod(0o644)  # whatever the umask
    return Grown(len(new), new.item_ids[len(old) :], new.version)


def _other(new: Catalogue, old: Catalogue, file: Path) -> DataError:
    pairs = zip(new.item_ids, old.item_ids, strict=False)
    place = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(new), len(old)))
    what = (
        f"from row {place + 1} on it has other items"
        if place < len(old)
        else "it says other things of the items that are known"
    )
    return DataError(
        Code.CATALOGUE_MISMATCH,
        f"does not begin with this client's {len(old)} items: {what}.",
        where=str(file),
        remedy="Take the operator's new catalogue.json: new items stand behind the old ones.",
    )
