"""The readers among wild texts: our error or a strategy, in bounded time and memory, whatever comes.

The campaign is cut into parts, each with its own seed. A text that finds something is put into `corpus/`, which
is read whole in every run of the suite and is mutated further by the campaign.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_macro, parse_regimes, parse_spec
from research_lab.errors import SpecError
from tests.conftest import WHOLE
from tests.research_lab.dsl.wild_texts import (
    BUSY,
    CLOCK,
    MUTATIONS,
    OUTSIDE,
    TOGETHER,
    corpus,
    seeds,
    wild_text,
)

N_TEXTS = 1_000_000  # whole; a hundredth in the suite
N_PARTS = 20
SEED = 8_191
MOST_SECONDS = 0.1  # of processor time, a text
MOST_MEGABYTES = 200  # by which a part may grow

CORPUS = corpus()


def reader_of(text: str | bytes) -> Callable[[str | bytes], object]:
    """Return the reader that a text is meant for, if it is meant for one."""
    plain = text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text
    readers = {"\nregimes:\n": parse_regimes, "\nmacro:\n": parse_macro}
    return next((reader for start, reader in readers.items() if start in plain), parse_spec)


def read(text: str | bytes) -> tuple[bool, float]:
    """Return whether a text is taken, and the processor time that takes; other errors than ours pass through."""
    began = time.process_time()
    try:
        reader_of(text)(text)
        taken = True
    except SpecError as refusal:
        assert str(refusal)
        taken = False
    return taken, time.process_time() - began


def seconds(text: str | bytes) -> float:
    """Return the least processor time of three readings: a busy machine is not a slow reader."""
    return min(read(text)[1] for _ in range(3))


@pytest.mark.proof
@pytest.mark.parametrize("part", range(N_PARTS), ids=lambda part: f"part_{part}")
def test_any_text_is_read_or_refused_in_time_and_memory(part: int, campaign_share: float) -> None:
    texts, slowest, n_taken = seeds(), (0.0, 0), 0
    n = round(N_TEXTS * campaign_share) // N_PARTS
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for k in range(n):
        text = wild_text(np.random.default_rng([SEED, part, k]), texts)
        try:
            taken, spent = read(text)
        except Exception as fault:
            raise AssertionError(f"text {k} of part {part}: {text!r}") from fault
        n_taken += taken
        if spent > max(MOST_SECONDS / 2, slowest[0]):
            slowest = max(slowest, (seconds(text), k))
        if WHOLE:
            assert slowest[0] <= MOST_SECONDS, f"{slowest[0]:.3f} s: {text!r}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    megabytes = grown / (2**20 if sys.platform == "darwin" else 2**10)
    print(f"part {part}: {n} texts, {n_taken} taken, slowest {slowest}, {megabytes:.0f} MB more")
    assert n_taken > 0.02 * n, "texts so wild that none is taken try little"
    assert megabytes < MOST_MEGABYTES


@pytest.mark.parametrize(("name", "text"), CORPUS, ids=[name for name, _ in CORPUS])
def test_what_was_found_before_is_read_or_refused(name: str, text: str | bytes) -> None:
    taken, _ = read(text)
    if taken and reader_of(text) is parse_spec:
        spec = parse_spec(text)
        again = parse_spec(spec.canonical())
        assert (again.hash, again.template_hash, again.canonical()) == (
            spec.hash,
            spec.template_hash,
            spec.canonical(),
        )
        for one, other in zip(compile_spec(spec).program[:3], compile_spec(again).program[:3], strict=True):
            assert one.tobytes() == other.tobytes()
    if WHOLE:
        assert seconds(text) <= MOST_SECONDS


@pytest.mark.parametrize("mutation", dict.fromkeys(MUTATIONS), ids=lambda f: f.__name__)
def test_each_mutation_changes_texts(mutation: Callable[[np.random.Generator, str], str]) -> None:
    changed = [mutation(np.random.default_rng(k), BUSY) != BUSY for k in range(20)]
    assert sum(changed) > 10


def test_the_seeds_are_taken() -> None:
    for text in (BUSY, OUTSIDE, TOGETHER):
        parse_spec(text)
    parse_regimes(CLOCK)
    assert sum(reader_of(text) is parse_macro for text in set(seeds())) == 1


@pytest.mark.parametrize("fault", [RecursionError, MemoryError, KeyError, ValueError, OverflowError])
def test_an_error_that_is_not_ours_would_be_found(
    fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr("research_lab.dsl.spec_reader.check_compiles", fail)
    with pytest.raises(AssertionError, match="of part 3"):
        test_any_text_is_read_or_refused_in_time_and_memory(3, 0.01)
