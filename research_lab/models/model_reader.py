"""From a model file to a `Model`: the same reader, limits and refusals as for strategies.

The text may come from anybody. Nothing in it is ever evaluated, imported or opened.
"""

from __future__ import annotations

from pathlib import Path

from research_lab.dsl.compiler import check_programs
from research_lab.dsl.dimensions import BARS, RATIO
from research_lab.dsl.text_reader import Reader, document_of, form_of, read_bytes
from research_lab.dsl.tree import Node
from research_lab.errors import DimensionError, LimitError, SpecError
from research_lab.models.model import RETURN, SIGN, Estimator, Model
from research_lab.models.model_text import ModelForm
from research_lab.strict_yaml import Document, Place
from research_lab.timeframe import DAY_MS, WEEK_MS

_ONE_TARGET = {"ridge": RETURN, "logistic": SIGN}  # the other estimators take both
_LONGEST_MS = 9_999 * WEEK_MS


def load_model(path: Path) -> Model:
    """Read a model file; see `parse_model`."""
    return parse_model(read_bytes(path), str(path))


def parse_model(text: str | bytes, where: str = "model") -> Model:
    """Return the model that a YAML text describes.

    Raises
    ------
    SpecError : naming file, line and column, what was seen, and what would be taken. LimitError for a
        text too large, DimensionError for a feature that is no plain number.
    """
    model = _read(text, where)
    try:
        check_programs([model.columns], model.step_ms)
    except SpecError as fault:
        raise type(fault)(fault.what, where, 1, 1, fault.remedy) from None
    try:
        again = _read(model.canonical(), where)
    except SpecError as fault:
        what = f"with definitions written out: {fault.what}"
        raise LimitError(what, where, remedy="make it simpler") from None
    if again.hash != model.hash:
        raise LimitError("its canonical text does not read back as the same model", where)
    return model


def _read(text: str | bytes, where: str) -> Model:
    document = document_of(text, where)
    return _ModelReader(document, form_of(ModelForm, document, where), where).read()


class _ModelReader(Reader):
    def __init__(self, document: Document, form: ModelForm, where: str) -> None:
        super().__init__(document, where)
        self.form = form

    def read(self) -> Model:
        form = self.form
        timeframe = self.timeframe(form.timeframe)
        self.define(form.define)
        features = {name: self._feature(("features", name), text) for name, text in form.features.items()}
        self._refuse_twins(features)
        target, horizon = self._target()
        window = form.train.window
        window_ms = None if window == "expanding" else self._days(("train", "window"), window)
        at_least_ms = self._days(("train", "at_least"), form.train.at_least)
        if window_ms is not None and at_least_ms > window_ms:
            self.fail(("train", "at_least"), "at_least is longer than window", "make window longer")
        return Model(
            form.name, form.hypothesis, timeframe, features, target, horizon, self._estimator(target),
            self._days(("refit",), form.refit), window_ms, at_least_ms,
            self._length(("train", "embargo"), form.train.embargo),
            self._length(("publish", "lag"), form.publish.lag),
            self.duration(("publish", "max_age"), form.publish.max_age),
        )  # fmt: skip

    def _feature(self, place: Place, text: str | int | float) -> Node:
        node = self.tree(place, text)
        if not node.inputs:
            self.fail(place, f"{str(text)[:60]} is the same at every bar", "write a value of the market")
        if not node.dimension.condition and node.dimension not in (RATIO, BARS):
            self.fail(
                place,
                f"{node.text[:60]} is a {node.dimension}, whose size changes with the market's",
                "make it a ratio, e.g. divide it by close, or by sma of the same",
                DimensionError,
            )
        return node

    def _refuse_twins(self, features: dict[str, Node]) -> None:
        known: dict[str, str] = {}
        for name, node in features.items():
            if known.setdefault(node.text, name) != name:
                self.fail(("features", name), f"{name} says the same as {known[node.text]}", "leave it out")

    def _target(self) -> tuple[str, int]:
        told = self.form.target.model_dump(exclude_none=True)
        if len(told) != 1:
            seen = " and ".join(told) or "nothing"
            self.fail(("target",), f"target has {seen}", f"give one of {RETURN}, {SIGN}")
        return next(iter(told.items()))

    def _estimator(self, target: str) -> Estimator:
        told = self.form.estimator.model_dump(exclude_none=True)
        if len(told) != 1:
            known = ", ".join(type(self.form.estimator).model_fields)
            self.fail(
                ("estimator",), f"estimator has {' and '.join(told) or 'nothing'}", f"give one of {known}"
            )
        kind, options = next(iter(told.items()))
        wanted = _ONE_TARGET.get(kind, target)
        if wanted != target:
            self.fail(("estimator",), f"{kind} does not predict {target}", f"write target: {{{wanted}: ...}}")
        return Estimator(kind, {name: float(value) for name, value in options.items()})

    def _days(self, place: Place, text: str) -> int:
        """Return a length of time in ms that is whole days."""
        ms = self.duration(place, text)
        if ms % DAY_MS or ms > _LONGEST_MS:
            self.fail(place, f"{text[:40]} is not a number of days", "write whole days or weeks, such as 30d")
        return ms

    def _length(self, place: Place, text: str | int) -> int:
        return 0 if text in (0, "0") else self.duration(place, text)
