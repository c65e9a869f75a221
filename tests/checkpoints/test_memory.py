"""The byte budgets of everything loaded, and who goes first."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from webui.checkpoints import memory as memory_module
from webui.checkpoints.memory import WORKING_BYTES, Budget, Bytes, Kept, Key, Machine, ModelMemory


@pytest.fixture(autouse=True)
def _nothing_to_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fakes leave nothing behind, and looking for it takes a second."""
    monkeypatch.setattr(memory_module, "give_back_memory", lambda: None)


@dataclass
class FakePart:
    """So many bytes, on the device or beside it; what it took on (``extra``) waits in RAM."""

    size: int
    is_away: bool = False
    extra: int = 0
    stays_away: bool = False

    def bytes(self) -> Bytes:
        away = self.is_away
        return Bytes(0 if away else self.size, self.extra + (self.size if away else 0))

    def wait(self) -> bool:
        was_away, self.is_away = self.is_away, True
        return not was_away

    def missing(self) -> int:
        return self.size if self.is_away and not self.stays_away else 0

    def come(self) -> None:
        self.is_away = self.stays_away and self.is_away

    def slim(self) -> bool:
        had, self.extra = self.extra > 0, 0
        return had


@dataclass
class Loads:
    """A memory of fakes, and what was loaded already at the moment of each load."""

    sizes: dict[str, int]
    memory: ModelMemory
    has_estimates: bool = True
    present: list[tuple[str, ...]] = field(default_factory=list)

    def get(self, *names: str) -> Kept:
        for name in names:
            found = self.memory.get(key(name), lambda n=name: self._load(n), self._expected(name))
        return found

    def _expected(self, name: str) -> Bytes | None:
        return Bytes(abs(self.sizes[name])) if self.has_estimates else None

    def _load(self, name: str) -> Kept:
        self.present.append(self.names())
        if self.sizes[name] < 0:
            raise RuntimeError("broken file")
        part = FakePart(self.sizes[name])
        return Kept(part, (part,))

    def names(self) -> tuple[str, ...]:
        return tuple(str(key.what) for key in self.memory.keys())  # noqa: SIM118 (no mapping)

    def needs(self, *names: str) -> None:
        self.memory.needs([key(name) for name in names])


def key(name: str) -> Key:
    return Key("checkpoint", name)


def one_budget(budget: int | None, sizes: dict[str, int]) -> Loads:
    """A machine whose device calculates in main memory."""
    return Loads(sizes, ModelMemory(Budget(device=budget)))


def test_what_is_loaded_is_the_same_object() -> None:
    loads = one_budget(100, {"a": 40})
    assert loads.get("a") is loads.get("a")
    assert key("a") in loads.memory and len(loads.present) == 1


def test_least_recently_used_goes_first() -> None:
    loads = one_budget(100, {"a": 40, "b": 40, "c": 40})
    loads.get("a", "b", "a", "c")
    assert loads.names() == ("a", "c")
    assert loads.memory.used == Bytes(device=80)


def test_room_is_made_before_loading() -> None:
    loads = one_budget(100, {"a": 40, "b": 40, "c": 90})
    loads.get("a", "b", "c")
    assert loads.present == [(), ("a",), ()]


def test_without_an_estimate_room_is_made_afterwards() -> None:
    loads = one_budget(100, {"a": 60, "b": 30, "c": 60})
    loads.has_estimates = False
    loads.get("a", "b", "c")
    assert loads.names() == ("b", "c")


def test_larger_than_the_budget_is_loaded_alone() -> None:
    loads = one_budget(100, {"a": 40, "huge": 900})
    loads.get("a", "huge")
    assert loads.names() == ("huge",)


def test_nothing_known_of_the_machine_means_one_at_a_time() -> None:
    loads = one_budget(None, {"a": 1, "b": 1})
    loads.get("a", "b")
    assert loads.names() == ("b",) and loads.present == [(), ()]


def test_failed_load_leaves_the_memory_usable() -> None:
    loads = one_budget(100, {"a": 40, "bad": -90})
    loads.get("a")
    with pytest.raises(RuntimeError, match="broken file"):
        loads.get("bad")
    assert key("bad") not in loads.memory
    assert loads.get("a")


def test_unload_drops_one_or_all() -> None:
    loads = one_budget(100, {"a": 40, "b": 40})
    loads.get("a", "b")
    assert loads.memory.unload(key("a")) and not loads.memory.unload(key("a"))
    loads.memory.unload_all()
    assert loads.memory.used == Bytes() and len(loads.memory) == 0


def test_what_was_taken_on_counts_and_goes_before_anything_is_dropped() -> None:
    loads = one_budget(100, {"a": 40, "b": 40, "c": 20})
    loads.get("a").extra = 10
    assert loads.memory.used == Bytes(40, 10)
    loads.get("b")
    loads.get("c")
    assert loads.names() == ("a", "b", "c") and loads.memory.used == Bytes(100)


def test_what_is_at_work_never_goes_and_grows_at_the_cost_of_others() -> None:
    loads = one_budget(100, {"a": 40, "vae": 20, "b": 40})
    loads.get("b", "a", "vae")
    loads.memory.use(key("a"), key("vae"))
    loads.memory.make_room(Bytes(ram=10))
    assert loads.names() == ("a", "vae")
    loads.memory.make_room(Bytes(ram=900))
    assert loads.names() == ("a", "vae")


def test_what_another_works_with_stays_until_that_has_gone() -> None:
    loads = one_budget(100, {"a": 40, "b": 90})
    shared = FakePart(20)
    kept = Kept(shared, (shared,), lambda: key("a") in loads.memory)
    loads.memory.put(key("vae"), kept)
    loads.get("a")
    loads.memory.make_room(Bytes(50))
    assert loads.names() == ("vae",)
    loads.get("b")
    assert loads.names() == ("b",)


def test_what_belongs_to_another_goes_with_it_unless_it_is_in_use() -> None:
    for is_held in (False, True):
        loads = one_budget(100, {"a": 40})
        loads.get("a")
        piece = FakePart(20)
        loads.memory.put(key("vae"), Kept(piece, (piece,), lambda held=is_held: held, key("a")))
        loads.memory.unload(key("a"))
        assert loads.names() == (("vae",) if is_held else ())


def free_machine(free: int | None, budget: int | None = None) -> Loads:
    """Models a, b and c of 10 bytes each, with that much free beside what is loaded."""

    def left() -> int | None:
        return None if free is None else free - loads.memory.used.device

    machine = Machine(free_ram=left)
    loads = Loads({"a": 10, "b": 10, "c": 10}, ModelMemory(Budget(device=budget), machine))
    return loads


def get_in_turns(loads: Loads) -> int:
    """Loads that ten turns between two models take."""
    loads.needs("a", "b")
    for _ in range(10):
        loads.get("a", "b")
    return len(loads.present)


@pytest.mark.parametrize(
    ("free", "loads"),
    [(WORKING_BYTES + 20, 2), (WORKING_BYTES + 19, 20), (None, 20)],
    ids=["fit", "do not fit", "unknown"],
)
def test_models_of_one_job_stay_together_when_there_is_room(free: int | None, loads: int) -> None:
    assert get_in_turns(free_machine(free)) == loads


def test_models_of_one_job_go_by_the_budget_when_there_is_one() -> None:
    assert get_in_turns(free_machine(None, budget=20)) == 2
    assert get_in_turns(free_machine(10 * WORKING_BYTES, budget=19)) == 20


def test_models_the_next_job_does_not_need_go_first() -> None:
    loads = free_machine(None, budget=20)
    loads.get("a", "b")
    loads.needs("a", "c")
    loads.get("c")
    assert loads.names() == ("a", "c")


def test_models_the_next_job_does_not_need_go_when_it_begins_where_their_number_is_limited() -> (
    None
):
    loads = free_machine(10 * WORKING_BYTES)
    loads.memory.budget = Budget(at_most=(("checkpoint", 1),))
    get_in_turns(loads)
    loads.needs("b")
    assert loads.names() == ("b",)
    loads.needs("c")
    loads.get("c")
    assert loads.present[-1] == () and loads.names() == ("c",)


def test_idle_models_take_half_of_the_machine_at_most_and_those_at_work_all_of_it() -> None:
    machine = Machine(free_ram=lambda: 10 * WORKING_BYTES, ram_bytes=50)
    loads = Loads({"a": 10, "b": 10, "c": 10}, ModelMemory(Budget(), machine))
    loads.needs("a")
    loads.get("a")
    loads.needs("b")
    loads.get("b")
    assert loads.names() == ("a", "b")
    loads.needs("c")
    loads.get("c")
    assert loads.names() == ("b", "c")
    loads.needs("a", "b", "c")
    loads.get("a")
    assert loads.names() == ("b", "c", "a")


def card(device: int | None, ram: int | None, idle_stay: bool = True) -> Loads:
    """A machine with a card; models of two parts of 20 and 10 bytes."""
    budget = Budget(device, ram, idle_stay_on_device=idle_stay)
    machine = Machine(is_shared=False, free_device=lambda: None, free_ram=lambda: None)
    loads = Loads({}, ModelMemory(budget, machine))
    return loads


def two_parts(
    text: int = 10, unet: int = 20
) -> tuple[tuple[FakePart, FakePart], Callable[[], Kept]]:
    parts = FakePart(text), FakePart(unet)
    return parts, lambda: Kept(parts, parts)


def test_parts_leave_the_device_one_by_one_and_only_as_many_as_must() -> None:
    memory = card(70, 100).memory
    first, load = two_parts()
    memory.get(key("a"), load, Bytes(30))
    second, load = two_parts(text=10, unet=40)
    memory.get(key("b"), load, Bytes(50))
    assert [p.is_away for p in (*first, *second)] == [True, False, False, False]
    assert memory.used == Bytes(70, 10)


def test_parts_come_back_when_they_are_used_and_others_make_room() -> None:
    memory = card(50, 100).memory
    first, load = two_parts()
    memory.get(key("a"), load, Bytes(30))
    second, load = two_parts()
    memory.get(key("b"), load, Bytes(30))
    assert first[0].is_away and not first[1].is_away
    memory.get(key("a"))
    assert [p.is_away for p in (*first, *second)] == [False, False, True, False]
    assert memory.used.device <= 50 and memory.keys() == (key("b"), key("a"))


def test_parts_that_no_longer_fit_beside_the_device_are_dropped_with_their_model() -> None:
    memory = card(30, 25).memory
    for name in "abc":
        memory.get(key(name), two_parts()[1], Bytes(30))
    assert memory.keys() == (key("c"),)
    memory.budget = Budget(30, 30, idle_stay_on_device=True)
    memory.get(key("a"), two_parts()[1], Bytes(30))
    assert memory.keys() == (key("c"), key("a")) and memory.used == Bytes(30, 30)


def test_parts_that_leave_the_device_let_go_first_of_what_they_took_on() -> None:
    memory = card(30, 100).memory
    first, load = two_parts()
    memory.get(key("a"), load, Bytes(30))
    first[1].extra = 15
    memory.get(key("b"), two_parts()[1], Bytes(30))
    assert memory.used == Bytes(30, 30)


def test_idle_models_leave_the_device_at_once_unless_they_may_stay() -> None:
    for may_stay in (False, True):
        memory = card(1000, 1000, idle_stay=may_stay).memory
        first, load = two_parts()
        memory.needs([key("a")])
        memory.get(key("a"), load, Bytes(30))
        memory.needs([key("b")])
        assert [p.is_away for p in first] == [not may_stay] * 2


def test_parts_that_wait_beside_the_device_are_not_brought() -> None:
    memory = card(1000, 1000).memory
    part = FakePart(20, is_away=True, stays_away=True)
    memory.get(key("a"), lambda: Kept(part, (part,)))
    memory.get(key("a"))
    assert part.is_away and memory.used == Bytes(ram=20)


def test_what_goes_is_gone_when_its_memory_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Model:
        def __init__(self) -> None:
            self.encoder = {"works with": self}

    left: list[bool] = []

    def give_back() -> None:
        gc.collect()
        left.append(first() is not None)

    monkeypatch.setattr(memory_module, "give_back_memory", give_back)
    memory = ModelMemory(Budget(device=10))
    first = weakref.ref(memory.get(key("a"), lambda: Kept(Model(), (FakePart(6),)), Bytes(6)))
    memory.get(key("b"), lambda: Kept(Model(), (FakePart(6),)), Bytes(6))

    assert left == [False]


def test_many_turns_end_with_the_bytes_of_two() -> None:
    memory = card(60, 200).memory
    after: list[Bytes] = []
    for turn in range(20):
        memory.needs([key("ab"[turn % 2])])
        memory.get(key("ab"[turn % 2]), two_parts()[1], Bytes(30))
        after.append(memory.used)
    assert set(after[1:]) == {after[1]}
