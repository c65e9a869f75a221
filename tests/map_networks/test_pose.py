"""OpenPose's body: the network as published, and skeletons out of maps whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from webui.errors import CheckpointError
from webui.torch_setup import prepare_torch

prepare_torch()

from tests.map_networks.small_map_networks import write_file  # noqa: E402
from webui.map_networks.open import map_maker, open_map_network  # noqa: E402
from webui.map_networks.pose import CHANNELS, BodyPose, bodies_in, joints_in  # noqa: E402
from webui.map_networks.pose_network import BodyPoseNetwork  # noqa: E402
from webui.preprocessors.pose_drawing import COLOURS, LIMBS, Person, drawn  # noqa: E402

CPU = torch.device("cpu")
STANDING = {
    0: (50, 20), 1: (50, 40), 2: (34, 40), 3: (26, 64), 4: (22, 88), 5: (66, 40), 6: (74, 64),
    7: (78, 88), 8: (40, 92), 9: (38, 126), 10: (36, 158), 11: (60, 92), 12: (62, 126),
    13: (64, 158), 14: (45, 15), 15: (55, 15), 16: (39, 18), 17: (61, 18),
}  # fmt: skip
"""Joints of a person who looks at us, in pixels."""


def maps_of(
    *people: dict[int, tuple[int, int]], height: int = 180, width: int = 240
) -> tuple[Any, Any]:
    """What a perfect network would say: a hill at each joint, unit vectors along each limb."""
    joints, limbs = np.zeros((height, width, 19), np.float32), np.zeros((height, width, 38))
    rows, columns = np.mgrid[:height, :width]
    for person in people:
        for part, (x, y) in person.items():
            hill = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 50.0)
            joints[..., part] = np.maximum(joints[..., part], hill)
        for (first, second), channel in zip(LIMBS, CHANNELS, strict=True):
            if first in person and second in person:
                line = np.zeros((height, width), np.uint8)
                cv2.line(line, person[first], person[second], 1, 7)
                way = np.subtract(person[second], person[first]).astype(np.float32)
                limbs[line > 0, channel : channel + 2] = way / np.hypot(*way)
    return limbs.astype(np.float32), joints


def places(body: Any) -> dict[int, tuple[int, int]]:
    return {part: (round(joint.x), round(joint.y)) for part, joint in body.items()}


def moved(by: int, person: dict[int, tuple[int, int]] = STANDING) -> dict[int, tuple[int, int]]:
    return {part: (x + by, y) for part, (x, y) in person.items()}


def test_limbs_when_listed_then_their_channels_are_the_published_ones() -> None:
    """Joints counted from 1; channels from 0 in the 57 maps of which the first 19 are joints'."""
    published = {
        (2, 3): 31, (2, 6): 39, (3, 4): 33, (4, 5): 35, (6, 7): 41, (7, 8): 43, (2, 9): 19,
        (9, 10): 21, (10, 11): 23, (2, 12): 25, (12, 13): 27, (13, 14): 29, (2, 1): 47, (1, 15): 49,
        (15, 17): 53, (1, 16): 51, (16, 18): 55, (3, 17): 37, (6, 18): 45,
    }  # fmt: skip
    ours = {(first + 1, second + 1): channel + 19
            for (first, second), channel in zip(LIMBS, CHANNELS, strict=True)}  # fmt: skip
    assert ours == published


def test_body_when_maps_are_perfect_then_every_joint_is_where_it_is() -> None:
    (found,) = bodies_in(*maps_of(STANDING))
    assert places(found) == STANDING


def test_bodies_when_two_stand_together_then_no_limb_is_another_s() -> None:
    second = moved(90)
    found = bodies_in(*maps_of(STANDING, second))
    assert sorted(places(body)[0][0] for body in found) == [50, 140]
    assert {tuple(sorted(places(body).items())) for body in found} == {
        tuple(sorted(STANDING.items())), tuple(sorted(second.items())),
    }  # fmt: skip


def test_body_when_a_part_is_hidden_then_the_rest_is_found() -> None:
    seen = {part: place for part, place in STANDING.items() if part not in (9, 10, 16)}
    (found,) = bodies_in(*maps_of(seen))
    assert places(found) == seen


def test_bodies_when_there_is_nobody_or_too_little_then_none() -> None:
    assert bodies_in(*maps_of()) == []
    arm = {part: STANDING[part] for part in (2, 3, 4)}
    assert bodies_in(*maps_of(arm)) == []
    limbs, joints = maps_of(STANDING)
    assert bodies_in(np.zeros_like(limbs), joints) == []  # joints alone are no body


def test_joints_when_a_hill_is_low_then_are_not_sure_enough() -> None:
    _, joints = maps_of(STANDING)
    assert len(joints_in(joints[..., 0])) == 1
    assert joints_in(joints[..., 0] * 0.1) == []


# Drawing


def test_drawing_when_a_body_is_drawn_then_joints_and_limbs_have_their_colours() -> None:
    bodies = bodies_in(*maps_of(STANDING))
    sheet = drawn([Person(body) for body in bodies], 240, 180)
    assert sheet.shape == (180, 240, 3)
    for part, (x, y) in STANDING.items():
        if part not in (14, 15, 16, 17, 0):  # those of a face overlap
            assert tuple(sheet[y, x]) == COLOURS[part], part
    arm = sheet[52, 30]  # half-way down the right upper arm: the third limb
    assert tuple(arm) == tuple(int(value * 0.6) for value in COLOURS[2])
    assert not sheet[:, 100:].any() and not sheet[170:].any()
    assert not drawn([], 8, 8).any()
    legs = {part: joint for part, joint in bodies[0].items() if part in (8, 10)}
    assert (drawn([Person(legs)], 240, 180) > 0).any(
        axis=2
    ).sum() < 200  # no limb without both ends


# The network


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """A file's tensors: names and shapes as published, numbers small enough to stay finite."""
    torch.manual_seed(0)
    state = BodyPoseNetwork().state_dict()
    return {name: torch.randn_like(tensor) * 0.01 for name, tensor in state.items()}


def test_network_when_built_then_its_tensors_are_those_of_the_published_file(
    published: dict[str, torch.Tensor],
) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in published.items()}
    assert len(shapes) == 184  # 12 + 2 · (5 + 5 · 7) convolutions, weight and bias each
    assert sum(tensor.numel() for tensor in published.values()) == 52_311_446
    assert shapes["conv4_4_CPM.weight"] == (128, 256, 3, 3)
    assert shapes["conv5_4_CPM_L1.weight"] == (512, 128, 1, 1)
    assert shapes["conv5_5_CPM_L2.weight"] == (19, 512, 1, 1)
    assert shapes["Mconv1_stage2_L1.weight"] == (128, 185, 7, 7)
    assert shapes["Mconv7_stage6_L1.weight"] == (38, 128, 1, 1)
    network = BodyPoseNetwork()
    network.load_state_dict(published)
    with torch.inference_mode():
        limbs, joints = network(torch.rand(1, 3, 16, 24) - 0.5)
    assert limbs.shape == (1, 38, 2, 3) and joints.shape == (1, 19, 2, 3)
    assert float(limbs.min()) < 0 and float(joints.min()) == 0  # cut in the last map of joints


@pytest.mark.parametrize("form", ["body_pose_model.pth", "body_pose_model.safetensors"])
def test_network_when_read_from_a_file_then_makes_maps_of_the_pictures_size(
    form: str, published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    prefix = "model0." if form.endswith("safetensors") else ""
    path = write_file(
        {prefix + name: tensor for name, tensor in published.items()}, tmp_path / form
    )
    network = open_map_network("openpose", path, CPU)
    assert isinstance(network, BodyPose)
    assert torch.equal(network.model.state_dict()["conv1_1.bias"], published["conv1_1.bias"])
    picture = np.full((30, 50, 3), 200, np.uint8)
    sizes = []
    network.model.register_forward_pre_hook(lambda module, args: sizes.append(args[0].shape))
    assert map_maker("openpose", lambda name: network)(picture).shape == (30, 50, 3)
    assert sizes == [(1, 3, 184, 312)]  # 184 high, and as wide as that makes it, in eighths


def test_skeleton_when_the_network_sees_it_then_is_drawn_where_it_is(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """The network's answers are made by hand, an eighth as large as what it works at."""
    path = write_file(published, tmp_path / "body_pose_model.pth")
    network = BodyPose(path, CPU)
    limbs, joints = maps_of(STANDING, height=184, width=240)
    small = [
        torch.from_numpy(cv2.resize(maps, (30, 23), interpolation=cv2.INTER_AREA))
        .permute(2, 0, 1)[None]
        for maps in (limbs, joints)
    ]  # fmt: skip
    network.model = lambda values: small
    (found,) = network.bodies(np.zeros((368, 480, 3), np.uint8))
    for part, (x, y) in places(found).items():
        assert np.hypot(x - 2 * STANDING[part][0], y - 2 * STANDING[part][1]) < 6, part
    assert len(found) >= 14


def test_file_when_it_is_another_then_is_refused(tmp_path: Path) -> None:
    path = write_file({"conv1_1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="body_pose_model"):
        open_map_network("openpose", path, CPU)
