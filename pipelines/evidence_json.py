"""Evidence and verdicts as JSON, and back without the loss of a bit; NaN and infinities are words there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.gates.evidence import Evidence, Figure, Outcome, Verdict

FORMAT = 1

_INFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def evidence_from_json(text: str) -> Evidence:
    """Return the evidence whose `canonical` text this is.

    Raises
    ------
    ValueError
        It is not, byte for byte.
    """
    try:
        raw = json.loads(text)
        evidence = Evidence(
            gate=raw["gate"],
            figures={name: _number(value) for name, value in raw["figures"].items()},
            bound_to=raw["bound_to"],
            insufficient=raw["insufficient"],
            faults=tuple(raw["faults"]),
            series=_with_numbers(raw["series"]),
        )
        same = evidence.canonical() == text
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        same = False
    if not same:
        raise ValueError("no evidence as it was written")
    return evidence


def verdicts_to_json(verdicts: Iterable[Verdict]) -> str:
    """Return verdicts as indented JSON text."""
    content = {"format": FORMAT, "verdicts": [_verdict_row(verdict) for verdict in verdicts]}
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def verdicts_from_json(text: str) -> tuple[Verdict, ...]:
    """Return the verdicts written by `verdicts_to_json`.

    Raises
    ------
    ValueError
        The text is something else.
    """
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, this program reads {FORMAT}")
        return tuple(_verdict(row) for row in content["verdicts"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise ValueError(f"no verdicts as they were written: {fault!r}") from None


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    figures = {
        name: {
            "value": _written(figure.value),
            "limit": _written(figure.limit),
            "sense": figure.sense,
            "unit": figure.unit,
        }
        for name, figure in verdict.figures.items()
    }
    return {
        "gate": verdict.gate,
        "outcome": verdict.outcome.value,
        "figures": figures,
        "reasons": list(verdict.reasons),
        "evidence_hash": verdict.evidence_hash,
        "policy_hash": verdict.policy_hash,
    }


def _verdict(row: Mapping[str, Any]) -> Verdict:
    figures = {
        name: Figure(_number(raw["value"]), _number(raw["limit"]), raw["sense"], raw["unit"])
        for name, raw in row["figures"].items()
    }
    return Verdict(
        gate=row["gate"],
        outcome=Outcome(row["outcome"]),
        figures=figures,
        reasons=tuple(row["reasons"]),
        evidence_hash=row["evidence_hash"],
        policy_hash=row["policy_hash"],
    )


def _written(value: float) -> float | str:
    return value if math.isfinite(value) else repr(float(value))


def _number(value: Any) -> float:
    if isinstance(value, str):
        return _INFINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return value


def _with_numbers(value: Any) -> Any:
    """Turn the words that stand for NaN and infinities back into numbers."""
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return _INFINITE.get(value, value) if isinstance(value, str) else value
