"""A campaign's MLflow run: one however often the campaign is interrupted, and closed however it ends.

Which run is open stands in a file beside what the campaign has finished so far, so a killed process leaves it to
whoever goes on. The campaign's name must be held (`resumption.running_alone`): two would share the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pipelines.tracking.tracker import Tracker
from research_lab.durable import atomic_write
from research_lab.errors import TrackingError

NOTE: Final = "mlflow_run"


@contextmanager
def open_run(tracker: Tracker, name: str, facts: Mapping[str, object], folder: Path) -> Iterator[str]:
    """Open the run of a campaign, or the one that an interrupted campaign left; close it at the end.

    Parameters
    ----------
    facts : what the campaign was started with. folder : of this campaign alone; made when it is missing.
    """
    note = folder / NOTE
    left = ""
    with suppress(FileNotFoundError):
        left = note.read_text(encoding="utf-8").strip()
    run = tracker.start_campaign(name, facts, left=left)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(note, run + "\n")
    try:
        yield run
    except BaseException as fault:
        with suppress(TrackingError):  # what went wrong is told, not that the store could not be told
            tracker.finish(run, "KILLED" if isinstance(fault, KeyboardInterrupt) else "FAILED")
        raise
    tracker.finish(run)
    note.unlink(missing_ok=True)
