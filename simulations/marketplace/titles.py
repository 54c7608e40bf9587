"""Titles made of attributes: words that say something about an item's place in taste."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from common.arrays import Ints

__all__ = ["ATTRIBUTES", "category_names", "product_frame"]

_THEMES: Final[dict[str, tuple[str, ...]]] = {
    "lighting": ("lamp", "lantern", "candle", "night light"),
    "kitchen": ("saucepan", "chopping board", "whisk", "mixing bowl"),
    "tableware": ("mug", "teapot", "plate", "carafe"),
    "garden": ("planter", "trowel", "bird feeder", "watering can"),
    "stationery": ("notebook", "pencil case", "letter set", "calendar"),
    "toys": ("puzzle", "spinning top", "toy boat", "building blocks"),
    "bags": ("tote", "rucksack", "purse", "lunch bag"),
    "bedding": ("blanket", "pillowcase", "quilt", "throw"),
    "bath": ("towel", "soap dish", "bath mat", "sponge"),
    "jewellery": ("bracelet", "necklace", "brooch", "ring"),
    "knitwear": ("scarf", "jumper", "hat", "mittens"),
    "shoes": ("slippers", "sandals", "boots", "trainers"),
    "books": ("cookbook", "field guide", "atlas", "story book"),
    "music": ("ukulele", "tambourine", "music box", "record stand"),
    "sport": ("skipping rope", "yoga mat", "racket", "water bottle"),
    "office": ("desk tray", "bookend", "clock", "lamp stand"),
    "pets": ("dog lead", "cat bed", "food bowl", "scratching post"),
    "baking": ("cake tin", "rolling pin", "cookie cutter", "apron"),
    "tools": ("screwdriver", "tape measure", "toolbox", "torch"),
    "travel": ("luggage tag", "wash bag", "neck pillow", "flask"),
    "art": ("sketchbook", "paint set", "easel", "print"),
    "tea": ("tea tin", "infuser", "tea towel", "sampler"),
    "storage": ("basket", "crate", "hook rail", "jar"),
    "party": ("bunting", "paper lantern", "cake stand", "balloon set"),
}

ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "brand": ("Arden", "Belmora", "Corvo", "Fenn", "Isla", "Juno", "Kestrel", "Marlow"),
    "style": ("classic", "rustic", "modern", "vintage", "playful", "minimal", "ornate", "nautical"),
    "material": ("wooden", "ceramic", "cotton", "steel", "glass", "linen", "paper", "wool"),
    "colour": ("red", "blue", "green", "white", "black", "yellow", "pink", "grey"),
}
"""Words of each attribute of an item, in the order of the catalogue's columns."""


def category_names(count: int) -> list[str]:
    """Distinct names; numbered after the first two dozen."""
    themes = list(_THEMES)
    rounds = [(themes[k % len(themes)], k // len(themes)) for k in range(count)]
    return [f"{theme} {turn + 1}" if turn else theme for theme, turn in rounds]


def product_frame(category: Ints, attributes: Ints, noun: Ints) -> pd.DataFrame:
    """The public catalogue.

    Args:
        category: of each item, `[items]`.
        attributes: word of each item in each of `ATTRIBUTES`, `[items, attributes]`.
        noun: which noun of its category an item is, `[items]`, from 0 to 3.

    Returns:
        `item_id, title, category` and one column for each attribute, a row for each item.
    """
    names = np.array(category_names(int(category.max()) + 1))[category]
    columns = {
        name: np.array(words)[attributes[:, k]]
        for k, (name, words) in enumerate(ATTRIBUTES.items())
    }
    themes = list(_THEMES.values())
    nouns = [themes[c % len(themes)][n] for c, n in zip(category, noun, strict=True)]
    words = zip(
        columns["brand"], columns["style"], columns["colour"], columns["material"], strict=True
    )
    titles = [f"{' '.join(w)} {n}" for w, n in zip(words, nouns, strict=True)]
    ids = np.arange(len(category)).astype(str)
    return pd.DataFrame({"item_id": ids, "title": titles, "category": names, **columns})
