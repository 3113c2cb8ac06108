"""Volume and its flow."""

from __future__ import annotations

from research_lab.dsl.function import Function

FUNCTIONS: tuple[Function, ...] = ()
