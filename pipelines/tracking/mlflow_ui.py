"""MLflow's own pages over the workspace's store, on this machine only."""

from __future__ import annotations

import subprocess
import sys

from pipelines.tracking.connection import ADDRESS, Connection
from pipelines.tracking.quiet_settings import ui_environment
from research_lab.errors import TrackingError

HOST = "127.0.0.1"


def ui_command(connection: Connection, port: int = 5000) -> list[str]:
    """Return the command that shows the workspace's store on this machine's loopback.

    Raises
    ------
    TrackingError
        The store is a server of its own.
    """
    if connection.is_server:
        raise TrackingError(f"runs are kept at {connection.shown}", ADDRESS, "open that address")
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", connection.address),
        *("--artifacts-destination", connection.workspace.mlartifacts.as_uri()),
    ]


def ui_address(connection: Connection, port: int = 5000) -> str:
    """Return where the campaigns are shown; without the last part the UI opens on chat traces."""
    with connection.calling():
        runs = f"#/experiments/{connection.experiment}/runs?workflowType=machine_learning"
        return f"http://{HOST}:{port}/{runs}"


def serve_ui(connection: Connection, port: int = 5000) -> int:
    """Run `ui_command` until it ends, or until Ctrl-C, its normal end; return its exit code."""
    command = ui_command(connection, port)
    with connection.calling():
        pass
    with subprocess.Popen(command, env=ui_environment()) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait()
            return 0
