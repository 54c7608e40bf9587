"""Delimited text, read so that every line that cannot be used is named and none is lost."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as pa_csv

from common.arrays import Ints
from common.errors import Code, DataError

__all__ = ["Delimited", "Fault", "decode_lines", "parse_delimited"]

_DELIMITERS = (",", "\t", ";", "|")
_LONGEST_RECORD_LINES = 50  # a quote that is never closed must not swallow the file
_CHUNK_ROWS = 200_000
_SEPARATOR = "\x1f"
_BOM = b"\xef\xbb\xbf"
_UNDECODABLE = re.compile("[\udc80-\udcff]")


class Fault(NamedTuple):
    """One thing wrong with one row.

    Attributes:
        row: line of the file, the first is 1, the header counts.
        field: name of the field, empty when the whole row is meant.
        reason: one short stable word.
        value: what stood there.
        raw: the line as it stood in the file.
    """

    row: int
    field: str
    reason: str
    value: str
    raw: str


@dataclass(frozen=True)
class Delimited:
    """Rows of a text file.

    Attributes:
        frame: one column of strings for each field, `[rows, fields]`.
        rows: line number of each row in the file, `[rows]`.
        faults: lines that are not rows.
        lines: all lines of the file.
    """

    frame: pd.DataFrame
    rows: Ints
    faults: list[Fault]
    lines: list[str]


def decode_lines(data: bytes, where: str, encoding: str = "utf-8") -> tuple[list[str], list[Fault]]:
    """Lines of a text; those that are not in the encoding become blank and a fault each.

    Raises:
        DataError: `data-format` for UTF-16, compressed and other binary content.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b")) or b"\0" in data[:65536]:
        raise DataError(
            Code.DATA_FORMAT,
            "not UTF-8 text (UTF-16, compressed or binary).",
            where=where,
            remedy="Unpack it, or save it as UTF-8.",
        )
    data = data.removeprefix(_BOM)
    try:
        return list(io.StringIO(data.decode(encoding), newline=None)), []
    except UnicodeDecodeError:
        lines = list(io.StringIO(data.decode(encoding, "surrogateescape"), newline=None))
    faults = []
    for index, line in enumerate(lines):
        found = _UNDECODABLE.search(line)
        if found is not None:
            shown = _shown(line)
            byte = ord(found[0]) - 0xDC00
            faults.append(Fault(index + 1, "", "encoding", f"byte 0x{byte:02x}", shown))
            lines[index] = "\n"
    return lines, faults


def parse_delimited(
    data: bytes,
    where: str,
    *,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    quoted: bool = True,
    encoding: str = "utf-8",
) -> Delimited:
    """Parse delimited text. Blank lines are no rows.

    Args:
        data: the content of the file.
        where: its name, for errors.
        names: names of the fields when the text has no header; None reads the first line.
        delimiter: what separates fields; None takes the likeliest of comma, tab, semicolon
            and bar in the first line.
        quoted: whether double quotes protect delimiters and line ends.
        encoding: of the text; lines that are not in it are set aside.

    Raises:
        DataError: `data-format` (binary, a header that cannot be read) or `data-empty`.
    """
    lines, faults = decode_lines(data, where, encoding)
    first = next((line for line in lines if line.strip()), "")
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    parsed = lines
    if len(delimiter) > 1:
        data = data.replace(delimiter.encode(), _SEPARATOR.encode())
        parsed = [line.replace(delimiter, _SEPARATOR) for line in lines]
        delimiter = _SEPARATOR
    records = _records(parsed, delimiter, quoted)
    skipped = 1 if names is None else 0
    names = _header(records, faults, where) if names is None else tuple(names)
    plain = encoding == "utf-8" and not faults and not (quoted and b'"' in data)
    if plain and "\n" not in lines:
        frame = _fast(data, names, delimiter, skipped)
        if frame is not None and len(frame) == len(lines) - skipped:
            rows = np.arange(1 + skipped, len(lines) + 1, dtype=np.int64)
            return Delimited(frame, rows, [], lines)
    frame, rows, bad = _collect(records, names, lines)
    return Delimited(frame, rows, [*faults, *bad], lines)


def _fast(data: bytes, names: tuple[str, ...], delimiter: str, skipped: int) -> pd.DataFrame | None:
    """The rows of a text without quotes and without any fault; None for another one."""
    if len(names) < 2:
        return None
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data.removeprefix(_BOM)),
            pa_csv.ReadOptions(use_threads=False, column_names=names, skip_rows=skipped),
            pa_csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except (pa.ArrowException, ValueError):
        return None  # something is wrong with a row; the slow way says what
    frame: pd.DataFrame = table.to_pandas().astype("str")
    return frame


def _header(
    records: Iterator[tuple[int, list[str] | str]], faults: list[Fault], where: str
) -> tuple[str, ...]:
    row, record = next(records, (1, "no header"))
    unreadable = next((f"{f.reason}, {f.value}" for f in faults if f.row < row), None)
    if isinstance(record, str) or unreadable is not None:
        raise DataError(
            Code.DATA_FORMAT,
            f"the header cannot be read: {unreadable or record}.",
            where=f"{where}, row {faults[0].row if unreadable else row}",
            remedy="The first line must name the columns, in UTF-8.",
        )
    names = tuple(name.strip() for name in record)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            Code.DATA_FORMAT,
            f"the header names a column twice: {', '.join(map(repr, repeated))}.",
            where=f"{where}, row {row}",
            remedy="Give every column a name of its own.",
        )
    return names


def _records(
    lines: list[str], delimiter: str, quoted: bool
) -> Iterator[tuple[int, list[str] | str]]:
    """Row number and fields of each record, or row number and what is wrong with it."""
    start = 0
    while start < len(lines):
        mark = [start]
        reader = csv.reader(
            _feed(lines, start, mark),
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            for record in reader:
                row = mark[0] + 1
                mark[0] = start + reader.line_num
                if record:
                    yield row, record
            return
        except csv.Error as error:
            yield mark[0] + 1, str(error)
            start = mark[0] + 1


def _feed(lines: list[str], start: int, mark: list[int]) -> Iterator[str]:
    for index in range(start, len(lines)):
        if index - mark[0] >= _LONGEST_RECORD_LINES:
            raise csv.Error(f"a quote is not closed within {_LONGEST_RECORD_LINES} lines")
        yield lines[index]


def _collect(
    records: Iterator[tuple[int, list[str] | str]], names: tuple[str, ...], lines: list[str]
) -> tuple[pd.DataFrame, Ints, list[Fault]]:
    frames: list[pd.DataFrame] = []
    rows: list[int] = []
    faults: list[Fault] = []
    buffer: list[list[str]] = []
    width = len(names)
    for row, record in records:
        if isinstance(record, str):
            faults.append(Fault(row, "", "malformed", record, lines[row - 1].rstrip("\n")))
        elif len(record) != width and lines[row - 1].strip():
            value = f"{len(record)} fields, expected {width}"
            faults.append(Fault(row, "", "field-count", value, lines[row - 1].rstrip("\n")))
        elif len(record) == width:
            buffer.append(record)
            rows.append(row)
            if len(buffer) == _CHUNK_ROWS:
                frames.append(_frame(buffer, names))
                buffer = []
    frames.append(_frame(buffer, names))
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    return frame, np.array(rows, dtype=np.int64), faults


def _frame(records: list[list[str]], names: tuple[str, ...]) -> pd.DataFrame:
    columns = zip(*records, strict=True) if records else [() for _ in names]
    return pd.DataFrame(
        {
            name: pd.Series(list(column), dtype="str")
            for name, column in zip(names, columns, strict=True)
        }
    )


def _shown(line: str) -> str:
    return line.rstrip("\n").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
