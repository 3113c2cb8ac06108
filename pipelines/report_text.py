"""Evidence in words: what a gate asks, what a figure is called, how it is written, what would change it.

Everything here is text for people. Nothing is judged: limits and outcomes come from the verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.gates.evidence import Evidence, Figure, Outcome, Verdict
from pipelines.gates.policy import Policy
from pipelines.gates.remedies import remedy

N_EXAMINED = 8  # gates of a campaign; canary and promotion come afterwards


@dataclass(frozen=True)
class GateText:
    """A gate's number and title, a head for narrow tables, and the question it asks."""

    number: int
    title: str
    short: str
    question: str


GATES: Mapping[str, GateText] = {
    "static": GateText(
        1, "Static check", "static", "Is it well formed, simple enough to be read, and no copy of another?"
    ),
    "data": GateText(2, "Data", "data", "Are the candles sound, without long gaps, and many enough?"),
    "lookahead": GateText(
        3,
        "Look-ahead",
        "look\nahead",
        "When the future is replaced by noise, does anything in the past move?",
    ),
    "backtest": GateText(
        4,
        "Backtest",
        "back\ntest",
        "Does it earn enough after costs, often enough, on a plateau of parameters and not on a peak?",
    ),
    "walk_forward": GateText(
        5,
        "Walk-forward",
        "walk\nfwd",
        "Tuned on the past alone, does it go on earning on the days that follow?",
    ),
    "overfitting": GateText(
        6,
        "Overfitting",
        "over\nfit",
        "Could the best of all trials made on this market do as well by luck alone?",
    ),
    "holdout": GateText(
        7, "Holdout", "hold\nout", "Does the sealed part of the data, which nothing has seen, confirm it?"
    ),
    "shadow": GateText(
        8,
        "Shadow",
        "shadow",
        "On bars newer still, does the executor decide bit for bit as the backtest, within its band?",
    ),
    "canary": GateText(9, "Canary", "canary", "With a small share of the risk, are its fills as modelled?"),
    "promote": GateText(
        10, "Promotion", "promote", "Is it better than the champion, or unlike enough to stand beside it?"
    ),
}

_LABELS = {
    "n_nodes": "operations in the strategy",
    "n_params": "parameters",
    "n_combinations": "combinations of parameters",
    "duplicates": "copies of an earlier candidate",
    "warmup_bars": "bars to warm up",
    "faults": "faults found in the candles",
    "research_days": "days of research data",
    "strategy_bars": "bars of the strategy’s timeframe",
    "missing_share": "share of bars missing",
    "longest_gap_hours": "longest gap",
    "n_gaps": "gaps",
    "n_missing": "bars missing",
    "n_flat": "flat bars",
    "n_bars": "bars",
    "lookahead_faults": "changes of the future that moved the past",
    "own_close_faults": "fills that move with their own bar’s close",
    "warmup_shortfall_bars": "bars of warm-up too few",
    "n_trades": "trades",
    "return": "return after costs",
    "return_optimistic": "return after costs, takes before stops",
    "sharpe": "Sharpe ratio",
    "sortino": "Sortino ratio",
    "calmar": "Calmar ratio",
    "max_drawdown": "deepest drawdown",
    "max_drawdown_bars": "longest drawdown, bars",
    "profit_factor": "profit factor",
    "expectancy_r": "mean trade, in R",
    "win_rate": "trades won",
    "exposure": "time in the market",
    "turnover": "turnover a year, times equity",
    "years": "years",
    "sharpe_at_double_costs": "Sharpe ratio at double costs",
    "sharpe_at_triple_costs": "Sharpe ratio at triple costs",
    "sharpe_without_costs": "Sharpe ratio without costs",
    "sharpe_one_bar_late": "Sharpe ratio, each signal one bar late",
    "sharpe_without_best_trades": "Sharpe ratio without the best 1 % of trades",
    "return_without_best_trades": "return without the best 1 % of trades",
    "sharpe_bars_dropped": "Sharpe ratio with 1 % of bars missing, worst draw",
    "sharpe_start_shifted": "Sharpe ratio begun up to 30 days later, worst",
    "start_interval": "what the day of the start is worth, Sharpe",
    "capacity": "money at which impact takes half (quote currency)",
    "plateau_wide": "Sharpe two steps around over its own",
    "share_jittered_positive": "parameter sets around that earn",
    "sharpe_low": "Sharpe ratio, 95 % interval from",
    "sharpe_high": "Sharpe ratio, 95 % interval to",
    "return_low": "return, 95 % interval from",
    "return_high": "return, 95 % interval to",
    "max_drawdown_low": "deepest drawdown, 95 % interval from",
    "max_drawdown_high": "deepest drawdown, 95 % interval to",
    "regime_p": "p against a regime that is declared, the smallest",
    "purge_days": "days purged before each border, most",
    "embargo_days": "days waited after a border, most",
    "parameter_drift": "drift of parameters, share of their range",
    "rank_correlation": "rank correlation, in-sample to exam",
    "decay_a_year": "change of the Sharpe ratio a year",
    "decay_error": "standard error of that",
    "decay_since_tuning": "change of it a year since tuning",
    "decay_since_tuning_error": "standard error of that one",
    "n_considered": "parameter sets considered",
    "fill_interval": "what the order of stop and take is worth",
    "plateau": "neighbouring parameters’ Sharpe over its own",
    "vectorbt_difference": "difference to vectorbt’s equity",
    "efficiency": "out-of-sample over in-sample Sharpe",
    "share_profitable": "folds that earned",
    "n_folds": "folds",
    "n_symbols": "markets of the pool",
    "share_symbols_profitable": "markets that earn with parameters of the others",
    "sharpe_worst_symbol": "worst Sharpe ratio with parameters of the others",
    "sharpe_left_out_mean": "mean Sharpe ratio with parameters of the others",
    "n_days": "days",
    "p": "chance of doing as well by luck (p)",
    "research_p": "the same in the research (p)",
    "combined_p": "chance by luck, research and holdout together (p)",
    "statistic": "its statistic (t)",
    "critical_99": "what luck’s best reaches in 1 world of 100 (t)",
    "n_columns": "trials that differ",
    "n_drawn": "kinds of trials that were drawn",
    "n_effective": "independent trials that would do as well",
    "block_days": "days a bootstrap block",
    "sharpe_less_holding": "Sharpe ratio less what holding earned (a year)",
    "psr": "Probabilistic Sharpe ratio (probability)",
    "deflated_sharpe": "Deflated Sharpe ratio, every trial a stranger (probability)",
    "deflated_sharpe_effective": "Deflated Sharpe ratio, effective trials (probability)",
    "min_track_record_days": "days that its Sharpe ratio needs to be above 0 at 95 %",
    "min_backtest_years": "years below which luck’s best shows its Sharpe ratio",
    "pbo": "halvings in which the best is below the median outside (PBO)",
    "cpcv_sharpe": "mean Sharpe ratio of tuning out of sample (CPCV)",
    "cpcv_sharpe_q05": "the same in the worst twentieth of paths",
    "cpcv_share_below_0": "CPCV paths that lose",
    "cpcv_n_paths": "CPCV paths",
    "cpcv_n_sets": "parameter sets tuned among",
    "spa_hold": "chance of beating holding so by luck (SPA, p)",
    "reality_check_hold": "the same, not studentised (reality check, p)",
    "spa_champion": "chance of beating the champion so by luck (SPA, p)",
    "reality_check_champion": "the same, not studentised (reality check, p)",
    "spa_twin": "chance of beating random entries so by luck (SPA, p)",
    "reality_check_twin": "the same, not studentised (reality check, p)",
    "twin_percentile": "random-entry twins that do worse",
    "twin_p": "chance of doing as well entering at random (p)",
    "opening": "opening of this holdout",
    "differing_bits": "bits that differ from the batch engine",
    "band_probability": "place in the expected band",
    "probability_better": "chance of being better than the champion",
    "drawdown_excess": "drawdown deeper than the champion’s",
    "correlation": "correlation with the champion",
    "n_champions": "champions compared with",
}
_LABELS_OF_GATE = {
    ("overfitting", "n_trials"): "trials charged to this market and time",
    ("overfitting", "n_rivals"): "of them, with enough trades to be promoted instead",
    ("holdout", "p"): "chance of doing as well by luck, holdout alone (p)",
    ("walk_forward", "sharpe"): "out-of-sample Sharpe ratio",
}

_PERCENT = frozenset(
    {"missing_share", "return", "return_optimistic", "max_drawdown", "win_rate", "exposure", "share_profitable",
     "share_symbols_profitable",
     "return_without_best_trades", "return_low", "return_high", "max_drawdown_low", "max_drawdown_high",
     "share_jittered_positive", "parameter_drift", "drawdown_excess", "probability_better", "pbo",
     "cpcv_share_below_0", "twin_percentile"}
)  # fmt: skip

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def label(gate: str, name: str) -> str:
    """Return what a figure is called; a name that is not known, with spaces."""
    return _LABELS_OF_GATE.get((gate, name)) or _LABELS.get(name) or name.replace("_", " ")


def number(name: str, value: float) -> str:
    """Return a figure's value as people write it: shares in per cent, counts whole.

    Examples
    --------
    >>> number("max_drawdown", 0.2816), number("n_trades", 1234.0), number("sharpe", 1.5771)
    ('28.2 %', '1,234', '1.58')
    >>> number("p", 0.00012), number("vectorbt_difference", 4.42e-16), number("p", math.nan)
    ('0.00012', '4.4 × 10⁻¹⁶', 'not measured')
    """
    if math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    if name in _PERCENT:
        return percent(value)
    if abs(value) >= 100.0 or value == round(value):
        shown = f"{value:,.0f}" if abs(value) < 1e15 else _power(value)
    elif abs(value) >= 0.1:
        shown = f"{value:.2f}"
    else:
        shown = f"{value:.2g}" if abs(value) >= 1e-4 else _power(value)
    return shown.replace("-", "−")


def _power(value: float) -> str:
    lead, exponent = f"{value:.1e}".split("e")
    return f"{lead.removesuffix('.0')} × 10{str(int(exponent)).translate(_RAISED)}"


def percent(value: float, *, signed: bool = False) -> str:
    """Return a share in per cent, with three digits or all before the point.

    Examples
    --------
    >>> percent(0.5), percent(0.2816), percent(21.92, signed=True)
    ('50 %', '28.2 %', '+2,192 %')
    """
    digits = ",.0f" if abs(value) >= 1.0 else ".3g"
    return f"{100.0 * value:{'+' if signed else ''}{digits}} %".replace("-", "−")


def measured(gate: str, name: str, figure: Figure) -> str:
    """Return the observed value with its unit."""
    return _with_unit(gate, name, figure.value, figure.unit)


def limit(gate: str, name: str, figure: Figure) -> str:
    """Return the limit in words, with its unit: "at least 0.80 a year"; empty when it is not judged."""
    if not figure.judged:
        return ""
    wanted = "at least" if figure.sense == ">=" else "at most"
    return f"{wanted} {_with_unit(gate, name, figure.limit, figure.unit)}"


def _with_unit(gate: str, name: str, value: float, unit: str) -> str:
    """Return a value with its unit, which is left out where the label says it already."""
    shown = number(name, value)
    needed = unit and math.isfinite(value) and unit.lower() not in label(gate, name).lower().split()
    return f"{shown} {unit}" if needed else shown


def sentence(gate: str, name: str, figure: Figure, why: str) -> str:
    """Return in words how a measured figure misses its limit, with the policy's reason where there is one."""
    what = _capital(label(gate, name))
    reason = f" {_capital(why)}." if why else ""
    return f"{what}: {measured(gate, name, figure)}; wanted {limit(gate, name, figure)}.{reason}"


def reasons(verdict: Verdict, evidence: Evidence | None, whys: Mapping[str, str]) -> list[str]:
    """Return in sentences why a gate did not pass: findings, limits not met, what was not measured.

    Parameters
    ----------
    whys : the policy's reason for each limit, by figure; empty where it is not known.
    """
    if verdict.outcome is Outcome.PASS:
        return []
    told = [_capital(r) for r in verdict.reasons if not any(_is_about(r, name) for name in verdict.figures)]
    unmet = {name: figure for name, figure in verdict.figures.items() if not figure.met}
    told += [
        sentence(verdict.gate, name, figure, whys.get(name, ""))
        for name, figure in unmet.items()
        if math.isfinite(figure.value)
    ]
    missing = [label(verdict.gate, name) for name, figure in unmet.items() if not math.isfinite(figure.value)]
    if missing and not (evidence is not None and evidence.insufficient):
        told.append(f"Not measured, and so not passed: {', '.join(missing)}.")
    return told


def _is_about(reason: str, name: str) -> bool:
    return reason.startswith((f"{name} is ", f"{name} was not measured"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Standing:
    """Where a candidate stands after all: a word, what kind of word, and a sentence.

    Parameters
    ----------
    kind : "pass", "fail", "insufficient" or "open".
    """

    word: str
    kind: str
    sentence: str


def standing(verdicts: Mapping[str, Verdict]) -> Standing:
    """Return where a candidate stands: FAIL before INSUFFICIENT before gates not reached before PASS."""
    named: dict[Outcome, list[str]] = {outcome: [] for outcome in Outcome}
    for gate in in_order(verdicts):
        named[verdicts[gate].outcome].append(gate)
    examined = list(GATES)[:N_EXAMINED]
    n_passed = sum(gate in named[Outcome.PASS] for gate in examined)
    so_far = f"{n_passed} of {N_EXAMINED} gates passed"
    if failed := named[Outcome.FAIL]:
        return Standing("FAIL", "fail", f"Refused by {_listed(failed)}; {so_far}.")
    if lacking := named[Outcome.INSUFFICIENT]:
        there = f"Neither passed nor refused: too little to go by for {_listed(lacking)}; {so_far}."
        return Standing("INSUFFICIENT", "insufficient", there)
    open_gates = [gate for gate in examined if gate not in verdicts]
    if not verdicts:
        return Standing("NOT JUDGED", "open", "No gate has judged this candidate yet.")
    if open_gates:
        why = " The holdout is opened only for the best of a campaign." if "holdout" in open_gates else ""
        return Standing("UNFINISHED", "open", f"No gate refused it; not reached: {_listed(open_gates)}.{why}")
    beyond = ", and may be promoted" if "promote" not in verdicts else ", and was promoted"
    return Standing("PASS", "pass", f"It passed all {N_EXAMINED} gates{beyond}.")


def in_order(verdicts: Mapping[str, object]) -> list[str]:
    """Return the gates of these verdicts in the gauntlet's order, unknown ones last."""
    known = [gate for gate in GATES if gate in verdicts]
    return known + sorted(gate for gate in verdicts if gate not in GATES)


def title(gate: str) -> str:
    """Return a gate's title."""
    return GATES[gate].title if gate in GATES else gate.replace("_", " ")


def _listed(gates: Sequence[str]) -> str:
    names = [title(gate).lower() for gate in gates]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def changes(verdicts: Mapping[str, Verdict], evidence: Mapping[str, Evidence], policy: Policy) -> list[str]:
    """Return what is missing for another answer, where it can be told from the figures."""
    lines: list[str] = []
    for gate in in_order(verdicts):
        verdict = verdicts[gate]
        for name, figure in verdict.figures.items():
            if verdict.outcome is not Outcome.PASS and not figure.met and math.isfinite(figure.value):
                line = _gap(gate, name, figure, evidence.get(gate), policy)
                lines += [f"{title(gate)}: {line}"] if line else []
    if any(verdict.outcome is Outcome.FAIL for verdict in verdicts.values()):
        lines.append(
            "A refusal stands for these data. Tuning on until it passes spends further looks, and each look "
            "makes the overfitting gate harder; a new idea, or bars that do not exist yet, are the honest "
            "ways on."
        )
    return lines


def _gap(gate: str, name: str, figure: Figure, found: Evidence | None, policy: Policy) -> str:
    """Return what would let a figure meet its limit, or how far it is from it."""
    change = ""
    if name in policy.gates.get(gate, {}):
        change = remedy(found or Evidence(gate, {}, {}), name, figure, policy.rule(gate, name))
    if change or figure.limit == 0.0:
        return f"{change}." if change else ""
    gap = abs(figure.limit - figure.value)
    way = "higher" if figure.sense == ">=" else "lower"
    far = f"{100.0 * gap:.3g} points" if name in _PERCENT else _with_unit(gate, name, gap, figure.unit)
    return f"{label(gate, name)} would have to be {far} {way}."
