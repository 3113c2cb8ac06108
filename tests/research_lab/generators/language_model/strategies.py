"""Strategies that scripted models write, and what the tests ask with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from research_lab.generators.archive import Archive
from research_lab.generators.brief import Brief
from research_lab.generators.language_model.generator import LanguageModel
from research_lab.generators.language_model.settings import Settings, parse_settings
from research_lab.generators.protocol import Feedback

KEY = "sk-Tst9fQ2x7LmZ04vB81rWcY"
VARIABLE = "GAUNTLET_TEST_KEY"
BRIEF = Brief(goal="Trends that last for days", timeframes=("1h",))


def strategy(n: int = 20, **other: Any) -> dict[str, Any]:
    """Return a strategy that the loader takes."""
    plain = {
        "spec": 1,
        "name": f"above_{n}",
        "hypothesis": "Trends last, since news spreads slowly.",
        "timeframe": "1h",
        "side": "long",
        "enter_long": f"close > sma(close, {n})",
        "exit_long": f"close < sma(close, {n})",
        "size": {"fraction": 0.5},
    }
    return {**plain, **other}


def answer(*strategies: Any) -> str:
    """Return an answer with strategies."""
    return json.dumps({"strategies": list(strategies)})


def settings(url: str, **other: Any) -> Settings:
    """Return settings for a server of the tests: no waiting between tries."""
    protocol = other.get("provider", "openai-compatible")
    plain: dict[str, Any] = {
        "provider": protocol,
        "base_url": url if protocol == "anthropic" else f"{url}/v1",
        "model": "small",
        "knowledge_cutoff": "2025-06-30",
        "strategies_a_call": 2,
        "budget": {"calls": 50, "tokens": 1_000_000},
    }
    limits = {"backoff_s": 0.0, "timeout_s": 5.0, "retries": 1, **other.pop("limits", {})}
    return parse_settings(json.dumps({**plain, **other, "limits": limits}))


def asked(model: LanguageModel, n: int = 2, brief: Brief = BRIEF, seed: int = 1) -> list[str]:
    """Return the texts of one generation's proposals."""
    return [p.text for p in model.propose(brief, Feedback(Archive()), n, np.random.default_rng(seed))]


def everything_in(folder: Path) -> bytes:
    """Return all names and bytes that were written below a folder."""
    files: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return b"\n".join(str(path).encode() + b"\n" + path.read_bytes() for path in files)
