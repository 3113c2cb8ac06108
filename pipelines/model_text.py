"""A model in words."""

from __future__ import annotations

from research_lab.dsl.explanation import tree_lines
from research_lab.dsl.tree import number_text
from research_lab.models.estimators import HELD_BACK, MOST_DEVIATIONS
from research_lab.models.model import Model
from research_lab.series import duration


def explanation(model: Model) -> str:
    """Return a model explained: in English, its features as trees with dimensions, and in figures."""
    parts = [
        f"{model.name} {model.hash[:12]}: {model.hypothesis}",
        "\n".join(f"  {line}" for line in _sentences(model)),
    ]
    drawn: set[str] = set()
    parts += ["\n".join([name, *tree_lines(node, drawn)]) for name, node in model.features.items()]
    figures = {
        "warm-up": f"{model.compiled[1]} bars of {model.timeframe}",
        "instructions": str(model.compiled[0].code.shape[0]),
        "hash": model.hash,
    }
    parts.append("\n".join(["figures", *(f"  {name:14} {value}" for name, value in figures.items())]))
    return "\n\n".join(parts)


def _sentences(model: Model) -> list[str]:
    bars = f"{model.horizon} bar{'s' * (model.horizon != 1)} of {model.timeframe}"
    asked = f"Whether the close rises over {bars}" if model.classifies else f"The return over {bars}"
    options = ", ".join(
        f"{name} {number_text(value)}" for name, value in sorted(model.estimator.options.items())
    )
    window = "all" if model.window_ms is None else f"the last {duration(model.window_ms)}"
    share = f"{HELD_BACK:.0%}"
    lag = f"{duration(model.lag_ms)} after" if model.lag_ms else "at"
    score = (
        "The score is 2 p - 1, from -1 to 1, p the probability of a rise."
        if model.classifies
        else f"The score is the prediction over its usual size, measured on the last {share} of the labels by a fit on "
        f"those before, and ends at {MOST_DEVIATIONS:g}."
    )
    return [
        f"{asked} is fitted by {model.estimator.kind} ({options}).",
        f"Fitted every {duration(model.refit_ms)}, on {window} of the labels that were complete "
        f"{duration(model.embargo_ms)} before, once they cover {duration(model.at_least_ms)}.",
        score,
        f"Published {lag} the close, it counts for {duration(model.max_age_ms)} at most.",
    ]
