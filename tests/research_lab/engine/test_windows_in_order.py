"""Windows kept in order, long ones too: heaps and tree against sorting, their shape, and any cut into blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from research_lab.engine import extremes, ordered_window, program
from research_lab.engine.jit import FloatArray
from research_lab.engine.order_statistics import ADDED, COUNTED, mad, rank
from tests.oracles.functions import ORACLES as O

N_BARS = 4_000
SERIES: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "noise": lambda rng: rng.normal(size=N_BARS),
    "walk": lambda rng: 100.0 + np.cumsum(rng.normal(size=N_BARS)),
    "ties": lambda rng: rng.integers(0, 5, size=N_BARS).astype(np.float64),
    "rising": lambda rng: np.arange(N_BARS, dtype=np.float64),
    "falling": lambda rng: -np.arange(N_BARS, dtype=np.float64),
    "saw": lambda rng: np.arange(N_BARS) % 37.0,
    "high level": lambda rng: 1e8 + rng.normal(size=N_BARS),
    "small": lambda rng: 1e-8 * rng.normal(size=N_BARS),
    "spikes": lambda rng: np.where(rng.random(N_BARS) < 0.01, 1e9, 1.0) * rng.normal(size=N_BARS),
    "runs": lambda rng: np.repeat(rng.normal(size=N_BARS // 400), 400),
    "missing": lambda rng: np.where(rng.random(N_BARS) < 0.2, np.nan, rng.normal(size=N_BARS)),
}
WINDOWS = (ADDED - 1, ADDED, ADDED + 1, 700, COUNTED, COUNTED + 1)


def series(name: str) -> FloatArray:
    return SERIES[name](np.random.default_rng(len(name)))


def advanced(
    kernel: Callable[..., None], op: int, x: FloatArray, n: int, *fixed: float, block: int = N_BARS
) -> tuple[FloatArray, FloatArray]:
    """Return what a kernel gives over blocks, and its state at the end."""
    state, out = np.zeros(program.state_size(op, n)), np.empty(len(x))
    for first in range(0, len(x), block):
        kernel(state, x[first : first + block], out[first : first + block], n, *fixed)
    return out, state


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("n", WINDOWS)
def test_rank_and_deviation_equal_sorting(name: str, n: int) -> None:
    x = series(name)
    np.testing.assert_array_equal(advanced(rank, program.RANK, x, n)[0], O["rank"](x, n))
    np.testing.assert_allclose(advanced(mad, program.MAD, x, n)[0], O["mad"](x, n), rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("n", [2, 20, 999])
def test_a_quantile_lies_between_the_two_sorted_neighbours(name: str, share: float, n: int) -> None:
    x = series(name)
    got, _ = advanced(extremes.quantile, program.QUANTILE, x, n, share)
    known = x[np.isfinite(x)]
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(known, n), axis=1)
    below = int(share * (n - 1))
    low, high = windows[:, below], windows[:, min(below + 1, n - 1)]
    wanted = low + (share * (n - 1) - below) * (high - low) + 0.0
    assert np.isnan(got[~np.isfinite(x)]).all()
    assert got[np.isfinite(x)][n - 1 :].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("block", [1, 7, 501])
@pytest.mark.parametrize(
    ("kernel", "op", "fixed"),
    [
        (rank, program.RANK, ()),
        (mad, program.MAD, ()),
        (extremes.quantile, program.QUANTILE, (0.3,)),
    ],
    ids=["rank", "mad", "quantile"],
)
def test_any_cut_into_blocks_gives_the_same_bytes(
    kernel: Callable[..., None], op: int, fixed: tuple[float, ...], name: str, block: int
) -> None:
    x = series(name)
    for n in (ADDED, COUNTED + 1):
        whole, cut = advanced(kernel, op, x, n, *fixed), advanced(kernel, op, x, n, *fixed, block=block)
        assert whole[0].tobytes() == cut[0].tobytes()
        assert whole[1].tobytes() == cut[1].tobytes()


@pytest.mark.parametrize("name", SERIES)
def test_the_tree_stays_low_and_in_order(name: str) -> None:
    """Random trees of 3000 nodes are about 27 levels high; a chain would be 3000."""
    n = 3_000
    _, state = advanced(mad, program.MAD, series(name), n)
    nodes = state.reshape(n + 1, ordered_window.NODE)
    seen: list[float] = []
    highest = 0
    open_: list[tuple[int, int, bool]] = [(int(nodes[0, ordered_window.ROOT]), 1, False)]
    while open_:
        node, level, is_left_done = open_.pop()
        if node == 0:
            continue
        if is_left_done:
            seen.append(nodes[node, ordered_window.VALUE])
            highest = max(highest, level)
            continue
        left, right = (int(nodes[node, field]) for field in (ordered_window.LEFT, ordered_window.RIGHT))
        assert nodes[node, ordered_window.COUNT] == 1 + sum(
            nodes[k, ordered_window.COUNT] for k in (left, right) if k
        )
        open_ += [(right, level + 1, False), (node, level, True), (left, level + 1, False)]
    known = series(name)[np.isfinite(series(name))]
    np.testing.assert_array_equal(seen, np.sort(known[-n:]))
    assert highest < 45


def test_a_zero_has_no_sign() -> None:
    """Equal values may lie in either heap: -0.0 and 0.0 must not tell which."""
    x = np.array([-0.0, 0.0, -0.0, 0.0, -0.0])
    got, _ = advanced(extremes.quantile, program.QUANTILE, x, 2, 0.5)
    assert not np.signbit(got[1:]).any()
