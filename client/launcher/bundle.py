"""Which bundle a run came with, and whether the client's owner lists it.

Guarantee:
    A bundle is bytes with a hash. It is neither opened nor written to disk, here or anywhere
    else in the launcher.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from pydantic import Field

from common.config import Settings
from common.errors import Code, DataError, PolicyError
from common.privacy.policy import Policy, Sha256

__all__ = ["Bundle", "check_bundle", "file_sha256"]

_APP: Final = "flwr-serverapp"
"""What drives a run that has clients; an agent's or a simulation's run has no business here."""
_CHUNK: Final = 1 << 20


class Bundle(Settings):
    """What a server says of a run's bundle, and what its bytes say."""

    sha256: Sha256
    """Of the bytes that came."""
    named: str = Field(max_length=256)
    """What the run names."""
    delivered: str = Field(max_length=256)
    """What the bytes came under."""
    task_type: str = Field(max_length=256)
    """Kind of the run's main task."""

    @classmethod
    def of(cls, content: bytes, *, named: str, delivered: str, task_type: str) -> Bundle:
        """The bundle with these bytes; what is longer than any such name is cut."""
        return cls(
            sha256=hashlib.sha256(content).hexdigest(),
            named=named[:256],
            delivered=delivered[:256],
            task_type=task_type[:256],
        )


def check_bundle(policy: Policy, bundle: Bundle) -> None:
    """The run is one of clients, and its bundle is what it is said to be and listed.

    Raises:
        PolicyError: `policy-bundle`.
    """
    if bundle.task_type not in ("", _APP):
        raise _refused(f"the run is driven by {bundle.task_type!r}, not by a ServerApp.")
    for name in (bundle.named, bundle.delivered):
        if name != bundle.sha256:
            raise _refused(f"the bundle is {bundle.sha256}, the server says {name!r}.")
    if not policy.bundles:
        raise _refused(f"the policy lists no bundle at all; the run's is {bundle.sha256}.")
    if bundle.sha256 not in policy.bundles:
        raise _refused(f"the policy does not list the run's bundle {bundle.sha256}.")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal.

    Raises:
        DataError: `data-not-found`, it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(
            Code.DATA_NOT_FOUND, f"cannot be read: {error.strerror}.", where=str(path)
        ) from None
    return digest.hexdigest()


def _refused(what: str) -> PolicyError:
    return PolicyError(
        Code.POLICY_BUNDLE,
        what,
        where="policy.toml, `bundles`",
        remedy="List it after you have compared it: `hushrec bundle FILE`.",
    )
