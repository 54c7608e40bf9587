"""The text of a policy, with one more hash in its list of bundles and nothing else changed."""

from __future__ import annotations

import io
import re
import tomllib
from typing import Final

from common.errors import Code, ConfigError

__all__ = ["with_bundle"]

_LIST: Final = re.compile(r"\s*bundles\s*=\s*\[")
_TABLE: Final = re.compile(r"\s*\[")


def with_bundle(text: str, sha256: str) -> str:
    """`text` with this hash first in `bundles`; the same text where it is listed.

    Raises:
        ConfigError: `config-invalid`, it is no TOML, or the list cannot be edited as text.
    """
    try:
        known = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _by_hand(f"not valid TOML: {error}", sha256) from None
    listed = known.get("bundles", [])
    if not isinstance(listed, list) or sha256 in listed:
        if isinstance(listed, list):
            return text
        raise _by_hand("`bundles` is no list", sha256)
    changed = _changed(text, sha256, empty=not listed)
    try:
        same = tomllib.loads(changed) == {**known, "bundles": [sha256, *listed]}
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise _by_hand("`bundles` is not written as a list of its own", sha256)
    return changed


def _changed(text: str, sha256: str, *, empty: bool) -> str:
    lines = list(io.StringIO(text, newline=""))
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    top = next((at for at, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    for at, line in enumerate(lines[:top]):
        if found := _LIST.match(line):
            rest = line[found.end() :]
            comma = "" if empty else ", " if rest.strip() else ","
            lines[at] = f'{line[: found.end()]}"{sha256}"{comma}{rest}'
            return "".join(lines)
    if top and not lines[top - 1].endswith(("\n", "\r")):
        lines[top - 1] += end
    lines.insert(top, f'bundles = ["{sha256}"]{end}{end if top < len(lines) else ""}')
    return "".join(lines)


def _by_hand(what: str, sha256: str) -> ConfigError:
    return ConfigError(
        Code.CONFIG_INVALID,
        f"{what}.",
        where="policy.toml",
        remedy=f'Edit it by hand: bundles = ["{sha256}"], above all tables.',
    )
