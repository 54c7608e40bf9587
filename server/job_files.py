"""What a run's folder holds before it begins: the job, and the roster of its secure sums."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from common.config import Settings, read_json
from common.errors import Code, ConfigError, RunError
from common.job import Job
from common.privacy.roster import ClientName, Roster
from common.privacy.signing import PublicKey

__all__ = ["JOB_FILE", "ROSTER_FILE", "read_job", "read_roster"]

JOB_FILE: Final = "job.json"
ROSTER_FILE: Final = "roster.toml"


class _RosterFile(Settings):
    """A file with the table `roster` of a policy, and nothing else."""

    roster: dict[ClientName, PublicKey]


def read_job(folder: Path) -> Job:
    """The job of a run folder.

    Raises:
        RunError: `run-not-found`, there is none.
        ConfigError: the job is malformed.
    """
    path = folder / JOB_FILE
    try:
        values = read_json(path)
    except (ConfigError, OSError) as error:
        raise RunError(
            Code.RUN_NOT_FOUND,
            f"no job that can be read: {getattr(error, 'message', error)}",
            where=str(path),
            remedy="Prepare one with `hushrec simulate --prepare --out DIR`.",
        ) from None
    return Job.load(values, where=str(path))


def read_roster(folder: Path) -> Roster | None:
    """The roster of a run's clients, from the same table as in their policies; None without it.

    Mode `distributed` needs it: who is not on it, or signs wrongly, is dropped and stops nobody.

    Raises:
        ConfigError: it cannot be read.
        PolicyError: `policy-roster`, two clients share a key.
    """
    path = folder / ROSTER_FILE
    if not path.exists():
        return None
    return Roster.of(_RosterFile.load_toml(path).roster)
