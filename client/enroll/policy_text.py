"""The text of a policy: a first one, and a line of its roster put in, replaced or taken out.

An owner's comments, order and spaces stay. Whatever an edit would change beside the one line
is a refusal: the new text is read again and compared with the old one.
"""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from client.roster_key import roster_line
from common.errors import Code, ConfigError

__all__ = ["first_policy", "pinned", "unpinned"]

_HEADER: Final = re.compile(r"\s*\[\s*roster\s*\]\s*(#.*)?")
_TABLE: Final = re.compile(r"\s*\[")
_FIRST: Final = """\
# What a server may ask of this client. Its owner writes this file; no server can change it.
# All keys are in docs/guide/policy.md. Look at what was spent with `hushrec budget`.

modes = {modes}
servers = ["{server}"]
colluders = {colluders}

# SHA-256 of the app bundles whose runs this client takes part in: none, until you list one
# (docs/guide/vetted-code.md).
bundles = []

# What all releases together may ever cost, over all jobs and servers.
[lifetime]
epsilon = {epsilon!r}
delta = {delta!r}

# Who takes part in secure sums: `hushrec enroll peer` adds the others.
[roster]
{own}
"""


def first_policy(
    *,
    epsilon: float,
    delta: float,
    modes: Sequence[str],
    server: str,
    colluders: int,
    own: tuple[str, str],
) -> str:
    """The policy of a client that joins.

    Args:
        epsilon: ε of its lifetime.
        delta: δ of its lifetime.
        modes: who may add the noise.
        server: public key of the one server that may ask.
        colluders: fewest colluders that a secure sum must withstand.
        own: the client's name and its roster key.
    """
    quoted = ", ".join(f'"{mode}"' for mode in modes)
    return _FIRST.format(
        modes=f"[{quoted}]",
        server=server,
        colluders=colluders,
        epsilon=epsilon,
        delta=delta,
        own=roster_line(*own),
    )


def pinned(text: str, name: str, public: str) -> str:
    """`text` with this key for `name` in its table `[roster]`.

    Raises:
        ConfigError: `config-invalid`, it is no TOML, or the table cannot be edited as text.
    """
    wanted = _parsed(text)
    wanted["roster"] = {**_roster(wanted), name: public}
    line = roster_line(name, public)
    lines = _lines(text)
    table = _table(lines)
    if table is None:
        end = _ending(lines)
        gap = "" if not text else end if text.endswith(("\n", "\r")) else end * 2
        return _held(f"{text}{gap}[roster]{end}{line}{end}", wanted)
    found = _line_of(lines, table, name)
    if found is None:
        _insert(lines, table, line)
    else:
        lines[found] = line + _after(lines[found])
    return _held("".join(lines), wanted)


def unpinned(text: str, name: str) -> str:
    """`text` without the line of `name` in its table `[roster]`.

    Raises:
        ConfigError: `config-invalid`, it is no TOML, has no such line, or cannot be edited.
    """
    wanted = _parsed(text)
    wanted["roster"] = {k: v for k, v in _roster(wanted).items() if k != name}
    lines = _lines(text)
    table = _table(lines)
    found = None if table is None else _line_of(lines, table, name)
    if found is None:
        raise _by_hand(f"there is no line of {name} in a table [roster]")
    del lines[found]
    return _held("".join(lines), wanted)


def _lines(text: str) -> list[str]:
    """With their ends; TOML has no other ends of lines than these."""
    return list(io.StringIO(text, newline=""))


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _by_hand(f"not valid TOML: {error}") from None


def _roster(values: Mapping[str, Any]) -> dict[str, Any]:
    found = values.get("roster", {})
    return found if isinstance(found, dict) else {}


def _held(text: str, wanted: Mapping[str, Any]) -> str:
    """`text`, if it means what is wanted and nothing else."""
    try:
        same = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise _by_hand("[roster] is not a table with a line for each client")
    return text


def _table(lines: Sequence[str]) -> range | None:
    """Lines of the table `[roster]`, without its header."""
    starts = [at for at, line in enumerate(lines) if _HEADER.fullmatch(line.rstrip("\r\n"))]
    if not starts:
        return None
    after = range(starts[0] + 1, len(lines))
    return range(after.start, next((at for at in after if _TABLE.match(lines[at])), len(lines)))


def _line_of(lines: Sequence[str], table: range, name: str) -> int | None:
    return next((at for at in table if name in _keys(lines[at])), None)


def _keys(line: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return {}


def _insert(lines: list[str], table: range, line: str) -> None:
    """After the table's last key: what follows may belong to the next table."""
    at = max((at + 1 for at in table if _keys(lines[at])), default=table.start)
    end = _ending(lines)
    if not lines[at - 1].endswith(("\n", "\r")):
        lines[at - 1] += end
    lines.insert(at, line + end)


def _after(line: str) -> str:
    """A comment and the line's end, as they stood behind the value."""
    found = re.search(r"""["'](\s*#.*|\s*)$""", line, re.S)
    return found[1] if found else "\n"


def _ending(lines: Sequence[str]) -> str:
    return "\r\n" if lines and lines[0].endswith("\r\n") else "\n"


def _by_hand(what: str) -> ConfigError:
    return ConfigError(
        Code.CONFIG_INVALID,
        f"{what}.",
        where="policy.toml",
        remedy='Edit it by hand: a table [roster] at its end, with a line NAME = "KEY" for each.',
    )
