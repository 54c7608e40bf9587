"""What a line of a log may say: words of the program's own, and values that are about nobody.

Guarantee:
    A record that `safe_record` made holds no text that was put together at run time, but for
    words that somebody vouched for. It is made before any handler sees it, so that a library's
    own handler writes the same. What is let through:

    - a message that is a literal in the function that logs it, the template without values;
    - into a template of HushRec's own: whole numbers, floats, truth values, codes, `Public`
      text and vouched words. Everything else becomes `…`; in templates of libraries all does;
    - of an exception its class, and file, line and function of its frames; of a HushRecError
      its code too, and `where` if that names a file that every client or server has;
    - where this process holds data, which is so unless it says otherwise: codes as they leave a
      client, and of an exception that is about data nothing else.

    `HUSHREC_DEBUG=1` breaks this: then a record has the whole text beside it.
"""

from __future__ import annotations

import inspect
import logging
import math
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import Any, Final, TypeAlias

from common.errors import Code, HushRecError
from common.public_codes import as_it_leaves, hides, told

__all__ = [
    "HIDDEN",
    "Public",
    "SafeRecord",
    "fields",
    "known_file",
    "replace_codes",
    "safe_record",
    "vouch",
]

HIDDEN: Final = "…"
"""Stands where something else stood."""
_FRAMES: Final = 8
_CONVERSION: Final = re.compile(
    r"%(?:\((?P<key>\w+)\))?[#0\- +]*(?P<star>\*|\d*)(?:\.(?:\*|\d+))?[hlL]?[diouxXeEfFgGcrsa%]"
)
_PLAIN: Final = (bool, int, float)
_CODES: Final = frozenset(map(str, Code))
_FILES: Final = re.compile(
    r"(?<![\w.-])(?:(?:client|policy|roster|request)\.toml|(?:card|catalogue|current|invitation|job)"
    r"\.json|(?:events|heldout)\.parquet|rejected\.csv|(?:ledger|recorded|sums)\.sqlite|state\.db|"
    r"(?:ca|tls|ca_key|tls_key|ledger_key|roster_key|server_key)\.pem|node_key|superexec\.secret|"
    r"(?:operator|service)\.token|(?:promotions|witness|access)\.jsonl)(?![\w.-])"
)
"""Names of files that HushRec gives; others could be an owner's own words."""
_Info: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]
_VOUCHED: set[str] = set()
_HOLDS_DATA: list[bool] = [True]
_FIELDS: Final = "hushrec_fields"


class Public(str):
    """Text that may stand in a log: a name in the federation, a hash, a version."""

    __slots__ = ()


def vouch(*words: str) -> None:
    """From now on these words may stand in this process's logs: names in the federation."""
    _VOUCHED.update(words)


def replace_codes(*, holds_data: bool) -> None:
    """Whether this process may hold customers' data, so that codes about them are replaced."""
    _HOLDS_DATA[:] = [holds_data]


def fields(**values: object) -> dict[str, Any]:
    """Further fields of a line, for `extra`; values as in a template, else `…`."""
    return {_FIELDS: {name: _field(value) for name, value in values.items()}}


def known_file(where: str) -> str | None:
    """The file of HushRec's own that a place is in, None if it is in none."""
    found = _FILES.search(where)
    return None if found is None else found[0]


class SafeRecord(logging.LogRecord):
    """A record that has nothing to hide: a line is made of these attributes alone.

    Attributes:
        hushrec_logger: whose it is.
        hushrec_event: the message.
        hushrec_said: fields of an error.
        hushrec_fields: what `fields` added.
        hushrec_quoted: the whole text, where that was asked for.
    """

    hushrec_logger: str
    hushrec_event: str
    hushrec_said: dict[str, Any]
    hushrec_fields: dict[str, Any]
    hushrec_quoted: str | None


def safe_record(
    name: str | None,
    level: int,
    path: str,
    line: int,
    message: object,
    args: Any,
    info: Any,
    function: str | None = None,
    _stack: str | None = None,
    *,
    debug: bool = False,
    **_more: Any,
) -> SafeRecord:
    """A record for `logging.setLogRecordFactory`, with `debug` bound."""
    name = name or ""
    error = _error(message, args, info)
    event = _event(message, args, own=_is_own(name), literal=_is_literal(message, path, line))
    if event == HIDDEN and error is not None:
        has_code = isinstance(error, HushRecError) or "error" not in _said(error)
        event = str(_code(error)) if has_code else type(error).__name__
    if event == HIDDEN or error is not None:
        said = {**_said(error), "at": f"{PurePath(path).name}:{line}"}
    else:
        said = {}
    found = SafeRecord(_logger(name), level, path, line, event, (), None, function)
    found.hushrec_logger, found.hushrec_event, found.hushrec_said = found.name, event, said
    found.hushrec_quoted = _whole(message, args, error) if debug else None
    return found


def _event(message: object, args: Any, *, own: bool, literal: bool) -> str:
    if not literal or not isinstance(message, str):
        return HIDDEN
    values = _values(args)
    shown = _CONVERSION.sub(lambda found: _shown(found, values, own=own), message)
    return shown.strip() or HIDDEN


def _values(args: Any) -> Mapping[str, Any] | Iterator[Any]:
    if isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], Mapping):
        return args[0]
    if isinstance(args, Mapping):
        return args
    return iter(args if isinstance(args, tuple) else (args,))


def _shown(found: re.Match[str], values: Mapping[str, Any] | Iterator[Any], *, own: bool) -> str:
    conversion = found[0]
    if conversion.endswith("%"):
        return "%"
    if isinstance(values, Mapping):
        value = values.get(found["key"] or "", None)
    else:
        value = next(values, None)
    if isinstance(value, BaseException):
        return ""
    if not own or "*" in conversion or not _is_safe(value):
        return HIDDEN
    if isinstance(value, str):
        return _word(value)
    try:
        return str((conversion if found["key"] is None else "%s") % value)
    except (TypeError, ValueError, OverflowError):
        return HIDDEN


def _is_safe(value: object) -> bool:
    return (
        value is None
        or type(value) in _PLAIN
        or isinstance(value, Public | Code)
        or (type(value) is str and (value in _CODES or value in _VOUCHED))
    )


def _field(value: object) -> Any:
    if not _is_safe(value):
        return HIDDEN
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return _word(value)
    return str(value.value) if isinstance(value, Enum) else value


def _word(value: str) -> str:
    """A word; a code as it leaves."""
    word = str(value.value) if isinstance(value, Enum) else str(value)
    return (as_it_leaves(word) or word) if _HOLDS_DATA[0] else word


def _code(error: BaseException) -> Code:
    own = not _HOLDS_DATA[0] and isinstance(error, HushRecError)
    return error.code if own and isinstance(error, HushRecError) else told(error)


def _is_own(name: str) -> bool:
    root = name.partition(".")[0]
    return root in {"hushrec", "common", "client", "server", "simulations"}


def _logger(name: str) -> str:
    """The name, or as much of it as names a package that is loaded."""
    root = name.partition(".")[0]
    if name in sys.modules or name in {"root", "py.warnings"} or root == "hushrec":
        return name
    return root if root in sys.modules else HIDDEN


def _is_literal(message: object, path: str, line: int) -> bool:
    """Whether the message stands in the code of the function that logs it."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if frame.f_lineno == line and frame.f_code.co_filename == path:
            return any(type(one) is str and one == message for one in frame.f_code.co_consts)
        frame = frame.f_back
    return False


def _error(message: object, args: Any, info: Any) -> BaseException | None:
    """The exception that a record is about."""
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple) and len(info) > 1 and isinstance(info[1], BaseException):
        return info[1]
    given = args if isinstance(args, tuple) else (args,)
    return next((one for one in (message, *given) if isinstance(one, BaseException)), None)


def _said(error: BaseException | None) -> dict[str, Any]:
    if error is None:
        return {}
    if _HOLDS_DATA[0] and hides(error):
        return {"code": str(told(error))}
    said: dict[str, Any] = {"error": type(error).__name__}
    if isinstance(error, HushRecError):
        said["code"] = str(_code(error))
        if (file := known_file(error.where)) is not None:
            said["where"] = file
    elif (frames := traceback.extract_tb(error.__traceback__, limit=-_FRAMES)) != []:
        said["trace"] = [f"{PurePath(f.filename).name}:{f.lineno} {f.name}" for f in frames]
    return said


def _whole(message: object, args: Any, error: BaseException | None) -> str:
    try:
        text = str(message) % args if args else str(message)
    except (TypeError, ValueError, KeyError):
        text = str(message)
    shown = [] if error is None else traceback.format_exception(error)
    return "\n".join((text, *shown)).rstrip()
