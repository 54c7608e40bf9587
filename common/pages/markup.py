"""Elements of HTML and SVG from text that is escaped unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final, TypeAlias

__all__ = ["Child", "Markup", "element", "join"]

_VOID: Final = frozenset({"br", "col", "meta", "circle", "line", "path", "polyline", "rect"})


class Markup(str):
    """Text that is markup: made by `element`, or written in this package."""

    __slots__ = ()


Child: TypeAlias = "str | Markup | None"


def element(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """One element.

    Args:
        tag: its name; from this package, never from data.
        children: markup as it is, other text escaped, None left out.
        attributes: values are escaped, None leaves one out; `class_` is `class`, and `_`
            in names is `-`. Numbers have at most two decimals.
    """
    names = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    given = "".join(f' {name}="{_value(v)}"' for name, v in names if v is not None)
    if tag in _VOID and not children:
        return Markup(f"<{tag}{given}/>")
    return Markup(f"<{tag}{given}>{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Markup:
    """Children one after the other."""
    return Markup("".join(_text(child) for child in children if child is not None))


def _text(child: str) -> str:
    return child if isinstance(child, Markup) else escape(child)


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{value:.2f}".rstrip("0").rstrip(".")
