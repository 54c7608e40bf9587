"""The key that signs a client's part in secure sums, and its line in everybody's roster.

It is neither the ledger's key nor that of Flower's transport. Whoever has it can take the
client's place in sums with the others, so it never leaves the client's folder.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Final

from common.errors import Code, ConfigError, PolicyError
from common.privacy.signing import SigningKey

__all__ = ["ROSTER_KEY", "load_roster_key", "make_roster_key", "roster_line"]

ROSTER_KEY: Final = "roster_key.pem"
"""The private key, in the client's folder."""
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def load_roster_key(folder: Path) -> SigningKey:
    """The roster key of a client's folder.

    Raises:
        PolicyError: `policy-roster`, there is none, or it cannot be read.
    """
    path = folder / ROSTER_KEY
    try:
        return SigningKey.load(path)
    except ConfigError as error:
        raise PolicyError(
            Code.POLICY_ROSTER,
            f"this client has no roster key: {error.message}",
            where=str(path),
            remedy="Make one with `hushrec roster`, and bring its line into all rosters.",
        ) from None


def make_roster_key(folder: Path) -> SigningKey:
    """The roster key of a client's folder, made if there is none; never replaced.

    Raises:
        ConfigError: `config-invalid`, there is one that cannot be read.
        DataError: `disk-full`, or the folder cannot be written.
    """
    path = folder / ROSTER_KEY
    if not path.exists():
        key = SigningKey.create()
        begun = folder / f".{ROSTER_KEY}.{key.public[:16]}.new"
        key.save(begun)
        try:
            os.link(begun, path)  # unlike a rename, never over one that is there
        except FileExistsError:  # another process was faster
            pass
        finally:
            begun.unlink()
    return SigningKey.load(path)


def roster_line(name: str, public: str) -> str:
    """The line for `[roster]` in `policy.toml`, of this client and of every other one."""
    key = name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    return f'{key} = "{public}"'
