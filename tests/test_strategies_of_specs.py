"""The random strategies reach the whole language."""

from __future__ import annotations

import pytest

from research_lab.dsl.dimensions import BARS, CONDITION
from research_lab.dsl.registry import FUNCTIONS
from tests.strategies_of_specs import NUMBERS, PRICE_VOLUME, _fitting


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_can_be_drawn(name: str) -> None:
    wanted = (*NUMBERS, BARS, PRICE_VOLUME, CONDITION)
    assert any(_fitting(FUNCTIONS[name], dimension) for dimension in wanted)
