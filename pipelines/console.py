"""What commands print: progress with an estimate, tables of verdicts, the map and its history."""

from __future__ import annotations

import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from pipelines import candidates, report_text
from pipelines.campaign import KEPT, CampaignResult
from pipelines.gates.evidence import Outcome, Verdict
from pipelines.gates.policy import Policy
from pipelines.map_history import status
from research_lab.wording import count
from research_lab.workspace import Workspace

_FIRST = 0.05  # share at which the first strategy is begun
_ENOUGH = 0.05  # share that must be done before the rest is estimated
_LEAST = 1e-9
_TICK_S = 1.0
_OFTEN_S, _SELDOM_S = 10.0, 120.0  # between two lines of a log, at first and at last
_SHARE_BETWEEN = 1.0 / 30.0  # of the time so far, between these


class CampaignProgress:
    """One line on the terminal that is written over; in a log, one line a stage. Goes to stderr.

    While a stage lasts, the terminal's line is kept up to date, and a log hears again that it goes on: every ten
    seconds at first, more seldom the longer it takes, two minutes apart at most.

    The estimate of what remains assumes that the rest goes as fast as what was done since the first strategy
    was begun. What was taken from the disk took no time, and so does not count. Ctrl-C ends the work even where
    the interrupt was swallowed, as in a compiler's callback: the next stage is not begun.

    Parameters
    ----------
    clock : seconds, never going back.
    """

    first, enough = _FIRST, _ENOUGH

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = self._shown = clock()
        self._since: tuple[float, float] | None = None  # when measuring began, and the share done by then
        self._stage: tuple[str, float] | None = None  # that lasts now, and the share done
        self._end: float | None = None  # when all will be done, as far as is known
        self._writing, self._done = threading.Lock(), threading.Event()
        self._ticker = threading.Thread(target=self._keep_ticking, daemon=True)
        self.is_live = sys.stderr.isatty()
        self._interrupted = False
        self._before: Any = None  # the handler of Ctrl-C that stood before

    def __enter__(self) -> Self:
        in_charge = threading.current_thread() is threading.main_thread()
        if in_charge and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        self._ticker.start()
        return self

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._ticker.join()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self.is_live:
            sys.stderr.write("\r\033[K")
        if kind is KeyboardInterrupt:
            sys.stderr.write("every look so far is counted; run the same command again to go on\n")
        sys.stderr.flush()

    def __call__(self, stage: str, share: float) -> None:
        self.note(stage, share, kept=stage.endswith(KEPT))
        self.show()

    def note(self, stage: str, share: float, *, kept: bool = False) -> None:
        """Take note of a stage without a word.

        Parameters
        ----------
        kept : whether it was taken from the disk.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        self._stage, self._end = (stage, share), self._estimate(share, self._clock(), kept=kept)

    def show(self) -> None:
        """Print where it is."""
        if self._stage is None:
            return
        with self._writing:
            (stage, share), now = self._stage, self._clock()
            self._shown = now
            seconds = 0.0 if self._end is None or share >= 1.0 else self._end - now
            left = (
                f", about {duration(seconds)} left" if seconds > 0.0 else ""
            )  # late: nothing is known any more
            line = f"[{share:4.0%}] {stage} ({duration(now - self._begun)}{left})"
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\033[K{line[:width]}" if self.is_live else f"{line}\n")
            sys.stderr.flush()

    def say(self, line: str) -> None:
        """Print a sentence of its own."""
        with self._writing:
            sys.stderr.write(f"\r\033[K{line}\n" if self.is_live else f"{line}\n")
            sys.stderr.flush()

    @property
    def is_due(self) -> bool:
        """Whether a log should hear of it again."""
        now = self._clock()
        return now - self._shown >= min(_SELDOM_S, max(_OFTEN_S, (now - self._begun) * _SHARE_BETWEEN))

    def tick(self) -> None:
        """Say again where it is, where that is due."""
        if self.is_live or self.is_due:
            self.show()

    def _keep_ticking(self) -> None:
        with suppress(OSError, ValueError):  # nobody reads any more
            while not self._done.wait(_TICK_S):
                self.tick()

    def _estimate(self, share: float, now: float, *, kept: bool) -> float | None:
        """Return when all will be done; None while nothing is known."""
        if share < self.first or kept:
            self._since = (now, share) if kept else None
            return None
        if self._since is None:
            self._since = (now, share)
        begun, done = self._since
        if share - done < max(self.enough, _LEAST):
            return None
        return now + (now - begun) / (share - done) * (1.0 - share)


def duration(seconds: float) -> str:
    """Return a time in words.

    Examples
    --------
    >>> duration(42.4), duration(200), duration(7300)
    ('42 s', '3 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"


def show_campaign(workspace: Workspace, result: CampaignResult, policy: Policy) -> None:
    """Print the verdicts of a campaign, why each strategy was refused, and where the reports lie."""
    from pipelines.report import verdict_table, write_campaign_report, write_report

    shown = None
    for candidate, examination in zip(result.saved, result.examinations, strict=True):
        if examination is shown:
            _print(f"{candidate}: the same, of the pool")
            continue
        shown = examination
        standing = report_text.standing(examination.verdicts)
        _print(f"\n{candidate}: {standing.word}. {standing.sentence}")
        for verdict in examination.verdicts.values():
            _show_verdict(verdict, policy)
        for line in report_text.changes(examination.verdicts, examination.evidence, policy):
            _print(f"  to change the answer: {line}")
    for candidate in result.saved:
        write_report(candidate, policy)
    path = workspace.reports / f"{result.name}.html"
    write_campaign_report(result, policy, path)
    _print("")
    _print(verdict_table(result))
    passed = ", ".join(str(candidate) for candidate in result.passed) or "none"
    _print(f"\npassed every gate: {passed}")
    where = "this market" if len(result.saved) == len(result.distinct) else "these markets"
    _print(f"looks charged to {where} and time: {result.n_looks:,}")
    _print(f"report: {path}")


def _show_verdict(verdict: Verdict, policy: Policy) -> None:
    """Print a gate's outcome, its judged figures beside their limits, and why what failed did.

    A return is told for the other order of stop and take too.
    """
    _print(f"  {report_text.title(verdict.gate)}: {verdict.outcome}")
    for name, figure in verdict.figures.items():
        if figure.judged and math.isfinite(figure.value):
            what = report_text.label(verdict.gate, name)
            value = report_text.measured(verdict.gate, name, figure)
            limit = report_text.limit(verdict.gate, name, figure)
            why = "" if figure.met else f"NOT MET: {policy.gates[verdict.gate][name].why}"
            _print(f"    {what:46} {value:>21}  {limit:26} {why}".rstrip())
        elif name.endswith("_optimistic") and math.isfinite(figure.value):
            value = report_text.measured(verdict.gate, name, figure)
            _print(f"    {report_text.label(verdict.gate, name):46} {value:>21}")
    for reason in verdict.reasons:
        if reason.partition(" ")[0] not in verdict.figures:
            _print(f"    {reason}")
    missing = [
        n for n, figure in verdict.figures.items() if figure.judged and not math.isfinite(figure.value)
    ]
    if missing and verdict.outcome is not Outcome.PASS:
        names = ", ".join(report_text.label(verdict.gate, name) for name in missing)
        _print(f"    not measured, and so not passed: {names}")


def show_status(workspace: Workspace) -> None:
    """Print the map, its latest changes, and every candidate with how far it came."""
    found = status(workspace)
    if found.fault:
        _print(f"enable_map.yaml cannot be trusted: {found.fault}")
    entries = found.enable_map.entries if found.enable_map is not None else ()
    version = found.enable_map.version if found.enable_map is not None else "?"
    _print(f"enable_map.yaml version {version}, {count(len(entries), 'entry', 'entries')}")
    for entry in entries:
        where = f"{entry.market} {entry.timeframe}, regimes {', '.join(entry.regimes)}"
        since = f"share {entry.risk_share:g}, since {entry.since:%Y-%m-%d %H:%M}"
        _print(f"  {entry.stage.value:9} {entry.name} {entry.candidate[:12]} on {where}, {since}")
    for change in found.changes[-5:]:
        why = f" ({change.why})" if change.why else ""
        _print(f"  {change.at} version {change.version}: {change.what}{why}")
    for candidate in candidates.every(workspace):
        standing = report_text.standing({v.gate: v for v in candidates.load_verdicts(candidate)})
        _print(f"candidate {candidate}: {standing.word}. {standing.sentence}")


def _print(what: object) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=isinstance(what, str), markup=False)
    console.print(what)
