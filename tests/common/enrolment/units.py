"""A unit file as systemd reads it."""

from __future__ import annotations

import re


def unit_words(value: str) -> list[str]:
    """The words of a value as systemd reads them: quotes, escapes, specifiers, variables."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"(?:\s|$)', value)
    plain = [re.sub(r"\\(.)", r"\1", word) for word in found]
    assert not any(re.search(r"(?<!%)(%%)*%(?!%)", word) for word in plain)
    return [word.replace("%%", "%").replace("$$", "$") for word in plain]


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.M)
