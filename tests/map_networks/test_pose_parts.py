"""Hands and faces: where they are looked for, and out of maps whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from webui.torch_setup import prepare_torch

prepare_torch()

from webui.map_networks.open import map_maker, open_map_network  # noqa: E402
from webui.map_networks.pose_parts import (  # noqa: E402
    FacePose,
    HandPose,
    face_square,
    hand_squares,
    parts_in,
)
from webui.preprocessors.pose_drawing import (  # noqa: E402
    Person,
    Spot,
    as_json,
    drawn,
    people_in,
)

CPU = torch.device("cpu")
BODY = {
    0: Spot(100, 60), 14: Spot(90, 52), 15: Spot(110, 52), 16: Spot(80, 56), 2: Spot(70, 100),
    3: Spot(60, 140), 4: Spot(55, 180), 5: Spot(130, 100), 6: Spot(140, 140),
}  # fmt: skip
"""A left arm without its hand."""


def seeing(kind: Any, places: dict[int, tuple[float, float]], parts: int) -> Any:
    """A network that sees parts at shares of its picture, in maps an eighth as large."""
    made = kind.__new__(kind)
    made._device = CPU

    def model(values: torch.Tensor) -> torch.Tensor:
        side = values.shape[-1] // 8
        rows, columns = np.mgrid[:side, :side]
        maps = np.zeros((parts + 1, side, side), np.float32)
        for part, (x, y) in places.items():
            far = (columns + 0.5 - x * side) ** 2 + (rows + 0.5 - y * side) ** 2
            maps[part] = np.exp(-far / (side * 0.06) ** 2 / 2)
        return torch.from_numpy(maps)[None]

    made.model = model
    return made


def test_squares_when_a_body_is_known_then_lie_beyond_the_wrist_and_around_the_nose() -> None:
    hands = hand_squares(BODY, 300, 300)
    assert set(hands) == {"right"}
    left, top, side = hands["right"]
    assert side == int(1.5 * np.hypot(5, 40))  # the lower arm is as long as the upper
    assert (left + side / 2, top + side / 2) == pytest.approx((53.35, 193.2), abs=2)
    assert hand_squares(BODY, 300, 200)["right"][2] <= 200 - top  # no farther than the picture
    assert face_square(BODY, 300, 300) == (70, 30, 60)  # three times an eye's distance
    assert face_square({0: Spot(5, 5), 14: Spot(4, 5)}, 300, 300) is None  # too small
    assert face_square({14: Spot(4, 5)}, 300, 300) is None
    assert hand_squares({4: Spot(1, 1)}, 9, 9) == {}


def test_parts_when_the_network_sees_them_then_are_where_they_are() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    places = {0: (0.25, 0.75), 7: (0.5, 0.5), 20: (0.8, 0.2)}
    for kind, parts in ((HandPose, 21), (FacePose, 70)):
        found = parts_in(seeing(kind, places, parts), picture, (40, 60, 100))
        assert len(found) == parts
        seen = {n: one for n, one in enumerate(found) if one is not None}
        assert set(seen) == set(places)
        for part, (x, y) in places.items():
            assert np.hypot(seen[part].x - 40 - 100 * x, seen[part].y - 60 - 100 * y) < 5, part


def test_skeletons_when_hands_and_faces_are_asked_for_then_those_are_drawn() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    body: Any = type("", (), {"bodies": lambda self, picture: [dict(BODY)]})()
    networks = {
        "openpose": body,
        "openpose_hand": seeing(HandPose, {0: (0.4, 0.4), 1: (0.6, 0.6)}, 21),
        "openpose_face": seeing(FacePose, {3: (0.5, 0.1)}, 70),
    }

    def made(name: str) -> Any:
        return map_maker(name, networks.__getitem__)(picture)

    plain, full = made("openpose"), made("openpose_full")
    hand, face, alone = (made(f"openpose_{n}") for n in ("hand", "face", "faceonly"))
    assert (hand != plain).any() and (face != plain).any()
    assert tuple(face[37, 100]) == (255, 255, 255) == tuple(full[37, 100])
    assert {tuple(c) for c in alone.reshape(-1, 3)} == {(0, 0, 0), (255, 255, 255)}
    changed = (hand != plain).any(axis=2)
    rows, columns = np.nonzero(changed)
    left, top, side = hand_squares(BODY, 300, 300)["right"]
    assert rows.min() >= top - 4 and columns.min() >= left - 4 and rows.max() <= top + side + 4
    assert tuple(hand[int(top + 0.4 * side), int(left + 0.4 * side)]) == (0, 0, 255)


def test_people_when_told_as_json_then_are_read_again() -> None:
    people = [Person(dict(BODY), left_hand=[None, Spot(30, 60)], face=[Spot(9, 12)])]
    told = as_json(people, 200, 300)
    (person,) = told["people"]
    assert person["hand_right_keypoints_2d"] is None and told["canvas_height"] == 300
    assert (
        person["pose_keypoints_2d"][:3] == [0.5, 0.2, 1.0]
        and len(person["pose_keypoints_2d"]) == 54
    )
    again = people_in(told["people"], 200, 300)
    assert (drawn(again, 200, 300) == drawn(people, 200, 300)).all()
    pixels = people_in([{"pose_keypoints_2d": [100, 60, 0.7, 5, 5, 0]}], 200, 300)
    assert dict(pixels[0].body) == {0: Spot(100, 60)}
    with pytest.raises(ValueError, match="whole number"):
        people_in([{"pose_keypoints_2d": [1, 2]}], 9, 9)


def test_file_when_it_is_the_published_one_then_runs(tmp_path: Path) -> None:
    from tests.map_networks.small_map_networks import write_file
    from webui.map_networks.parts_network import PartsNetwork

    with torch.device("meta"):
        shapes = {n: t.shape for n, t in PartsNetwork(21).state_dict().items()}
    zeros = {f"model1_0.{n}": torch.zeros(shape) for n, shape in shapes.items()}
    path = write_file(zeros, tmp_path / "hand_pose_model.safetensors")
    network: Any = open_map_network("openpose_hand", path, CPU)
    with torch.inference_mode():
        assert network.model(torch.zeros(1, 3, 16, 24)).shape == (1, 22, 2, 3)
