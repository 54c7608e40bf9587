"""What the page of secure sums says beside its tables."""

from __future__ import annotations

from typing import Final

__all__ = [
    "GRAPH",
    "GROWTH",
    "LARGEST",
    "LIMIT",
    "NOTES",
    "PAPER",
    "RACE",
    "WHOLE",
    "WORDS",
    "paragraphs",
]

NOTES: Final = """
Flower 1.41 has SecAgg+ for its legacy API. Here its own `SecAggPlusWorkflow` talks to a
`ClientApp` with its own `secaggplus_mod`, through the in-process grid, with as many shares as
clients: the complete graph, as ours. Both sides have the threshold t = ceil(0.8 n), values of
32 bits, one process, no network. In every run the total is checked: Flower's mean to its
levels, ours exactly.

Ours takes all five stages over the real messages, as JSON that is parsed again; states are
dumped and loaded between stages, as when every message is a new process; words are copied.
Disk, guard, ledger and noise are in neither.

Some of it has no counterpart in Flower's: every key is signed by a key that peers have pinned,
and each peer checks that; survivors sign the list of survivors, and each checks a threshold of
signatures before it reveals anything; secrets that are put together are held to what was
announced; what is derived or sealed in one session is worth nothing in another. Flower's rounds
floats to its levels on the way, which ours does before, with the noise.

The masks are not worth the same either. Flower's come from numpy's Mersenne Twister under a
seed of 32 bits, the XOR of the key's text (`pseudo_rand_gen`); the text of a pair's key is
base64, in which the top bit of every byte is zero, so that 28 bits are left. Who runs the
server can try them all. Ours are AES-256 in counter mode under keys of 256 bits.
"""

RACE: Final = """
Rows with fewer left than clients: the others fall silent after the stage of shares, as many as
the threshold allows. Seconds are the best of {flower} runs of Flower's and {ours} of ours, in
turns. Load of the machine, two cores, while all of this page was measured: {load}; so processor
seconds stand beside those of the clock. The aims, of 25 and 50 times where nobody drops out, are
from a measurement of Flower's that took about 21 s and 67 s, which a loaded machine of this kind
gives too. How near ours is to what could be had at all is in the next table.
"""

LIMIT: Final = """
Processor time of all clients and the server together. The limit: calls of primitives that the
protocol cannot do without, times what one takes in a loop of nothing else, in the same run
({prices}). Every client agrees on two keys with every peer, checks every peer's offer and t - 1
signatures of survivors, and makes one mask with every peer and one of its own. "Rest" is what
ours takes beyond it: JSON, Shamir's shares, hashes of what is signed, additions, Python.

The largest part of the limit are checks of signatures, and Flower's makes none. "Unchecked" is how
many times faster than Flower's ours would be without them, by processor time: information, not
an offer. Half of them, those under the list of survivors, could be tags under keys that two
clients share anyway; they are signatures because a signature can be shown to others when a
server has lied.
"""

GROWTH: Final = """
Processor time; JSON is what a client sends and receives, without words. A client's work is
linear in the number of clients. The server's grows with its square: it hands on a sealed share
for every pair, and makes a mask for each client who is gone with each survivor. Limits are those
above, of one client and of the server.

Each client masks in a fresh process. Megabytes are what resident memory rises by at its peak: of
a client beside the words that it brings, at the server from the stage of masked words on. Some
six and two of them are there whatever the size.
"""

WORDS: Final = """
A client needs one more array of the size of its words (the masked ones), the server two however
many clients there are (the running total, and what one client sends).
"""

LARGEST: Final = """
The whole sum, clients one after the other, with as many gone as the threshold allows, which is
the worst for the server. The total is right.
"""

WHOLE: Final = """
For information: one popularity sum in a simulated run, through the in-process engine. Every
message is checked by the guard and read from and written to the client's disk, the words are
made of its users' data with a share of the noise, what is charged is in the ledger, and the
server keeps its sessions and receipts. "Whole run" has the start of the apps in it.
"""

GRAPH: Final = """
Bell, Bonawitz, Gascón, Lepoint and Raykova 2020 let a client share masks and secrets with k
peers alone: clients stand in a circle in random order, and k / 2 on both sides are peers.
The table has the smallest k, and the threshold of k shares, by union bounds: but for a chance of
2^-40 no honest client's secrets come out and the honest survivors stay connected, and but for
2^-30 every client has enough peers left. It assumes that who is corrupt and who drops out is
settled before the order is drawn, and that nobody, the server least of all, can choose the
order. "Honest but curious": t is more than the corrupt peers. "Two-faced": the server may tell
some peers of a client that it is there and others that it is gone, which takes 2t > k + corrupt
peers. Even then it may show different clients different sets, and choose who is gone
once it knows the order, so that k is too small against such a server: Bell et al. guarantee no more
than a sum with some constant part of the others (5,000 of 10,000, for 5% corrupt, 5% gone and
some 300 peers).
"""

PAPER: Final = """
100,000 words, by the prices above; JSON by what a client and peer exchange in the runs above
({peer:.0f} bytes). The random graph has the peers that a two-faced server takes.

Why the complete graph, then: federations of shops have tens of members. At 200 the random graph
would need {small} of 199 peers and save a client some {saved:.0f} ms, for a drawn order that
nobody may choose, a chance of failure, and a weaker promise: on the complete graph one list of
survivors, signed by a threshold with 2t > n + c, is the sum's for everybody, whatever the server
says. From about a thousand clients on, what goes through the server (n^2 sealed shares) and
drop-outs (each a mask with every survivor) would call for it.
"""


def paragraphs(text: str) -> str:
    """The text with one line for each paragraph."""
    return "\n\n".join(part.replace("\n", " ") for part in text.strip().split("\n\n"))
