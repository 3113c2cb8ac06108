"""What goes into one MLflow run, in as few calls as its limits allow, and how runs are found again."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from research_lab.errors import UsageError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_MAX_METRICS = 800
_MAX_LABELS = 90
_MAX_VALUE = 5_000
_NOT_IN_KEYS = re.compile(r"[^\w.\- /]", re.ASCII)

_Item = TypeVar("_Item")


def log_params(client: MlflowClient, run: Run, params: Mapping[str, object]) -> None:
    """Log what a run was started with, in as few calls as MLflow's limits allow; what it has stays as it is."""
    from mlflow.entities import Param

    rows = [
        Param(_key(key), str(value)[:_MAX_VALUE])
        for key, value in params.items()
        if _key(key) not in run.data.params
    ]
    for chunk in _chunks(rows, _MAX_LABELS):
        client.log_batch(run.info.run_id, params=chunk)


def log_batch(
    client: MlflowClient, run: str, metrics: Mapping[str, float], tags: Mapping[str, object]
) -> None:
    """Log everything in one call, or in as few as MLflow's limits allow."""
    from mlflow.entities import Metric, RunTag

    now_ms = int(time.time() * 1000)
    numbers = [Metric(_key(k), float(v), now_ms, 0) for k, v in metrics.items() if math.isfinite(v)]
    words = [RunTag(_key(k), str(v)[:_MAX_VALUE]) for k, v in tags.items()]
    n_calls = max(1, -(-len(numbers) // _MAX_METRICS), -(-len(words) // _MAX_LABELS))
    for i in range(n_calls):
        client.log_batch(
            run,
            metrics=numbers[i * _MAX_METRICS : (i + 1) * _MAX_METRICS],
            tags=words[i * _MAX_LABELS : (i + 1) * _MAX_LABELS],
        )


def lay_out(folder: Path, artifacts: Mapping[str, Path]) -> None:
    """Copy files to where they belong in a folder."""
    for name, source in artifacts.items():
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"an artifact's path must stay inside its run: {name!r}")
        if not source.is_file():
            raise UsageError("the artifact does not exist", str(source))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def tagged_runs(client: MlflowClient, tagged: str) -> list[Run]:
    """Return all runs with a tag, of whatever experiment, the oldest first."""
    everywhere = [str(e.experiment_id) for e in client.search_experiments(max_results=1_000)]
    found: list[Run] = []
    page = None
    while True:
        runs = client.search_runs(
            everywhere, tagged, order_by=["attributes.start_time ASC"], max_results=1_000, page_token=page
        )
        found += runs
        page = runs.token
        if not page:
            return found


def _chunks(rows: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _key(name: str) -> str:
    """Return a name with the characters that MLflow takes in keys."""
    return _NOT_IN_KEYS.sub("_", name)[:250]
