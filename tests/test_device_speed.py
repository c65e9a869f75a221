"""The first guess of how long something takes: the device, measured."""

from __future__ import annotations

from webui.torch_setup import prepare_torch

prepare_torch(threads=1)

import pytest  # noqa: E402
import torch  # noqa: E402

from webui.model_process import device_speed  # noqa: E402


def test_speed_when_measured_is_the_work_of_the_piece_in_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = 0.25
    told: list[torch.Tensor] = []

    def timed(piece: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> float:
        (features, *_more) = piece(*inputs)
        told.append(features)
        return seconds

    monkeypatch.setattr(device_speed, "_seconds", timed)
    found = device_speed.device_speed(torch.device("cpu"), torch.float32)

    # four kernels of 3×3 over 16×16 places, of 320 and 640 channels; attention is as much again
    kernels = 2 * 9 * 16 * 16 * (320 * 640 + 3 * 640 * 640)
    assert kernels < found * seconds < 3 * kernels
    assert told[0].shape == (1, 640, 8, 8) and told[0].isfinite().all()
