"""What the statistics of selection mean, slowly and obviously: one draw, one split, one trade at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np

from research_lab.bars import FloatArray


def slow_logits(x: FloatArray, n_splits: int) -> list[float]:
    """Return CSCV's logits straight from the definition; len(x) is a multiple of n_splits."""
    blocks = np.split(x, n_splits)
    logits = []
    for chosen in itertools.combinations(range(n_splits), n_splits // 2):
        inside = np.vstack([blocks[i] for i in chosen])
        outside = np.vstack([blocks[i] for i in range(n_splits) if i not in chosen])
        winner = (inside.mean(axis=0) / inside.std(axis=0)).argmax()
        performance = outside.mean(axis=0) / outside.std(axis=0)
        rank = 1 + (performance < performance[winner]).sum()
        share = rank / (x.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return logits
