"""What is said of faces in training pictures, and the cut that is suggested."""

from __future__ import annotations

import pytest

from webui.training.face_crops import Box, around, suggest


@pytest.mark.parametrize(
    ("faces", "code"),
    [
        ([], "none"),
        ([(260, 120, 380, 280)], "good"),
        ([(300, 200, 340, 260)], "far"),
        ([(10, 120, 130, 280)], "off_centre"),
        ([(260, 120, 380, 280), (10, 120, 60, 180)], "several"),
    ],
)
def test_picture_when_judged_by_its_faces_then_says_what_could_be_better(
    faces: list[Box], code: str
) -> None:
    found = suggest((640, 480), faces)
    assert found.code == code
    assert (found.cut is None) == (code in ("none", "good"))


@pytest.mark.parametrize("face", [(0, 0, 40, 50), (600, 440, 640, 480), (300, 200, 340, 250)])
def test_cut_when_made_then_is_a_square_inside_that_holds_the_face(face: Box) -> None:
    left, top, right, bottom = around((640, 480), face)
    assert right - left == bottom - top > face[3] - face[1]
    assert 0 <= left <= face[0] and face[2] <= right <= 640
    assert 0 <= top <= face[1] and face[3] <= bottom <= 480


def test_cut_when_the_face_fills_the_picture_then_is_as_large_as_it() -> None:
    assert around((300, 400), (20, 20, 280, 380)) == (0, 74, 300, 374)
