"""The calendar, UTC: what the clock says when a bar closes and a decision falls."""

from __future__ import annotations

from research_lab.dsl.function import Function

FUNCTIONS: tuple[Function, ...] = ()
