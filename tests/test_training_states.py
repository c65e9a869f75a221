"""States that stopped trainings left: the newest stay, and all that a training needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from webui.params import TrainingOptions, TrainLora
from webui.services.training.jobs import states_folder
from webui.services.training.states import state_left, state_place
from webui.settings import read_settings
from webui.studio import Studio
from webui.training.steps import STATE_FACTS


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(read_settings(["--data-dir", str(tmp_path / "数据")], environ={}))
    yield made
    made.stop()


def _folder(studio: Studio) -> Path:
    return states_folder(studio.settings.folders)


def _state(studio: Studio, job: int, age: int, ending: str = "") -> Path:
    place = state_place(_folder(studio), job)
    place = place.with_name(place.name + ending)
    place.mkdir(parents=True)
    (place / STATE_FACTS).write_text("{}")
    os.utime(place, (1_000_000 - age, 1_000_000 - age))
    return place


def _training(studio: Studio, **options: str) -> int:
    return studio.submit(TrainLora(options=TrainingOptions(output_name="me", **options))).id


def test_states_when_many_then_the_newest_stay_and_each_that_is_needed(studio: Studio) -> None:
    waiting, paused, ended = (_training(studio) for _ in range(3))
    studio.control.pause_job(paused)
    studio.control.cancel(ended)
    old = {job: _state(studio, job, age=500) for job in (waiting, paused, ended)}
    others = [_state(studio, 100 + age, age) for age in range(5)]
    drafted = _state(studio, 200, age=600)
    resumed = _state(studio, 201, age=600)
    studio.drafts.save("me", "train", {"changes": f'{{"resume": "{drafted}"}}'})
    _training(studio, resume=str(resumed))
    (_folder(studio) / "latents").mkdir()
    (_folder(studio) / "job-7").write_text("no folder")

    assert studio.tidying.trainings() == 3

    assert [path.exists() for path in others] == [True, True, True, False, False]
    assert old[waiting].exists() and old[paused].exists() and not old[ended].exists()
    assert drafted.exists() and resumed.exists()
    assert (_folder(studio) / "latents").is_dir() and (_folder(studio) / "job-7").is_file()


def test_states_when_none_shall_be_kept_then_older_and_half_written_ones_go_too(
    studio: Studio,
) -> None:
    studio.options.set("training_states_kept", 0)
    paths = [_state(studio, 9, 1), _state(studio, 9, 2, ".old"), _state(studio, 9, 3, ".77.part")]
    assert studio.tidying.trainings() == 1
    assert not any(path.exists() for path in paths)


def test_state_when_a_training_left_one_then_it_is_found_even_the_older(studio: Studio) -> None:
    assert state_left(_folder(studio), 4) is None
    older = _state(studio, 4, 1, ".old")
    assert state_left(_folder(studio), 4) == older
    newer = _state(studio, 4, 1)
    assert state_left(_folder(studio), 4) == newer
    (newer / STATE_FACTS).unlink()
    assert state_left(_folder(studio), 4) == older


def test_states_when_the_studio_tidies_then_they_are_too(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.options.set("training_states_kept", 0)
    state = _state(studio, 3, 1)
    waits = iter([False, True])  # one round, then the studio closes
    monkeypatch.setattr(studio._closing, "wait", lambda _: next(waits))
    studio.tidying.run()
    assert not state.exists()
