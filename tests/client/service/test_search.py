"""Search over a small catalogue."""

import numpy as np
import pytest

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
