"""Short memory: real control flow over networks that refuse what is larger than a pretend limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from webui.errors import DeviceMemoryError
from webui.params import Hires
from webui.pipelines import memory_ladder
from webui.pipelines.encoding import Encoding
from webui.pipelines.memory_ladder import (
    ONE_AFTER_ANOTHER,
    OTHERS_ASIDE,
    VAE_IN_TILES,
    LadderCall,
    NothingHelped,
    Rung,
    climb,
)
from webui.torch_setup import is_out_of_memory


def pixels(picture: Any) -> np.ndarray:
    return np.asarray(picture.image, dtype=int)


@pytest.fixture
def limit(starter: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[int, ...]]]:
    """Have a network refuse inputs of more numbers than it may take; returns what it was asked."""

    def set_limit(network: str, numbers: int, error: Exception | None = None) -> Any:
        part = getattr(starter, network) if network == "unet" else starter.vae.decoder
        real, asked = part.forward, []

        def refusing(values: torch.Tensor, *args: Any, **more: Any) -> Any:
            asked.append(tuple(values.shape))
            if values.numel() > numbers:
                raise error or torch.OutOfMemoryError("pretended")
            return real(values, *args, **more)

        monkeypatch.setattr(part, "forward", refusing)
        return asked

    return set_limit


def test_network_when_two_samples_are_too_many_takes_one_after_another(
    painted: Any, limit: Any
) -> None:
    plain = painted()
    asked = limit("unet", 4 * 8 * 8)
    ear = painted()

    assert np.abs(pixels(ear.pictures[0]) - pixels(plain.pictures[0])).max() <= 1
    assert len(ear.warnings) == 1 and ONE_AFTER_ANOTHER in ear.warnings[0]
    assert [shape[0] for shape in asked] == [2, *[1] * 8]  # tried once, then remembered


def test_rung_when_it_worked_is_where_the_next_job_of_that_size_begins(
    painted: Any, limit: Any
) -> None:
    limit("unet", 4 * 8 * 8)
    painted()
    asked = limit("unet", 4 * 8 * 8)
    again = painted()
    assert again.warnings == [] and {shape[0] for shape in asked} == {1}


def test_vae_when_the_whole_is_too_large_goes_in_tiles_without_sampling_again(
    painted: Any, limit: Any
) -> None:
    plain = painted()
    limit("vae", 0)
    ear = painted()

    assert np.abs(pixels(ear.pictures[0]) - pixels(plain.pictures[0])).max() <= 1
    assert len(ear.warnings) == 1 and VAE_IN_TILES in ear.warnings[0]
    assert [step for _, step, stage in ear.steps if stage == "sampling"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:116] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
    ids=["python", "linux", "windows"],
)
def test_vae_when_main_memory_is_short_goes_in_tiles_too(
    painted: Any, limit: Any, error: Exception
) -> None:
    limit("vae", 0, error)

    assert VAE_IN_TILES in painted(steps=1).warnings[0]


def test_other_errors_are_not_taken_for_short_memory(painted: Any, limit: Any) -> None:
    limit("unet", 0, RuntimeError("shapes do not fit"))

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        painted()
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    "told",
    [
        "MPS backend out of memory (MPS allocated: 5.9 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.",
    ],
)
def test_short_memory_when_a_plain_error_tells_of_it_is_known(told: str) -> None:
    assert is_out_of_memory(RuntimeError(told))


def test_batch_when_only_one_picture_fits_is_painted_in_smaller_groups_and_remembered(
    painted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.pipelines import painting

    apart = [pixels(painted(seed=1 + i).pictures[0]) for i in range(4)]
    real, sizes = painting.sample, []

    def fits_one(sampler: str, denoiser: Any, first: torch.Tensor, *args: Any, **more: Any) -> Any:
        sizes.append(first.shape[0])
        if first.shape[0] > 1:
            raise torch.OutOfMemoryError("pretended")
        return real(sampler, denoiser, first, *args, **more)

    monkeypatch.setattr(painting, "sample", fits_one)
    ear = painted(batch_size=4)

    assert [p.index for p in ear.pictures] == [0, 1, 2, 3]
    assert all(np.array_equal(a, pixels(b)) for a, b in zip(apart, ear.pictures, strict=True))
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert len(ear.warnings) == 1 and "smaller groups (of 1)" in ear.warnings[0]
    sizes.clear()
    assert painted(batch_size=4).warnings == [] and sizes == [1] * 4


def test_nothing_helped_when_even_one_sample_is_too_large_names_what_was_tried(
    painted: Any, limit: Any
) -> None:
    limit("unet", 0)

    with pytest.raises(DeviceMemoryError, match=rf"64x64.*Tried in vain: {ONE_AFTER_ANOTHER}") as e:
        painted(batch_size=2)
    assert e.value.tried == [ONE_AFTER_ANOTHER] and e.value.free_bytes > 0


def test_second_pass_when_it_is_too_large_climbs_for_itself(painted: Any, limit: Any) -> None:
    asked = limit("unet", 4 * 16 * 16)  # two samples of the first pass, one of the second
    ear = painted(hires=Hires(steps=2, denoising_strength=0.5))

    assert ear.pictures[0].image.size == (128, 128) and len(ear.warnings) == 1
    assert asked.count((2, 4, 8, 8)) == 4 and asked.count((1, 4, 8, 8)) == 0
    assert asked.count((2, 4, 16, 16)) == 1 and asked.count((1, 4, 16, 16)) == 4


def test_rungs_on_a_device_end_with_the_other_networks_in_main_memory() -> None:
    """No device here has a memory of its own, so the networks only note where they are sent."""

    class Network(nn.Module):
        place = "cuda"

        def to(self, place: Any) -> Any:  # type: ignore[override]
            self.place = str(place)
            return self

        def forward(self, inputs: torch.Tensor, *args: Any, **more: Any) -> Any:
            if text.place != "cpu" or vae.place != "cpu":
                raise torch.OutOfMemoryError("pretended")
            return (inputs * 2,)

    text, vae, unet = Network(), Network(), Network()
    model: Any = SimpleNamespace(
        device=torch.device("cuda:0"), text_encoder=text, vae=vae, unet=unet, extras={},
        parts={"text_encoder": text, "unet": unet, "vae": vae},
    )  # fmt: skip
    warnings: list[str] = []

    output = LadderCall(warnings.append)(
        model, torch.ones(2, 4, 2, 2), torch.zeros(2), Encoding(torch.zeros(2, 77, 8)), lambda: None
    )

    assert bool((output == 2).all()) and unet.place == "cuda"
    assert OTHERS_ASIDE in warnings[0]


def test_climb_holds_nothing_of_a_failed_attempt() -> None:
    import weakref

    class Large:
        pass

    left: list[weakref.ref[Large]] = []

    def too_large() -> str:
        large = Large()
        left.append(weakref.ref(large))
        raise torch.OutOfMemoryError("pretended")

    def fits() -> str:
        assert left[0]() is None
        return "done"

    model: Any = SimpleNamespace(extras={})
    assert climb(model, "x", 1, [Rung("", too_large), Rung("b", fits)], print) == "done"
    with pytest.raises(NothingHelped) as nothing:
        climb(model, "y", 1, [Rung("", too_large), Rung("b", too_large)], print)
    assert nothing.value.tried == ("b",)


def test_what_a_model_needed_is_known_when_it_is_loaded_again() -> None:
    def full() -> str:
        raise torch.OutOfMemoryError("pretended")

    kept: dict[Any, Any] = {}
    rungs = [Rung("", full), Rung("b", lambda: "done")]
    for warned in (1, 0):  # the same file, loaded twice
        model: Any = SimpleNamespace(extras={})
        memory_ladder.learn_into(model, kept)
        warnings: list[str] = []
        climb(model, "x", 1, rungs, warnings.append)
        assert len(warnings) == warned


def test_container_limit_is_what_is_left_of_it(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200\n")
    assert memory_ladder._container_limit(tmp_path) == 500

    (tmp_path / "memory.max").write_text("max\n")
    assert memory_ladder._container_limit(tmp_path) is None
    assert memory_ladder._container_limit(tmp_path / "none") is None
