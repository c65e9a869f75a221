"""What every room's tests may use. Room-specific fixtures stand in tests/<room>/conftest.py."""

from __future__ import annotations

import ctypes.util
import gc
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

if TYPE_CHECKING:
    from webui.studio import Studio

hypothesis_settings.register_profile(
    "no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("no clock")  # a busy machine makes no test fail
PROJECT = Path(__file__).resolve().parent.parent
STARTER = PROJECT / "models" / "Stable-diffusion" / "starter-emoji.safetensors"
WEIGHTS = PROJECT.parent / "shared" / "weights"
CHROMIUM_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first draws no window of its own, so that a page costs a third less."""


def find_chromium() -> str:
    """Path of the system's Chromium, or ''."""
    search = os.pathsep.join(("/usr/bin", os.environ.get("PATH", "")))
    found = (shutil.which(name, path=search) for name in CHROMIUM_NAMES)
    return next(filter(None, found), "")


@lru_cache(maxsize=1)
def has_cuda() -> bool:
    """True when torch can compute on a card. torch is imported only where a driver is present."""
    if not ctypes.util.find_library("cuda"):
        return False
    import torch

    return torch.cuda.is_available()


NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "gpu": (has_cuda, "needs a CUDA card"),
    "weights": (WEIGHTS.is_dir, f"needs the real weights in {WEIGHTS}"),
    "browser": (lambda: bool(find_chromium()), "needs Chromium (Debian: apt install chromium)"),
}


def pytest_configure() -> None:
    """Of test processes that run side by side each takes its share of the cores, before torch is
    loaded; so do the model processes that they start."""
    side_by_side = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if side_by_side > 1:
        share = max(1, (os.cpu_count() or 1) // side_by_side)
        os.environ.setdefault("OMP_NUM_THREADS", str(share))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Twelve thousand tests and what they import stay until the end: they are no garbage to search
    for, while they come or whenever a test (or a model that is unloaded) collects garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _is_page(item: pytest.Item) -> bool:
    return item.get_closest_marker("browser") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pages come first: of processes side by side each takes whole files, and these are the longest
    pieces. They have a second chance (docs/decisions/0040)."""
    items.sort(key=lambda item: not _is_page(item))
    for item in filter(_is_page, items):
        item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, and say why. CI must have a browser: there it fails."""
    for marker, (is_there, reason) in NEEDS.items():
        if item.get_closest_marker(marker) and not is_there():
            if marker == "browser" and os.environ.get("CI") == "true":
                pytest.fail(f"CI=true, and this test {reason}", pytrace=False)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return PROJECT


@pytest.fixture(scope="session")
def starter_checkpoint() -> Path:
    """The real SD 1.x checkpoint that comes with the project. Read only."""
    assert STARTER.is_file(), f"{STARTER} is part of the project"
    return STARTER


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    """Real upscaler weights; only for tests marked ``weights``."""
    return WEIGHTS


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium; only for tests marked ``browser``."""
    return find_chromium()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty folder to give as ``--data-dir``, so that nothing is written into the tree."""
    folder = tmp_path / "data-dir"
    folder.mkdir()
    return folder


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio over ``data`` in the test's own folder, with a model process that only pretends."""
    from tests.ui.serve import FAKE_WORKER
    from webui.settings import read_settings
    from webui.studio import Studio

    settings = read_settings(["--data-dir", str(tmp_path / "data")], environ={})
    made = Studio(settings, worker_command=FAKE_WORKER)
    yield made
    made.stop()


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
