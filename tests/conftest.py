"""How large the tests run: a seeded hundredth in `make test`, the whole in `make proof`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

WHOLE = os.environ.get("GAUNTLET_PROOF") == "1"

# A kernel's first call compiles it, which is neither a slow test nor a missed deadline.
_PATIENT = (HealthCheck.too_slow,)
settings.register_profile(
    "test",
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=_PATIENT,
)
settings.register_profile("proof", max_examples=10_000, deadline=None, suppress_health_check=_PATIENT)
settings.load_profile("proof" if WHOLE else "test")


@pytest.fixture(scope="session")
def campaign_share() -> float:
    """The share of a long campaign to run: 1.0 in `make proof`, 0.01 in `make test`."""
    return 1.0 if WHOLE else 0.01


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Return the path of a real data file by its name in the data folder, or skip the test."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GAUNTLET_DATA", beside))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"real data {name} is absent; set GAUNTLET_DATA to the folder that holds it")
        return path

    return find
