"""How leaks and controls are kept: by name, with a line that says what leaks or why it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from research_lab.market_data.worlds import noise
from research_lab.validation.causality.given import CANDLE, Auxiliary, Given

HOUR_MS = 3_600_000
Function = Callable[..., Any]


@dataclass(frozen=True)
class Planted:
    """A function of the corpus.

    Parameters
    ----------
    about : what leaks, or what looks as if it did. cause : a word of the cause that must be told, "" for any.
    """

    function: Function
    about: str
    cause: str = ""
    series: bool = False
    at_open: bool = False


class Corpus(dict[str, Planted]):
    """Functions by name; `corpus(about, ...)` decorates one."""

    def __call__(
        self, about: str, cause: str = "", *, series: bool = False, at_open: bool = False
    ) -> Callable[[Function], Function]:
        def keep(function: Function) -> Function:
            name = function.__name__
            assert name not in self, name
            self[name] = Planted(function, about, cause, series, at_open)
            return function

        return keep


def candles(n: int, seed: int = 3) -> pd.DataFrame:
    bars = noise(seed, n).bars
    index = pd.to_datetime(bars.time, unit="ms", utc=True)
    return pd.DataFrame(bars.inputs[:5].T.copy(), index, list(CANDLE))


def world(planted: Planted, n: int = 2_000, seed: int = 3) -> Given:
    """Return hourly bars; with them funding every 8 hours, and a daily figure published a day late."""
    given = Given.of_frame(candles(n, seed), at_open=planted.at_open)
    if not planted.series:
        return given
    random = np.random.default_rng(seed)
    held = {}
    for name, every, late in (("funding", 8, 0), ("daily", 24, 30)):
        time = given.time[::every]
        frame = pd.DataFrame(
            {name: random.normal(0.0, 1.0, time.shape[0])},
            pd.to_datetime(time, unit="ms", utc=True).as_unit("ns"),
        )
        held[name] = Auxiliary(frame, time + late * HOUR_MS)
    return Given(given.time, given.step_ms, given.columns, given.values, held, given.at_open)
