"""Search over a small catalogue."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.service.index import top_items
from client.service.search import SearchIndex, words_of
from common.catalogue import Catalogue

ITEMS = {
    "p1": ("Green tea", "tea"),
    "p2": ("Green teapot", "crockery"),
    "p3": ("Café crème", "coffee|hot"),
    "p4": ("Tea towel, green", "linen"),
    "p5": ("", ""),
}


@pytest.fixture(scope="module")
def index():
    titles, categories = zip(*ITEMS.values(), strict=True)
    return SearchIndex(Catalogue(tuple(ITEMS), {"title": titles, "category": categories}))


def found(index, query):
    return [list(ITEMS)[place] for place in top_items(index.scores(query), 10)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("green", ["p1", "p2", "p4"]),
        ("teapot", ["p2"]),
        ("CAFE", ["p3"]),
        ("cafe\u0301 creme", ["p3"]),
        ("hot", ["p3"]),
        ("p5", ["p5"]),
        ("green towel", ["p4"]),
        ("green coffee", []),
        ("te green", []),
        ("!!", []),
        ("", []),
    ],
)
def test_what_is_found(index, query, expected):
    assert found(index, query) == expected


def test_the_last_word_may_be_half_typed_and_whole_words_come_first(index):
    assert set(found(index, "green te")) == {"p1", "p2", "p4"}
    tea = found(index, "tea")
    assert set(tea) == {"p1", "p2", "p4"}
    assert tea.index("p2") == 2


def test_words_have_no_case_and_no_accents():
    assert words_of("ÉCLAIR, Straße ﬁg") == ["eclair", "strasse", "fig"]


def test_every_item_is_found_by_its_own_title(index):
    for place, (title, _) in enumerate(ITEMS.values()):
        if title:
            assert np.isfinite(index.scores(title)[place])


@given(st.lists(st.text("ab ", max_size=6), min_size=1, max_size=12), st.text("abc ", max_size=5))
def test_scores_are_those_of_looking_at_every_word(titles, query):
    """The oracle: for each item and each word of the query, the best of the item's words."""
    catalogue = Catalogue(tuple(f"x{i}" for i in range(len(titles))), {"title": tuple(titles)})
    found = SearchIndex(catalogue).scores(query)
    said = [dict.fromkeys(words_of(title), 1.0) for title in titles]
    for place, words in enumerate(said):
        words.setdefault(f"x{place}", 0.5)
    having = Counter(word for words in said for word in words)
    asked = words_of(query)
    for place, words in enumerate(said):
        total = 0.0
        for number, wanted in enumerate(asked):
            last = number == len(asked) - 1
            hits = [
                (1.0 if word == wanted else 0.5) * weight * np.log1p(len(titles) / having[word])
                for word, weight in words.items()
                if word == wanted or (last and word.startswith(wanted))
            ]
            total += max(hits, default=np.nan)
        expected = total if asked else np.nan
        assert found[place] == pytest.approx(expected, nan_ok=True)
