"""The first picture, through the real server, worker and starter checkpoint."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.patience import PATIENCE, wait_until
from webui.pictures import read_infotext
from webui.settings import PROJECT_DIR

PAINT = {"steps": 20, "width": 128, "height": 128, "cfg_scale": 5, "sampler_name": "DPM++ 2M"}


class Server:
    """The real program on a free port and a data folder of its own."""

    def __init__(self, data: Path, port: int, has_page: bool = False) -> None:
        self.data, self.base = data, f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "app.py",
                "--port",
                str(port),
                "--data-dir",
                str(data),
                *([] if has_page else ["--nowebui"]),
            ],
            cwd=PROJECT_DIR,
            env={**os.environ, "CI": "true"},
        )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        wait_until(self._is_up, "the server did not answer")

    def _is_up(self) -> bool:
        assert self.process.poll() is None, "the server ended"
        try:
            return bool(urllib.request.urlopen(self.base + "/internal/ping", timeout=5).read())
        except OSError:
            return False

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + path, data=data, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=240) as answer:
            return json.loads(answer.read())

    def paint(self, prompt: str, seed: int, **more: Any) -> bytes:
        answer = self.ask("/sdapi/v1/txt2img", {**PAINT, "prompt": prompt, "seed": seed, **more})
        return base64.b64decode(answer["images"][0])

    def worker(self) -> psutil.Process:
        (worker,) = psutil.Process(self.process.pid).children()
        return worker

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)


def any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(data: Path, port: int, has_page: bool = False) -> Iterator[Server]:
    server = Server(data, port, has_page)
    try:
        yield server
    finally:
        server.stop()


def border_colour(png: bytes) -> np.ndarray:
    """Median colour of the outermost eight pixels, (3,) 0–255."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    edges = [pixels[:8], pixels[-8:], pixels[:, :8].swapaxes(0, 1), pixels[:, -8:].swapaxes(0, 1)]
    return np.median(np.concatenate([edge.reshape(-1, 3) for edge in edges]), axis=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("first"), any_free_port()) as server:
        yield server


def test_background_when_yellow_is_asked_is_yellow(server: Server) -> None:
    red, green, blue = border_colour(server.paint("a red apple on a yellow background", 1))

    assert red > 180 and green > 140 and blue < 120


def test_background_when_blue_is_asked_is_blue(server: Server) -> None:
    red, _, blue = border_colour(server.paint("a red apple on a blue background", 1))

    assert blue > red + 60 and blue > 120


def test_same_seed_when_worker_and_server_restart_gives_same_bytes(
    server: Server, tmp_path: Path
) -> None:
    first = server.paint("a cat on a green background", 42)
    worker = server.worker()
    worker.kill()
    worker.wait(PATIENCE)
    second = server.paint("a cat on a green background", 42)
    with running(tmp_path, any_free_port()) as other:
        third = other.paint("a cat on a green background", 42)

    assert pixels_of(first) == pixels_of(second) == pixels_of(third)
    assert first == second == third


def pixels_of(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).tobytes()


def test_picture_alone_when_seed_is_that_of_a_batch_is_the_same(server: Server) -> None:
    batch = server.ask(
        "/sdapi/v1/txt2img",
        {
            **PAINT,
            "steps": 6,
            "prompt": "a dog",
            "seed": 5,
            "batch_size": 2,
            "sampler_name": "Euler a",
        },
    )
    alone = server.paint("a dog", 6, steps=6, sampler_name="Euler a")

    together = np.asarray(Image.open(io.BytesIO(base64.b64decode(batch["images"][1]))), dtype=int)
    single = np.asarray(Image.open(io.BytesIO(alone)), dtype=int)
    assert np.abs(together - single).max() <= 2  # other batch sizes round differently


def test_saved_picture_when_asked_for_lies_in_outputs_with_its_recipe(server: Server) -> None:
    server.paint("a rocket at night", 3, save_images=True, steps=4)

    (file,) = (server.data / "outputs/txt2img-images").rglob("*.png")
    infotext, _ = read_infotext(file)
    assert file.name.endswith("-3.png")
    assert infotext is not None and infotext.startswith(
        "a rocket at night\nSteps: 4, Sampler: DPM++ 2M"
    )
    assert "Model: starter-emoji" in infotext and "Model hash: " in infotext


def test_job_when_server_is_killed_is_painted_after_restart(
    tmp_path: Path,
) -> None:
    with running(tmp_path, any_free_port()) as server:
        server.ask("/sdapi/v1/progress")
        body = {**PAINT, "prompt": "a fox", "seed": 9, "n_iter": 6, "save_images": True}
        request = urllib.request.Request(
            server.base + "/sdapi/v1/txt2img",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with pytest.raises(OSError):  # nobody waits for the answer
            urllib.request.urlopen(request, timeout=0.5)
        wait_until(lambda: len(pictures_in(tmp_path)) >= 2)
        worker = server.worker()
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(PATIENCE)
        psutil.wait_procs([worker], timeout=PATIENCE)
        assert not worker.is_running()
    before = {file: file.read_bytes() for file in pictures_in(tmp_path)}

    with running(tmp_path, any_free_port()):
        wait_until(lambda: len(pictures_in(tmp_path)) == 6)

    # the one in flight may be written anew, its recipe now naming the model's hash
    assert all(pixels_of(file.read_bytes()) == pixels_of(data) for file, data in before.items())
    seeds = sorted(int(file.stem.split("-")[1]) for file in pictures_in(tmp_path))
    assert seeds == [9, 10, 11, 12, 13, 14]


def pictures_in(data: Path) -> list[Path]:
    found = (data / "outputs/txt2img-images").rglob("*.png")
    return [file for file in found if "grid" not in file.name]
