"""enable_map.yaml: read strictly, written canonically."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from live_shadow.enable_map import ANY, REGIMES, EnableMap, Entry, Stage, dump_map, parse_map, read_map
from research_lab.errors import MapError
from research_lab.strict_yaml import MAX_BYTES

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


def entry(i: int = 0, **changes: object) -> Entry:
    fields: dict[str, object] = {
        "candidate": f"{i:064x}",
        "name": f"s{i}",
        "market": "synthetic BTC/USDT",
        "timeframe": "1h",
        "stage": Stage.CHAMPION,
        "risk_share": 0.5,
        "regimes": (ANY,),
        "since": NOW,
        "evidence": "e" * 64,
        "expires": None,
    }
    return Entry.model_validate({**fields, **changes})


def text(**changes: str) -> str:
    """Return a map of two entries with lines replaced by `old=new`."""
    whole = dump_map(EnableMap(version=3, updated=NOW, entries=(entry(0), entry(1))))
    for old, new in changes.items():
        assert f"{old}: " in whole
        lines = [new if line.strip(" -").startswith(f"{old}: ") else line for line in whole.split("\n")]
        whole = "\n".join(lines)
    return whole


times = st.integers(10**9, 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
named = st.lists(st.sampled_from(REGIMES), min_size=1, unique=True).map(tuple)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    stage = draw(st.sampled_from(Stage))
    share = draw(st.floats(1e-12, 1e6)) if stage.holds_capital else 0.0
    since = draw(times)
    expires = draw(st.none() | st.integers(1, 10**8).map(lambda s: since + timedelta(seconds=s)))
    return entry(
        candidate=draw(digests),
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)),
        market=draw(st.sampled_from(["binance BTC/USDT", "binanceusdm 1000PEPE/USDT perpetual"])),
        timeframe=draw(st.sampled_from(["15m", "1h", "4h", "1d", "1w"])),
        stage=stage,
        risk_share=share,
        regimes=draw(st.just((ANY,)) | named),
        since=since,
        evidence=draw(digests),
        expires=expires,
    )


@given(
    st.builds(
        EnableMap,
        version=st.integers(0, 10**9),
        updated=st.none() | times,
        min_bars_hold=st.integers(1, 10_000),
        cooldown_bars=st.integers(0, 100_000),
        entries=st.lists(entries(), max_size=4, unique_by=lambda e: e.slot).map(tuple),
    )
)
def test_every_map_reads_back_as_it_was_written(enable_map: EnableMap) -> None:
    written = dump_map(enable_map)
    again = parse_map(written)
    assert again == enable_map
    assert dump_map(again) == written
    assert again.hash == enable_map.hash


def test_a_hand_written_map_in_flow_style_is_read() -> None:
    enable_map = parse_map(
        f"""
        version: 3
        updated: 2026-11-20T10:00:00Z
        min_bars_hold: 3               # equal regime closes
        cooldown_bars: 0
        entries:
          - {{candidate: {"a" * 64}, name: ema_atr, market: "synthetic BTC/USDT", timeframe: 1h,
             stage: champion, risk_share: 1, regimes: [trend_up, panic],
             since: 2026-11-20T10:00:00Z, evidence: {"b" * 64}, expires: null}}
        """
    )
    only = enable_map.entries[0]
    assert (only.risk_share, only.regimes, only.stage) == (1.0, ("trend_up", "panic"), Stage.CHAMPION)
    assert enable_map.find("a" * 64, "synthetic BTC/USDT") is only
    assert enable_map.find("a" * 64, "binance BTC/USDT") is None


def test_the_shipped_map_is_empty() -> None:
    import live_shadow

    shipped = Path(live_shadow.__file__).parent / "config" / "enable_map.yaml"
    assert read_map(shipped) == EnableMap()


@pytest.mark.parametrize("word", ["null", "true", "no", "1e5", "123", "12e3", "0x1f", "1.5", "07"])
def test_names_that_look_like_something_else_stay_names(word: str) -> None:
    assert parse_map(dump_map(EnableMap(entries=(entry(name=word),)))).entries[0].name == word


@pytest.mark.parametrize(
    ("garbage", "told"),
    [
        ("", "map.yaml:1: Input should be an object"),
        ("- a\n", "map.yaml:1: Input should be an object"),
        ("version: [1, 2", "map.yaml:1:15: expected"),
        ("a: b\n---\nc: d\n", "map.yaml:2:1:"),
        ("version: 1\nversion: 2\n", "map.yaml:2:1: the key 'version' stands twice"),
        ("version: &v 1\nupdated: *v\n", "map.yaml:1:10: anchors (&) are not taken"),
        ("version: *v\n", "map.yaml:1:10: aliases (*) are not taken"),
        ("version: !!int 1\n", "map.yaml:1:10: tags (!) are not taken"),
        ("!!python/object/apply:os.system [x]", "tags (!) are not taken"),
        ("? [a]\n: b\n", "a key must be a word"),
        ("<<: {a: b}\n", "(and 5 more)"),
        ("a: \x00", "no YAML text"),
        ('version: "\\ud800"', "map.yaml:1:"),
        ("[" * 100_000, "nested deeper than 12"),
        ("{a: " * 100_000, "nested deeper than 12"),
        ("? " * 100_000, "nested deeper than 12"),
        ("[" + "a," * 60_000 + "]", "more than 50000 keys and values"),
        ("version: " + "9" * 5_000, "a number of more than 40 characters"),
    ],
)
def test_garbage_is_refused_at_its_place_and_soon(garbage: str, told: str) -> None:
    start = time.process_time()
    with pytest.raises(MapError) as caught:
        parse_map(garbage, "map.yaml")
    assert told in str(caught.value)
    assert len(str(caught.value)) < 400
    assert time.process_time() - start < 5.0


@given(st.text(max_size=200) | st.text("[]{}:,-?&*!|>'\"%@` \nab1", max_size=60))
def test_any_text_gives_a_map_or_a_map_error(garbage: str) -> None:
    try:
        parse_map(garbage)
    except MapError as error:
        assert str(error).startswith("enable_map.yaml")


@pytest.mark.parametrize(
    ("key", "line", "told"),
    [
        ("version", "version: -1", ":1: version:"),
        ("version", "version: 3.0", ":1: version:"),
        ("updated", "updated: 2026-11-20 10:00", ":2: updated: '2026-11-20 10:00' is not a UTC time"),
        ("updated", "updated: 2026-13-20T10:00:00Z", ":2: updated:"),
        ("min_bars_hold", "min_bars_hold: 0", ":3: min_bars_hold:"),
        ("cooldown_bars", "cooldown_bars: 1\nmax_slots: 99", ":5: max_slots: this key is not known"),
        ("candidate", f"  - candidate: {'A' * 64}", ":6: entries[0].candidate:"),
        ("name", "    name: [a]", ":7: entries[0].name:"),
        ("market", "    market: ../../etc", ":8: entries[0].market:"),
        ("timeframe", "    timeframe: 0h", ":9: entries[0].timeframe:"),
        ("stage", "    stage: boss", ":10: entries[0].stage:"),
        ("stage", "    stage: shadow", "entries[0].risk_share: a shadow trades without capital"),
        ("risk_share", "    risk_share: 0", ":11: entries[0].risk_share: a champion needs a share above 0"),
        ("risk_share", "    risk_share: .nan", ":11: entries[0].risk_share:"),
        ("risk_share", "    risk_share: 1e999", ":11: entries[0].risk_share:"),
        ("risk_share", "    risk_share: true", ":11: entries[0].risk_share:"),
        ("regimes", "    regimes: []", ":12: entries[0].regimes:"),
        ("regimes", "    regimes: [any, panic]", ":12: entries[0].regimes: 'any' stands alone"),
        ("regimes", "    regimes: [panic, panic]", ":12: entries[0].regimes: a regime stands twice"),
        ("regimes", "    regimes: [bull]", "unknown regime 'bull'; known are any, trend_up"),
        ("expires", "    expires: 2020-01-01T00:00:00Z", ":15: entries[0].expires: it expires before"),
        ("candidate", f"  - candidate: {'a' * 64}", ":16: entries[1]: same candidate and market"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_line(key: str, line: str, told: str) -> None:
    with pytest.raises(MapError) as caught:
        parse_map(text(**{key: line}), "map.yaml")
    assert told in str(caught.value)


@pytest.mark.parametrize("key", ["version", "updated", "cooldown_bars", "risk_share", "expires", "regimes"])
def test_no_field_is_left_to_a_default(key: str) -> None:
    with pytest.raises(MapError, match=f"{key}: Field required"):
        parse_map(text(**{key: ""}))


def test_missing_large_and_undecodable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "enable_map.yaml"
    with pytest.raises(MapError, match="does not exist"):
        read_map(path)
    path.write_bytes(b"# " + b"x" * MAX_BYTES)
    with pytest.raises(MapError, match="larger than 1048576 bytes"):
        read_map(path)
    with pytest.raises(MapError, match="larger than 1048576 bytes"):
        parse_map("é" * (MAX_BYTES // 2 + 1))
    path.write_bytes(b"version: \xff")
    with pytest.raises(MapError, match="byte 9 is not UTF-8"):
        read_map(path)
    with pytest.raises(MapError, match="cannot be read"):
        read_map(tmp_path)


def test_times_are_kept_in_utc_and_whole_seconds() -> None:
    east = timezone(timedelta(hours=2))
    made = entry(since=datetime(2026, 11, 20, 12, 0, 0, 999, tzinfo=east))
    assert made.since == NOW
    with pytest.raises(ValidationError, match="without time zone"):
        entry(since=datetime(2026, 11, 20, 12))  # noqa: DTZ001 (that is what is refused)


def test_an_entry_expires_at_its_time() -> None:
    made = entry(expires=NOW + timedelta(hours=1))
    assert not made.expired(NOW)
    assert made.expired(NOW + timedelta(hours=1))
    assert not entry().expired(NOW + timedelta(days=10_000))


def test_maps_and_entries_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        entry().risk_share = 1.0  # type: ignore[misc]
