"""The elements that the report is made of: those of every page of the project."""

from __future__ import annotations

from common.pages.markup import Child, Markup, element, join

__all__ = ["Child", "Markup", "element", "join"]
