"""Small models and markets for tests."""

from __future__ import annotations

from dataclasses import replace

from research_lab.bars import Bars
from research_lab.market_data import worlds
from research_lab.models.model import Model
from research_lab.models.model_reader import parse_model

TEXT = """model: 1
name: drift
hypothesis: What rose goes on rising.
timeframe: 1h
features:
  momentum: roc(close, 24)
  stretch: close / sma(close, 12) - 1
  strong: rsi(14) > 60
target: {return_over: 6}
estimator: {ridge: {alpha: 10}}
refit: 10d
train: {window: expanding, at_least: 30d}
publish: {lag: 0, max_age: 2h}
"""
N_BARS = 24 * 120


def model(text: str = TEXT, **changes: object) -> Model:
    """Return the model of a text, some of its fields other than told."""
    return replace(parse_model(text), **changes)  # type: ignore[arg-type]


def bars(n: int = N_BARS, seed: int = 4) -> Bars:
    """Return hours of a market without any edge."""
    return worlds.noise(seed, n).bars
