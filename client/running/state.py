"""How the parts of a running client are, as its monitor shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from common.public_codes import as_it_leaves

__all__ = ["ENDED", "Being", "PartState", "Parts"]

Being: TypeAlias = Literal["starting", "running", "ready", "away", "waiting", "ended"]
"""`ready`: it does its work, as it said itself. `away`: it runs and cannot reach the server.
`waiting`: it has ended, and is started again. `ended`: everything ends."""
ENDED: Final = "ends with an error"
"""The event of a process that ends with a code."""
_SAID: Final[tuple[Being, ...]] = ("ready", "away")


@dataclass
class PartState:
    """How one part is.

    Guarantee:
        Nothing here comes from data but through codes, and these as they leave the client.

    Attributes:
        being: what it does.
        code: why it last ended, or is away; None when it is ready, or nobody knows.
        restarts: how often it was started again.
    """

    being: Being = "starting"
    code: str | None = None
    restarts: int = 0

    @property
    def is_up(self) -> bool:
        """Whether there is a process."""
        return self.being in ("running", "ready", "away")

    def heard(self, line: dict[str, object]) -> None:
        """Take what a line of the part's log says of it."""
        said, code = line.get("state"), line.get("code")
        for one in _SAID:
            if said == one:
                self.being = one
                self.code = None if one == "ready" else as_it_leaves(code)
        if line.get("event") == ENDED:
            self.code = as_it_leaves(code)


@dataclass(frozen=True)
class Parts:
    """All parts.

    Attributes:
        node: the launcher's.
        service: the shop's own interface.
    """

    node: PartState = field(default_factory=PartState)
    service: PartState = field(default_factory=PartState)

    def items(self) -> tuple[tuple[str, PartState], ...]:
        """By name."""
        return ("node", self.node), ("service", self.service)
