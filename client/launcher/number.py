"""The number by which a server knows a node, kept beside its key.

With it a node that is not let in can ask whether it is registered at all, so that it waits
only where waiting helps. It is a public fact; without the file a node takes the first no.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field

from common.config import Settings
from common.errors import HushRecError
from common.files import write_atomic
from common.privacy.policy import Sha256

__all__ = ["NODE_NUMBER", "Number"]

NODE_NUMBER: Final = "node_number.json"
"""Its file in the client's folder."""


class _Kept(Settings):
    key_sha256: Sha256
    """Of the node's public key: with another one the number says nothing."""
    node_id: int = Field(ge=0, lt=2**64)


@dataclass(frozen=True)
class Number:
    """A node's number on disk.

    Attributes:
        file: where; None keeps nothing.
        public_key: the node's.
    """

    file: Path | None
    public_key: bytes

    def known(self) -> int | None:
        """The number that this key had when it was last let in; None if nobody knows."""
        if self.file is None:
            return None
        with suppress(OSError, ValueError):
            kept = _Kept.model_validate_json(self.file.read_bytes())
            return kept.node_id if kept.key_sha256 == self._key else None
        return None

    def keep(self, node_id: int) -> None:
        """Keep it; where the disk does not let it, the node goes on without."""
        if self.file is None or self.known() == node_id:
            return
        kept = _Kept(key_sha256=self._key, node_id=node_id)
        with suppress(HushRecError):
            write_atomic(self.file, kept.model_dump_json().encode(), mode=0o600)

    @property
    def _key(self) -> str:
        return hashlib.sha256(self.public_key).hexdigest()
