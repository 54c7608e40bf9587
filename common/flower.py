"""The one Flower that HushRec was written for, looked at before anything internal to it is used.

Launcher and gateway live on parts of Flower that may change without notice. With another
version, or without one of the names that they list, they do not start.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Final, TypeAlias

from common.errors import Code, RunError

__all__ = ["FLOWER", "Used", "check_flower"]

FLOWER: Final = "1.41.0"
"""The version that was read and tested; `pyproject.toml` pins the same."""
Used: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Module, name and first parameters of something internal; no parameters: any."""


def check_flower(who: str, used: Iterable[Used]) -> None:
    """Hold the installed Flower to what was tested.

    Args:
        who: the part of HushRec that asks.
        used: everything internal to Flower that it uses.

    Raises:
        RunError: `flower-version`, it is another version or lacks a name.
    """
    try:
        found = version("flwr")
    except PackageNotFoundError:
        found = "none"
    if found != FLOWER:
        raise _unfit(who, f"Flower {found} is installed, the {who} was written for {FLOWER}.")
    for module, name, parameters in used:
        _check_name(who, module, name, parameters)


def _check_name(who: str, module: str, name: str, parameters: tuple[str, ...]) -> None:
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _unfit(who, f"Flower has no {module}.{name}: {error}.") from None
    has = tuple(inspect.signature(found).parameters) if parameters else ()
    if has[: len(parameters)] != parameters:
        raise _unfit(who, f"{module}.{name} takes {has}, not {parameters}.")


def _unfit(who: str, what: str) -> RunError:
    return RunError(
        Code.FLOWER_VERSION,
        what,
        where=who,
        remedy="Install HushRec anew with its constraints.txt; never upgrade Flower alone.",
    )
