"""The byte budget of loaded models."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checkpoints.model_files import STARTER
from webui.checkpoints.load import estimate_bytes, load_checkpoint
from webui.checkpoints.memory import WORKING_BYTES, ModelMemory


@dataclass
class Fake:
    nbytes: int


class Loader:
    """Makes fakes, and notes what was loaded at the moment of each load."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.memory: ModelMemory | None = None
        self.present: list[tuple[object, ...]] = []

    def __call__(self, key: str) -> Fake:
        assert self.memory is not None
        self.present.append(self.memory.keys())
        if self.sizes[key] < 0:
            raise RuntimeError("broken file")
        return Fake(self.sizes[key])


def memory_of(budget: int | None, sizes: dict[str, int], estimate: bool = True) -> ModelMemory:
    loader = Loader(sizes)
    memory = ModelMemory(budget, loader, (lambda k: abs(sizes[k])) if estimate else None)
    loader.memory = memory
    return memory


def loader_of(memory: ModelMemory) -> Loader:
    return memory._loader  # type: ignore[return-value]


def test_loaded_model_is_the_same_object() -> None:
    memory = memory_of(100, {"a": 40})
    assert memory.get("a") is memory.get("a")
    assert "a" in memory and len(loader_of(memory).present) == 1


def test_least_recently_used_goes_first() -> None:
    memory = memory_of(100, {"a": 40, "b": 40, "c": 40})
    memory.get("a"), memory.get("b"), memory.get("a"), memory.get("c")
    assert memory.keys() == ("a", "c")
    assert memory.used_bytes == 80


def test_room_is_made_before_loading() -> None:
    memory = memory_of(100, {"a": 40, "b": 40, "c": 90})
    for key in "abc":
        memory.get(key)
    assert loader_of(memory).present == [(), ("a",), ()]


def test_without_an_estimate_the_largest_so_far_is_assumed() -> None:
    memory = memory_of(100, {"a": 60, "b": 30, "c": 60}, estimate=False)
    for key in "abc":
        memory.get(key)
    assert loader_of(memory).present == [(), (), ("b",)]
    assert memory.keys() == ("b", "c")


def test_model_larger_than_the_budget_is_loaded_alone() -> None:
    memory = memory_of(100, {"a": 40, "huge": 900})
    memory.get("a"), memory.get("huge")
    assert memory.keys() == ("huge",)


def test_no_budget_means_one_model_at_a_time() -> None:
    memory = memory_of(None, {"a": 1, "b": 1})
    memory.get("a"), memory.get("b")
    assert memory.keys() == ("b",) and loader_of(memory).present == [(), ()]


def test_failed_load_leaves_the_memory_usable() -> None:
    memory = memory_of(100, {"a": 40, "bad": -90})
    memory.get("a")
    with pytest.raises(RuntimeError, match="broken file"):
        memory.get("bad")
    assert "bad" not in memory
    assert memory.get("a").nbytes == 40


def test_unload_drops_one_or_all() -> None:
    memory = memory_of(100, {"a": 40, "b": 40})
    memory.get("a"), memory.get("b")
    assert memory.unload("a") and not memory.unload("a")
    memory.unload_all()
    assert memory.used_bytes == 0 and len(memory) == 0


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_switching_many_times_needs_no_more_than_one_model(tmp_path: Path) -> None:
    paths = [Path(shutil.copy(STARTER, tmp_path / f"{n}.safetensors")) for n in "ab"]
    one = load_checkpoint(STARTER).nbytes
    memory = ModelMemory(int(one * 1.2), load_checkpoint, lambda p: estimate_bytes(p, _float32()))
    memory.get(paths[0])
    settled = resident_bytes()
    for number in range(1, 11):
        memory.get(paths[number % 2])
        assert len(memory) == 1
        assert resident_bytes() < settled + one * 0.5, f"switch {number}"
    memory.unload_all()
    assert resident_bytes() < settled - one * 0.5


def _float32():
    import torch

    return torch.float32


def job_memory(free: int | None, budget: int | None = None) -> ModelMemory:
    """Models a, b and c of 10 bytes each, with that much free beside what is loaded."""
    loader = Loader({"a": 10, "b": 10, "c": 10})

    def left() -> int | None:
        return None if free is None else free - memory.used_bytes

    memory = ModelMemory(budget, loader, lambda key: 10, left)
    loader.memory = memory
    return memory


def get_in_turns(memory: ModelMemory) -> int:
    """Loads that ten turns between two models take."""
    memory.needs(["a", "b"])
    for _ in range(10):
        memory.get("a"), memory.get("b")
    return len(loader_of(memory).present)


@pytest.mark.parametrize(
    ("free", "loads"),
    [(WORKING_BYTES + 20, 2), (WORKING_BYTES + 19, 20), (None, 20)],
    ids=["fit", "do not fit", "unknown"],
)
def test_models_of_one_job_stay_together_when_there_is_room(free: int | None, loads: int) -> None:
    assert get_in_turns(job_memory(free)) == loads


def test_models_of_one_job_go_by_the_budget_when_there_is_one() -> None:
    assert get_in_turns(job_memory(None, budget=20)) == 2
    assert get_in_turns(job_memory(10 * WORKING_BYTES, budget=19)) == 20


def test_models_the_next_job_does_not_need_go_when_it_begins() -> None:
    memory = job_memory(10 * WORKING_BYTES)
    get_in_turns(memory)
    memory.needs(["b"])
    assert memory.keys() == ("b",)
    memory.needs(["c"])
    memory.get("c")
    assert loader_of(memory).present[-1] == ()


def test_models_the_next_job_does_not_need_stay_within_a_budget() -> None:
    memory = job_memory(None, budget=20)
    get_in_turns(memory)
    memory.needs(["b"])
    assert memory.keys() == ("a", "b")
