"""The page as a whole: self-contained, well formed, complete, and honest about ε."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from common.errors import DataError
from simulations.report import ReportData, render, write_report
from simulations.report.data import ClientSpend, Guarantee, RoundTraffic

VOID = {"meta", "circle", "line", "path", "polyline", "rect", "br", "col"}
BLOCKS = {
    "p",
    "li",
    "figure",
    "figcaption",
    "table",
    "caption",
    "div",
    "svg",
    "details",
    "h1",
    "h2",
}
BLOCKS |= {"h3", "summary"}
NEEDED = ("user level", "add/remove", "δ = 7.3×10⁻⁵")
ACCOUNTANTS = ("PLD", "GDP filter")


def changed(report: ReportData, **changes: object) -> ReportData:
    return ReportData(**{**dict(report), **changes})


def not_private(data: ReportData) -> ReportData:
    none = Guarantee(mode="none", unit="user", epsilon=None, delta=0, accountant="PLD")
    return changed(data, guarantee=none, spend=(), budgets=(), audit=None, private_metrics=())


class Tree(HTMLParser):
    """Checks nesting; keeps elements, ids, and the text of each block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, list[str]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.under: dict[str, set[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if self.open:
            self.under.setdefault(tag, set()).add(self.open[-1][0])
        if tag not in VOID:
            self.open.append((tag, []))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        name, words = self.open.pop()
        assert name == tag, f"<{name}> closed by </{tag}>"
        self.texts.append((tag, "".join(words)))

    def handle_data(self, data: str) -> None:
        for _, words in self.open:
            words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def parse(data: ReportData) -> Tree:
    tree = Tree()
    tree.feed(render(data))
    tree.close()
    assert not tree.open
    return tree


def test_needs_nothing_but_itself(sample: ReportData) -> None:
    page = render(sample)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link|<img|<iframe| on\w+=", page)
    tree = parse(sample)
    assert all(a["href"].startswith("#") for a in tree.all("a"))
    assert len(page.encode()) < 200_000


def test_links_and_labels_point_at_what_exists_once(sample: ReportData) -> None:
    tree = parse(sample)
    ids = [a["id"] for _, a in tree.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for a in tree.all("a")]
    targets += [t for _, a in tree.elements for t in (a.get("aria-labelledby") or "").split()]
    assert set(targets) <= set(ids)


def test_all_sections_are_there(sample: ReportData) -> None:
    tree = parse(sample)
    names = {a["id"] for a in tree.all("section")}
    assert names == {"quality", "gain", "privacy", "range", "breakdown", "cost", "run"}
    text = "".join(words for tag, words in tree.texts if tag == "body")
    for words in (
        "Joint serving", "Shop serving", "Alone, exact", "Popularity, exact", "Noised popularity",
        "Random", "Gain", "Coverage", "Novelty", "By activity of the user",
        "By popularity of the item", "Who is trusted", "What is not promised", "Bytes by round",
        "Seconds by phase", "Versions", "Seeds", "Settings", "not a private release",
    ):  # fmt: skip
        assert words in text, words


def test_one_main_heading_and_no_level_skipped(sample: ReportData) -> None:
    levels = [int(tag[1]) for tag, _ in parse(sample).elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_pictures_have_words_and_tables_have_headers(sample: ReportData) -> None:
    tree = parse(sample)
    pictures = tree.all("svg")
    assert len(pictures) >= 9
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in pictures)
    assert len([t for t, _ in tree.texts if t == "desc"]) == len(pictures)
    titles = [words for tag, words in tree.texts if tag in ("title", "desc")]
    assert all(words.strip() for words in titles)
    assert len(tree.all("figcaption")) == len(tree.all("figure")) == len(pictures)
    assert len(tree.all("caption")) == len(tree.all("table")) >= 9
    assert all(a.get("scope") in ("row", "col") for a in tree.all("th"))
    assert tree.under["th"] == tree.under["td"] == {"tr"}
    assert tree.under["tr"] == {"thead", "tbody"}


def test_says_its_language_and_its_width(sample: ReportData) -> None:
    tree = parse(sample)
    assert tree.all("html") == [{"lang": "en"}]
    assert any(a.get("name") == "viewport" for a in tree.all("meta"))
    style = next(words for tag, words in tree.texts if tag == "style")
    assert "prefers-color-scheme:dark" in style
    assert "@media print" in style


@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_epsilon_never_stands_alone(sample: ReportData, secure: ReportData, mode: str) -> None:
    tree = parse(sample if mode == "local" else secure)
    found = [(tag, words) for tag, words in tree.texts if tag in BLOCKS and "ε" in words]
    assert found
    for tag, words in found:
        for needed in (*NEEDED, f"{mode} mode"):
            assert needed in words, (tag, words, needed)
        assert any(name in words for name in ACCOUNTANTS), (tag, words)
    settings = next(w for tag, w in tree.texts if tag == "table" and "epsilon" in w)
    assert all(needed in settings for needed in NEEDED)


def test_epsilon_is_rounded_up(sample: ReportData) -> None:
    data = changed(sample, guarantee=sample.guarantee.model_copy(update={"epsilon": 7.981}))
    assert "ε = 7.99 (" in render(data)


def test_without_privacy_no_epsilon_and_a_warning(sample: ReportData) -> None:
    page = render(not_private(sample))
    assert "ε" not in page
    assert "Not private" in page
    assert "no privacy guarantee" in page


def test_seeded_noise_is_not_private(sample: ReportData) -> None:
    assert "Not private" not in render(sample)
    page = render(changed(sample, seeded_noise=True))
    assert "Not private" in page
    assert "would be differentially private" in page
    assert "are differentially private" not in page


def test_a_derived_catalogue_and_notes_are_said_first(sample: ReportData) -> None:
    derived = sample.data.model_copy(update={"catalogue": "derived"})
    page = render(changed(sample, data=derived, warnings=("Two clients never answered.",)))
    head = page[: page.index("<nav")]
    assert "Catalogue derived from events" in head
    assert "Two clients never answered." in head


def test_everything_from_data_is_escaped(sample: ReportData) -> None:
    nasty = '<script>alert("x")</script>&\'"><td'
    data = changed(
        sample,
        title=nasty,
        created=nasty,
        command=nasty,
        config={nasty: nasty},
        versions={nasty: nasty},
        seeds={nasty: nasty},
        warnings=(nasty,),
        rounds=(nasty,) * len(sample.rounds),
        data=sample.data.model_copy(update={"source": nasty, "protocol": nasty}),
        spend=tuple(c.model_copy(update={"client": nasty}) for c in sample.spend),
        by_size=tuple(g.model_copy(update={"label": nasty}) for g in sample.by_size),
        phases=tuple(p.model_copy(update={"name": nasty}) for p in sample.phases),
    )
    page = render(data)
    assert "<script" not in page
    assert 'alert("x")' not in page
    text = "".join(words for tag, words in parse(data).texts if tag == "h1")
    assert text == nasty


def test_says_who_gains_and_who_does_not(sample: ReportData) -> None:
    page = render(sample)
    assert "Shops of 60 users gain from joining: +0.041" in page
    assert "Shops of 2,000 users see no clear difference: +0.001" in page
    losing = sample.by_size[1].model_copy(
        update={"gain": sample.by_size[1].gain.model_copy(update={"low": -0.02, "high": -0.01})}
    )
    assert "lose by joining" in render(changed(sample, by_size=(losing,)))


def test_many_rounds_and_few_shops(sample: ReportData) -> None:
    rounds = tuple(str(k + 1) for k in range(120))
    spend = tuple(
        ClientSpend(client=name, epsilon=tuple(0.05 * (k + 1) for k in range(120)))
        for name in ("a", "b")
    )
    traffic = (RoundTraffic(up=0, down=0),) * 120
    data = changed(
        sample, rounds=rounds, spend=spend, traffic=traffic, shops=(), by_size=sample.by_size[:1]
    )
    tree = parse(data)
    text = "".join(words for tag, words in tree.texts if tag == "body")
    assert "every client" in text
    assert "108 more rounds" in text


def test_optional_parts_may_be_missing(sample: ReportData) -> None:
    data = changed(sample, private_metrics=(), shops=(), breakdowns=(), command="", seeds={})
    parse(data)
    assert "What the clients themselves released" not in render(data)


def test_written_whole_over_an_old_one(sample: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(sample, path)
    assert path.read_text(encoding="utf-8") == render(sample)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(DataError):
        write_report(sample, tmp_path / "missing" / "report.html")


def body_of(data: ReportData) -> str:
    (words,) = (words for tag, words in parse(data).texts if tag == "body")
    return words


def test_secure_sums_say_against_whom_and_on_what_conditions(secure: ReportData) -> None:
    words = body_of(secure)
    assert "The totals of this run, all rounds together, are differentially private" in words
    assert "runs the server and up to 3 of the 32 clients" in words
    assert "a computational one" in words
    assert "any amount of computing power" not in words
    assert "does not pass through the server" in words
    assert "a total is made of at least 26 of them" in words
    assert "the noise of the other 23 is enough" in words
    assert "more clients collude with than the number above" in words


def test_secure_sums_show_noise_and_what_several_shops_cost(secure: ReportData) -> None:
    tables = [words for tag, words in parse(secure).texts if tag == "table"]
    (shops,) = (words for words in tables if "Shops, m" in words)
    assert shops.endswith("17.98PLD219.40concentrated DP5∞PLD")
    (noise,) = (words for words in tables if "Clients in it" in words)
    assert "round 11.1001.3103123.00" in noise.replace(secure.rounds[1], "round 1")
    assert "261–" in noise


def test_other_modes_do_not_speak_of_secure_sums(sample: ReportData) -> None:
    words = body_of(sample)
    assert "any amount of computing power" in words
    for absent in ("collude", "roster", "Noise in the totals", "Shops, m"):
        assert absent not in words
    assert "their budgets add up" in words
