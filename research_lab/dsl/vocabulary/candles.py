"""The shape of a candle."""

from __future__ import annotations

from research_lab.dsl.function import Function

FUNCTIONS: tuple[Function, ...] = ()
