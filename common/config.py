"""Frozen, typed settings: TOML in, unknown keys rejected, every field documented."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from common.errors import Code, ConfigError

__all__ = ["Settings", "read_json", "read_toml", "toml_lines"]


class Settings(BaseModel):
    """Base of every configuration: immutable, strict about keys and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def load(cls, values: Mapping[str, Any], *, where: str = "") -> Self:
        """Validate `values`.

        Args:
            values: keys and values as they come from TOML or JSON.
            where: file or option that they come from, for the error.

        Raises:
            ConfigError: `config-unknown-key` or `config-invalid`, naming every bad field.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _explain(error, cls, where) from None

    @classmethod
    def load_toml(cls, path: Path) -> Self:
        """Read and validate a TOML file.

        Raises:
            ConfigError: the file is missing, not TOML, or holds a bad value.
        """
        return cls.load(read_toml(path), where=str(path))


def read_json(path: Path) -> dict[str, Any]:
    """Parse a file that holds one JSON object.

    Raises:
        ConfigError: the file cannot be read or is not a JSON object (`config-not-found`,
            `config-invalid`).
    """
    values = _parsed(path, json.loads, "JSON")
    if not isinstance(values, dict):
        raise ConfigError(Code.CONFIG_INVALID, "not a JSON object.", where=str(path))
    return values


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: the file cannot be read or is not TOML (`config-not-found`,
            `config-invalid`).
    """
    values: dict[str, Any] = _parsed(path, tomllib.loads, "TOML")
    return values


def toml_lines(values: Mapping[str, Any]) -> str:
    """A line of TOML for each key; tables within are written in one line.

    Args:
        values: what JSON can hold, without None.
    """
    return "".join(f"{_key(key)} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {_toml(v)}' for key, v in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    """In quotes unless TOML takes it as it is: `a.b` would be a table."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _parsed(path: Path, parse: Callable[[str], Any], form: str) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            f"cannot be read: {error.strerror}.",
            where=str(path),
            remedy="Check the path and the permission to read it.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            Code.CONFIG_INVALID, f"not valid {form}: {error}.", where=str(path)
        ) from None


def _explain(error: ValidationError, model: type[Settings], where: str) -> ConfigError:
    problems = _own(error.errors(include_url=False))
    unknown = any(p["type"] == "extra_forbidden" for p in problems)
    lines = []
    for problem in problems:
        field = ".".join(str(part) for part in problem["loc"]) or model.__name__
        if problem["type"] == "extra_forbidden":
            lines.append(f"{field}: unknown key")
        else:
            lines.append(f"{field}: {_said(problem)} (got {problem.get('input')!r})")
    known = ", ".join(sorted(model.model_fields))
    return ConfigError(
        Code.CONFIG_UNKNOWN_KEY if unknown else Code.CONFIG_INVALID,
        "; ".join(lines) + ".",
        where=where,
        remedy=f"Known keys here: {known}." if unknown else "",
    )


def _own(problems: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are called too short because of values in them that are none."""
    places = [problem["loc"] for problem in problems]
    return [
        problem
        for problem, place in zip(problems, places, strict=True)
        if problem["type"] != "too_short"
        or not any(len(p) > len(place) and p[: len(place)] == place for p in places)
    ]


def _said(problem: ErrorDetails) -> str:
    """What is wrong with a value; of a list's length in words of this program."""
    known = problem.get("ctx", {})
    if problem["type"] == "too_short":
        return f"of length {known['actual_length']}, it has to be at least {known['min_length']}"
    if problem["type"] == "too_long":
        return f"of length {known['actual_length']}, it may be at most {known['max_length']}"
    return problem["msg"]
