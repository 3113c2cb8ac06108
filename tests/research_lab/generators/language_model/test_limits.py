"""What a call may take: bytes, memory, time, tries and budget."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from research_lab.errors import DataError, ServerError, UsageError
from research_lab.generators.archive import Archive
from research_lab.generators.language_model.budget import Spent
from research_lab.generators.language_model.generator import LanguageModel
from research_lab.generators.protocol import Feedback
from tests.research_lab.generators.language_model.loopback import (
    Asked,
    Handler,
    Says,
    body,
    completion,
    serving,
)
from tests.research_lab.generators.language_model.strategies import (
    BRIEF,
    KEY,
    VARIABLE,
    answer,
    asked,
    settings,
    strategy,
)

GOOD = Says(answer(strategy(20)))
ASK = """
import json, sys
from pathlib import Path
from tests.research_lab.generators.language_model.strategies import asked, settings
from research_lab.generators.language_model.generator import LanguageModel
model = LanguageModel(settings(sys.argv[1], repairs=0), Path(sys.argv[2]))
texts = asked(model)
# not ru_maxrss: that remembers the process which started this one
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(json.dumps([texts, int(peak.split()[1]) / 1024]))
"""


def hundred_megabytes(handler: Handler, asked: Asked) -> None:
    handler.begin(100 << 20)
    handler.wfile.write(b'{"choices": [{"message": {"content": "')
    for _ in range(100):
        handler.wfile.write(b"x" * (1 << 20))


def test_a_hundred_megabytes_are_cut_off_and_the_process_stays_below_500_mb(tmp_path: Path) -> None:
    with serving(hundred_megabytes) as server:
        command = [sys.executable, "-c", ASK, server.url, str(tmp_path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    texts, megabytes = json.loads(told)
    assert texts == ["# no answer: the answer has more than 1048576 bytes\n"]
    assert megabytes < 500
    assert len(server.asked) == 1  # another try would bring no less
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.json")) < 200_000


@pytest.mark.parametrize("part", ["{}", "[]", '""', "0"])
def test_a_great_many_small_values_are_not_read(part: str, tmp_path: Path) -> None:
    many = ('{"choices": [' + ",".join([part] * 200_000) + "]}").encode()
    with serving(body(many)) as server:
        texts = asked(LanguageModel(settings(server.url, repairs=0), tmp_path))
    assert texts == ["# no answer: the answer has more than 40000 values\n"]


def test_a_long_answer_is_not_sent_back_for_repair(tmp_path: Path) -> None:
    with serving(Says("no JSON " * 40_000)) as server:
        (text,) = asked(LanguageModel(settings(server.url, output="prompted", repairs=3), tmp_path), n=1)
    assert len(text) < 20_000
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_passing_fault_is_tried_again(status: int, tmp_path: Path) -> None:
    with serving(body({}, status, retry_after="0"), GOOD) as server:
        model = LanguageModel(settings(server.url), tmp_path)
        texts = asked(model, n=1)
    assert [json.loads(text) for text in texts] == [strategy(20)]
    assert model.spent.calls == len(server.asked) == 2


def test_a_key_that_is_wrong_ends_it_with_what_to_do_and_proposes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    with serving(body({"error": "no such key"}, 401)) as server:
        known = settings(server.url, key_variable=VARIABLE)
        with pytest.raises(ServerError, match=r"answered 401: .*no such key.*; put a key") as refusal:
            asked(LanguageModel(known, tmp_path), n=10)
    assert len(server.asked) == 1
    assert VARIABLE in str(refusal.value) and server.url in str(refusal.value)
    (told,) = (json.loads(path.read_text()) for path in (tmp_path / "transcripts").iterdir())
    assert (told["outcome"][:23], told["spent"]["calls"]) == ("the server answered 401", 1)
    with serving(GOOD) as server:
        moved = settings(server.url, key_variable=VARIABLE)
        assert len(asked(LanguageModel(moved, tmp_path), n=1)) == 1


def test_tries_are_bounded_and_a_server_that_is_down_ends_it(tmp_path: Path) -> None:
    with serving(body({}, 500)) as server:
        model = LanguageModel(settings(server.url, limits={"retries": 2, "failed_calls": 2}), tmp_path)
        texts = asked(model, n=100)
    assert len(server.asked) == 6
    assert len(texts) == 2
    assert model.stopped.startswith("2 calls in a row failed")


@pytest.mark.parametrize(
    ("url", "why"),
    [("", "nothing listens at the address"), ("http://nobody.invalid", "the name is not known")],
)
def test_nobody_at_the_address_is_one_error_that_costs_nothing_and_proposes_nothing(
    url: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if url:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with serving(GOOD) as server:
        known = settings(url or server.url, limits={"retries": 2})
    model = LanguageModel(known, tmp_path)
    with pytest.raises(ServerError, match=f"{why}, after 3 tries; start it, or correct base_url") as refusal:
        asked(model)
    assert str(refusal.value).startswith(known.address) and refusal.value.exit_code == 2
    assert model.spent == Spent() and not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (ssl.SSLCertVerificationError("self-signed"), "the certificate is not trusted"),
        (ssl.SSLError("wrong version number"), "no TLS is spoken there"),
        (ExceptionGroup("both", [ConnectionRefusedError(), OSError()]), "nothing listens at the address"),
        (OSError(f"of which a library says anything, {KEY} too"), "no connection"),
    ],
)
def test_why_there_is_no_connection_is_told_in_words_of_our_own(
    cause: BaseException, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: object, request: object) -> None:
        try:
            raise OSError("All connection attempts failed") from cause
        except OSError as fault:
            raise httpx2.ConnectTimeout("too late") from fault

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", fails)
    with pytest.raises(ServerError, match=f"cannot be reached: {why}, after 2 tries") as refusal:
        asked(LanguageModel(settings("http://127.0.0.1:1"), tmp_path))
    assert KEY not in str(refusal.value)


def test_a_server_that_comes_back_between_two_tries_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, refusals = httpx2.AsyncHTTPTransport.handle_async_request, iter([httpx2.ConnectError("no"), None])

    async def once_away(self: Any, request: Any) -> Any:
        if (refusal := next(refusals)) is not None:
            raise refusal
        return await really(self, request)

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", once_away)
    with serving(GOOD) as server:
        texts = asked(LanguageModel(settings(server.url), tmp_path), n=1)
    assert [json.loads(text) for text in texts] == [strategy(20)]


def test_a_server_that_failed_is_asked_again_in_the_next_run_and_both_are_charged(tmp_path: Path) -> None:
    with serving(body({}, 500), body({}, 500), GOOD) as server:
        known = settings(server.url)
        failed = asked(LanguageModel(known, tmp_path), n=1)
        again = LanguageModel(known, tmp_path)
        texts = asked(again, n=1)
    assert failed == ["# no answer: the server answered 500: {}\n"]
    assert [json.loads(text) for text in texts] == [strategy(20)]
    assert again.spent.calls == 3


@pytest.mark.parametrize(
    ("budget", "n_calls"),
    [
        ({"calls": 3, "tokens": 10**9}, 3),
        ({"calls": 100, "tokens": 3_600}, 3),
        ({"calls": 100, "tokens": 3_601}, 4),
        ({"calls": 100, "tokens": 10**9, "money": 0.005}, 2),
    ],
)
def test_a_spent_budget_ends_it_and_says_which(
    budget: dict[str, float], n_calls: int, tmp_path: Path
) -> None:
    prices = {"input": 2.0, "output": 5.0}  # 0.003 a call of 1,000 and 200 tokens
    with serving(GOOD) as server:
        model = LanguageModel(
            settings(server.url, budget=budget, prices=prices, strategies_a_call=1), tmp_path
        )
        texts = asked(model, n=20)
        assert asked(model, n=20, seed=2) == []
    assert len(texts) == len(server.asked) == n_calls
    assert model.stopped.startswith("the budget of")
    assert model.spent == Spent(
        n_calls, 1_000 * n_calls, 200 * n_calls, pytest.approx(0.003 * n_calls), model.spent.seconds
    )


def test_a_budget_of_one_call_is_one_request_whatever_the_retries(tmp_path: Path) -> None:
    with serving(body({}, 500)) as server:
        budget = {"calls": 1, "tokens": 10**9}
        model = LanguageModel(settings(server.url, budget=budget, limits={"retries": 5}), tmp_path)
        texts = asked(model, n=4)
    assert len(server.asked) == model.spent.calls == 1
    assert texts == ["# no answer: the server answered 500: {}\n"]
    assert model.stopped == "the budget of 1 call is spent"


def test_a_budget_that_is_raised_pays_for_nothing_twice_and_is_not_made_new(tmp_path: Path) -> None:
    def run(calls: int) -> tuple[list[str], int]:
        known = settings(server.url, budget={"calls": calls, "tokens": 10**9}, strategies_a_call=1)
        model = LanguageModel(known, tmp_path)
        return asked(model, n=9), model.spent.calls

    with serving(*[Says(answer(strategy(n))) for n in range(20, 40)]) as server:
        two, four, two_again = run(2), run(4), run(2)
        assert len(server.asked) == 4
    assert (len(two[0]), two[1], len(four[0]), four[1]) == (2, 2, 4, 4)
    assert four[0][:2] == two[0] == two_again[0], "a lower budget ends where it did"


def test_searches_share_answers_and_each_has_its_own_budget(tmp_path: Path) -> None:
    with serving(*[Says(answer(strategy(n))) for n in range(20, 40)]) as server:
        known = settings(server.url, budget={"calls": 2, "tokens": 10**9}, strategies_a_call=1)
        first = LanguageModel(known, tmp_path / "a", tmp_path / "answers")
        second = LanguageModel(known, tmp_path / "b", tmp_path / "answers")
        assert asked(first, n=9) == asked(second, n=9)
        assert len(server.asked) == 2
        assert first.spent == second.spent
        assert first.stopped == second.stopped == "the budget of 2 calls is spent"


def test_after_failed_calls_a_search_that_goes_on_asks_no_more_than_one_that_was_not_cut(
    tmp_path: Path,
) -> None:
    def proposed(model: LanguageModel, generation: int) -> list[str]:
        told = Feedback(Archive(), generation=generation)
        return [p.text for p in model.propose(BRIEF, told, 6, np.random.default_rng(generation))]

    with serving(body({}, 500), body({}, 500), GOOD) as server:
        known = settings(server.url, limits={"retries": 0, "failed_calls": 2})
        whole = LanguageModel(known, tmp_path)
        first, second = proposed(whole, 0), proposed(whole, 1)
        again = LanguageModel(known, tmp_path)
        assert proposed(again, 1) == second == []
        assert again.stopped == whole.stopped
        assert again.stopped.startswith("2 calls in a row failed, the last one: the server answered 500")
        assert proposed(LanguageModel(known, tmp_path), 0) == first
        assert len(first) == len(server.asked) == 2
        patient = settings(server.url, limits={"retries": 0, "failed_calls": 4})
        assert len(proposed(LanguageModel(patient, tmp_path), 0)) == 3, "where more may fail, it goes on"


def test_a_budget_of_seconds_cuts_the_last_call(tmp_path: Path) -> None:
    def slow(handler: Handler, asked: Asked) -> None:
        handler.begin(10)
        time.sleep(2.0)

    with serving(slow) as server:
        start = time.monotonic()
        budget = {"calls": 100, "tokens": 10**9, "seconds": 0.4}
        model = LanguageModel(settings(server.url, budget=budget), tmp_path)
        asked(model, n=20)
        assert time.monotonic() - start < 2.0
    assert "seconds is spent" in model.stopped or "failed" in model.stopped


def test_a_budget_belongs_to_the_folder_and_what_was_answered_is_not_paid_twice(tmp_path: Path) -> None:
    with serving(GOOD) as server:
        known = settings(server.url, budget={"calls": 2, "tokens": 10**9}, strategies_a_call=1)
        first = asked(LanguageModel(known, tmp_path), n=2)
        again = LanguageModel(known, tmp_path)
        assert again.spent.calls == 2
        assert asked(again, n=2) == first
        assert again.spent.calls == 2
        assert asked(again, n=2, seed=2) == []
    assert len(server.asked) == 2


def test_a_campaign_that_was_cut_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    def campaign(model: LanguageModel) -> list[str]:
        found = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            found += [p.text for p in model.propose(BRIEF, Feedback(Archive()), 2, rng)]
        return found

    script = [Says(answer(strategy(n))) for n in range(20, 40)]
    with serving(*script) as server:
        known = settings(server.url, strategies_a_call=1)
        whole = campaign(LanguageModel(known, tmp_path / "whole"))
    with serving(*script) as server:
        known = settings(server.url, strategies_a_call=1)
        asked(LanguageModel(known, tmp_path / "cut"), n=1, seed=0)
        assert campaign(LanguageModel(known, tmp_path / "cut")) == whole
    assert len(server.asked) == 6


def test_offline_a_question_that_was_never_asked_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"offline, and the question .* was never answered"):
        asked(LanguageModel(settings("http://127.0.0.1:1"), tmp_path, offline=True))


def test_an_answer_that_was_changed_on_the_disk_is_not_replayed(tmp_path: Path) -> None:
    with serving(GOOD) as server:
        known = settings(server.url)
        asked(LanguageModel(known, tmp_path))
    (path,) = (tmp_path / "answers").iterdir()
    path.write_text(path.read_text().replace("close > sma", "close < sma"))
    with pytest.raises(DataError, match="not the answer that was kept"):
        asked(LanguageModel(known, tmp_path, offline=True))


def test_tokens_that_no_server_can_have_counted_are_estimated(tmp_path: Path) -> None:
    told = completion(
        {"role": "assistant", "content": GOOD.words}, {"prompt_tokens": -3, "completion_tokens": 0}
    )
    with serving(body(told)) as server:
        model = LanguageModel(settings(server.url, output="prompted"), tmp_path)
        asked(model, n=1)
    assert model.spent.prompt_tokens == pytest.approx(len(server.asked[0].text) / 4, rel=0.05)
    assert model.spent.answer_tokens > len(GOOD.words) / 4
