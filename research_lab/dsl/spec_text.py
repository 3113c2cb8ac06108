"""The form of a strategy file: which fields there are and what plain values they take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from research_lab.dsl import limits

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Expression = Annotated[str, StringConstraints(max_length=limits.EXPRESSION_CHARACTERS)] | int | float
Number = int | float
Version = Annotated[int, Field(ge=1, le=1)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ParamForm(_Form):
    """A parameter: its range, the step between values to try, and the value without tuning."""

    range: Annotated[list[Number], Field(min_length=2, max_length=2)]
    step: Number
    default: Number


class TakeForm(_Form):
    """A partial exit: at a multiple of R (the stop's distance), closing a share of what remains."""

    at: str
    close: Expression


class TrailForm(_Form):
    """A trailing stop: its distance in price, and the gain in R after which it is armed."""

    distance: Expression
    after: str | None = None


class SizeForm(_Form):
    """How much: one of risk at the stop, fraction of equity, or target volatility a year."""

    risk: Expression | None = None
    fraction: Expression | None = None
    target_vol: Expression | None = None
    window: int | None = None


class MemberForm(_Form):
    """A member of an ensemble: its conditions written out, or a strategy used by name."""

    weight: Expression | None = None
    use: Name | None = None
    enter_long: Expression | None = None
    exit_long: Expression | None = None
    enter_short: Expression | None = None
    exit_short: Expression | None = None


class EnsembleForm(_Form):
    """Strategies combined into one, instead of conditions."""

    combine: Literal["first", "vote", "weighted"]
    min_confidence: Expression | None = None
    members: Annotated[dict[Name, MemberForm], Field(min_length=2, max_length=limits.MEMBERS)]


class SeriesForm(_Form):
    """An external series: its publication lag, the age at which a value no longer counts, its dimension."""

    lag: str | int
    max_age: str
    kind: Literal["ratio", "price", "volume", "bars", "condition"] = "ratio"


class EventForm(_Form):
    """A calendar of events; known_ahead says that its dates are published long before."""

    known_ahead: bool = False


class ModelUseForm(_Form):
    """A model whose score is read: the hash that pins it, and the age at which a score no longer counts."""

    hash: str
    max_age: str


class DeclarationForm(_Form):
    """Series, calendars and models alone, as they stand in strategy and macro files."""

    series: dict[Name, SeriesForm] = {}
    events: dict[Name, EventForm] = {}
    models: dict[Name, ModelUseForm] = {}


class SpecForm(_Form):
    """A strategy file."""

    spec: Version
    name: Name
    hypothesis: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    timeframe: str
    side: Literal["long", "short", "both"]
    params: Annotated[dict[Name, ParamForm], Field(max_length=limits.PARAMS)] = {}
    series: dict[Name, SeriesForm] = {}
    events: dict[Name, EventForm] = {}
    models: dict[Name, ModelUseForm] = {}
    define: Annotated[dict[Name, Expression], Field(max_length=limits.DEFINITIONS)] = {}
    enter_long: Expression | None = None
    exit_long: Expression | None = None
    enter_short: Expression | None = None
    exit_short: Expression | None = None
    ensemble: EnsembleForm | None = None
    stop: Expression | None = None
    take: Annotated[list[TakeForm], Field(max_length=4)] = []
    trail: TrailForm | None = None
    breakeven: bool = False
    time_stop: Expression | None = None
    size: SizeForm
    regimes: list[str] = []
    regime_exit: bool = False


class RegimeForm(_Form):
    """The regimes file: conditions in order of precedence, on one timeframe."""

    spec: Version
    timeframe: str
    define: Annotated[dict[Name, Expression], Field(max_length=limits.DEFINITIONS)] = {}
    regimes: dict[str, Expression]


class MacroForm(_Form):
    """The macro file: conditions of macro states in order of precedence, on one timeframe."""

    spec: Version
    timeframe: str
    series: Annotated[dict[Name, SeriesForm], Field(max_length=limits.SERIES)] = {}
    events: Annotated[dict[Name, EventForm], Field(max_length=limits.SERIES)] = {}
    define: Annotated[dict[Name, Expression], Field(max_length=limits.DEFINITIONS)] = {}
    macro: dict[str, Expression]
