"""What `pipeline trials` prints, as text or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipelines.trials import Looks, NextLook

_DASH = "–"


def as_text(groups: Sequence[Looks], costs: Sequence[NextLook]) -> str:
    """Return a table of looks a market, and under it what the next look costs."""
    if not groups:
        return "no look was counted yet"
    return "\n\n".join(
        "\n".join([cost.market, *_table([g for g in groups if g.market == cost.market]), *_costs(cost)])
        for cost in costs
    )


def to_json(groups: Sequence[Looks], costs: Sequence[NextLook]) -> str:
    """Return both as JSON; what was not measured is null."""
    content = {
        "format": 1,
        "looks": [asdict(group) for group in groups],
        "next": [asdict(cost) for cost in costs],
    }
    return json.dumps(_plain(content), indent=1)


def _table(groups: Sequence[Looks]) -> list[str]:
    rows = [("looks", "refused", "from", "to", "proposed by", "campaign", "last", "best Sharpe")]
    rows += [
        (
            f"{g.n_scored + g.n_crashed:,}",
            f"{g.n_refused:,}",
            _day(g.start_ms / 1000),
            _day(g.end_ms / 1000),
            f"{g.generator} {g.version}".strip() or _DASH,
            g.campaign or _DASH,
            _day(g.last_s),
            _number(g.best_sharpe),
        )
        for g in groups
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.rjust(w) if k < 2 else cell.ljust(w) for k, (cell, w) in enumerate(zipped))
        for zipped in (list(zip(row, widths, strict=True)) for row in rows)
    ]


def _costs(cost: NextLook) -> list[str]:
    lines = [
        f"  {cost.n_looks:,} looks at {_day(cost.start_ms / 1000)} to {_day(cost.end_ms / 1000)} count against each "
        f"other{_rivals(cost)}",
    ]
    if cost.insufficient:
        lines.append(f"  what the next look costs was not measured: {cost.insufficient}")
    else:
        sampled = cost.n_rivals > cost.n_used
        about = f", estimated from {cost.n_used} of {cost.n_rivals:,}" if sampled else ""
        lines.append(f"  luck alone reaches t = {_number(cost.critical)} in one of twenty worlds{about}")
        steps = zip(cost.more, cost.critical_after, strict=True)
        lines.append("    about " + ", ".join(f"{_number(c)} after {k:,} more" for k, c in steps))
        if cost.holding_counts:
            lines.append(
                "    with what holding earned, which gate 6 takes off: the lake has no research bars of this time"
            )
    if cost.best and math.isfinite(cost.p):
        lines.append(f"  best so far: {cost.best} {cost.best_hash[:12]} with p = {cost.p:.4f}")
        steps = zip(cost.more, cost.p_after, strict=True)
        lines.append("    at most " + ", ".join(f"{p:.4f} after {k:,} more" for k, p in steps))
    times = "never" if not cost.n_openings else f"{cost.n_openings} time{'s' * (cost.n_openings != 1)}"
    lines.append(
        f"  holdout opened {times}; the next opening is judged at {cost.next_level:.4f}{_weight(cost)}"
    )
    return lines


def _rivals(cost: NextLook) -> str:
    return f"; rivals by their trades: {cost.n_rivals:,}" if cost.n_rivals < cost.n_looks else ""


def _weight(cost: NextLook) -> str:
    if cost.even_p is None or cost.most_times is None:
        return ""
    most = cost.most_times * cost.next_level
    return f" x {cost.even_p:g} / p of the research, at most {most:.4f}"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if math.isfinite(seconds) else _DASH


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else _DASH


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
