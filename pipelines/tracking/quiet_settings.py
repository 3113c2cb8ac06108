"""Environment and loggers that keep MLflow silent, quick to give up and at home; a user's own settings win."""

from __future__ import annotations

import logging
import os

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def prepare_environment() -> None:
    """Set what the user has not; MLflow reads it when it is imported."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


def quieten() -> None:
    """Keep the loggers of MLflow, which is imported by now, as quiet as the environment says."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())


def ui_environment() -> dict[str, str]:
    """Return this process's environment with MLflow's quiet settings where the user has none."""
    return {**ENVIRONMENT, **os.environ}
