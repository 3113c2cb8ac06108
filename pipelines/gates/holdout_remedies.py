"""What would have let a holdout confirm: more days of it, or more said by the research."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Final

from pipelines.gates.evidence import Evidence, Figure
from pipelines.gates.limits import Rule
from research_lab.wording import count


def of_holdout(evidence: Evidence, name: str, figure: Figure, rule: Rule) -> str:
    """Return what would have let a p of gate 7 meet its limit, as the end of a sentence; empty for other figures."""
    known = _KNOWN.get(name)
    return "; ".join(told for told in known(figure, evidence, rule) if told) if known else ""


def _confirmed(figure: Figure, evidence: Evidence, rule: Rule) -> tuple[str, str]:
    """One p from one column: its normal quantile grows with the root of the days."""
    z, wanted = quantile(figure.value), quantile(figure.limit)
    longer = _longer_holdout((wanted / z) ** 2, evidence, rule) if z > 0.0 else ""
    spread, research_p = rule.limit.over_openings, evidence.figures.get("research_p", math.nan)
    if spread is None or rule.limit.at_most is None:
        return longer, ""
    opening = int(evidence.figures.get("opening", 1))
    enough = spread.research_p_for(rule.limit.at_most, opening, figure.value)
    return longer, _stronger_research(enough, research_p, rule)


def _combined(figure: Figure, evidence: Evidence, rule: Rule) -> tuple[str, str]:
    """Stouffer's z of research and holdout, solved for the days of the one and for the p of the other."""
    p, research_p = (evidence.figures.get(name, math.nan) for name in ("p", "research_p"))
    if not (0.0 < p < 1.0 and 0.0 < research_p < 1.0):
        return "", ""
    z, own, wanted = quantile(p), quantile(research_p), quantile(figure.limit)
    of_holdout, of_research = rule.holdout_share, 1.0 - rule.holdout_share
    # sqrt(r) own + sqrt(h) times z = wanted sqrt(r + h times), squared: a times^2 + 2 b times + c = 0
    a = of_holdout * z * z
    b = math.sqrt(of_holdout * of_research) * own * z - 0.5 * wanted * wanted * of_holdout
    c = of_research * (own * own - wanted * wanted)
    longer = ""
    if z > 0.0:
        longer = _longer_holdout((math.sqrt(b * b - a * c) - b) / a, evidence, rule)
    enough = NormalDist().cdf((math.sqrt(of_holdout) * z - wanted) / math.sqrt(of_research))
    return longer, _stronger_research(enough, research_p, rule)


def quantile(p: float) -> float:
    """Return the z that a normal number exceeds with chance p."""
    return -NormalDist().inv_cdf(p) if p < 1.0 else -math.inf


def _longer_holdout(times: float, evidence: Evidence, rule: Rule) -> str:
    days = (times - 1.0) * evidence.figures.get("n_days", math.nan)
    if not math.isfinite(days):
        return ""
    return (
        f"at the same Sharpe ratio about {count(math.ceil(days), 'more day', 'more days')} of holdout would have met "
        f"it, which is about {math.ceil(days / rule.holdout_share):,} more of candles, since "
        f"{rule.holdout_share:.0%} are set aside"
    )


def _stronger_research(enough: float, research_p: float, rule: Rule) -> str:
    """Say which p of the research would have been enough, down to the smallest that can be measured."""
    if enough * (1.0 + rule.n_draws) < 1.0:
        return "no p of the research would have made it enough"
    shown = math.floor(enough * 1e4) / 1e4
    return f"a research p of at most {shown:.4f} instead of {research_p:.4f} would have made it enough"


_KNOWN: Final[Mapping[str, Callable[[Figure, Evidence, Rule], tuple[str, str]]]] = {
    "p": _confirmed,
    "combined_p": _combined,
}
