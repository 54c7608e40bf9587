"""What a server could make of one recorded session, client by client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from common.arrays import Floats, Words
from common.config import Settings
from common.privacy.plan import Release
from common.privacy.shared_noise import natural, noise_std_of
from common.secure_sum.messages import Stage
from server.seen import Seen, Transcript
from server.seen_masks import known_masks
from server.sessions import Drop
from server.uniform import Looks, Pair, closest_pair, looks_of, sample_of

__all__ = ["ClientView", "Entry", "SessionView", "TotalView", "view_session"]

_LARGEST: Final = 10
_ALARM: Final = 1e-6
"""Uniform words look worse than this in a session of a million."""


class ClientView(Settings):
    """What the server received of one client, and how it looks."""

    client: str
    """Who."""
    received: dict[Stage, int]
    """Bytes by stage."""
    lost: Drop | None
    """How the server lost it, if it did."""
    words: Looks | None = None
    """Its masked words, as they came."""
    bare: Looks | None = None
    """The same, with every mask taken off that the server learns."""
    others: Looks | None = None
    """All other clients' words, added up: the total without this client."""
    seed_shares: int = 0
    """Shares of the seed of its own mask that were revealed."""
    key_shares: int = 0
    """Shares of its masking key that were revealed: of one or the other, never of both."""


class Entry(Settings):
    """One entry of a total."""

    row: int
    """Position of the item, from 0; or the number of a metric."""
    column: int
    """Column, from 0."""
    value: float
    """In natural units."""
    sigmas: float
    """The same over the standard deviation of the noise."""


class TotalView(Settings):
    """What the server learns."""

    words: Looks
    """The total's words: how the tests see what is not masked."""
    adds_up: bool
    """Whether the recorded words, known masks taken off, add up to it."""
    noise_std: float
    """Standard deviation of the noise on each entry, natural units."""
    root_mean_square: float
    """Of the entries, natural units."""
    signal_to_noise: float
    """Root mean square of the signal over `noise_std`, estimated."""
    largest: tuple[Entry, ...]
    """The largest entries by absolute value."""


class SessionView(Settings):
    """One recorded session."""

    step: int
    """Index of the step, from 0."""
    name: str
    """Name of the step."""
    session: int
    """Number of the attempt."""
    outcome: str
    """`summed`, `begun` where the server was killed, or the code that ended it."""
    roster: int
    """n: clients on the roster."""
    threshold: int
    """t: fewest clients of which a total is made."""
    colluders: int
    """c: clients that may collude with the server."""
    survivors: tuple[str, ...]
    """Whose words are in the total."""
    rows: int
    """Rows of the sum."""
    width: int
    """Columns of the sum."""
    word_bits: int
    """k: words are integers modulo 2^k."""
    clients: tuple[ClientView, ...]
    """Everybody who was asked, in order of name."""
    smallest_p: float | None
    """Smallest p of all tests of words that are masked."""
    tests: int
    """How many tests that were."""
    by_chance: float | None
    """The chance that the smallest p of as many tests of uniform words is as small."""
    pair: Pair | None
    """The two clients whose words go together most."""
    total: TotalView | None
    """What the server learns; None if the session made no total."""

    @property
    def stands_out(self) -> bool:
        """Whether masked words are less uniform than chance explains, or make another total."""
        odd = [self.by_chance, None if self.pair is None else self.pair.p]
        wrong = self.total is not None and not self.total.adds_up
        return wrong or any(p is not None and p < _ALARM for p in odd)


def view_session(seen: Seen, release: Release) -> SessionView:
    """Look at one session; three arrays of words are in memory at a time.

    Args:
        seen: the recording.
        release: what was summed.

    Raises:
        ArtifactError: the recording is damaged.
    """
    transcript, total = seen.transcript, seen.total
    clients, everything, pair = _clients(seen, transcript)
    looks = [look for one in clients for look in (one.words, one.bare, one.others) if look]
    smallest = min((look.p for look in looks), default=None)
    shares = release.shares
    return SessionView(
        step=seen.step,
        name=transcript.name,
        session=seen.session,
        outcome=transcript.ended.outcome,
        roster=transcript.clients,
        threshold=transcript.threshold,
        colluders=transcript.colluders,
        survivors=transcript.ended.survivors,
        rows=release.rows,
        width=release.width,
        word_bits=0 if shares is None else shares.word_bits,
        clients=tuple(clients),
        smallest_p=smallest,
        tests=len(looks),
        by_chance=None if smallest is None else _by_chance(smallest, len(looks)),
        pair=pair,
        total=None if total is None else _total(total, everything, release, transcript),
    )


def _by_chance(smallest: float, tests: int) -> float:
    return 1.0 if smallest >= 1 else -math.expm1(tests * math.log1p(-smallest))


def _clients(
    seen: Seen, transcript: Transcript
) -> tuple[list[ClientView], Words | None, Pair | None]:
    """Everybody, the sum of all words with known masks taken off, and the closest pair."""
    known = known_masks(transcript)
    raw: Words | None = None
    bare_sum: Words | None = None
    samples: list[tuple[str, Floats]] = []
    looks: dict[str, dict[str, Looks]] = {}
    for name, words in seen.words():
        raw = _plus(raw, words)
        samples.append((name, sample_of(words, transcript.clients)))
        looks[name] = {"words": looks_of(words)}
        if name in known and known[name].added:
            bare = known[name].off(words)
            bare_sum = _plus(bare_sum, bare)
            looks[name]["bare"] = looks_of(bare)
    if raw is not None and len(looks) > 1:
        for name, words in seen.words():
            looks[name]["others"] = looks_of(raw - words)
    clients = [_client(name, transcript, looks.get(name, {})) for name in _asked(transcript)]
    return clients, bare_sum, closest_pair(samples)


def _plus(total: Words | None, words: Words) -> Words:
    if total is None:
        return words.copy()
    return np.add(total, words, out=total)


def _asked(transcript: Transcript) -> list[str]:
    return sorted(set(transcript.received) | set(transcript.ended.dropped))


def _client(name: str, transcript: Transcript, looks: Mapping[str, Looks]) -> ClientView:
    return ClientView(
        client=name,
        received=transcript.received.get(name, {}),
        lost=transcript.ended.dropped.get(name),
        seed_shares=sum(name in reveal.seeds for reveal in transcript.reveals),
        key_shares=sum(name in reveal.keys for reveal in transcript.reveals),
        **looks,
    )


def _total(
    words: Words, everything: Words | None, release: Release, transcript: Transcript
) -> TotalView:
    values = natural(words, release)
    sigma = noise_std_of(release, len(transcript.ended.survivors))
    power = float(np.mean(values**2))
    flat = np.argsort(-np.abs(values), axis=None, kind="stable")[:_LARGEST]
    largest = [divmod(int(place), release.width) for place in flat]
    return TotalView(
        words=looks_of(words),
        adds_up=everything is not None and np.array_equal(everything, words),
        noise_std=sigma,
        root_mean_square=math.sqrt(power),
        signal_to_noise=math.sqrt(max(power / sigma**2 - 1.0, 0.0)),
        largest=tuple(
            Entry(
                row=row,
                column=column,
                value=float(values[row, column]),
                sigmas=float(values[row, column]) / sigma,
            )
            for row, column in largest
        ),
    )
