"""Hashed features: the same everywhere, one item at a time, unbiased in their products."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.catalogue import Catalogue
from common.errors import Code, ConfigError, DataError
from common.features.base import ItemEncoder
from common.features.hashed import HashedEncoder, HashedSettings, split_labels
from tests.common.features.encoders import CATALOGUE, EncoderSuite

ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = """
import hashlib
from common.features.hashed import HashedEncoder
from tests.common.features.encoders import CATALOGUE
print(hashlib.sha256(HashedEncoder().encode(CATALOGUE).values.tobytes()).hexdigest())
"""
WORDS = HashedSettings(labels=(), label_width=1, longest_words=1, longest_characters=0)


def _titles(*titles: str) -> Catalogue:
    return Catalogue(tuple(str(i) for i in range(len(titles))), {"title": titles})


class TestHashed(EncoderSuite):
    def encoder(self) -> ItemEncoder:
        return HashedEncoder()


def test_other_processes_hash_alike() -> None:
    """Python's own hash is salted in each process."""
    found = set()
    for salt in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        found.add(done.stdout.strip())
    here = HashedEncoder().encode(CATALOGUE).values.tobytes()
    assert found == {hashlib.sha256(here).hexdigest()}


def test_the_hash_is_what_it_was() -> None:
    """A model that was trained on features needs the same ones in a year."""
    values = HashedEncoder(WORDS.model_copy(update={"text_width": 16})).encode(_titles("Toy Story"))
    expected = np.zeros(17)
    for word in ("toy", "story"):
        token = f"title\x1fwords\x1f{word}".encode()
        digest = hashlib.blake2b(token, digest_size=9, key=b"hushrec-item-features/1").digest()
        place = int.from_bytes(digest[:8], "little") % 16
        expected[place] += 1.0 if digest[8] % 2 else -1.0
    np.testing.assert_allclose(values.values[0], expected / np.linalg.norm(expected), atol=1e-7)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4), st.text(max_size=12))
def test_a_row_does_not_depend_on_the_other_items(titles: list[str], more: str) -> None:
    encoder = HashedEncoder(HashedSettings(text_width=64, label_width=1))
    few = encoder.encode(_titles(*titles)).values
    many = encoder.encode(_titles(*titles, more)).values
    np.testing.assert_array_equal(few, many[:-1])


@given(st.text(max_size=30), st.text(max_size=30))
def test_each_part_has_its_weight_as_norm_or_is_empty(title: str, labels: str) -> None:
    settings = HashedSettings(text_width=512, label_width=512, text_weight=2.0, label_weight=0.5)
    catalogue = Catalogue(("a",), {"title": (title,), "category": (labels,)})
    values = HashedEncoder(settings).encode(catalogue).values[0]
    for norm, weight in ((np.linalg.norm(values[:512]), 2.0), (np.linalg.norm(values[512:]), 0.5)):
        assert norm == 0 or norm == pytest.approx(weight, rel=1e-5)


def test_shared_words_are_likeness() -> None:
    values = HashedEncoder().encode(_titles("Toy Story", "TOY  story!", "Heat")).values
    np.testing.assert_array_equal(values[0], values[1])
    assert abs(values[0] @ values[2]) < 0.2


def test_products_are_unbiased_over_tokens() -> None:
    """Signs cancel what collides: strangers have a mean product of 0 in a narrow table."""
    titles = [f"word{i}" for i in range(2_000)]
    values = HashedEncoder(WORDS.model_copy(update={"text_width": 8})).encode(_titles(*titles))
    rows = values.values.astype(np.float64)
    products = (rows[0::2] * rows[1::2]).sum(axis=1)
    deviation = (1 / 8 / len(products)) ** 0.5
    assert abs(products.mean()) < 4 * deviation
    assert products.var() == pytest.approx(1 / 8, rel=0.3)


def test_labels_count_once_whatever_their_order() -> None:
    assert split_labels(" Comedy|comedy| |Ärger ") == ("comedy", "comedy", "ärger")
    catalogue = Catalogue(("a", "b"), {"category": ("x|y", "y|x|x")})
    values = HashedEncoder().encode(catalogue).values
    np.testing.assert_array_equal(values[0], values[1])


def test_pairs_of_labels_are_an_option() -> None:
    catalogue = Catalogue(("a", "b"), {"category": ("x|y", "x|z")})
    likeness = [
        float(np.prod(values, axis=0).sum())
        for pairs in (True, False)
        for values in [HashedEncoder(HashedSettings(label_pairs=pairs)).encode(catalogue).values]
    ]
    assert likeness == pytest.approx([1 / 3, 1 / 2], abs=0.01)


def test_a_catalogue_without_such_columns_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        HashedEncoder().encode(Catalogue(("a",), {"colour": ("red",)}))
    assert caught.value.code is Code.CATALOGUE_INVALID
    assert "colour" in str(caught.value)


def test_settings_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ConfigError):
        HashedSettings.load({"shortest_characters": 5, "longest_characters": 4})
    settings = HashedSettings(longest_characters=0)
    assert HashedSettings.load(settings.model_dump()) == settings
