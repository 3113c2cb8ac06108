"""Blends: one number out of several, over timeframes or sources, by whatever of them is known."""

from __future__ import annotations

from research_lab.dsl.dimensions import RATIO
from research_lab.dsl.function import Argument, Function, X, always, first, same
from research_lab.errors import SpecError
from research_lab.timeframe import is_made_of, timeframe_ms

BASE_WEIGHTS = {"1h": 0.40, "4h": 0.30, "1d": 0.20, "1w": 0.10}
_RANGE = "true_range() / close"


def confirmed_on(step_ms: int) -> str:
    """Return what `confirmed` is on bars of a length: a mean over the timeframes that they make."""
    names = [name for name in BASE_WEIGHTS if is_made_of(timeframe_ms(name), step_ms)]
    if not names:
        raise SpecError(
            "confirmed() needs bars that make up 1h, 4h, 1d or 1w", remedy="use a timeframe such as 1h or 4h"
        )
    weight = {name: f'{BASE_WEIGHTS[name]} * tf("{name}", calm())' for name in names}
    above = " + ".join(f'coalesce({weight[name]} * tf("{name}", x), 0)' for name in names)
    below = " + ".join(f'coalesce({weight[name]} + 0 * tf("{name}", x), 0)' for name in names)
    return f"({above}) / ({below})"


FUNCTIONS = (
    Function("calm", "mean range of the last 50 bars, as a share of price, over that of the last 14; from 0.5 to 2, "
             "above 1 where it is calmer than usual", (), always(RATIO),
             body=f"min(max(sma({_RANGE}, 50) / sma({_RANGE}, 14), 0.5), 2)"),
    Function("confirmed", "mean of x over 1h, 4h, 1d and 1w, those not shorter than the bars, weighted 0.4, 0.3, 0.2 "
             "and 0.1, each times calm() there; one that is unknown drops out", (X,), first, body_on=confirmed_on),
    Function("fused", "share of technical and the rest of model; technical alone where the model is unknown",
             (Argument("technical"), Argument("model", optional=True), Argument("share", "share", default="0.65")), same,
             body="coalesce(share * technical + (1 - share) * model, technical)"),
)  # fmt: skip
