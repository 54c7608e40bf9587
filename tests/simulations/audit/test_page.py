"""The audit's page: self-contained, well formed, with words for every picture."""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from common.audit.findings import Finding
from simulations.audit.page import render_audit
from simulations.audit.run import RunAudit

VOID = {"meta", "circle", "line", "path", "polyline", "rect", "br", "col"}


class Tree(HTMLParser):
    """Checks nesting; keeps elements and ids."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        assert tag in VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(audited: RunAudit) -> str:
    return render_audit(audited)


@pytest.fixture(scope="module")
def tree(page: str) -> Tree:
    found = Tree()
    found.feed(page)
    found.close()
    assert not found.open
    return found


def words_of(page: str) -> str:
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_needs_nothing_but_itself(page: str) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link|<img|<iframe| on\w+=", page)
    assert len(page.encode()) < 200_000


def test_links_and_labels_point_at_what_exists_once(tree: Tree) -> None:
    ids = [a["id"] for _, a in tree.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [str(a["href"])[1:] for a in tree.all("a")]
    targets += [t for _, a in tree.elements for t in (a.get("aria-labelledby") or "").split()]
    assert set(targets) <= set(ids)


def test_headings_pictures_and_tables_can_be_followed(tree: Tree) -> None:
    levels = [int(tag[1]) for tag, _ in tree.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert len(tree.all("svg")) >= 3
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in tree.all("svg"))
    assert len(tree.all("caption")) == len(tree.all("table"))


def test_every_layer_is_there_with_its_figures(page: str) -> None:
    words = words_of(page)
    for part in (
        "No broken promise was found.", "Findings", "Ledgers", "ε once more", "Budgets",
        "Models and checkpoints", "Attacks", "What this audit cannot show", "PLD", "PRV",
        "Closed form", "add/remove", "unit user", "mode local", "GDP filter", "Could have shown",
        "One run with canaries", "One step repeated", "Membership", "Items from one release",
        "1 model and 2 checkpoints", "Seen up to row", "not a private release",
    ):  # fmt: skip
        assert part in words, part


def test_what_is_broken_stands_first(audited: RunAudit) -> None:
    finding = Finding(layer="ledger", where="shop-1", what="row 3 <was> edited.")
    words = words_of(page := render_audit(replace(audited, findings=(finding,))))
    assert "1 promise is broken." in words
    assert "row 3 <was> edited." in words
    assert "<was>" not in page
    assert words.index("1 promise is broken.") < words.index("Ledgers")


def test_a_page_without_attacks_and_without_ledgers(audited: RunAudit) -> None:
    words = words_of(render_audit(replace(audited, attacks=(), clients=())))
    assert "None was asked for." in words
    assert "No ledger could be read." in words
