"""What gates hand to each other: figures beside limits, evidence bound by hash, verdicts."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """A gate's answer. Too little data is neither a pass nor a failure."""

    PASS = "PASS"
    FAIL = "FAIL"
    INSUFFICIENT = "INSUFFICIENT"


@dataclass(frozen=True)
class Figure:
    """One observed value beside its limit.

    Parameters
    ----------
    value : observed; NaN means that it was not measured, and then nothing passes.
    limit : NaN for a figure that is reported but not judged.
    sense : ">=" or "<=": how the value must stand to the limit; "" when it is not judged.
    unit : shown beside the value: "trades", "a year", "%", "".
    """

    value: float
    limit: float = math.nan
    sense: str = ""
    unit: str = ""

    @property
    def judged(self) -> bool:
        return self.sense != ""

    @property
    def met(self) -> bool:
        """Whether the limit is met: never for NaN or infinity."""
        if not self.judged:
            return True
        if not math.isfinite(self.value) or not math.isfinite(self.limit):
            return False
        return self.value >= self.limit if self.sense == ">=" else self.value <= self.limit


@dataclass(frozen=True)
class Evidence:
    """What one gate measured, frozen and bound by hash to everything it depends on.

    Parameters
    ----------
    gate : the gate's name.
    figures : observed numbers by name; NaN where something could not be measured.
    bound_to : hashes of spec, data, protocol, context and code.
    insufficient : why nothing could be measured; empty when it could.
    faults : findings that are sentences rather than numbers, such as a leak's place.
    series : arrays for pictures (equity, folds, parameter map), lists of numbers by name.
    """

    gate: str
    figures: Mapping[str, float]
    bound_to: Mapping[str, str]
    insufficient: str = ""
    faults: tuple[str, ...] = ()
    series: Mapping[str, Any] = field(default_factory=dict)

    def canonical(self) -> str:
        """Return the evidence as canonical JSON; floats by shortest repr, so bytes can be compared."""
        return json.dumps(
            {
                "gate": self.gate,
                "figures": {k: _plain(v) for k, v in self.figures.items()},
                "bound_to": dict(self.bound_to),
                "insufficient": self.insufficient,
                "faults": list(self.faults),
                "series": _plain(dict(self.series)),
            },
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        )

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()


@dataclass(frozen=True)
class Verdict:
    """What one gate saw, what it allows, and its answer."""

    gate: str
    outcome: Outcome
    figures: Mapping[str, Figure]
    reasons: tuple[str, ...]  # one sentence for each limit not met
    evidence_hash: str
    policy_hash: str


def _plain(value: Any) -> Any:
    """Return JSON-ready data; NaN and infinities become strings, since JSON has none."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value
