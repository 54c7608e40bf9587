"""Promotions: numbered lines that outlive a kill at any byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ArtifactError, Code, DataError
from server.promotions import Promotion, Promotions

A, B, C = (f"000{n}-1a2b3c4d" for n in (1, 2, 3))
NOW = "2026-11-21T12:00:00+00:00"


@pytest.fixture
def promotions(tmp_path: Path) -> Promotions:
    return Promotions(tmp_path / "promotions.jsonl")


def promote(promotions: Promotions, *versions: str) -> None:
    for version in versions:
        promotions.append(version, NOW)


def roll_back(promotions: Promotions) -> Promotion | None:
    earlier = promotions.before_current()
    return None if earlier is None else promotions.append(earlier.version, NOW, back_to=earlier)


def test_promotions_are_numbered_from_one(promotions: Promotions) -> None:
    assert (promotions.read(), promotions.current) == ([], None)
    promote(promotions, A, B, A)
    assert [(one.serial, one.version) for one in promotions.read()] == [(1, A), (2, B), (3, A)]
    assert promotions.current == Promotion(serial=3, version=A, at=NOW)


def test_rolling_back_again_goes_back_further(promotions: Promotions) -> None:
    promote(promotions, A, B, C)
    went = [roll_back(promotions) for _ in range(3)]
    assert [one and (one.serial, one.version, one.back_to) for one in went] == [
        (4, B, 2), (5, A, 1), None
    ]  # fmt: skip


def test_what_is_promoted_after_a_roll_back_goes_back_to_where_that_went(
    promotions: Promotions,
) -> None:
    promote(promotions, A, B)
    roll_back(promotions)
    promote(promotions, C)
    went = [roll_back(promotions) for _ in range(2)]
    assert [one and (one.version, one.back_to) for one in went] == [(A, 3), None]


def test_a_version_that_was_promoted_twice_is_one_to_go_back_from(promotions: Promotions) -> None:
    promote(promotions, A, B, B)
    went = roll_back(promotions)
    assert went is not None
    assert went.version == A


@settings(max_examples=50, deadline=None)  # a full flush to disk takes what it takes
@given(st.lists(st.sampled_from(["A", "B", "C", "back"]), max_size=12))
def test_a_roll_back_always_finds_another_version_or_an_end(
    tmp_path_factory: pytest.TempPathFactory, moves: list[str]
) -> None:
    promotions = Promotions(tmp_path_factory.mktemp("p") / "promotions.jsonl")
    names = {"A": A, "B": B, "C": C}
    for move in moves:
        before = promotions.current
        if move != "back":
            promote(promotions, names[move])
        elif (went := roll_back(promotions)) is not None:
            assert before is not None
            assert went.version != before.version
    backs = 0
    while roll_back(promotions) is not None:
        backs += 1
    assert backs <= len(moves)


def test_a_line_that_was_cut_at_any_byte_does_not_count_and_is_repaired(
    promotions: Promotions,
) -> None:
    promote(promotions, A, B)
    whole = promotions.path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        promotions.path.write_bytes(whole[:cut])
        assert promotions.current == Promotion(serial=1, version=A, at=NOW)
        promote(promotions, C)
        assert [one.version for one in promotions.read()] == [A, C]
        assert promotions.path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    "line",
    ["", "{", "null", '{"serial": 2}', f'{{"serial":3,"version":"{A}","at":""}}',
     f'{{"serial":2,"version":"{A}","at":"","back_to":2}}', '{"serial":2,"version":"../x","at":""}',
     "[" * 100_000],
    ids=["empty", "cut", "null", "part", "number", "forwards", "path", "deep"],
)  # fmt: skip
def test_a_line_that_is_none_is_an_error_not_a_guess(promotions: Promotions, line: str) -> None:
    promote(promotions, A)
    with promotions.path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ArtifactError, match="line 2") as caught:
        promotions.append(B, NOW)
    assert caught.value.code is Code.ARTIFACT_INVALID
    assert promotions.path.read_text().endswith(f"{line}\n")


def test_a_file_that_cannot_be_read_is_named(promotions: Promotions) -> None:
    promotions.path.mkdir()
    with pytest.raises(DataError, match=r"promotions\.jsonl"):
        promotions.read()
