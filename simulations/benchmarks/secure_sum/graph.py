"""On paper: how few peers a client needs if the graph of masks is drawn at random.

Bell, Bonawitz, Gascón, Lepoint and Raykova 2020, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead": clients stand in a circle in random order, and each shares masks
and secrets with the `k / 2` nearest on both sides. Here are union bounds of our own over what
may go wrong, for clients that are corrupt or drop out whoever stands where.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from scipy import stats

from common.arrays import Floats

__all__ = ["Crowd", "fewest_peers"]

_SECURITY: Final = 2.0**-40
_CORRECTNESS: Final = 2.0**-30


@dataclass(frozen=True)
class Crowd:
    """Who takes part.

    Attributes:
        clients: n.
        corrupt: clients that work with the server.
        gone: clients that drop out.
    """

    clients: int
    corrupt: int
    gone: int


@cache
def fewest_peers(crowd: Crowd, *, two_faced: bool) -> tuple[int, int] | None:
    """Smallest even number of peers `k`, and a threshold `t` of their shares, that will do.

    It will do if, but for a chance of 2^-40, every honest client's secrets stay hidden and the
    honest survivors hang together; and if, but for a chance of 2^-30, each client has `t` peers
    left.

    Args:
        crowd: who takes part.
        two_faced: the server may ask some peers of a client for one secret and some for the
            other. Then both stay hidden if `2t > k + corrupt peers`; else `t > corrupt peers`.

    Returns:
        None if even all the others are too few for these bounds.
    """
    for peers in range(2, crowd.clients, 2):
        threshold = _threshold(crowd, peers, two_faced)
        if threshold is not None:
            return peers, threshold
    return None


def _threshold(crowd: Crowd, peers: int, two_faced: bool) -> int | None:
    """Highest threshold that enough peers will reach, if it keeps secrets hidden."""
    if _chance_of_gaps(crowd, peers) > _SECURITY / 2:
        return None
    others = crowd.clients - 1
    fewer = np.cumsum(_among_peers(others, others - crowd.gone, peers))  # at most so many left
    (enough,) = np.nonzero(crowd.clients * fewer > _CORRECTNESS)
    t = int(enough[0])
    too_many = 2 * t - peers if two_faced else t
    corrupt = _among_peers(others, crowd.corrupt, peers)
    found_out = crowd.clients * corrupt[max(too_many, 0) :].sum()
    return t if t > 0 and found_out <= _SECURITY / 2 else None


def _among_peers(others: int, kind: int, peers: int) -> Floats:
    """Chances that 0, 1, ... of a client's peers are among `kind` of the others."""
    chances: Floats = stats.hypergeom.pmf(np.arange(peers + 1), others, kind, peers)
    return chances


def _chance_of_gaps(crowd: Crowd, peers: int) -> float:
    """Bound on the chance that honest survivors fall apart.

    It takes two gaps of `k / 2` neighbouring clients each who are corrupt or gone.
    """
    missing = crowd.corrupt + crowd.gone
    if missing < peers:
        return 0.0
    all_missing = (
        math.lgamma(missing + 1)
        - math.lgamma(missing - peers + 1)
        - math.lgamma(crowd.clients + 1)
        + math.lgamma(crowd.clients - peers + 1)
    )
    return min(1.0, math.exp(min(0.0, all_missing)) * crowd.clients**2 / 2)
