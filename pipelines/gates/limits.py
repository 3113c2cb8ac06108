"""The form of one limit, and how that of the holdout falls over its openings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.gates.evidence import Figure
from research_lab.validation.family_wise import holdout_level, research_weight


class Form(BaseModel):
    """A strict part of the policy: nothing extra, nothing converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class OverOpenings(Form):
    """How the level of all openings of a holdout together is spread over them.

    The k-th opening gets 6 / (pi^2 k^2) of it, times min(most_times, even_p / p), p that of the research.

    Parameters
    ----------
    even_p : p of the research at which the weight is 1.
    most_times : the largest weight.
    """

    even_p: Annotated[float, Field(gt=0.0, le=1.0)]
    most_times: Annotated[float, Field(ge=1.0)]

    @model_validator(mode="after")
    def _luck_gains_nothing(self) -> OverOpenings:
        mean = self.even_p * (1.0 + math.log(self.most_times / self.even_p))
        if mean > 1.0:
            raise ValueError(
                f"the mean weight over luck is {mean:.3g}, even_p (1 + ln(most_times / even_p)): above 1 the "
                "openings together have more than at_most; lower even_p or most_times"
            )
        return self

    def level(self, total: float, opening: int, research_p: float) -> float:
        """Return the level of the k-th opening; `total` is that of all."""
        return holdout_level(opening, total) * research_weight(research_p, self.even_p, self.most_times)

    def research_p_for(self, total: float, opening: int, p: float) -> float:
        """Return the largest p of the research with which p of the holdout is enough; 0.0 where none is."""
        even = holdout_level(opening, total)
        return min(1.0, self.even_p * even / p) if p <= even * self.most_times else 0.0


class Limit(Form):
    """One limit: how a figure must stand to it, what it means when it does not, and why it is there."""

    at_least: float | None = None
    at_most: float | None = None
    unmet: Literal["FAIL", "INSUFFICIENT"] = "FAIL"
    unit: str = ""
    over_openings: OverOpenings | None = None
    of_pools: bool = False  # judged where a pool was measured, and nowhere else
    why: str

    @model_validator(mode="before")
    @classmethod
    def _older_form(cls, data: Any) -> Any:
        if isinstance(data, dict) and "scaled_by_opening" in data:
            raise ValueError(
                "scaled_by_opening is no longer read; write over_openings: {even_p: 0.02, most_times: 3}, and "
                "at_most for all openings together, 0.05 unless you want another"
            )
        return data

    @model_validator(mode="after")
    def _one_sided(self) -> Limit:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give one of at_least and at_most")
        if self.over_openings is not None and not (self.at_most and 0.0 < self.at_most < 1.0):
            raise ValueError("over_openings spreads at_most, a level above 0 and below 1")
        return self

    def figure(self, value: float, opening: int = 1, research_p: float = 1.0) -> Figure:
        """Return a value beside this limit; one over openings is at most the level of this opening."""
        if self.at_least is not None:
            return Figure(value, self.at_least, ">=", self.unit)
        at_most = self.at_most if self.at_most is not None else math.nan
        if self.over_openings is not None:
            at_most = self.over_openings.level(at_most, opening, research_p)
        return Figure(value, at_most, "<=", self.unit)


@dataclass(frozen=True)
class Rule:
    """What a figure is judged by.

    Parameters
    ----------
    limit : of the figure.
    holdout_share : of all data before the forward zone; research is the rest.
    n_draws : of every bootstrap: no p is below 1 / (1 + n_draws).
    """

    limit: Limit
    holdout_share: float
    n_draws: int
