"""A training in the server app: who is there, the job made once, its rounds, what came of it.

Whatever ends it is written to the run's folder, so that the operator's command can say it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flwr.serverapp import Grid

from common.catalogue import Catalogue
from common.errors import Code, ConfigError, RunError
from common.files import write_atomic
from common.job import Job
from common.privacy.roster import Roster
from server.catalogues import home_catalogue
from server.enroll.home import INVITATION, members
from server.job_files import JOB_FILE, ROSTER_FILE, read_job, read_roster
from server.keys import home_key, key_of
from server.quorum import QuorumError
from server.record import Observer
from server.registry import Registry
from server.roster import Attendance
from server.rounds import Rounds
from server.training.finishing import finished, is_made
from server.training.folder import Outcome, Training
from server.training.ordering import Parties, make_job, terms_of
from server.training.request import Request

__all__ = ["Conductor"]

_HELLO_SECONDS: Final = 30.0
"""Nodes that are there have at least so long to say who they are."""
_PATIENCE_SECONDS: Final = 90.0
"""How long a server app waits for the one before it, which Flower has given up, to end."""


@dataclass(frozen=True)
class Conductor:
    """Makes a training's job and drives it, or goes on where another process stopped.

    Attributes:
        grid: where messages go.
        folder: the run's.
        home: the server's, with key, catalogue and members' cards.
        request: what the operator asked for.
        observer: told about every round.
        record_sums: keep what the server receives in secure sums.
    """

    grid: Grid
    folder: Path
    home: Path
    request: Request
    observer: Observer
    record_sums: bool = False

    def run(self, run_id: int) -> None:
        """Train until the model is there.

        Args:
            run_id: Flower's id, by which the outcome is known.

        Raises:
            HushRecError: anything that stops it; it is in `outcome.json` too.
        """
        training = Training(self.folder)
        try:
            with training.working(run_id, patience_seconds=_PATIENCE_SECONDS):
                self._told(run_id)
        except RunError as error:
            if error.code is Code.RUN_IN_USE:
                Outcome.of_error(run_id, error).save(self.folder)
            raise

    def _told(self, run_id: int) -> None:
        """Train, and write what came of it before anybody else may have the folder."""
        try:
            if not is_made(self.folder, self.home):
                self._train()
            found = finished(self.grid, self.folder, self.home, self.request)
        except Exception as error:
            Outcome.of_error(run_id, error).save(self.folder)
            raise
        found.model_copy(update={"run_id": run_id}).save(self.folder)

    def _train(self) -> None:
        expected = tuple(members(self.home))
        roster = read_roster(self.folder)
        if roster is None and self.request.mode == "distributed":
            raise RunError(
                Code.RUN_MISMATCH,
                "secure sums are among the clients of a roster, and there is none.",
                where=str(self.folder / ROSTER_FILE),
                remedy="Copy roster.toml of the server's home here.",
            )
        self._check_possible(len(expected))
        attendance = self._attendance(roster)
        attendance.wait(max(1, len(expected)), self.request.wait_seconds)
        attendance.gather(max(_HELLO_SECONDS, self.request.wait_seconds))
        job = self._job(attendance, expected, roster)
        Rounds(
            grid=self.grid,
            job=job,
            members=attendance.present,
            registry=Registry(self.folder / "server"),
            quorum=self.request.quorum,
            timeout_seconds=self.request.deadline_seconds,
            observer=self.observer,
            home=self.home,
            attempts=self.request.attempts,
            roster=roster,
            record_sums=self.record_sums,
            attendance=attendance,
            resumed=Training(self.folder).resumed,
            catalogue=self._catalogue,
        ).run()

    def _attendance(self, roster: Roster | None) -> Attendance:
        known = (self.folder / JOB_FILE).exists()
        version = read_job(self.folder).catalogue_version if known else self._catalogue().version
        enrolled = (self.home / INVITATION).exists()
        return Attendance(self.grid, version, roster, self._cards if enrolled else None)

    def _cards(self) -> dict[str, str]:
        """Members' node keys, by name."""
        return {name: card.transport_key for name, card in members(self.home).items()}

    def _catalogue(self) -> Catalogue:
        return home_catalogue(self.home)

    def _job(self, attendance: Attendance, expected: Collection[str], roster: Roster | None) -> Job:
        """The job of the folder; made of those who are there, once."""
        path = self.folder / JOB_FILE
        if path.exists():
            job = read_job(self.folder)
            key_of(job, self.home)
            return job
        present = attendance.present
        clients = len(roster.keys) if roster is not None else max(len(present), len(expected))
        self._check_enough(attendance, clients)
        parties = Parties(
            populations=[member.population for member in present],
            clients=clients,
            server=home_key(self.home).public,
            roster=None if roster is None else roster.digest,
        )
        job = make_job(self.request, self._catalogue(), parties)
        write_atomic(path, job.model_dump_json(indent=2).encode())
        return job

    def _check_possible(self, expected: int) -> None:
        """No training waits for more clients than there are."""
        if self.request.mode == "distributed" or not 0 < expected < self.request.quorum:
            return
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{self.request.quorum} clients are needed in each round, and there are "
            f"{expected} members.",
            where="quorum",
            remedy="Add members and resume, or train anew with a quorum that they can make.",
        )

    def _check_enough(self, attendance: Attendance, clients: int) -> None:
        """No job is made of too few: it would count on fewer users than there are."""
        terms = terms_of(self.request, clients)
        needed = self.request.quorum if terms is None else terms.threshold
        present = len(attendance.present)
        if present >= needed:
            return
        absent = attendance.absent
        why = ", ".join(f"{name}: {code}" for name, code in sorted(absent.items()))
        raise QuorumError(
            f"{present} clients can take part, {needed} are needed ({why}).",
            where="start",
            remedy="Nobody was asked and nothing is spent: wait for more clients, then resume.",
            missing=needed - present,
            refused=absent,
        )
