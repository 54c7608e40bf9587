"""How seconds and memory grow: every client's masking in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from common.privacy.roster import Terms
from common.secure_sum.masks import Words
from common.secure_sum.party import Party
from simulations.benchmarks.apart import apart
from simulations.benchmarks.secure_sum.clock import Clock, Seconds
from simulations.benchmarks.secure_sum.ours import Federation, Session, usual_terms

__all__ = ["check_total", "client_words", "grown"]

_MEGABYTE: Final = 2**20


def client_words(words: int) -> Callable[[int], Words]:
    """Words of each client, made anew whenever they are asked for, the same every time."""

    def made(place: int) -> Words:
        return np.random.default_rng(place).integers(0, 2**32, words, dtype=np.uint32)

    return made


def check_total(total: Words, words: Callable[[int], Words], clients: int) -> None:
    """Hold a total to the plain sum modulo 2^32.

    Raises:
        SystemExit: they differ.
    """
    expected = np.zeros_like(total)
    for place in range(clients):
        expected += words(place)
    if not np.array_equal(total, expected):
        raise SystemExit("the total is wrong")


def grown(clients: int, words: int, gone: int = 0) -> dict[str, Any]:
    """One sum in a fresh process: processor time and memory, of a client and at the server.

    Milliseconds of a client are those of all clients over all stages, divided by those who
    stayed. JSON is what a client sends and receives, without words. Memory is what resident
    memory rises by at its peak: of a client in stage `masked`, beside the words that it
    brings; at the server from stage `masked` on.

    Args:
        clients: n; threshold and colluders are the usual ones.
        words: numbers in the sum, 4 bytes each.
        gone: how many clients fall silent after the stage of shares.
    """
    return apart(partial(_measured, usual_terms(clients), words, gone))


def _measured(terms: Terms, words: int, gone: int) -> dict[str, Any]:
    made, staying = client_words(words), terms.clients - gone
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        session = _Apart(terms, made, gone, Path(scratch) / "words")
        outcome = session.run()
        server_peak = _peak() - session.before
    check_total(outcome.total, made, staying)
    client, server = outcome.of("clients"), outcome.of("server")
    return {
        "clients": terms.clients,
        "left": staying,
        "words": words,
        "client, ms": 1000 * client.processor / staying,
        "masks, ms": 1000 * session.masking.processor / staying,
        "client, MB": max(session.peaks) / _MEGABYTE,
        "server, ms": 1000 * server.processor,
        "server, MB": server_peak / _MEGABYTE,
        "JSON, kB": outcome.traffic / terms.clients / 1000,
        "all, s by the clock": outcome.seconds.wall,
    }


class _Apart(Session):
    """Each client masks in a forked process of its own and leaves its words in a file."""

    def __init__(self, terms: Terms, words: Callable[[int], Words], gone: int, file: Path) -> None:
        super().__init__(Federation(terms), words, gone)
        self.masking = Seconds(0.0, 0.0)
        self.peaks: list[int] = []
        self.before = 0
        self._file = file

    def _masked(self, party: Party, body: str, place: int) -> Words:
        found = apart(partial(self._mask_apart, party, body, place))
        self._disk.update(found["kept"])
        self.peaks.append(found["peak"])
        self.masking += Seconds(**found["masking"])
        self.clocks["clients", "masked"].seconds += Seconds(**found["seconds"])
        if place == 0:
            self.before = _forget_peak()
        with self.clocks["server", "masked"]:
            return np.fromfile(self._file, np.uint32)

    def _mask_apart(self, party: Party, body: str, place: int) -> dict[str, Any]:
        words = self._words(place)
        before = _forget_peak()
        with Clock() as clock:
            masking = self._mask(party, body)
            with Clock() as masks:
                masked = masking.apply(words)
        peak = _peak() - before
        masked.tofile(self._file)
        kept = {name: text for name, text in self._disk.items() if name.startswith(party.name)}
        seconds, masks_alone = asdict(clock.seconds), asdict(masks.seconds)
        return {"kept": kept, "peak": peak, "seconds": seconds, "masking": masks_alone}


def _forget_peak() -> int:
    """Begin to look for a new peak; bytes of resident memory now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Largest resident memory since it was last forgotten, bytes (`man 5 proc`)."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    return int(line.split()[1]) * 1024
