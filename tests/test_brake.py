"""Who guesses passwords has to wait; who does not, has not."""

from __future__ import annotations

import pytest

from webui import brake as brake_module
from webui.brake import Brake


def test_brake_when_time_goes_by_lets_go() -> None:
    now = [1000.0]
    brake = Brake(clock=lambda: now[0])
    for _ in range(5):
        assert brake.wait_seconds("a") == 0
        brake.note_failure("a")

    assert brake.wait_seconds("a") == 10 and brake.wait_seconds("b") == 0
    now[0] += 10
    assert brake.wait_seconds("a") == 0
    brake.note_failure("a")
    assert brake.wait_seconds("a") == 10
    now[0] += 61
    brake.note_failure("a")
    assert brake.wait_seconds("a") == 0


def test_brake_when_one_was_right_forgives_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right password takes back its own note, never a stranger's guess."""
    monkeypatch.setattr(brake_module, "MAX_TOTAL_FAILURES", 12)
    brake = Brake(clock=lambda: 1000.0)
    for number in range(12):
        brake.note_failure(f"10.0.0.{number}")
    assert brake.wait_seconds("b") == 2
    brake.note_failure("home")
    brake.forgive("home")

    assert brake.wait_seconds("b") == 2


def test_brake_when_peers_are_many_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brake_module, "MAX_PEERS", 3)
    brake = Brake()
    for peer in "abcd":
        for _ in range(5):
            brake.note_failure(peer)

    assert [brake.wait_seconds(peer) > 0 for peer in "abcd"] == [False, True, True, True]
