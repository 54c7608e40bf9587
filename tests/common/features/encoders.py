"""What every encoder of items promises; its test classes inherit this."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.catalogue import Catalogue
from common.features.base import ItemEncoder

CATALOGUE = Catalogue(
    ("1", "2", "3", "4"),
    {
        "title": ("Toy Story (1995)", "Jumanji (1995)", "", "Toy Soldiers (1991)"),
        "category": ("Animation|Children's|Comedy", "Adventure|Children's", "", "Action"),
    },
)
"""Of item 3 nothing is known but its id."""


class EncoderSuite:
    """Inherit it, and give `encoder`; item 3 must be missing."""

    def encoder(self) -> ItemEncoder:
        raise NotImplementedError

    def test_rows_are_items_and_float32(self) -> None:
        found = self.encoder().encode(CATALOGUE)
        assert found.values.dtype == np.float32
        assert found.values.shape == (4, found.width)

    def test_items_of_which_nothing_is_known_are_zero_and_named(self) -> None:
        found = self.encoder().encode(CATALOGUE)
        assert found.missing == ("3",)
        assert not found.values[2].any()
        assert found.values[[0, 1, 3]].any(axis=1).all()
        assert "3 of 4 items" in found.summary()

    def test_features_are_a_function_of_the_catalogue_alone(self) -> None:
        """Another encoder, and a catalogue marked as derived from events, give the same bytes."""
        derived = replace(CATALOGUE, source="derived")
        first = self.encoder().encode(CATALOGUE).values.tobytes()
        assert self.encoder().encode(derived).values.tobytes() == first

    def test_rows_follow_their_items(self) -> None:
        order = [3, 1, 0, 2]
        columns = {name: tuple(v[i] for i in order) for name, v in CATALOGUE.metadata.items()}
        moved = Catalogue(tuple(CATALOGUE.item_ids[i] for i in order), columns)
        found = self.encoder().encode(CATALOGUE).values
        np.testing.assert_array_equal(self.encoder().encode(moved).values, found[order])
