"""Channels around price: bands, and where price stands in them."""

from __future__ import annotations

from research_lab.dsl.function import Function

FUNCTIONS: tuple[Function, ...] = ()
