"""Devices and number formats."""

from __future__ import annotations

import pytest
import torch

from webui.checkpoints import precision
from webui.checkpoints.precision import choose_device, choose_dtypes, has_quick_half
from webui.errors import SettingsError

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32


@pytest.fixture
def some_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that torch sees two ordinary NVIDIA cards."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA GeForce RTX 3060")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 6))


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({}, (HALF, HALF)),
        ({"no_half": True}, (FULL, FULL)),
        ({"no_half_vae": True}, (HALF, FULL)),
        ({"bf16": True}, (BRAIN, BRAIN)),
        ({"bf16": True, "no_half_vae": True}, (BRAIN, FULL)),
    ],
)
def test_dtypes_on_a_gpu(flags: dict[str, bool], wanted: object, some_gpus: None) -> None:
    assert choose_dtypes(CUDA, **flags) == wanted


def test_dtypes_on_the_cpu_are_full_unless_bfloat16_is_asked_for() -> None:
    assert choose_dtypes(CPU) == (FULL, FULL)
    assert choose_dtypes(CPU, bf16=True) == (BRAIN, BRAIN)
    assert choose_dtypes(torch.device("mps")) == (FULL, FULL)


def test_card_with_broken_half_precision_gets_full(
    some_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA GeForce GTX 1660 Ti")
    assert choose_dtypes(CUDA) == (FULL, FULL)


def test_half_is_quick_only_where_the_device_is_known_to_stand_it(
    some_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert has_quick_half(CUDA) and not has_quick_half(torch.device("mps"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA GeForce GTX 1660 Ti")
    assert not has_quick_half(CUDA)

    for answer in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda answer=answer: answer)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert has_quick_half(CPU) is answer


def test_old_card_without_bfloat16_falls_back_to_half(
    some_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    assert choose_dtypes(CUDA, bf16=True) == (HALF, HALF)


def test_device_is_the_best_unless_asked(some_gpus: None) -> None:
    assert choose_device() == torch.device("cuda", 0)
    assert choose_device("cpu") == CPU
    assert choose_device("cuda", 1) == choose_device("gpu:1") == torch.device("cuda", 1)


def test_cpu_is_chosen_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "device_count", lambda kind: int(kind == "cpu"))
    assert choose_device() == CPU
    with pytest.raises(SettingsError, match="sees none"):
        choose_device("cuda")


def test_impossible_devices_are_refused(some_gpus: None) -> None:
    with pytest.raises(SettingsError, match="there are 2"):
        choose_device("cuda", 5)
    with pytest.raises(SettingsError, match="'tpu' is not known"):
        choose_device("tpu")
