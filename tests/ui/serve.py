"""Serve the page with the fake worker, to look at it: ``python -m tests.ui.serve FOLDER PORT``."""

from __future__ import annotations

import sys

import uvicorn

from app import build_app
from webui.settings import read_settings
from webui.studio import Studio

FAKE_WORKER = (sys.executable, "-m", "tests.ui.fake_worker")


def main(folder: str, port: str, *flags: str) -> None:
    """Serve until stopped; everything is written into ``folder``."""
    settings = read_settings(["--data-dir", folder, "--port", port, *flags], environ={})
    studio = Studio(settings, worker_command=FAKE_WORKER)
    try:
        uvicorn.run(build_app(studio), host="127.0.0.1", port=int(port), log_level="warning")
    finally:
        studio.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
