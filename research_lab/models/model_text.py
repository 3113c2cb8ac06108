"""The form of a model file: which fields there are and what plain values they take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from research_lab.dsl import limits
from research_lab.dsl.spec_text import Expression, Name

FEATURES = 32
HORIZON = 10_000  # bars


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class TargetForm(_Form):
    """What is predicted: the return over so many bars, or its sign; one of them."""

    return_over: Annotated[int, Field(ge=1, le=HORIZON)] | None = None
    sign_over: Annotated[int, Field(ge=1, le=HORIZON)] | None = None


class RidgeForm(_Form):
    """Least squares with the squares of coefficients, times alpha, added."""

    alpha: Annotated[float, Field(gt=0.0, le=1e9)] = 1.0


class LogisticForm(_Form):
    """Logistic regression; c is the inverse of the penalty's strength."""

    c: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0


class BoostingForm(_Form):
    """Gradient boosting over histograms: trees added one after the other, without stopping early."""

    trees: Annotated[int, Field(ge=1, le=500)] = 100
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    depth: Annotated[int, Field(ge=1, le=8)] = 3
    leaf: Annotated[int, Field(ge=1, le=100_000)] = 200
    l2: Annotated[float, Field(ge=0.0, le=1e6)] = 1.0


class ForestForm(_Form):
    """A random forest; trees see a third of the features at each split."""

    trees: Annotated[int, Field(ge=1, le=500)] = 100
    depth: Annotated[int, Field(ge=1, le=16)] = 4
    leaf: Annotated[int, Field(ge=1, le=100_000)] = 200


class EstimatorForm(_Form):
    """One of the estimators, with its options; those left out have their defaults."""

    ridge: RidgeForm | None = None
    logistic: LogisticForm | None = None
    hist_gradient_boosting: BoostingForm | None = None
    random_forest: ForestForm | None = None


class TrainForm(_Form):
    """Which labels a fit sees: how old, how many days at least, and how long complete before it."""

    window: str
    at_least: str
    embargo: str | int = "1d"


class PublishForm(_Form):
    """When a score is published after its bar's close, and how long it may count."""

    lag: str | int
    max_age: str


class ModelForm(_Form):
    """A model file."""

    model: Literal[1]
    name: Name
    hypothesis: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    timeframe: str
    define: Annotated[dict[Name, Expression], Field(max_length=limits.DEFINITIONS)] = {}
    features: Annotated[dict[Name, Expression], Field(min_length=1, max_length=FEATURES)]
    target: TargetForm
    estimator: EstimatorForm
    refit: str
    train: TrainForm
    publish: PublishForm
