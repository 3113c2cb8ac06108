from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from research_lab.dsl.reference_text import EXAMPLES
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import UsageError
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import Behaviour
from research_lab.generators.brief import Brief
from research_lab.generators.language_model.generator import LanguageModel
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
        "EURUSD carry", "gold and oil", "WIF pumps", "b\u200bitcoin", "\uff22\uff34\uff23", "ETFs on QQQ", 'on("X", close)',
    ],
    "a date": [
        "2021-05-19", "19.05.2021", "5/19/2021", "since 2017", "in 2020 it crashed", "May 2021", "on 19 May",
        "March 12th", "the 2010s", "Q3 2022", "summer of '17", "2021-05",
    ],
    "a price level": [
        "$65,000", "65k", "at 30,000 it turns", "close above 1.0850", "support at 0.52", "price below 20000", "100 dollars",
        "€ 5.50", "buys at 42069",
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
