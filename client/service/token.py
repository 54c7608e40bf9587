"""The token that a caller of the service shows: made once, for the owner's eyes alone."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from common.errors import Code, ConfigError
from common.files import write_atomic
from common.folder_lock import folder_lock

__all__ = ["TOKEN", "Token"]

TOKEN: Final = "service.token"  # noqa: S105  the name of a file
_SCHEME: Final = "Bearer "


@dataclass(frozen=True)
class Token:
    """What lets a caller in. Its `repr` does not show it."""

    _text: str = field(repr=False)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The token of a client's folder.

        Raises:
            ConfigError: `config-not-found`, there is none; `config-invalid`, others may read
                it, or it is none.
        """
        path = folder / TOKEN
        try:
            mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConfigError(
                Code.CONFIG_NOT_FOUND,
                f"no token: {error.strerror}.",
                where=str(path),
                remedy="The service makes it at its first start.",
            ) from None
        except ValueError:
            raise _invalid("this is no token", "Move it away: a new one is made.", path) from None
        if mode & 0o077:
            raise _invalid("others may read the token", f"chmod 600 {path}", path)
        if len(text) < 32:
            raise _invalid("this is no token", "Move it away: a new one is made.", path)
        return cls(text)

    @classmethod
    def made(cls, folder: Path) -> Self:
        """The token of a client's folder, made if there is none.

        Raises:
            ConfigError: as `of`.
            DataError: it cannot be written.
        """
        path = folder / TOKEN
        try:
            with folder_lock(folder):
                if not path.exists():
                    write_atomic(path, f"{secrets.token_urlsafe(32)}\n".encode(), mode=0o600)
        except OSError as error:
            raise _invalid(f"no token: {error.strerror}", "Check the folder.", path) from None
        return cls.of(folder)

    @property
    def header(self) -> str:
        """The value of `authorization`."""
        return _SCHEME + self._text

    def fits(self, shown: str | bytes | None) -> bool:
        """Whether `shown` is `header`; takes as long wherever it differs."""
        given = shown.encode() if isinstance(shown, str) else shown or b""
        return hmac.compare_digest(given, self.header.encode())


def _invalid(what: str, remedy: str, path: Path) -> ConfigError:
    return ConfigError(Code.CONFIG_INVALID, f"{what}.", where=str(path), remedy=remedy)
