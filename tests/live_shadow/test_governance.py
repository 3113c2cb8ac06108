"""The LOCKED limits: pinned, verified, and above every map."""

from __future__ import annotations

from pathlib import Path

import pytest

from live_shadow import governance
from live_shadow.enable_map import EnableMap, Stage
from research_lab.errors import GovernanceError
from tests.live_shadow.test_enable_map import entry

SHIPPED = (governance.DEFAULTS / governance.FILE).read_text()


def test_the_shipped_limits_are_those_of_the_design() -> None:
    limits = governance.defaults()
    assert (limits.risk_per_trade, limits.daily_loss, limits.drawdown_72h) == (0.008, 0.018, 0.035)
    assert (limits.leverage, limits.max_slots) == (3.0, 16)


def test_init_copies_and_pins_and_again_changes_nothing(tmp_path: Path) -> None:
    first = governance.init(tmp_path)
    times = [(tmp_path / name).stat().st_mtime_ns for name in (governance.FILE, governance.PIN)]
    assert governance.init(tmp_path) == first == governance.load(tmp_path) == governance.defaults()
    assert [(tmp_path / name).stat().st_mtime_ns for name in (governance.FILE, governance.PIN)] == times
    assert (tmp_path / governance.FILE).read_text() == SHIPPED


def test_a_persons_own_limits_are_pinned_as_they_are(tmp_path: Path) -> None:
    (tmp_path / governance.FILE).write_text(SHIPPED.replace("value: 16", "value: 4"))
    assert governance.init(tmp_path).max_slots == 4
    assert governance.load(tmp_path).max_slots == 4


@pytest.mark.parametrize("call", [governance.init, governance.load])
def test_a_changed_or_missing_pinned_file_is_refused_and_left_alone(tmp_path: Path, call: object) -> None:
    assert callable(call)
    governance.init(tmp_path)
    changed = SHIPPED.replace("0.008", "0.080")
    (tmp_path / governance.FILE).write_text(changed)
    with pytest.raises(GovernanceError, match=r"limits were changed; restore .* delete governance\.pin"):
        call(tmp_path)
    assert (tmp_path / governance.FILE).read_text() == changed
    (tmp_path / governance.FILE).unlink()
    with pytest.raises(GovernanceError, match="the pinned file is gone"):
        call(tmp_path)
    assert not (tmp_path / governance.FILE).exists()


def test_changed_limits_are_accepted_after_the_pin_was_deleted(tmp_path: Path) -> None:
    governance.init(tmp_path)
    (tmp_path / governance.FILE).write_text(SHIPPED.replace("0.008", "0.005"))
    (tmp_path / governance.PIN).unlink()
    assert governance.init(tmp_path).risk_per_trade == 0.005


def test_nothing_pinned_and_a_broken_pin_are_told(tmp_path: Path) -> None:
    with pytest.raises(GovernanceError, match="run `live-shadow init`"):
        governance.load(tmp_path)
    governance.init(tmp_path)
    (tmp_path / governance.PIN).write_text("yes")
    with pytest.raises(GovernanceError, match="no SHA-256"):
        governance.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("locked: true", "locked: false", "risk_per_trade.locked"),
        ("  locked: true\n", "", "risk_per_trade.locked: Field required"),
        ("value: 0.008", "value: 0", "risk_per_trade.value"),
        ("value: 0.008", "value: .inf", "risk_per_trade.value"),
        ("value: 0.018", "value: 1.0", "daily_loss.value"),
        ("value: 16", "value: 16.5", "max_slots.value"),
        ("value: 16", "value: 0", "max_slots.value"),
        ("leverage:", "levrage:", "levrage: this key is not known .*; did you mean leverage"),
        ("max_slots:", "&a max_slots:", "anchors"),
    ],
)
def test_limits_that_are_unlocked_missing_or_senseless_are_refused(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    (tmp_path / governance.FILE).write_text(SHIPPED.replace(old, new, 1))
    with pytest.raises(GovernanceError, match=told):
        governance.init(tmp_path)
    assert not (tmp_path / governance.PIN).exists()


def test_a_map_within_the_limits_passes() -> None:
    shares = [0.1] * 10
    entries = [entry(i, risk_share=share) for i, share in enumerate(shares)]
    shadows = [entry(100 + i, stage=Stage.SHADOW, risk_share=0.0) for i in range(6)]
    governance.check_map(governance.defaults(), EnableMap(entries=(*entries, *shadows)))
    governance.check_map(governance.defaults(), EnableMap())


def test_a_map_that_asks_for_more_is_refused() -> None:
    limits = governance.defaults()
    full = tuple(entry(i, stage=Stage.SHADOW, risk_share=0.0) for i in range(17))
    with pytest.raises(GovernanceError, match="17 entries, but max_slots is 16"):
        governance.check_map(limits, EnableMap(entries=full))
    with pytest.raises(GovernanceError, match=r"entries\[1\] s1: a risk_share of 1.5"):
        governance.check_map(limits, EnableMap(entries=(entry(0), entry(1, risk_share=1.5))))
    with pytest.raises(GovernanceError, match=r"add up to 1\.01"):
        governance.check_map(limits, EnableMap(entries=(entry(0), entry(1, risk_share=0.51))))
