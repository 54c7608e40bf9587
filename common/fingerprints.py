"""Fingerprints that two people compare by telephone: twelve groups of five digits.

Each group is four digits of a SHA-256 and a digit that checks them together with the group's
place, so that a group that was misheard, or two neighbours that were swapped, are named; the
check decides only what the refusal says. Who types a fingerprint types all of it, and the
program compares: there is no short form that a tired reader could settle for.

The 48 digits are 159 bits. Somebody who wants another file with a given fingerprint has to
try 10^48 files; one who wants two files of his own with one fingerprint, about 10^24, which at
10^12 a second takes thirty thousand years and gains him a roster that nobody else has.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from common.errors import Code, ConfigError
from common.privacy.signing import canonical

__all__ = ["GROUPS", "check_digit", "compare", "fingerprint", "read_fingerprint"]

GROUPS: Final = 12
"""Groups of a fingerprint."""
_DATA: Final = 4
_SIZE: Final = _DATA + 1
_DAMM: Final = (
    "0317598642", "7092154863", "4206871359", "1750983426", "6123045978",
    "3674209581", "5869720134", "8945362017", "9438617205", "2581436790",
)  # fmt: skip
"""A quasigroup that notices every wrong digit and every swap of neighbours (Damm 2004)."""


def fingerprint(purpose: str, values: Mapping[str, Any]) -> str:
    """What people compare of `values`: groups of digits with spaces between.

    Args:
        purpose: keeps fingerprints of different things apart.
        values: everything that the fingerprint vouches for, as JSON.
    """
    digest = hashlib.sha256(canonical(f"fingerprint of {purpose}", values)).digest()
    number = int.from_bytes(digest) % 10 ** (GROUPS * _DATA)  # 2^256 / 10^48: no bias to speak of
    digits = f"{number:0{GROUPS * _DATA}d}"
    parts = [digits[i * _DATA : (i + 1) * _DATA] for i in range(GROUPS)]
    return " ".join(part + check_digit(part, place) for place, part in enumerate(parts, 1))


def check_digit(digits: str, place: int) -> str:
    """The last digit of the group at `place`, from 1, that begins with `digits`."""
    state = 0
    for digit in f"{place % 10}{digits}":
        state = int(_DAMM[state][int(digit)])
    return str(state)


def read_fingerprint(text: str) -> str:
    """A fingerprint as somebody typed it: spaces, dots, dashes and lines do not matter.

    Raises:
        ConfigError: `enroll-fingerprint`, it is too short or too long, or a group is mistyped.
    """
    digits = re.sub(r"[\s.,-]+", "", text)
    if re.fullmatch(r"[0-9]+", digits) is None or len(digits) != GROUPS * _SIZE:
        raise _refused(
            f"a fingerprint is {GROUPS} groups of {_SIZE} digits; this has {len(digits)} signs.",
            "Type all groups, as they were read out.",
        )
    groups = [digits[i * _SIZE : (i + 1) * _SIZE] for i in range(GROUPS)]
    for place, group in enumerate(groups, 1):
        if check_digit(group[:_DATA], place) != group[_DATA:]:
            raise _refused(
                f"group {place}, {group}, is mistyped or in the wrong place.",
                "Have that group read out again.",
            )
    return " ".join(groups)


def compare(typed: str, made: str, *, where: str) -> None:
    """Hold what somebody was told to what a file says. The file's own is not shown.

    Args:
        typed: by whoever spoke with the file's owner.
        made: of the file.
        where: the file.

    Raises:
        ConfigError: `enroll-fingerprint`.
    """
    if read_fingerprint(typed) != made:
        raise ConfigError(
            Code.ENROLL_FINGERPRINT,
            "this is not the file that the fingerprint was read from.",
            where=where,
            remedy="Do not use it. Ask its owner for the file and the fingerprint again, by "
            "different ways, one of which is a voice that you know.",
        )


def _refused(message: str, remedy: str) -> ConfigError:
    return ConfigError(Code.ENROLL_FINGERPRINT, message, where="--fingerprint", remedy=remedy)
