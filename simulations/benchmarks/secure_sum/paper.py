"""On paper: a thousand clients and more, by prices of primitives and sizes of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulations.benchmarks.secure_sum.graph import Crowd, fewest_peers
from simulations.benchmarks.secure_sum.limit import Sum, client_counts, seconds, server_counts

__all__ = ["degrees", "on_paper"]

_WORDS: Final = 100_000
_CROWDS: Final = ((200, 0.1, 0.2), (1000, 0.1, 0.2), (10_000, 0.1, 0.2), (10_000, 0.05, 0.05))


def degrees() -> list[dict[str, Any]]:
    """How many peers a random graph needs."""
    found = []
    for clients, corrupt, gone in _CROWDS:
        crowd = Crowd(clients, int(corrupt * clients), int(gone * clients))
        row: dict[str, Any] = {"clients": clients, "corrupt": corrupt, "gone": gone}
        for name, two_faced in (("honest but curious", False), ("two-faced", True)):
            peers, threshold = fewest_peers(crowd, two_faced=two_faced) or (None, None)
            row |= {f"peers, {name}": peers, f"threshold, {name}": threshold}
        found.append(row)
    return found


def on_paper(priced: Mapping[str, float], bytes_a_peer: float) -> list[dict[str, Any]]:
    """What 100,000 words cost on the complete graph and on the random one.

    Args:
        priced: seconds of each primitive.
        bytes_a_peer: JSON that a client sends and receives for each of its peers.
    """
    found = []
    for degree in degrees():
        n, gone = degree["clients"], int(degree["gone"] * degree["clients"])
        chosen = {"complete": n - 1, "random": degree["peers, two-faced"]}
        for graph, peers in chosen.items():
            threshold = degree["threshold, two-faced"] if graph == "random" else int(0.8 * n)
            size = Sum(n, n - gone, threshold, _WORDS, peers)
            found.append(
                {
                    "clients": n,
                    "gone": gone,
                    "graph": graph,
                    "peers": peers,
                    "client, s": seconds(client_counts(size), priced),
                    "client, MB of JSON": bytes_a_peer * peers / 1e6,
                    "server, s": seconds(server_counts(size), priced),
                    "server, GB of JSON": bytes_a_peer * peers * n / 1e9,
                }
            )
    return found
