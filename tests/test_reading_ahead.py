"""The next job's files are read while the present one paints, and only then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import wait_until
from webui.errors import CheckpointNotFoundError
from webui.services import reading_ahead
from webui.services.reading_ahead import CHUNK_BYTES, SPARED_BYTES, ReadingAhead
from webui.services.resolve import TextToImageRequest
from webui.studio import Studio

PLENTY = 1 << 50


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes read so far, by file name."""
    counts: dict[str, int] = {}
    real = reading_ahead._read_some

    def noting(file: Any) -> int:
        count = real(file)
        name = Path(file.name).name
        counts[name] = counts.get(name, 0) + count
        return count

    monkeypatch.setattr(reading_ahead, "_read_some", noting)
    return counts


Follow = Callable[..., ReadingAhead]


@pytest.fixture
def follow() -> Iterator[Follow]:
    made: list[ReadingAhead] = []

    def begin(next_files: Any, free: int = PLENTY) -> ReadingAhead:
        ahead = ReadingAhead(next_files, lambda: free)
        made.append(ahead)
        ahead.start()
        return ahead

    yield begin
    for ahead in made:
        ahead.stop()
        assert ahead._thread is not None and not ahead._thread.is_alive()


def big(path: Path, chunks: int = 3) -> Path:
    path.write_bytes(b"x" * (CHUNK_BYTES * chunks - 7))
    return path


def test_files_when_asked_for_are_read_whole_and_once(
    tmp_path: Path, read: dict[str, int], follow: Follow
) -> None:
    first, second = big(tmp_path / "a"), big(tmp_path / "b", 1)
    asked: list[int] = []

    def files() -> list[Path]:
        asked.append(1)
        return [first, second]

    ahead = follow(files)
    ahead.look()
    wait_until(lambda: read.get("b") == second.stat().st_size)
    ahead.look()
    wait_until(lambda: len(asked) == 2)
    ahead.stop()
    assert read == {"a": first.stat().st_size, "b": second.stat().st_size}


def test_reading_when_the_queue_changes_stops_and_goes_on_from_there(
    tmp_path: Path, read: dict[str, int], follow: Follow
) -> None:
    first, second = big(tmp_path / "a"), big(tmp_path / "b")
    wanted = [[first], [second], [first]]
    ahead: ReadingAhead | None = None

    def files() -> list[Path]:
        now = wanted.pop(0)
        if wanted and ahead is not None:
            ahead.look()  # it changes again before a byte is read
        return now

    ahead = follow(files)
    ahead.look()
    wait_until(lambda: not wanted and read.get("a") == first.stat().st_size)
    assert read.get("b", 0) == 0


@pytest.mark.parametrize("problem", ["memory", "folder", "gone", "error", "defect"])
def test_file_when_it_cannot_be_read_ahead_is_left_and_the_next_wish_is_followed(
    tmp_path: Path, read: dict[str, int], follow: Follow, problem: str
) -> None:
    file, other = big(tmp_path / "a"), big(tmp_path / "b", 1)
    (tmp_path / "folder").mkdir()
    bad: dict[str, Any] = {
        "memory": lambda: [file], "folder": lambda: [tmp_path / "folder"],
        "gone": lambda: [tmp_path / "none"], "defect": lambda: [1 / 0],
    }  # fmt: skip

    def broken() -> list[Path]:
        raise CheckpointNotFoundError("It is gone.")

    calls: list[int] = []

    def files() -> list[Path]:
        calls.append(1)
        return bad.get(problem, broken)() if len(calls) == 1 else [other]

    ahead = follow(files, other.stat().st_size + SPARED_BYTES)
    ahead.look()
    wait_until(lambda: len(calls) == 1)
    time.sleep(0.02)
    ahead.look()
    wait_until(lambda: read.get("b") == other.stat().st_size)
    assert "a" not in read


def test_file_that_cannot_be_read_does_not_keep_the_others_from_it(
    tmp_path: Path, read: dict[str, int], follow: Follow
) -> None:
    other = big(tmp_path / "other")
    follow(lambda: [tmp_path / "gone", other]).look()
    wait_until(lambda: read.get("other") == other.stat().st_size)


def test_next_job_when_another_paints_names_the_files_that_are_new(
    studio: Studio, starter_checkpoint: Path
) -> None:
    folder = studio.settings.folders.data / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    other = folder / "other.safetensors"
    other.write_bytes(starter_checkpoint.read_bytes())
    studio.refresh_models()
    one = studio.submit(TextToImageRequest(checkpoint=starter_checkpoint.name))
    prompt = "a hedgehog <lora:starter-hedgehog:1>"
    two = studio.submit(TextToImageRequest(checkpoint=other.name, prompt=prompt))
    assert studio.job_files.of_next() == ()

    studio.jobs.claim("test")
    studio.live.begin(one.id, passes=1)
    assert [path.name for path in studio.job_files.of_next()] == [
        "other.safetensors", "starter-hedgehog.safetensors",
    ]  # fmt: skip
    studio.control.cancel(two.id)
    assert studio.job_files.of_next() == ()
