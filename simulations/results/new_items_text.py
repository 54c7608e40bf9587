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

WORDS: Final[dict[str, str]] = {
    "ml-1m.zip": """
Among hidden items the map is above chance and above predicted popularity, at ε = 8 nearly as far
as without privacy, and below the oracle: which film will be popular is not in its title and
genres. Among all items it is above predicted popularity, and above chance without privacy; at
ε = 8 its HR@10 is below chance, while its percentile is far above. Predicted rows are shrunk
towards the mean, as they must be where little is known, so the first ten places of a list of
everything go to old items: of the new ones even exact counts put none there for four users in
ten. The cosine of `features alone` knows neither popularity nor doubt and does better there, and
worse everywhere else.
""",
    "amazon-beauty-5core.txt": """
Among hidden items the map has four times the HR@10 of predicted popularity, and more than exact
counts of what was hidden; at ε = 8 it keeps two thirds of that, above `features alone` in HR and
NDCG, and below it by percentile. Among all 12,101 items it misses: new items are in the first ten
less often than by chance, with and without privacy, and so they are by predicted popularity, and
on one seed of three by the oracle. By percentile it is above chance, and below predicted
popularity, which says of everything new that it is about average. With rows that are not scaled
by predicted popularity, HR@10 among all was 0.012 and NDCG@10 among hidden 0.068 in place of
0.082 on validation items: who wants the first ten of everybody can have it so.
""",
}
