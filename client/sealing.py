"""Sealing a client's folder, and opening it again, so that no crash loses what is in it.

The order is: the key is on disk, `client.toml` names it, every file has its sealed form and
was read back, its plain form goes. Opening goes the same way back. At each moment whoever
reads finds one whole form of each file, and the key that it takes; a run that was interrupted
is done again to its end. Recorded events change their form in one transaction.
"""

from __future__ import annotations

import json
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.data_files import NAMES, DataFiles, check_own
from client.frozen import copies_of
from client.guard.alone import alone
from client.recorded_log import RECORDED, convert_recorded
from client.sealed import Sealer, make_key
from client.store import CLIENT_TOML, ClientSettings
from common.enrolment.folders import write_private
from common.errors import Code, ConfigError
from common.files import read_bytes

__all__ = ["Sealing", "seal_folder", "unseal_folder"]

_LINE: Final = re.compile(r"^\s*key_file\s*=.*\n?", re.M)


@dataclass(frozen=True)
class Sealing:
    """What was done.

    Attributes:
        files: files that have changed their form, below the folder.
        key_file: the key.
        new_key: it was made now.
    """

    files: tuple[str, ...]
    key_file: Path
    new_key: bool = False


def seal_folder(folder: Path, key_file: Path) -> Sealing:
    """Encrypt a client's events, recorded ones too, and what was set aside of its tables.

    The service may go on meanwhile; what it is writing waits, or is refused and not written.

    Args:
        folder: the client's.
        key_file: where the key is to be, outside of the folder; one that is there is used.

    Raises:
        ConfigError: `config-invalid`, the key would lie in the folder, others may read it, or
            another one is in use; or client.toml cannot be read or edited.
        DataError: `store-sealed`, what is there is no key; or the disk refuses.
    """
    folder, key_file = folder.resolve(), key_file.resolve()
    check_own(folder)
    settings = ClientSettings.load_toml(folder / CLIENT_TOML)
    if key_file.is_relative_to(folder):
        raise _invalid(
            "the key would lie beside what it opens", "--key-file", "Choose a place elsewhere."
        )
    used = settings.key_file
    if used is not None and (folder / used).resolve() != key_file:
        raise _invalid(
            f"this folder is sealed with {used}",
            f"{folder / CLIENT_TOML}, `key_file`",
            "Unseal it first, to seal it with another key.",
        )
    with alone(folder / "ledger.sqlite"):
        toml, is_new = _edited(folder, key_file), not key_file.exists()
        if is_new:
            make_key(key_file)
        Sealer.load(key_file)
        _check_private(key_file)
        write_private(folder / CLIENT_TOML, toml)
        done = tuple(_converted(DataFiles(folder, key_file)))
    return Sealing(done, key_file, is_new)


def unseal_folder(folder: Path) -> Sealing:
    """Decrypt a client's folder. The key stays where it is.

    Raises:
        ConfigError: `config-invalid`, it is not sealed; or client.toml cannot be read or edited.
        DataError: `store-sealed`, the key is not there; or the disk refuses.
    """
    folder = folder.resolve()
    check_own(folder)
    named = ClientSettings.load_toml(folder / CLIENT_TOML).key_file
    if named is None:
        raise _invalid("this folder is not sealed", str(folder / CLIENT_TOML), "")
    key_file = (folder / named).resolve()
    with alone(folder / "ledger.sqlite"):
        toml = _edited(folder, None)
        done = tuple(_converted(DataFiles(folder, key_file), to_plain=True))
        write_private(folder / CLIENT_TOML, toml)
    return Sealing(done, key_file)


def _check_private(key_file: Path) -> None:
    if key_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _invalid(
            "the key can be read by others than its owner",
            str(key_file),
            "chmod go-rwx it, or let a new one be made if somebody may have read it.",
        )


def _converted(files: DataFiles, *, to_plain: bool = False) -> Iterator[str]:
    """Give every file the other form, also in frozen copies; those that had to change."""
    for place in (files.folder, *copies_of(files.folder)):
        source = DataFiles(place, files.key_file)
        for path in source.leftovers():
            path.unlink()
        wanted = DataFiles(place, None) if to_plain else source
        for name in NAMES:
            data = source.read(name)
            if data is None or not wanted.is_to_change(name):
                continue
            wanted.write(name, data)
            yield str((place / name).relative_to(files.folder))
    if convert_recorded(files.folder, to_plain=to_plain):
        yield RECORDED


def _edited(folder: Path, key_file: Path | None) -> bytes:
    """client.toml with one line changed; comments and everything else stay.

    Raises:
        ConfigError: `config-invalid`, the text cannot be edited so.
    """
    path = folder / CLIENT_TOML
    text = read_bytes(path).decode("utf-8")
    wanted = tomllib.loads(text)
    wanted.pop("key_file", None)
    changed = _LINE.sub("", text)
    if key_file is not None:
        wanted["key_file"] = str(key_file)
        changed = f"key_file = {json.dumps(str(key_file), ensure_ascii=False)}\n{changed}"
    if tomllib.loads(changed) != wanted:
        raise _invalid("`key_file` cannot be edited here", str(path), "Edit it by hand.")
    return changed.encode()


def _invalid(what: str, where: str, remedy: str) -> ConfigError:
    return ConfigError(Code.CONFIG_INVALID, f"{what}.", where=where, remedy=remedy)
