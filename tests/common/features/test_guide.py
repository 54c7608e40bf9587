"""The guide to features names every setting with its default."""

from __future__ import annotations

import re
from pathlib import Path

from common.features.hashed import HashedSettings

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "features.md"


def test_every_setting_is_in_the_guide_with_its_default() -> None:
    found: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`[^|]+`) \|.*\| ([^|]+) \|$", GUIDE.read_text(), re.M):
        fields = re.findall(r"`(\w+)`", names)
        values = [default] if len(fields) == 1 else default.split(", ")
        found |= dict(zip(fields, values, strict=True))
    expected = {}
    for name, field in HashedSettings.model_fields.items():
        value = field.default
        if isinstance(value, tuple):
            expected[name] = ", ".join(f"`{column}`" for column in value)
        else:
            expected[name] = f"{value:g}" if isinstance(value, float) else str(value).lower()
    assert found == expected
