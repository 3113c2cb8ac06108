"""The reader of YAML goes through ordinary words at once: what it reads must be what PyYAML would read."""

from __future__ import annotations

import numpy as np
import pytest
from yaml.reader import Reader
from yaml.scanner import Scanner

from research_lab import strict_yaml
from research_lab.errors import GauntletError, SpecError
from tests.research_lab.dsl.wild_texts import seeds, wild_text

N_TEXTS = 50_000  # whole; a hundredth in the suite


class OneByOne(strict_yaml._Loader):
    """The loader without its short cuts."""

    forward = Reader.forward
    scan_plain = Scanner.scan_plain
    scan_flow_scalar_non_spaces = Scanner.scan_flow_scalar_non_spaces


def outcome(text: str) -> tuple[object, ...]:
    try:
        document = strict_yaml.load_text(text, "x", SpecError)
    except GauntletError as fault:
        return (str(fault),)
    return repr(document.data), document.marks


def both(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[object, ...], tuple[object, ...]]:
    quick = outcome(text)
    with monkeypatch.context() as changed:
        changed.setattr(strict_yaml, "_Loader", OneByOne)
        return quick, outcome(text)


@pytest.mark.proof
def test_the_short_cuts_read_what_pyyaml_reads(
    campaign_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, n_read = seeds(), 0
    for k in range(round(N_TEXTS * campaign_share)):
        text = wild_text(np.random.default_rng([7, k]), texts)
        if isinstance(text, str):
            quick, slow = both(text, monkeypatch)
            assert quick == slow, repr(text)
            n_read += len(quick) == 2
    assert n_read > 0


@pytest.mark.parametrize(
    "text",
    [
        "a: b c d",
        "a: b c d ",
        "a: b  c d # e",
        "a: b c #d",
        "a: b c: d",
        "a: b c\n  d e\n\n  f g\nh: i j",
        "a: b c\n---\nd: e",
        "a: b c\n... \n",
        "[a b c, d e: f g]",
        "{a b c: d e f}",
        'a: "b c  d\\n e\\u0041 f\n  g h"',
        "a: 'b c''d e  f'",
        'a: "b c',
        "a b c: d e f",
        "? a b c\n: d e f",
        "a: b\tc d e",
        "a: é b c d",
        "a: b c\r\nd: e f\r\n",
        "- a b c\n- d e f",
        "a: b " + "c " * 3000 + "\nd: e",
        "a" * 1200 + " b: c d",
    ],
)
def test_a_scalar_is_read_as_pyyaml_reads_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = both(text, monkeypatch)
    assert quick == slow
