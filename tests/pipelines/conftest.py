"""A small world, an easy policy, and a store that remembers next to nothing."""

from __future__ import annotations

import pytest

from pipelines import campaign
from pipelines.gates.policy import Policy
from research_lab.bars import Bars
from tests.pipelines import small_campaign as small


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return small.policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def bars() -> Bars:
    return small.planted()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "Tracker", small.Tracker)
