"""`shop` serving: the delivered model refitted on the shop's own log, in the background."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Final

import numpy as np

from client.service.served import Served
from client.store import ClientStore
from common.models.refit import RefitSettings, refit

__all__ = ["Tuning", "tuned"]

_LOG: Final = logging.getLogger("hushrec.service")


def tuned(released: Served, store: ClientStore, peers: int = 0) -> Served:
    """What the shop makes of a delivered model. Tells of this shop's log; never released.

    The draws that hide events for the choice are public and repeatable: nothing is protected
    by them.

    Args:
        released: the delivered model.
        store: the shop's log.
        peers: clients on the roster, this one too; 0 if nobody says how many there are.
    """
    settings = RefitSettings(own_share=1.0 / peers if peers else 0.0)
    rng = np.random.default_rng(released.serial)
    chosen = refit(released.model, store.histories, settings, rng)
    return replace(released, serving="shop", model=chosen.model).warmed()


class Tuning:
    """Trains one shop model at a time, and has the last one that was finished."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._wanted: tuple[int, str, str] | None = None
        self._done: Served | None = None

    def get(self, released: Served, store: ClientStore, peers: int = 0) -> Served | None:
        """The last shop model, None before the first; begins another where one is due.

        Due is one for every delivered model and every import.
        """
        key = (released.serial, released.version, store.snapshot)
        if self._wanted != key and self._idle.is_set():
            with self._lock:
                if self._wanted != key and self._idle.is_set():
                    self._wanted = key
                    self._idle.clear()
                    self._start(released, store, peers)
        return self._done

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is being trained; whether that is so."""
        return self._idle.wait(seconds)

    def _start(self, released: Served, store: ClientStore, peers: int) -> None:
        work = threading.Thread(target=self._train, args=(released, store, peers), daemon=True)
        work.start()

    def _train(self, released: Served, store: ClientStore, peers: int) -> None:
        try:
            self._done = tuned(released, store, peers)
            _LOG.info("the shop's own model answers from now on")
        except Exception:  # noqa: BLE001  the delivered model goes on answering
            _LOG.exception("the shop's own model could not be trained")
        finally:
            self._idle.set()
