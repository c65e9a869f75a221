"""What people give a restoration that is none of its kind: each gets a clear answer, as a job."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.restoration.test_faces import Found, Inverted, face_at, smooth_picture
from tests.restoration.test_restorer import Jobs, inputs, jobs, png
from webui.errors import CheckpointError, LibraryError, ParamsError, UnsafeCheckpointError
from webui.library.faces import FoundFaces
from webui.model_process.restorer import JobWeights
from webui.restoration.restore import NO_FACE

__all__ = ["inputs", "jobs"]  # fixtures

ALL_REPAIRS: dict[str, Any] = {
    "upscaler_1": "Small 2x", "gfpgan_visibility": 1, "scratch_repair": 0.5, "colour_repair": 0.5,
}  # fmt: skip


@pytest.fixture
def faces(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Found:
    """A detector that finds what a test puts into it, and a restorer that inverts faces."""
    found = Found(0, [])
    monkeypatch.setattr(JobWeights, "detector", lambda self: found)
    monkeypatch.setattr(JobWeights, "restorer", lambda self, name, weight: Inverted())
    return found


def put(found: Found, width: int, *at: Any) -> None:
    found._width, found._faces = width, list(at)


def test_no_face_when_faces_were_asked_for_then_the_picture_comes_and_that_is_told(
    jobs: Jobs, faces: Found
) -> None:
    put(faces, 40)
    key = jobs.inputs.keep(png(Image.new("RGB", (40, 30), (90, 120, 30))))
    jobs.run([key], **ALL_REPAIRS)
    assert jobs.pictures()[0].size == (80, 60)
    assert [m["message"] for m in jobs.sent.of("warning")] == [NO_FACE]


def test_200_faces_when_restored_then_all_are_told_kept_and_pasted(
    jobs: Jobs, faces: Found, tmp_path: Path
) -> None:
    places = [(20 + 38 * (i % 20), 20 + 38 * (i // 20)) for i in range(200)]
    put(faces, 800, *(face_at(x, y, 30) for x, y in places))
    picture = smooth_picture(800, 400)
    key = jobs.inputs.keep(png(Image.fromarray(picture)))
    jobs.run([key], gfpgan_visibility=1)
    (message,) = jobs.sent.of("faces")
    assert len(message["faces"]) == 200
    kept = FoundFaces(tmp_path / "faces", jobs.inputs)
    kept.keep(5, 0, message["faces"])
    assert len(kept.of(5)) == 200
    made = np.asarray(jobs.pictures()[0].convert("RGB")).astype(int)
    changed = [np.abs(made[y, x] - picture[y, x]).max() > 3 for x, y in places]
    assert sum(changed) > 190


@pytest.mark.parametrize("place", [(0, 0), (99, 40), (-20, 85), (50, 79)])
def test_face_when_cut_by_the_border_then_it_is_restored_and_shown(
    jobs: Jobs, faces: Found, place: tuple[int, int]
) -> None:
    put(faces, 100, face_at(*place, 60))
    key = jobs.inputs.keep(png(Image.fromarray(smooth_picture(100, 80))))
    jobs.run([key], gfpgan_visibility=1)
    (message,) = jobs.sent.of("faces")
    assert len(message["faces"]) == 1 and message["faces"][0]["is_pasted"]
    assert jobs.pictures()[0].size == (100, 80)


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (60, 1)])
def test_one_pixel_when_everything_is_asked_for_then_a_picture_of_twice_the_size_comes(
    jobs: Jobs, faces: Found, size: tuple[int, int]
) -> None:
    put(faces, size[0])
    key = jobs.inputs.keep(png(Image.new("RGB", size, (200, 10, 90))))
    jobs.run([key], **ALL_REPAIRS)
    assert jobs.pictures()[0].size == (size[0] * 2, size[1] * 2)


def test_20000_wide_when_restored_then_it_is_made_or_refused_with_what_to_do(
    jobs: Jobs, faces: Found
) -> None:
    put(faces, 20_000)
    key = jobs.inputs.keep(png(Image.new("RGB", (20_000, 3), (10, 120, 90))))
    jobs.run([key], upscaler_1="Lanczos", gfpgan_visibility=1, colour_repair=0.5)
    assert jobs.pictures()[0].size == (40_000, 6)
    high = jobs.inputs.keep(png(Image.new("L", (20_000, 900))))
    with pytest.raises(ParamsError, match="megapixels") as caught:
        jobs.run([high], upscaler_1="Lanczos", upscaling_resize=8)
    assert "smaller" in caught.value.hint


def test_cmyk_jpeg_when_restored_then_colours_are_those_of_the_print(jobs: Jobs) -> None:
    data = io.BytesIO()
    red = Image.new("RGB", (16, 16), (220, 30, 40))
    red.convert("CMYK").save(data, "JPEG", quality=98)
    jobs.run([jobs.inputs.keep(data.getvalue())], upscaler_1="Nearest")
    (made,) = jobs.pictures()
    assert made.mode == "RGB" and made.size == (32, 32)
    assert np.abs(np.asarray(made).mean((0, 1)) - (220, 30, 40)).max() < 12


def test_broken_jpeg_when_given_then_refused_at_the_door_and_in_the_job(jobs: Jobs) -> None:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(whole, "JPEG")
    cut = whole.getvalue()[:700]
    with pytest.raises(LibraryError, match="damaged or cut off"):
        jobs.inputs.keep(cut)
    key = jobs.inputs.keep(png(Image.new("RGB", (8, 8))))
    jobs.inputs.path(key).write_bytes(cut)
    with pytest.raises(LibraryError, match="damaged or cut off"):
        jobs.run([key], upscaler_1="Nearest")


FOREIGN: dict[str, Any] = {
    "a classifier": {"state_dict": {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}},
    "an optimiser": {"optimizer": {"state": {}, "lr": 0.1}, "epoch": 3},
    "a single tensor": torch.zeros(3),
    "a list": [torch.zeros(3)],
}


@pytest.mark.parametrize("kind", ["upscaler", "face"])
@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_pth_when_chosen_then_says_what_is_wrong_with_it(
    jobs: Jobs, tmp_path: Path, kind: str, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "foreign.pth"
    torch.save(FOREIGN[content], path)
    with pytest.raises(CheckpointError) as caught:
        run_with(jobs, kind, path, monkeypatch)
    assert path.name in caught.value.message and caught.value.hint
    assert jobs.sent.of("image") == []


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("kind", ["upscaler", "face"])
@pytest.mark.parametrize("is_zipped", [True, False])
def test_malicious_pickle_when_chosen_then_refused_and_nothing_in_it_runs(
    jobs: Jobs, tmp_path: Path, kind: str, is_zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"
    content = {"params_ema": {"conv_first.weight": Evil(marker)}}
    if is_zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    expected = UnsafeCheckpointError if is_zipped else CheckpointError
    with pytest.raises(expected) as caught:
        run_with(jobs, kind, path, monkeypatch)
    assert "evil.pth" in str(caught.value) and not marker.exists()


def run_with(jobs: Jobs, kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that needs those weights."""
    name = "foreign" if kind == "upscaler" else "GFPGAN v1.4"
    jobs.files[kind] = {name: str(path)}
    monkeypatch.setattr(JobWeights, "detector", lambda self: Found(8, []))
    key = jobs.inputs.keep(png(Image.new("RGB", (8, 8))))
    jobs.run([key], **({"upscaler_1": name} if kind == "upscaler" else {"gfpgan_visibility": 1}))
