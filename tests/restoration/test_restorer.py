"""Jobs of kind extras and fetch-weights, as the model process runs them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from tests.heard import Heard
from tests.restoration.test_faces import Found, Inverted, face_at
from webui.errors import CheckpointNotFoundError, LibraryError, ParamsError
from webui.library.faces import FoundFaces
from webui.library.inputs import Inputs
from webui.model_process import restorer
from webui.model_process.restorer import ExtrasRun, JobWeights, run_fetch
from webui.params import Extras, FetchWeights, build, from_json
from webui.pictures import read_infotext
from webui.restoration.networks import Shelf
from webui.restoration.pixels import encode_deep, read_pixels


class Asked:
    def __init__(self, sent: Heard | None = None, stop_after_pictures: int | None = None) -> None:
        self._sent, self._after = sent, stop_after_pictures

    @property
    def interrupted(self) -> bool:
        if self._sent is None or self._after is None:
            return False
        return len(self._sent.of("image")) >= self._after

    @property
    def should_stop(self) -> bool:
        return self.interrupted

    def clear_skip(self) -> None:
        pass


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path / "inputs")


class Jobs:
    """Runs extras jobs on kept inputs with real small upscalers."""

    def __init__(self, inputs: Inputs, files: dict[str, dict[str, str]]) -> None:
        self.inputs = inputs
        self.files = files
        self.sent = Heard()

    def run(self, images: list[str], have: tuple[int, ...] = (), **values: Any) -> dict[str, Any]:
        stop_after = values.pop("stop_after", None)
        params = build("extras", {"images": images, **values})
        assert isinstance(params, Extras)
        message = {"job": 5, "inputs": {k: str(self.inputs.path(k)) for k in params.input_keys}}
        weights = JobWeights(self.files, Shelf(torch.device("cpu")))
        asked = Asked(self.sent, stop_after)
        run = ExtrasRun(params, message, weights, self.sent, asked)  # type: ignore[arg-type]
        return run.run(have)

    def pictures(self) -> list[Image.Image]:
        return [Image.open(io.BytesIO(m["image"])) for m in self.sent.of("image")]


@pytest.fixture
def jobs(inputs: Inputs, saved: Callable[..., Path]) -> Jobs:
    files = {"Small 2x": str(saved("compact")), "R-ESRGAN General 4xV3": str(saved("compact4"))}
    return Jobs(inputs, {"upscaler": files})


def png(image: Image.Image, **text: str) -> bytes:
    out, info = io.BytesIO(), PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    image.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def test_job_when_run_then_picture_recipe_and_progress_come(jobs: Jobs) -> None:
    key = jobs.inputs.keep(png(Image.new("RGB", (40, 30), (90, 120, 30))))
    result = jobs.run([key], upscaler_1="Small 2x", upscaling_resize=3, names=["grandma.jpg"])
    (picture,), (message,) = jobs.pictures(), jobs.sent.of("image")
    assert picture.size == (120, 90)
    assert message["facts"] == {"basename": "grandma"}
    expected = "Postprocess upscale by: 3, Postprocess upscaler: Small 2x"
    assert message["infotext"] == read_infotext(message["image"])[0] == expected
    assert result["extra_generation_params"]["Postprocess upscaler"] == "Small 2x"
    stages = {m["stage"] for m in jobs.sent.of("progress")}
    assert {"reading", "upscaling"} <= stages


def test_job_when_the_input_has_a_recipe_then_it_is_kept_and_goes_on(jobs: Jobs) -> None:
    old = "a cat\nSteps: 20, Sampler: Euler, Seed: 3, Size: 8x8"
    key = jobs.inputs.keep(png(Image.new("RGB", (8, 8)), parameters=old, Comment="mine"))
    jobs.run([key], upscaler_1="Lanczos")
    infotext, others = read_infotext(jobs.sent.of("image")[0]["image"])
    assert infotext == f"{old}, Postprocess upscale by: 2, Postprocess upscaler: Lanczos"
    assert others["Comment"] == "mine"


def test_job_when_many_pictures_then_stopping_keeps_what_is_finished(jobs: Jobs) -> None:
    keys = [jobs.inputs.keep(png(Image.new("RGB", (8, 8), (i, 0, 0)))) for i in range(4)]
    result = jobs.run(keys, upscaler_1="Small 2x", stop_after=2)
    assert [m["index"] for m in jobs.sent.of("image")] == [0, 1]
    assert result["interrupted"]


def broken(jobs: Jobs, data: bytes) -> str:
    """A file that was whole when it was kept and is not any more."""
    key = jobs.inputs.keep(png(Image.new("RGB", (8, 8), (len(data) % 256, 9, 7))))
    jobs.inputs.path(key).write_bytes(data)
    return key


def bad_files() -> dict[str, bytes]:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(whole, "JPEG")
    wide = io.BytesIO()
    Image.new("1", (20_000, 9_000)).save(wide, "PNG")
    return {
        "text": b"no picture at all",
        "empty": b"",
        "cut": whole.getvalue()[:600],
        "wide": wide.getvalue(),
    }


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "wide"])
def test_batch_when_one_picture_is_bad_then_the_others_are_made_and_it_is_named(
    jobs: Jobs, kind: str
) -> None:
    good = [jobs.inputs.keep(png(Image.new("RGB", (8, 8), (i, 0, 0)))) for i in range(2)]
    keys = [good[0], broken(jobs, bad_files()[kind]), good[1]]
    names = ["first.png", "grandfather.jpg", "last.png"]
    result = jobs.run(keys, names=names, upscaler_1="Nearest", skips_bad=True)
    assert [m["index"] for m in jobs.sent.of("image")] == [0, 2]
    (warning,) = jobs.sent.of("warning")
    assert warning["message"].startswith("grandfather: Left out. ")
    assert result["extra_generation_params"]["Postprocess upscaler"] == "Nearest"


def test_batch_when_one_result_would_be_too_large_then_only_that_one_is_left_out(
    jobs: Jobs,
) -> None:
    small = jobs.inputs.keep(png(Image.new("RGB", (8, 8))))
    wide = jobs.inputs.keep(png(Image.new("L", (20_000, 600))))
    jobs.run([wide, small], upscaler_1="Nearest", upscaling_resize=16, skips_bad=True)
    assert [m["index"] for m in jobs.sent.of("image")] == [1]
    (warning,) = jobs.sent.of("warning")
    assert warning["message"].startswith("Picture 1: Left out. ")
    assert "320000x9600" in warning["message"] and "smaller factor" in warning["message"]


@pytest.mark.parametrize(
    "err", [MemoryError("no memory"), RuntimeError("not enough memory"), OSError("a bad disk")]
)
def test_batch_when_a_library_fails_on_one_picture_then_it_is_named_with_an_id(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, err: Exception
) -> None:
    keys = [jobs.inputs.keep(png(Image.new("RGB", (8, 8), (i, 0, 0)))) for i in range(2)]
    original = restorer.restore

    def fails(pixels: np.ndarray, *args: Any, **more: Any) -> Any:
        if pixels[0, 0, 0] == 0:
            raise err
        return original(pixels, *args, **more)

    monkeypatch.setattr(restorer, "restore", fails)
    jobs.run(keys, upscaler_1="Nearest", skips_bad=True)
    assert [m["index"] for m in jobs.sent.of("image")] == [1]
    (warning,) = jobs.sent.of("warning")
    number = warning["message"].rpartition(" ")[2].rstrip(").")
    assert str(err) in warning["message"] and number in caplog.text


def test_batch_when_all_pictures_are_bad_then_the_job_fails_with_the_first_reason(
    jobs: Jobs,
) -> None:
    keys = [broken(jobs, b"no picture"), broken(jobs, b"no picture either")]
    with pytest.raises(LibraryError):
        jobs.run(keys, upscaler_1="Nearest", skips_bad=True)


@pytest.mark.parametrize("skips_bad", [False, True])
def test_batch_when_a_single_or_unforgiving_job_has_a_bad_picture_then_it_fails(
    jobs: Jobs, skips_bad: bool
) -> None:
    keys = [broken(jobs, b"no picture")]
    if not skips_bad:
        keys.append(jobs.inputs.keep(png(Image.new("RGB", (8, 8)))))
    with pytest.raises(LibraryError):
        jobs.run(keys, upscaler_1="Nearest", skips_bad=skips_bad)
    assert jobs.sent.of("image") == []


def test_batch_when_weights_are_missing_then_it_fails_as_a_whole(jobs: Jobs) -> None:
    keys = [jobs.inputs.keep(png(Image.new("RGB", (8, 8), (i, 0, 0)))) for i in range(2)]
    with pytest.raises(CheckpointNotFoundError):
        jobs.run(keys, upscaler_1="R-ESRGAN 4x+", skips_bad=True)
    assert jobs.sent.of("warning") == []


def test_job_when_taken_up_again_then_makes_only_what_is_missing(jobs: Jobs) -> None:
    keys = [jobs.inputs.keep(png(Image.new("RGB", (8, 8), (i, 0, 0)))) for i in range(3)]
    jobs.run(keys, have=(0, 2), upscaler_1="Nearest")
    assert [m["index"] for m in jobs.sent.of("image")] == [1]


def test_job_when_sixteen_bits_come_in_then_sixteen_go_out(jobs: Jobs) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 24, 3), np.uint16)
    key = jobs.inputs.keep(encode_deep(deep, None))
    jobs.run([key], upscaler_1="Small 2x")
    data = jobs.sent.of("image")[0]["image"]
    assert read_pixels(data).dtype == np.uint16
    assert read_pixels(data).shape == (40, 48, 3)
    assert "Small 2x" in (read_infotext(data)[0] or "")


@pytest.mark.parametrize("image_format", ["jpg", "webp"])
def test_job_when_another_format_is_chosen_then_is_written_so(
    image_format: str, jobs: Jobs
) -> None:
    key = jobs.inputs.keep(png(Image.new("RGBA", (8, 8), (9, 9, 9, 50))))
    jobs.run([key], upscaler_1="Small 2x", output={"format": image_format})
    assert jobs.pictures()[0].format == {"jpg": "JPEG", "webp": "WEBP"}[image_format]


def test_nearest_when_enlarging_then_repeats_pixels(jobs: Jobs) -> None:
    image = Image.fromarray(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
    jobs.run([jobs.inputs.keep(png(image))], upscaler_1="Nearest", upscaling_resize=2)
    assert np.asarray(jobs.pictures()[0])[..., 0].tolist() == [[0, 0, 255, 255]] * 2


def test_upscaler_when_unknown_then_lists_what_is_there(jobs: Jobs) -> None:
    key = jobs.inputs.keep(png(Image.new("RGB", (8, 8))))
    with pytest.raises(ParamsError, match="could not find upscaler named X") as caught:
        jobs.run([key], upscaler_1="X")
    assert "Small 2x" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "file"),
    [
        ({"upscaler_1": "R-ESRGAN 4x+"}, "RealESRGAN_x4plus.pth"),
        ({"gfpgan_visibility": 1}, "GFPGANv1.4.pth"),
        ({"codeformer_visibility": 1}, "codeformer-v0.1.0.pth"),
        ({"upscaler_1": "R-ESRGAN General 4xV3", "upscaler_denoising": 0.5}, "wdn"),
    ],
)
def test_weights_when_missing_then_the_file_is_named_and_nothing_else_is_taken(
    values: dict[str, Any], file: str, jobs: Jobs
) -> None:
    key = jobs.inputs.keep(png(Image.new("RGB", (8, 8))))
    with pytest.raises(CheckpointNotFoundError, match=file):
        jobs.run([key], **values)
    assert jobs.sent.of("image") == []


def test_gfpgan_when_several_versions_are_there_then_the_newest_is_taken_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restorer, "load_restorer", lambda name, *_, **__: name)
    files = {"face": {"GFPGAN v1.2": "a", "GFPGAN v1.3": "b"}}
    weights = JobWeights(files, Shelf(torch.device("cpu")))
    assert weights.restorer("GFPGAN", 0.5) == "GFPGAN v1.3"
    assert weights.gfpgan == "GFPGAN v1.3"
    assert weights.restorer("GFPGAN v1.2", 0.5) == "GFPGAN v1.2"
    with pytest.raises(CheckpointNotFoundError):
        weights.restorer("GFPGAN v1.4", 0.5)


def test_faces_when_found_then_crops_and_distances_come_and_refused_ones_are_marked(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found(160, [face_at(40, 60, 60), face_at(120, 60, 60)])
    monkeypatch.setattr(JobWeights, "detector", lambda self: found)
    monkeypatch.setattr(JobWeights, "restorer", lambda self, name, weight: Inverted())
    key = jobs.inputs.keep(png(Image.effect_noise((160, 120), 60).convert("RGB")))
    jobs.run([key], gfpgan_visibility=1, refused_faces=[{"face": 1}])
    (message,) = jobs.sent.of("faces")
    assert [f["is_pasted"] for f in message["faces"]] == [True, False]
    assert all(0 <= f["distance"] <= 1 for f in message["faces"])
    kept = FoundFaces(jobs.inputs.path(key).parent.parent.parent / "faces", jobs.inputs)
    kept.keep(5, message["index"], message["faces"])
    kept.keep(5, message["index"], message["faces"])  # a job taken up again
    first, second = kept.of(5)
    assert (first.number, second.is_pasted) == (0, False)
    assert jobs.inputs.image(first.before).size == (256, 256)
    assert kept.of(6) == []


def test_input_when_missing_then_says_so(jobs: Jobs) -> None:
    params = build("extras", {"images": ["b" * 64]})
    weights = JobWeights({}, Shelf(torch.device("cpu")))
    run = ExtrasRun(params, {"job": 1}, weights, jobs.sent, Asked())  # type: ignore[arg-type]
    with pytest.raises(LibraryError, match="input picture of this job is missing"):
        run.run()


def test_fetch_when_run_then_tells_progress_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(names: Any, models: Path, cache: Path, progress: Any) -> list[Path]:
        for step in (1, 1, 2):
            progress.step(step, 2)
        assert not progress.is_interrupted()
        return [models / name for name in names]

    monkeypatch.setattr(restorer, "fetch_first_minute", fetch)
    params = build("fetch-weights", {"names": ["CenterFace"]})
    assert isinstance(params, FetchWeights)
    sent = Heard()
    folders = {"models": str(tmp_path), "cache": str(tmp_path)}
    result = run_fetch(params, {"job": 1, "fetch": folders}, sent, Asked())  # type: ignore[arg-type]
    assert result["files"] == [str(tmp_path / "CenterFace")]
    assert [m["step"] for m in sent.of("progress")] == [1, 2]


def test_params_when_stored_then_come_back_equal() -> None:
    params = build("extras", {"images": ["c" * 64], "refused_faces": [{"face": 3}]})
    assert from_json(params.to_json()) == params
    assert json.loads(params.to_json())["kind"] == "extras"


@pytest.mark.parametrize(
    "values",
    [
        {"images": []},
        {"images": ["x"]},
        {"images": ["a" * 64], "upscaling_resize": 0},
        {"images": ["a" * 64], "gfpgan_visibility": 1.1},
        {"images": ["a" * 64, "b" * 64], "names": ["one"]},
        {"images": ["a" * 64, "b" * 64], "scratch_mask": "c" * 64},
    ],
)
def test_params_when_out_of_range_then_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ParamsError):
        build("extras", values)
