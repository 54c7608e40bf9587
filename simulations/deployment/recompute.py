"""A training's model once more, from what its clients kept of what they released.

The server's own totals, checkpoints and arrays are not used: of its records only who answered
which step, since that is the server's to decide, and in secure sums what was revealed. The
catalogue is a client's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.arrays import State, Words
from common.artifacts import arrays_from_bytes, load_artifact
from common.catalogue import Catalogue
from common.errors import HushRecError
from common.job import Job
from common.privacy.plan import Release
from common.privacy.shared_noise import natural, noise_std_of
from common.protocol import Reply
from common.schedule import Schedule, schedule_of
from common.solvers.base import NoisyTotal
from server.combine import Combiner
from server.optimiser import after_average
from server.record import RoundRecord
from server.registry import Registry
from server.roster import Member
from server.seen import Seen, recordings
from server.seen_masks import known_masks
from simulations.deployment.evidence import LedgerCopy, Released, Said

__all__ = ["Recomputed", "model_faults", "recomputed"]

_WORDS = "words"


class _Missing(Exception):  # noqa: N818  ends one recomputation, with a sentence
    """What a round is said to hold is not on the clients' disks."""


@dataclass(frozen=True)
class Recomputed:
    """One training, from its clients' side.

    Attributes:
        job: of the training.
        registry: the server's folder of it.
        ledgers: of all clients, by name.
        populations: declared users, by client.
        catalogue: loads the job's catalogue, or one that has grown since; None for solvers that
            read no features of its items.
    """

    job: Job
    registry: Path
    ledgers: Mapping[str, LedgerCopy]
    populations: Mapping[str, int]
    catalogue: Callable[[], Catalogue] | None = None

    def model(self) -> State:
        """The arrays of the model.

        Raises:
            HushRecError: a record cannot be read.
            _Missing: a client did not release what it is said to have.
        """
        schedule = schedule_of(self.job)
        state = schedule.initial_state(self._beginning)
        records = Registry(self.registry).rounds()
        if len(records) != len(schedule.steps):
            raise _Missing(f"{len(records)} of {len(schedule.steps)} rounds have a record")
        for index, record in enumerate(records):
            state = self._after(schedule, index, state, record)
        return schedule.finish(state).arrays()

    def _beginning(self) -> Catalogue:
        """As many items as the job is about.

        Raises:
            _Missing: nobody has said where the catalogue is.
        """
        if self.catalogue is None:
            raise _Missing("the solver reads features of items, and no catalogue is given")
        return self.catalogue().first(self.job.n_items)

    def _after(self, schedule: Schedule, index: int, state: State, record: RoundRecord) -> State:
        release = schedule.plan.releases[index]
        if record.step != index:
            raise _Missing(f"the record of step {index} is that of step {record.step}")
        if self.job.mode == "distributed":
            return schedule.advance(index, state, self._summed(index, release, record))
        total, arrays = self._combined(schedule, index, record).total()
        if total is None:
            return after_average(schedule.steps[index], state, arrays)
        return schedule.advance(index, state, total)

    def _combined(self, schedule: Schedule, index: int, record: RoundRecord) -> Combiner:
        members = [self._member(name) for name in sorted(record.answered)]
        combiner = Combiner(
            schedule.steps[index], schedule.plan.releases[index], members, self.job.mode
        )
        for member in members:
            kept = self._kept(member.name, Said(self.job.job_id, index, 0))
            combiner.offer(member, Reply("ok", arrays_from_bytes(kept.payload)))
        return combiner

    def _summed(self, index: int, release: Release, record: RoundRecord) -> NoisyTotal:
        last = record.sessions[-1].session
        seen = [s for s in recordings(self.registry) if (s.step, s.session) == (index, last)]
        if not seen:
            raise _Missing(f"step {index} session {last} was not recorded")
        survivors = seen[0].transcript.ended.survivors
        if set(survivors) != set(record.answered):
            raise _Missing(f"step {index}: the total is said to be of others than were heard")
        words = self._unmasked(seen[0], Said(self.job.job_id, index, last))
        return NoisyTotal(
            values=natural(words, release),
            noise_std=noise_std_of(release, len(survivors)),
            population=float(sum(self.populations[name] for name in survivors)),
            sampling_rate=release.sampling_rate,
        )

    def _unmasked(self, seen: Seen, said: Said) -> Words:
        """The survivors' words as they keep them, with the masks off that were revealed."""
        known = known_masks(seen.transcript)
        total: Words | None = None
        for name in sorted(seen.transcript.ended.survivors):
            words = arrays_from_bytes(self._kept(name, said).payload)[_WORDS]
            bare = known[name].off(words)
            total = bare if total is None else np.add(total, bare)
        if total is None:
            raise _Missing(f"step {said.step}: a total of nobody")
        return total

    def _kept(self, name: str, said: Said) -> Released:
        ledger = self.ledgers.get(name)
        found = None if ledger is None else ledger.releases.get(said)
        if found is None:
            raise _Missing(f"{name} is in step {said.step}, and has released nothing for it")
        return found

    def _member(self, name: str) -> Member:
        return Member(name, 0, self.populations[name])


def model_faults(training: Recomputed, artifact: Path) -> Iterator[str]:
    """Whether a published model is, bit by bit, what its clients released.

    Args:
        training: whose model.
        artifact: folder of the model.
    """
    try:
        arrays, _ = load_artifact(artifact)
        expected = training.model()
    except (_Missing, HushRecError) as error:
        yield f"{artifact}: {error}"
        return
    if arrays.keys() != expected.keys():
        yield f"{artifact}: holds {sorted(arrays)}, not {sorted(expected)}"
        return
    for name, array in arrays.items():
        wanted = np.asarray(expected[name])
        if array.dtype != wanted.dtype or array.tobytes() != wanted.tobytes():
            yield f"{artifact}: {name} is not what the clients' releases make"


def recomputed(
    job: Job,
    run: Path,
    ledgers: Mapping[str, LedgerCopy],
    populations: Mapping[str, int],
    catalogue: Callable[[], Catalogue] | None = None,
) -> Recomputed:
    """Of the training in a run's folder; arguments as the attributes of what is returned."""
    return Recomputed(job, run / "server", ledgers, populations, catalogue)
