"""A policy's file, edited by the owner's commands: one at a time, whole or not at all."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from client.store import POLICY_TOML
from common.enrolment.folders import exists, write_private
from common.errors import Code, ConfigError
from common.files import read_bytes
from common.folder_lock import folder_lock
from common.privacy.policy import Policy

__all__ = ["edited", "editing"]


@contextmanager
def editing(folder: Path) -> Iterator[None]:
    """Nobody else edits the policy of the client in `folder` meanwhile, else a line could be lost.

    Raises:
        ConfigError: `config-not-found`, the folder cannot be used.
    """
    try:
        with folder_lock(folder):
            yield
    except OSError as error:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND, f"cannot be used: {error.strerror}.", where=str(folder)
        ) from None


def edited(folder: Path, edit: Callable[[str], str]) -> Policy:
    """Edit the policy's text; what it says after it. Use within `editing`.

    Raises:
        ConfigError: the text cannot be edited, or would be no policy; `enroll-exists`, its
            owner changed it meanwhile.
        DataError: it cannot be read or written.
    """
    path = folder / POLICY_TOML
    before = read_bytes(path)
    after = edit(_text(before, path))
    policy = Policy.load(tomllib.loads(after), where=str(path))
    if read_bytes(path) != before:
        raise exists("the policy was changed meanwhile", path, "Run the command again.")
    write_private(path, after.encode())
    return policy


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(Code.CONFIG_INVALID, f"not UTF-8: {error}.", where=str(path)) from None
