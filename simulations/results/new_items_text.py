"""What the page of new items says beside its figures."""

from __future__ import annotations

from typing import Final

__all__ = ["NOTES", "WORDS"]

NOTES: Final = """
A tenth of the items, drawn by the seed, is hidden with all events on it: training, by the real
apps with one client and `subspace`, gets a catalogue without them. Then `ContentMap` learns from
the released rows and the features of the items that trained, and gives the hidden ones rows from
their features alone. Features are hashed titles and labels: genres on MovieLens-1M, the
anonymous attributes on Amazon Beauty.

Judged are 2,000 users for each seed, drawn from those with an event on a hidden item and one in
training. R is all hidden items of the user. They are ranked among all hidden items (`hidden_`)
and among all items that the user has no training event on (`all_`); ties count against them.
HR@10: an item of R is among the first ten. NDCG@10: divided by the best possible for
min(10, |R|) hits. Percentile: (rank - 1) / (candidates - 1), mean over R; 0 is the top, chance is
0.5. All are means over users. With many hidden items to a user HR@10 of chance is high, so look
at NDCG and the percentile.

Scorers: `random`; `features alone`, the cosine with the mean features of the user's own items,
without any model; `predicted popularity`, from features by the same map; `oracle popularity`,
exact counts of all events, the held-out ones included: what no method could know, and no
personalisation. `any`: no training went into it.

ε is user-level (add/remove one user), by PLD, mode `local` with one client, δ = declared users to
the power of -1.1; features and the map cost nothing of it. Settings are the defaults of
`HashedSettings` and `ContentSettings`. They were chosen among some thirty by NDCG@10 among
hidden items, without privacy: with the test items of all three seeds taken away, another tenth
was hidden, twice, and 1,000 users of each were judged. Figures among all items chose nothing:
whoever ranks every new item first does best there. Exact figures of a simulation, not a private
release.
"""

WORDS: Final[dict[str, str]] = {}
