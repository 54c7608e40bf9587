"""The machine: versions, clock, disk, memory."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from client.doctor.findings import SKEW, Finding, Patient, fail, fine, warn
from client.enroll.start_files import ROOTS
from client.launcher.versions import check_flower
from common.certificates import load_certificate
from common.errors import Code

__all__ = ["check_clock", "check_disk", "check_memory", "check_versions", "pins"]

_MIB: Final = 1 << 20
_LEAST_DISK: Final = 100 * _MIB
_LITTLE_DISK: Final = 1024 * _MIB
_LITTLE_MEMORY: Final = 1024 * _MIB
_LEAST_PYTHON: Final = (3, 11)
_PIN: Final = re.compile(r"([\w-]+)(?:\[[\w,-]+\])?==([\w.]+)$")
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
_REMEDIES: Final = {
    errno.EROFS: "Look at the disk: a file system with errors is often mounted read-only.",
    errno.ENOSPC: "Make room: the ledger has to be written before anything is answered.",
    errno.EDQUOT: "Ask for a larger quota: the ledger has to be written before any answer.",
    errno.EIO: "The disk is failing: make a backup of the folder now.",
}


def check_versions(_: Patient) -> Iterator[Finding]:
    """Python, Flower and what else is pinned are what HushRec was tested with."""
    check_flower()
    if sys.version_info < _LEAST_PYTHON:
        yield fail(f"Python {platform.python_version()}", "", "HushRec needs 3.11 or newer.")
    wanted = pins(metadata.requires("hushrec") or [])
    found = {name: _version(name) for name in wanted}
    others = [f"{n} {found[n]} (tested: {wanted[n]})" for n in wanted if found[n] != wanted[n]]
    if others:
        yield warn(
            f"other versions than those tested: {', '.join(others)}",
            "",
            "Install HushRec anew with its constraints.txt.",
        )
    named = " ".join(f"{name} {_version(name)}" for name in ("hushrec", "flwr", "torch"))
    yield fine(f"Python {platform.python_version()}, {named}")


def pins(requirements: list[str]) -> Mapping[str, str]:
    """Versions of the requirements that name exactly one, without those of extras."""
    found = (_PIN.match(one.split(";")[0].strip()) for one in requirements if "extra" not in one)
    return {match[1]: match[2] for match in found if match is not None}


def _version(name: str) -> str:
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "none"


def check_clock(patient: Patient) -> Iterator[Finding]:
    """Without a network: what was made here, or for this client, is not of the future."""
    said = f"the clock says {patient.now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    newest, path = _newest(patient.folder)
    if newest > patient.now + SKEW:
        yield _behind(f"was written on {newest:%Y-%m-%d %H:%M} UTC, in the future; {said}", path)
    roots = patient.folder / ROOTS
    if roots.exists():
        begins = load_certificate(roots).not_valid_before_utc
        if begins > patient.now:
            yield _behind(f"begins on {begins:%Y-%m-%d %H:%M} UTC, in the future; {said}", roots)
    yield fine(said)


def _behind(what: str, where: Path) -> Finding:
    remedy = "Set the clock of this machine, by NTP if there is one."
    return fail(what, where, remedy, Code.CLOCK_SKEW)


def _newest(folder: Path) -> tuple[datetime, Path]:
    files = [path for path in folder.iterdir() if path.is_file()]
    times = [(path.stat().st_mtime, path) for path in files] or [(0.0, folder)]
    seconds, path = max(times)
    return datetime.fromtimestamp(seconds, UTC), path


def check_disk(patient: Patient) -> Iterator[Finding]:
    """There is room, a file can be written and flushed, and the folder is this user's."""
    folder = patient.folder
    if not folder.is_dir():
        yield fail("there is no such folder", folder, "Check the path.", Code.CONFIG_NOT_FOUND)
        return
    yield from _written(folder)
    free = shutil.disk_usage(folder).free
    said = f"{free / _MIB:.0f} MiB are free"
    if free < _LEAST_DISK:
        yield fail(said, folder, _REMEDIES[errno.ENOSPC], Code.DISK_FULL)
    elif free < _LITTLE_DISK:
        yield warn(said, folder, "Make room soon.", Code.DISK_FULL)
    else:
        yield fine(said)
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        remedy = "Run as the user that the client runs as, or it cannot read what you write."
        yield warn(f"belongs to user {owner}, not to {os.geteuid()}", folder, remedy)


def _written(folder: Path) -> Iterator[Finding]:
    """Write, flush and delete a file, as the ledger and every import do."""
    path = folder / f".doctor.{os.getpid()}"
    try:
        try:
            path.unlink(missing_ok=True)
            with path.open("xb") as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Check the folder and its permissions.")
        code = Code.DISK_FULL if error.errno in _NO_ROOM else Code.DATA_NOT_FOUND
        yield fail(f"cannot be written: {error.strerror}", folder, remedy, code)


def check_memory(_: Patient) -> Iterator[Finding]:
    """There is room for a step of training."""
    free = _free_memory(Path("/proc/meminfo"))
    if free is None:
        return
    said = f"{free / _MIB:.0f} MiB of memory are available"
    if free < _LITTLE_MEMORY:
        yield warn(said, "", "A step of training takes some hundred MiB: end other programs.")
    else:
        yield fine(said)


def _free_memory(path: Path) -> int | None:
    """Bytes that a new process could have; None where the system does not say."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", path.read_text(encoding="ascii"), re.M)
    except OSError:
        return None
    return None if found is None else int(found[1]) * 1024
