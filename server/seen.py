"""What the server received in secure sums, on its disk, for those who do not believe.

Off unless asked for: the records hold nothing that the server does not have anyway, but they
are large, and a server that forgets is better than one that remembers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

from pydantic import Field

from common.arrays import Words
from common.artifacts import arrays_from_bytes, arrays_to_bytes
from common.config import Settings, read_json
from common.errors import ArtifactError, Code, ConfigError, RunError
from common.files import read_bytes, write_atomic
from common.job import JobId
from common.secure_sum.messages import Agreement, KeyOffer, Reveal, ShareOffer, Stage
from server.sessions import SessionRecord

__all__ = ["RECORD_MARK", "Recorder", "Recording", "Seen", "Transcript", "recordings"]

RECORD_MARK: Final = "record_sums"
"""An empty file of this name in a run's folder: what the server receives is to be recorded."""
_FOLDER: Final = "seen"
_TRANSCRIPT: Final = "transcript.json"
_WORDS: Final = "words"
_TOTAL: Final = "total"
_Said = TypeVar("_Said")
_SESSION: Final = re.compile(r"step-(\d{4,})-session-(\d+)")


class Transcript(Settings):
    """Everything that clients said in one session, but for their words."""

    job_id: JobId
    """The job."""
    name: str
    """Name of the step."""
    clients: int
    """n: clients on the roster."""
    threshold: int
    """t: fewest clients of which a total is made."""
    colluders: int
    """c: clients that may collude with the server."""
    context: str
    """What everything in the session is bound to."""
    ended: SessionRecord
    """What became of it."""
    received: dict[str, dict[Stage, int]] = Field(default_factory=dict)
    """Bytes that each client sent, by stage; refusals too."""
    offers: tuple[KeyOffer, ...] = ()
    """Stage `keys`."""
    deals: tuple[ShareOffer, ...] = ()
    """Stage `shares`."""
    agreements: tuple[Agreement, ...] = ()
    """Stage `survivors`."""
    reveals: tuple[Reveal, ...] = ()
    """Stage `reveal`."""


@dataclass
class Recording:
    """One session, written as it goes on: words at once, the rest after every stage."""

    folder: Path
    transcript: Transcript

    def heard(
        self,
        stage: Stage,
        sizes: Mapping[str, int],
        *,
        offers: Mapping[str, KeyOffer],
        deals: Mapping[str, ShareOffer],
        agreements: Mapping[str, Agreement],
        reveals: Mapping[str, Reveal],
    ) -> None:
        """Keep how many bytes each client sent in a stage, and what was said so far."""
        known = self.transcript.received
        more = {name: {**known.get(name, {}), stage: size} for name, size in sizes.items()}
        self._keep(
            received={**known, **more},
            offers=_in_order(offers),
            deals=_in_order(deals),
            agreements=_in_order(agreements),
            reveals=_in_order(reveals),
        )

    def words(self, name: str, words: Words) -> None:
        """Keep a client's masked words as they came, `[rows, width]`."""
        self._write(f"{_WORDS}-{name}", words)

    def end(self, record: SessionRecord, total: Words | None) -> None:
        """Keep what became of the session, and its total."""
        if total is not None:
            self._write(_TOTAL, total)
        self._keep(ended=record)

    def _keep(self, **fields: Any) -> None:
        self.transcript = self.transcript.model_copy(update=fields)
        text = self.transcript.model_dump_json(indent=1)
        write_atomic(self.folder / _TRANSCRIPT, text.encode(), durable=False)

    def _write(self, name: str, words: Words) -> None:
        blob = arrays_to_bytes({_WORDS: words})
        write_atomic(self.folder / f"{name}.safetensors", blob, durable=False)


@dataclass(frozen=True)
class Recorder:
    """Where sessions are recorded.

    Attributes:
        folder: the registry's folder.
    """

    folder: Path

    def begin(self, transcript: Transcript) -> Recording:
        """A place for a session that begins."""
        number = transcript.ended
        folder = _place(self.folder, number.step, number.session)
        folder.mkdir(parents=True, exist_ok=True)
        return Recording(folder, transcript)


class Seen(NamedTuple):
    """A recorded session."""

    step: int
    session: int
    folder: Path

    @property
    def transcript(self) -> Transcript:
        """All but the words.

        Raises:
            ArtifactError: `artifact-invalid`, it is missing or damaged.
        """
        path = self.folder / _TRANSCRIPT
        try:
            return Transcript.load(read_json(path), where=str(path))
        except ConfigError as error:
            raise ArtifactError(
                Code.ARTIFACT_INVALID,
                error.message,
                where=str(path),
                remedy="Remove this folder, or record another run.",
            ) from None

    def words(self) -> Iterator[tuple[str, Words]]:
        """Masked words by client, in order of name, one in memory at a time."""
        for path in sorted(self.folder.glob(f"{_WORDS}-*.safetensors")):
            yield path.stem.removeprefix(f"{_WORDS}-"), _load(path)

    @property
    def total(self) -> Words | None:
        """The total of the words, unmasked, `[rows, width]`; None if there was none."""
        path = self.folder / f"{_TOTAL}.safetensors"
        return _load(path) if path.exists() else None

    @classmethod
    def at(cls, folder: Path) -> Self | None:
        """The session whose folder this is, if it is one."""
        match = _SESSION.fullmatch(folder.name)
        return None if match is None else cls(int(match[1]), int(match[2]), folder)


def recordings(registry: Path) -> list[Seen]:
    """Every recorded session, in order.

    Args:
        registry: the registry's folder.

    Raises:
        RunError: `run-not-found`, nothing was recorded.
    """
    found = [Seen.at(path) for path in (registry / _FOLDER).glob("step-*")]
    seen = sorted(one for one in found if one is not None)
    if not seen:
        raise RunError(
            Code.RUN_NOT_FOUND,
            "no secure sum was recorded here.",
            where=str(registry / _FOLDER),
            remedy=f"Only mode `distributed` has secure sums. Put an empty file `{RECORD_MARK}` "
            "into the run's folder before it runs, or simulate with `record_sums = true`.",
        )
    return seen


def _in_order(said: Mapping[str, _Said]) -> tuple[_Said, ...]:
    return tuple(said[name] for name in sorted(said))


def _place(registry: Path, step: int, session: int) -> Path:
    return registry / _FOLDER / f"step-{step:04d}-session-{session}"


def _load(path: Path) -> Words:
    words = arrays_from_bytes(read_bytes(path), where=str(path)).get(_WORDS)
    if words is None:
        raise ArtifactError(Code.ARTIFACT_INVALID, "holds no words.", where=str(path))
    return words
