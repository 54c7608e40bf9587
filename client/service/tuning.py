"""`shop` serving: the delivered model refitted on the shop's own log, in the background."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np

from client.service.served import Served
from client.store import ClientStore
from common.errors import Code, HushRecError
from common.logs import ONLY_HERE
from common.models.mf import MatrixFactorisation
from common.models.refit import RefitSettings, refit
from common.solvers.base import given_to

__all__ = ["Tuning", "tuned"]

_Key: TypeAlias = tuple[int, str, str]
"""Serial and version of the delivered model, and the snapshot of the log."""
_RETRY_SECONDS: Final = 300.0
_LOG: Final = logging.getLogger("hushrec.service")


def tuned(released: Served, store: ClientStore, peers: int = 0) -> Served:
    """What the shop makes of a delivered model. Tells of this shop's log; never released.

    The draws that hide events for the choice are public and repeatable: nothing is protected
    by them. A model that may look at the order of events is asked for each shopper's latest
    ones, as it is served; of matrix factorisation, which does not, any are hidden.

    Args:
        released: the delivered model.
        store: the shop's log.
        peers: clients on the roster, this one too; 0 if nobody says how many there are.
    """
    settings = RefitSettings(own_share=1.0 / peers if peers else 0.0)
    rng = np.random.default_rng(released.serial)
    looks = not isinstance(released.model, MatrixFactorisation)
    log = given_to(released.model, store).histories.within(released.model.n_items)
    times = log.order if looks else None
    chosen = refit(released.model, log, settings, rng, times)
    return replace(released, serving="shop", model=chosen.model).warmed()


class Tuning:
    """Trains one shop model at a time, and has the last one that was finished.

    One that cannot be trained is tried again after some minutes. A model of another log or
    another delivery does not stay in its place: the delivered one answers until then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._wanted: _Key | None = None
        self._done: Served | None = None
        self._failed: tuple[Code, float] | None = None

    def get(self, released: Served, store: ClientStore, peers: int = 0) -> Served | None:
        """The last shop model, None where there is none; begins another where one is due.

        Due is one for every delivered model and every import.
        """
        key = (released.serial, released.version, store.snapshot)
        if self._is_due(key):
            with self._lock:
                if self._is_due(key):
                    self._wanted = key
                    self._idle.clear()
                    self._start(released, store, peers)
        return self._done

    @property
    def held_back(self) -> str:
        """Code of what the last training failed with; empty if it did not."""
        failed = self._failed
        return "" if failed is None else str(failed[0])

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is being trained; whether that is so."""
        return self._idle.wait(seconds)

    def _is_due(self, key: _Key) -> bool:
        if not self._idle.is_set():
            return False
        failed = self._failed
        if self._wanted != key or failed is None:
            return self._wanted != key
        return time.monotonic() - failed[1] >= _RETRY_SECONDS

    def _start(self, released: Served, store: ClientStore, peers: int) -> None:
        try:
            self._begin(released, store, peers)
        except RuntimeError as error:  # no more threads
            self._give_up(error)
            self._idle.set()

    def _begin(self, *asked: Any) -> None:
        threading.Thread(target=self._train, args=asked, daemon=True).start()

    def _train(self, released: Served, store: ClientStore, peers: int) -> None:
        try:
            self._done = tuned(released, store, peers)
            self._failed = None
            _LOG.info("the shop's own model answers from now on")
        except Exception as error:  # noqa: BLE001  the delivered model goes on answering
            self._give_up(error)
        finally:
            self._idle.set()

    def _give_up(self, error: Exception) -> None:
        code = error.code if isinstance(error, HushRecError) else Code.INTERNAL
        self._failed, self._done = (code, time.monotonic()), None
        _LOG.error("the shop's own model could not be trained", exc_info=error, extra=ONLY_HERE)
