"""Logs of a deployment: one line a record on stderr, JSON for machines or text for people.

Guarantee:
    After `configure`, nothing that goes through `logging` in this process quotes data, as
    `log_records` has it: neither HushRec's own lines nor those of libraries, warnings, and
    exceptions that nobody caught, in the main thread or in another.

`HUSHREC_DEBUG=1` breaks it on the owner's own demand, and every process says so first.
Simulations and commands that print a result do not configure logs: what they show is their
caller's own.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, TextIO

from common.log_records import (
    HIDDEN,
    Public,
    SafeRecord,
    fields,
    replace_codes,
    safe_record,
    vouch,
)

__all__ = [
    "ONLY_HERE",
    "VARIABLE",
    "Public",
    "Style",
    "asked_style",
    "configure",
    "configure_by_environment",
    "configure_process",
    "fields",
    "is_configured",
    "is_guarded",
    "is_quoting",
    "relay",
    "vouch",
]

VARIABLE: Final = "HUSHREC_LOG"
"""Environment variable with the style: what a process that configures by it inherits."""
ONLY_HERE: Final = {"hushrec_only_here": True}
"""As `extra`: the line says what data do, and is written in no log that may leave the machine."""
_LOG: Final = logging.getLogger("hushrec.logs")
_HEAD: Final = ("time", "level", "role", "logger", "event")
"""What every line has, in this order."""
_GUARD: list[_Lines] = []


class Style(StrEnum):
    """How a line looks."""

    JSON = "json"
    TEXT = "text"


def configure(role: str, style: Style, *, holds_data: bool = True) -> None:
    """From now on this process logs in one form; a second call changes role and form.

    Args:
        role: which process of a deployment this is, a word of the program's.
        style: of the lines.
        holds_data: this process may hold customers' data: codes are written as they leave a
            client. A server holds none.
    """
    replace_codes(holds_data=holds_data)
    debug = is_quoting()
    handler = _Lines(role, style)
    handler.addFilter(_worth)
    logging.setLogRecordFactory(functools.partial(safe_record, debug=debug))
    logging.setLoggerClass(_Joined)
    logging.raiseExceptions = False  # it would print what it could not write
    logging.captureWarnings(True)
    logging.lastResort = handler
    for logger in _loggers():
        logger.handlers.clear()
        logger.propagate = True
        if type(logger) is logging.Logger:
            logger.__class__ = _Joined  # it was made before
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.INFO)
    _GUARD[:] = [handler]
    _catch()
    if debug:
        _LOG.warning("HUSHREC_DEBUG is set: THESE LINES MAY QUOTE CUSTOMERS' DATA, keep them here")


def configure_by_environment(role: str) -> bool:
    """As `configure`, where `HUSHREC_LOG` names a style; whether it does."""
    if os.environ.get(VARIABLE, "") not in set(Style):
        return False
    configure(role, asked_style())
    return True


def configure_process(role: str, *, holds_data: bool = True) -> None:
    """As `configure`, in the style that `HUSHREC_LOG` names, else text for a terminal alone."""
    configure(role, asked_style(), holds_data=holds_data)


def is_configured() -> bool:
    """Whether `configure` was called in this process."""
    return bool(_GUARD)


def is_guarded() -> bool:
    """Whether this process's stderr may hold nothing but lines of a log.

    A terminal has a person before it, who may read what is wrong with their own files.
    """
    return bool(_GUARD) and not sys.stderr.isatty()


def is_quoting() -> bool:
    """Whether the owner lets logs quote data, by `HUSHREC_DEBUG=1`."""
    return os.environ.get("HUSHREC_DEBUG", "0") not in ("", "0")


def asked_style() -> Style:
    """The style that `HUSHREC_LOG` names; else text for a terminal, JSON for anything else."""
    named = os.environ.get(VARIABLE, "")
    if named in set(Style):
        return Style(named)
    return Style.TEXT if sys.stderr.isatty() else Style.JSON


def relay(text: str) -> dict[str, Any] | None:
    """Write a line of another process, which configured its logs as JSON, in this one's form.

    Returns:
        Its fields; None if it is no such line, and nothing was written.
    """
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not line.keys() >= set(_HEAD) or not _GUARD:
        return None
    _GUARD[0].write(line)
    return line


class _Joined(logging.Logger):
    """A logger without handlers of its own: libraries bring theirs when they are imported."""

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802  its name is logging's
        """Leave it out: there is one way for lines to leave the process."""

    @property
    def propagate(self) -> bool:
        """Always."""
        return True

    @propagate.setter
    def propagate(self, value: bool) -> None: ...


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines, whole, from any thread."""

    def __init__(self, role: str, style: Style) -> None:
        super().__init__(sys.stderr)
        self._role = role
        self._shown = _text if style is Style.TEXT else _json

    def format(self, record: logging.LogRecord) -> str:
        return self._shown(_line(record, self._role))

    def write(self, line: Mapping[str, Any]) -> None:
        """Write a line that is one already; where nobody reads any more, it is lost."""
        self.acquire()
        try:
            with suppress(OSError, ValueError):
                self.stream.write(self._shown(line) + self.terminator)
                self.flush()
        finally:
            self.release()


def _json(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False)


def _text(line: Mapping[str, Any]) -> str:
    quoted = line.get("quoted")
    head = [str(line[name]) for name in _HEAD]
    rest = [f"{key}={value}" for key, value in line.items() if key not in {*_HEAD, "quoted"}]
    text = "".join(sign if sign.isprintable() else HIDDEN for sign in " ".join(head + rest))
    return text if quoted is None else f"{text}\n{quoted}"


def _line(record: logging.LogRecord, role: str) -> dict[str, Any]:
    """A record that this module's factory did not make says nothing."""
    safe = record if isinstance(record, SafeRecord) else None
    line = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "role": role,
        "logger": HIDDEN if safe is None else safe.hushrec_logger,
        "event": HIDDEN if safe is None else safe.hushrec_event,
    }
    if safe is None:
        return line
    added = {**getattr(safe, "hushrec_fields", {}), **safe.hushrec_said}
    quoted = {} if safe.hushrec_quoted is None else {"quoted": safe.hushrec_quoted}
    return {**line, **{k: v for k, v in added.items() if k not in line}, **quoted}


def _worth(record: logging.LogRecord) -> bool:
    """Libraries from warnings on; what data do only where the owner lets logs quote them."""
    if hasattr(record, "hushrec_only_here") and getattr(record, "hushrec_quoted", None) is None:
        return False
    own = record.name.partition(".")[0] in {"hushrec", "common", "client", "server"}
    return own or record.levelno >= logging.WARNING


def _loggers() -> Iterator[logging.Logger]:
    for found in list(logging.root.manager.loggerDict.values()):
        if isinstance(found, logging.Logger):
            yield found


def _catch() -> None:
    """What nobody caught is a line as well; Ctrl-C is said by the status."""

    def last(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            _LOG.critical("ended by what nobody caught", exc_info=(kind, error, trace))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            _LOG.error("a thread ended by what nobody caught", exc_info=args.exc_value)

    def unraisable(args: Any) -> None:
        _LOG.error("an exception that could not be raised", exc_info=args.exc_value)

    sys.excepthook = last
    threading.excepthook = of_thread
    sys.unraisablehook = unraisable
