from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from research_lab.dsl.reference_text import EXAMPLES, STRATEGY
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import UsageError
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import Behaviour
from research_lab.generators.brief import Brief
from research_lab.generators.language_model.generator import LanguageModel
from research_lab.generators.language_model.masking import masked
from research_lab.generators.language_model.prompts import author_prompt, instructions
from research_lab.generators.language_model.schemas import strategies_schema
from research_lab.generators.language_model.screening import findings
from research_lab.generators.protocol import Answer, Feedback, Proposal
from research_lab.scoring.origin import Origin
from tests.research_lab.generators.language_model.loopback import Says, serving
from tests.research_lab.generators.language_model.strategies import BRIEF, answer, settings, strategy

TELLING = {
    "a market": [
        "Buy BTC", "bitcoin trends", "like eth does", "BTC/USDT", "sol-usdt", "PEPEUSDT at night", "$TSLA", "S&P 500",
        "EURUSD carry", "gold and oil", "btcusd", "ethusd",
        "ethbtc", "dips on solusd", "xrpeur and ada_usd", "xbtusd.p",
        "WIF pumps", "b\u200bitcoin", "\uff22\uff34\uff23", "ETFs on QQQ", 'on("X", close)',
    ],
    "a date": [
        "2021-05-19", "19.05.2021", "5/19/2021", "since 2017", "in 2020 it crashed", "May 2021", "on 19 May",
        "March 12th", "the 2010s",
        "twenty twenty one", "in twenty-twenty", "nineteen eighty-seven", "two thousand and eight",
        "Q3 2022", "summer of '17", "2021-05",
    ],
    "a price level": [
        "$65,000", "65k", "at 30,000 it turns", "close above 1.0850", "support at 0.52", "price below 20000", "100 dollars",
        "€ 5.50", "buys at 42069",
        "near 30 000", "at 30.000", "at 30'000", "around 31 500", "near 30\u2009000", "1.250.000",
    ],
    "an event that tells a date": ["the covid crash", "after Lehman", "before the halving", "Black Monday"],
}  # fmt: skip
HARMLESS = [
    "Trends that last for days, entered on a pullback to the 20 bar average",
    "Buy when rsi(14) < 30 and close > sma(close, 200)",
    "ATR bands, MACD histogram, ADX above 25; exits after 48 bars or 2R",
    "close above the 50 ema by 1.5 atr",
    "at most 2,000 bars; 10 to 40 trades a month; a stop of 2 %",
    "Weekend effects: Sunday evenings UTC, around funding at 0, 8 and 16 h",
    "January effect; the turn of the month",
    "price is 2 standard deviations below its mean of 100 bars",
    "Mean reversion may work in quiet markets; it should not march on",
    "The 50 200 cross, and windows of 20 100 200 bars",
    "close / sma(close, 50) > 1.005, a threshold of 0.125, 12.5 % of 1.25",
    "Twenty bars up after ten down; one in twenty; twenty-one day channels; two thousand bars; twenty ten minute bars",
    "over 10 000 bars; 30.000 samples; of 2 000 trades",
    "A linked dotted sole method; atoms near the ape; comparison with the link before",
]


@pytest.mark.parametrize(
    ("noun", "text"), [(noun, text) for noun, texts in TELLING.items() for text in texts]
)
def test_what_tells_of_a_market_a_date_or_a_price_is_found(noun: str, text: str) -> None:
    assert noun in {found.noun for found in findings(text)}, findings(text)


@pytest.mark.parametrize("text", [*HARMLESS, *(says for _, says in EXAMPLES)])
def test_what_tells_none_of_it_is_let_through(text: str) -> None:
    assert findings(text) == []


def test_the_language_and_the_schema_tell_none_of_it() -> None:
    for brief in (BRIEF, Brief(timeframes=("15m", "1d"), sides=("long", "short", "both"))):
        assert findings(instructions(brief), code=True) == []
        assert findings(json.dumps(strategies_schema(brief)), code=True) == []
        assert findings(author_prompt(brief, Feedback(Archive()), 5)) == []


def test_a_goal_with_glued_pairs_and_spaced_prices_is_refused(tmp_path: Path) -> None:
    brief = Brief(goal="reversion on btcusd and ethbtc near 30 000")
    with serving(Says(answer(strategy()))) as server:
        model = LanguageModel(settings(server.url), tmp_path)
        with pytest.raises(UsageError, match=r"'btcusd'.*'ethbtc'.*'near 30 000'"):
            model.propose(brief, Feedback(Archive()), 2, np.random.default_rng(1))
    assert server.asked == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("close > 69000 compares price with ratio", "close > 99999 compares price with ratio"),
        ("close>1850.5", "close>99999"),
        ("52 < low", "99999 < low"),
        ("sma(close, 20) >= 1.085", "sma(close, 20) >= 99999"),
        ("crosses_above(close, 300)", "crosses_above(close, 99999)"),
        ("above_69_000 or 6.9e4 or 69 000", "above_99999 or 99999 or 99999"),
        ('{"fraction": 69000}', '{"fraction": 99999}'),
    ],
)
def test_a_number_that_no_strategy_can_use_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "rsi(14) < 30 and close > sma(close, 200) * 1.085 - 2 * atr(14)",
        "close / sma(close, 20) > 1.05 and 1.05 < close / low and (close - open) / std(close, 40) < -2",
        "zscore(close, 2000) < -2.5; body(close) > 0; sma(rsi(14), 5) > 60",
        '{"time_stop": 8000, "range": [10, 5000]}',
        "the text has more than 16384 bytes",
    ],
)
def test_lengths_and_thresholds_are_not_masked(text: str) -> None:
    assert masked(text) == text


def test_every_example_of_the_language_is_left_as_it_is() -> None:
    texts = [*(text for text, _ in EXAMPLES), STRATEGY]
    assert [masked(text) for text in texts] == texts


def test_no_price_of_the_models_own_goes_back_into_a_repair_or_the_next_question(tmp_path: Path) -> None:
    wrong = strategy(30, enter_long="close > 69000", exit_long="low < 52")
    with serving(Says(answer(strategy(20), wrong)), Says(answer(strategy(30)))) as server:
        LanguageModel(settings(server.url), tmp_path).propose(
            BRIEF, Feedback(Archive()), 2, np.random.default_rng(1)
        )
    repair = server.asked[1].text
    assert "69000" not in repair and "low < 52" not in repair
    assert "close > 99999 compares price with ratio" in repair and "sma(close, 20)" in repair
    answers = [Answer(Proposal("x", Origin()), None, refused="close > 69000 compares price with ratio")]
    shown = author_prompt(BRIEF, Feedback(Archive(), answers), 1, ["close > 69000"])
    assert "69000" not in shown and "compares price with ratio" in shown


def test_the_best_that_are_shown_are_no_two_of_one_idea(tmp_path: Path) -> None:
    archive = Archive(n_islands=1)
    moves = np.random.default_rng(1).choice([-1, 1], 400).astype(np.int8)
    alike = np.concatenate([-moves[:40], moves[40:]])
    signals = (moves, alike, np.roll(moves, 7))
    for k, signal in enumerate(signals):
        behaviour = Behaviour(3.0, 12.0, 0.5, 0.4 * k - 0.5)
        spec = parse_spec(json.dumps(strategy(20 + 10 * k)))
        archive.offer(Elite(spec, Origin(), 3.0 - k, 1.0, behaviour, signal))
    assert len(archive) == 3
    shown = author_prompt(BRIEF, Feedback(archive), 1)
    assert [f"sma(close, {n})" in shown for n in (20, 30, 40)] == [True, False, True]
    assert "no two of one idea" in shown


@pytest.mark.parametrize("field", ["goal", "ideas", "avoid"])
def test_a_brief_that_tells_too_much_is_refused_before_anything_is_sent(field: str, tmp_path: Path) -> None:
    words = "Buy BTC as in May 2021"
    brief = Brief(**{field: words if field == "goal" else (words,)})  # type: ignore[arg-type]
    with serving(Says(answer(strategy()))) as server:
        model = LanguageModel(settings(server.url), tmp_path)
        with pytest.raises(UsageError, match=r"a market \('BTC'\), a date \('May 2021'\)"):
            model.propose(brief, Feedback(Archive()), 2, np.random.default_rng(1))
    assert server.asked == []


def test_of_the_archive_and_the_refusals_only_what_tells_nothing_is_sent(tmp_path: Path) -> None:
    archive = Archive()
    texts = (
        strategy(20, name="btc_2021", hypothesis="As bitcoin did in 2021."),
        strategy(30, hypothesis="Trends last.", enter_long='on("BTC/USDT", close) > on("BTC/USDT", open)'),
        strategy(40, hypothesis="News spreads slowly."),
    )
    for k, told in enumerate(texts):
        behaviour = Behaviour(3.14159, 12.3456, 0.5678, 0.9 * k - 0.7654)
        archive.offer(Elite(parse_spec(json.dumps(told)), Origin(), float(k), 1.23456, behaviour))
    assert len(list(archive)) == 3
    refusals = (
        "close > rsi(14) compares price with ratio",
        "the bars end on 2021-05-19",
        "BTC/USDT is no market",
    )
    answers = [Answer(Proposal("x", Origin()), None, refused=words) for words in refusals]
    with serving(Says(answer(strategy()))) as server:
        model = LanguageModel(settings(server.url, variation=0.0), tmp_path)
        model.propose(BRIEF, Feedback(archive, answers, 5, 1), 2, np.random.default_rng(1))
    sent = server.asked[0].text
    for kept in (
        "sma(close, 20)",
        "sma(close, 40)",
        "News spreads slowly.",
        "Sharpe ratio a year 1.2,",
        "compares price",
    ):
        assert kept in sent
    for left_out in ("btc", "bitcoin", "2021", "1.23", "12.34", "0.57"):
        assert left_out not in sent.lower()
