"""Editing a policy: one line of one table changes, and whatever the owner wrote stays."""

from __future__ import annotations

import difflib
import io
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.enroll.policy_text import first_policy, pinned, unpinned
from common.errors import ConfigError
from common.privacy.policy import Policy

A, B, C = "a" * 64, "b" * 64, "c" * 64
FIRST = first_policy(
    epsilon=8.0, delta=1e-5, modes=["local"], server=C, colluders=1, own=("north", A)
)
COMMENTED = f"""\
# by Ada, after the meeting
modes = ["local"]   # not yet distributed

[lifetime]
epsilon = 8.0
delta = 1e-5

[roster]  # by telephone
north = "{A}"   # myself
# south has not called yet

[[periods]]  # the board's
days = 30
epsilon = 4.0
"""
NAMES = st.sampled_from(["south", "east-1", "a.b", "Köln", "1", "true", "west_2"])
COMMENTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\t"), max_size=20).map(
    lambda text: f"# {text}\n"
)


def changed(before: str, after: str) -> list[str]:
    """Lines taken out (-) and put in (+)."""
    lines = [list(io.StringIO(text, newline="")) for text in (before, after)]
    return [line for line in difflib.ndiff(*lines) if line[0] in "+-"]


def test_a_first_policy_says_what_its_owner_said() -> None:
    policy = Policy.load(tomllib.loads(FIRST))
    assert policy == Policy.load(
        {
            "lifetime": {"epsilon": 8.0, "delta": 1e-5},
            "modes": ["local"],
            "servers": [C],
            "roster": {"north": A},
        }
    )
    assert policy.bundles == ()


@pytest.mark.parametrize("text", [FIRST, COMMENTED], ids=["first", "commented"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_a_peer_is_one_line_more(text: str, ending: str) -> None:
    text = text.replace("\n", ending)
    after = pinned(text, "south", B)
    assert changed(text, after) == [f'+ south = "{B}"{ending}']
    assert tomllib.loads(after)["roster"] == {"north": A, "south": B}
    assert unpinned(after, "south") == text


def test_a_replaced_key_keeps_its_lines_comment() -> None:
    after = pinned(COMMENTED, "north", B)
    assert changed(COMMENTED, after) == [
        f'- north = "{A}"   # myself\n',
        f'+ north = "{B}"   # myself\n',
    ]


@pytest.mark.parametrize("text", ["", "colluders = 2", "colluders = 2\n"])
def test_a_table_that_is_not_there_comes_last(text: str) -> None:
    after = pinned(text, "south", B)
    assert after.startswith(text)
    assert tomllib.loads(after) == {**tomllib.loads(text), "roster": {"south": B}}


def test_a_table_at_the_very_end_without_its_last_line_end() -> None:
    after = pinned(f'[roster]\nnorth = "{A}"', "south", B)
    assert after == f'[roster]\nnorth = "{A}"\nsouth = "{B}"\n'
    assert pinned("[roster]", "south", B) == f'[roster]\nsouth = "{B}"\n'


@pytest.mark.parametrize(
    "text",
    [
        f'roster = {{ north = "{A}" }}\n',
        f'roster.north = "{A}"\n',
        "[lifetime\n",
        f'note = """\n[roster]\n"""\n[lifetime]\nepsilon = 1.0\n[ roster ]\nnorth = "{A}"\n',
    ],
    ids=["inline", "dotted", "broken", "in-a-string"],
)
def test_what_cannot_be_edited_as_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        pinned(text, "south", B)


def test_who_is_not_there_is_not_taken_out() -> None:
    for text in (COMMENTED, "colluders = 1\n"):
        with pytest.raises(ConfigError):
            unpinned(text, "south")


@given(st.lists(COMMENTS, max_size=3), st.lists(COMMENTS, max_size=3), st.data())
def test_any_order_of_edits_leaves_every_comment(
    above: list[str], inside: list[str], data: st.DataObject
) -> None:
    """Peers come, are replaced and go; but for their lines the text is the first one."""
    begin = "".join(above) + "[roster]\n" + "".join(inside)
    first = f'{begin}north = "{A}"\n\n[lifetime]\nepsilon = 1\n'
    text, expected = first, {"north": A}
    for name in data.draw(st.lists(NAMES, max_size=6)):
        if name in expected and data.draw(st.booleans()):
            text = unpinned(text, name)
            del expected[name]
        else:
            key = data.draw(st.sampled_from([B, C]))
            text = pinned(text, name, key)
            expected[name] = key
        assert tomllib.loads(text) == {"roster": expected, "lifetime": {"epsilon": 1}}
    lines = changed(first, text)
    assert len(lines) == len(expected) - 1
    for name in list(expected)[1:]:
        text = unpinned(text, name)
    assert text == first
