"""The hands that do it: faults at their times, and what heals them."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from simulations.deployment.chaos.faults import Fault
from simulations.deployment.processes import Seen
from simulations.deployment.relay import Weather
from simulations.deployment.topology import SERVER, SUPEREXEC, Federation

__all__ = ["Done", "Hands"]

_SIGNALS: Final = {"kill": signal.SIGKILL, "end": signal.SIGTERM}
_PROGRAMS: Final = {
    "server-app": "flwr-serverapp",
    "node": " client.launcher ",
    "task": " client.launcher.task",
}
"""How the command lines of parts of a unit are known."""


@dataclass
class Done:
    """A fault and what became of it.

    Attributes:
        fault: what was drawn.
        state: `waits`, `on` until it is healed, `over`, or `missed` where there was nobody to
            whom it could happen until the training was over.
        at_seconds: when it happened.
    """

    fault: Fault
    state: str = "waits"
    at_seconds: float | None = None
    heal: Callable[[], None] | None = None

    @property
    def until_seconds(self) -> float:
        """When it is healed."""
        return (self.at_seconds or 0.0) + self.fault.for_seconds


@dataclass
class Hands:
    """Does to one training what was drawn for it.

    Attributes:
        federation: whose.
        driver: name of the unit that is the operator's command.
        done: every fault, in order of time.
    """

    federation: Federation
    driver: str
    done: list[Done] = field(default_factory=list)

    @classmethod
    def of(cls, federation: Federation, driver: str, faults: list[Fault]) -> Hands:
        """With everything still to do."""
        return cls(federation, driver, [Done(fault) for fault in faults])

    @property
    def disturbed(self) -> Counter[str]:
        """How often processes of each shop were."""
        happened = (one.fault for one in self.done if one.at_seconds is not None)
        return Counter(one.shop for one in happened if one.shop and one.place != "network")

    def look(self, elapsed: float) -> None:
        """Do and heal what is due.

        Args:
            elapsed: seconds since the training began.
        """
        for one in self.done:
            if one.state == "waits" and elapsed >= one.fault.at_seconds:
                self._do(one, elapsed)
            elif one.state == "on" and elapsed >= one.until_seconds:
                self._heal(one)

    def finish(self) -> None:
        """Heal everything; what has not happened will not."""
        for one in self.done:
            if one.state == "waits":
                one.state = "missed"
            elif one.state == "on":
                self._heal(one)

    def _do(self, one: Done, elapsed: float) -> None:
        if self._happens(one):
            one.at_seconds = elapsed
            one.state = "over" if one.heal is None else "on"

    def _heal(self, one: Done) -> None:
        if one.heal is not None:
            one.heal()
        one.state = "over"

    def _happens(self, one: Done) -> bool:
        """Do it; False if there is nobody yet to whom it could happen."""
        fault = one.fault
        if fault.place == "network":
            return self._network(one)
        if fault.kind == "away":
            return self._away(one)
        found = self._processes(fault)
        if fault.kind != "freeze":
            return any(_send(pid, _SIGNALS[fault.kind]) for pid in found[:1])
        frozen = tuple(pid for pid in found if _send(pid, signal.SIGSTOP))
        one.heal = lambda: self.federation.processes.thaw(frozen)
        return bool(frozen)

    def _processes(self, fault: Fault) -> list[int]:
        """The process that is meant, and behind it what it has started."""
        units = {"server": SERVER, "superexec": SUPEREXEC, "driver": self.driver}
        units["server-app"] = SUPEREXEC
        tree = self._tree(units.get(fault.place, str(fault.shop)))
        program = _PROGRAMS.get(fault.place, "")
        if not program:
            return [one.pid for one in tree]
        meant = [one.pid for one in tree if program in f"{one.command} "][:1]
        return meant + [one.pid for one in tree if one.parent in meant]

    def _tree(self, unit: str) -> tuple[Seen, ...]:
        names = self.federation.processes.names
        return self.federation.processes.tree(unit) if unit in names else ()

    def _away(self, one: Done) -> bool:
        name = str(one.fault.shop)
        self.federation.processes.stop(name)
        one.heal = lambda: self.federation.processes.restart(name)
        return True

    def _network(self, one: Done) -> bool:
        relay = self.federation.relays.by_name[str(one.fault.shop)]
        if one.fault.kind == "cut":
            return relay.cut() > 0
        weather = {
            "refuse": Weather(refuse=True),
            "hold": Weather(hold=True),
            "delay": Weather(delay_seconds=0.5),
            "throttle": Weather(bytes_per_second=5_000.0),
        }
        relay.set(weather[one.fault.kind])
        one.heal = relay.heal
        return True


def _send(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
