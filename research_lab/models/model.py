"""A model: features in the language, what they should tell, how they are fitted, and when again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from research_lab.dsl.compiler import program_of
from research_lab.dsl.tree import Node, number_text
from research_lab.engine.program import Program
from research_lab.series import duration
from research_lab.strict_yaml import scalar
from research_lab.timeframe import timeframe_ms

RETURN: Final = "return_over"
SIGN: Final = "sign_over"
CLOSE: Final = 3  # register of the close, which labels are made of
VERSION: Final = "1"  # of how scores are made; counted in the identity, so that another way is another model


@dataclass(frozen=True)
class Estimator:
    """One of scikit-learn's estimators with its options, every one of them told."""

    kind: str
    options: Mapping[str, float]

    @property
    def text(self) -> str:
        told = ", ".join(f"{name}: {number_text(float(self.options[name]))}" for name in sorted(self.options))
        return f"{{{self.kind}: {{{told}}}}}"


@dataclass(frozen=True, eq=False)
class Model:
    """A model as its file describes it.

    Parameters
    ----------
    name, hypothesis : what it is called and why it should work; no part of its identity.
    timeframe : of its bars. features : trees by name, ratios, counts of bars or conditions.
    target : the return from a bar's close to that `horizon` bars later (`RETURN`), or its sign (`SIGN`).
    refit_ms : time from one fit to the next, counted from 1970.
    window_ms : age of the oldest label that a fit sees; None for all.
    at_least_ms : time that labels must cover before the first fit.
    embargo_ms : time by which a label must have been complete before a fit.
    lag_ms : from a bar's close until its score is published. max_age_ms : how long a score may count.
    """

    name: str
    hypothesis: str
    timeframe: str
    features: Mapping[str, Node]
    target: str
    horizon: int
    estimator: Estimator
    refit_ms: int
    window_ms: int | None
    at_least_ms: int
    embargo_ms: int
    lag_ms: int
    max_age_ms: int

    @property
    def step_ms(self) -> int:
        return timeframe_ms(self.timeframe)

    @property
    def classifies(self) -> bool:
        """Whether it tells how likely a rise is, rather than how large a return."""
        return self.target == SIGN

    @cached_property
    def columns(self) -> tuple[Node, ...]:
        """The features in the order in which they are fitted: that of their texts, whatever they are called."""
        return tuple(sorted(self.features.values(), key=lambda node: node.text))

    @cached_property
    def compiled(self) -> tuple[Program, int]:
        """One program for all features, in the order of `columns`, and its warm-up in bars."""
        return program_of(self.columns, self.step_ms)

    @cached_property
    def identity(self) -> str:
        """What is fitted and published: the text that is hashed."""
        lines = [f"model {VERSION}", f"timeframe {self.step_ms}"]
        lines += [f"feature {node.text}" for node in self.columns]
        lines += [f"target {self.target} {self.horizon}", f"estimator {self.estimator.text}"]
        lines += [f"refit {self.refit_ms}", f"window {self.window_ms}", f"at_least {self.at_least_ms}"]
        lines += [f"embargo {self.embargo_ms}", f"lag {self.lag_ms}", f"max_age {self.max_age_ms}"]
        return "\n".join(lines)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over what is fitted and published, whatever it is called."""
        return hashlib.sha256(self.identity.encode()).hexdigest()

    @property
    def declaration(self) -> str:
        """What a strategy writes under `models:` to read the score."""
        return f'{self.name}: {{hash: "{self.hash}", max_age: {duration(self.max_age_ms)}}}'

    def canonical(self) -> str:
        """Return the model as canonical YAML, which parses back to the same model."""
        window = "expanding" if self.window_ms is None else duration(self.window_ms)
        lines = [
            "model: 1",
            f"name: {scalar(self.name)}",
            f"hypothesis: {scalar(self.hypothesis)}",
            f"timeframe: {self.timeframe}",
            "features:",
            *(f"  {name}: {scalar(self.features[name].text)}" for name in sorted(self.features)),
            f"target: {{{self.target}: {self.horizon}}}",
            f"estimator: {self.estimator.text}",
            f"refit: {duration(self.refit_ms)}",
            f"train: {{window: {window}, at_least: {duration(self.at_least_ms)}, "
            f"embargo: {duration(self.embargo_ms)}}}",
            f"publish: {{lag: {duration(self.lag_ms)}, max_age: {duration(self.max_age_ms)}}}",
        ]
        return "\n".join(lines) + "\n"
