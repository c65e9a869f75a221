from __future__ import annotations

import subprocess
import sys

import pytest

from webui.samplers.names import (
    AUTOMATIC,
    BUILT_IN_UNIFORM,
    SAMPLERS,
    SCHEDULES,
    Resolved,
    effective_schedule,
    find_sampler,
    find_schedule,
    model_calls_per_step,
    resolve_sampler,
)


def test_samplers_are_listed_in_the_familiar_order() -> None:
    assert [s.name for s in SAMPLERS] == [
        "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a",
        "DPM++ 3M SDE", "Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM fast",
        "DPM adaptive", "Restart", "DDIM", "DDIM CFG++", "PLMS", "UniPC", "LCM",
    ]  # fmt: skip


def test_schedules_are_listed_in_the_familiar_order() -> None:
    assert [s.name for s in SCHEDULES] == [
        "automatic", "uniform", "karras", "exponential", "polyexponential", "sgm_uniform",
        "kl_optimal", "align_your_steps", "simple", "normal", "ddim", "beta",
    ]  # fmt: skip


def test_no_name_or_alias_means_two_samplers() -> None:
    words = [word.lower() for s in SAMPLERS for word in {s.name, *s.aliases}]
    # "DDIM" and "PLMS" are their own alias but for case.
    assert len(set(words)) == len(SAMPLERS) + sum(
        alias != s.name.lower() for s in SAMPLERS for alias in s.aliases
    )


@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("uses_ensd", {"DPM++ 2S a", "Euler a", "DPM2 a", "DPM fast", "DPM adaptive"}),
        ("discards_penultimate", {"DPM++ 3M SDE", "DPM2", "DPM2 a"}),
        ("second_order", {"DPM++ SDE", "DPM++ 2S a", "Heun", "DPM2", "DPM2 a", "Restart"}),
        ("brownian", {"DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"}),
    ],
)
def test_flags_stand_on_exactly_these_samplers(flag: str, names: set[str]) -> None:
    assert {s.name for s in SAMPLERS if getattr(s, flag)} == names


def test_options_carry_the_api_names_of_set_flags_only() -> None:
    found = {s.name: s.options for s in SAMPLERS}
    assert found["Euler"] == {}
    assert found["DPM++ 2M SDE Heun"] == {
        "scheduler": "exponential",
        "brownian_noise": True,
        "solver_type": "heun",
    }
    assert found["DPM2 a"] == {
        "scheduler": "karras",
        "second_order": True,
        "discard_next_to_last_sigma": True,
        "uses_ensd": True,
    }


@pytest.mark.parametrize(
    ("name", "scheduler", "index", "sampler", "schedule"),
    [
        ("DPM++ 2M SDE Karras", None, None, "DPM++ 2M SDE", "Karras"),
        ("DPM++ 2M Karras", None, None, "DPM++ 2M", AUTOMATIC),
        ("DPM++ 2M", "Karras", None, "DPM++ 2M", "Karras"),
        ("DPM++ 2M", "karras", None, "DPM++ 2M", "Karras"),
        ("DPM++ 2M", "KARRAS", None, "DPM++ 2M", AUTOMATIC),
        ("Euler SGMUniform", None, None, "Euler", "SGM Uniform"),
        ("Euler a exponential", None, None, "Euler a", "Exponential"),
        ("Euler a Karras", "Beta", None, "Euler a", "Beta"),
        ("Euler a Karras", "", None, "Euler a", "Karras"),
        ("DPM++ 2M SDE Karras", "Automatic", None, "DPM++ 2M SDE", AUTOMATIC),
        ("euler a", None, None, "DPM++ 2M", AUTOMATIC),
        ("k_euler_a", None, None, "DPM++ 2M", AUTOMATIC),
        ("DDIM", None, None, "DDIM", AUTOMATIC),
        (None, None, None, "Euler", AUTOMATIC),
        ("", None, "Heun", "Heun", AUTOMATIC),
        ("LMS", None, "Heun", "LMS", AUTOMATIC),
    ],
)
def test_resolve_sampler_follows_the_api(
    name: str | None, scheduler: str | None, index: str | None, sampler: str, schedule: str
) -> None:
    assert resolve_sampler(name, scheduler, index) == Resolved(sampler, schedule)


def test_effective_schedule_when_automatic_is_the_samplers_default() -> None:
    assert effective_schedule("DPM++ 3M SDE", AUTOMATIC) == "Exponential"
    assert effective_schedule("Euler", AUTOMATIC) == BUILT_IN_UNIFORM
    assert effective_schedule("Euler", "Beta") == "Beta"


def test_find_sampler_accepts_aliases_in_any_case() -> None:
    assert [s.name for s in map(find_sampler, ("K_EULER_A", " euler A ", "ddim")) if s] == [
        "Euler a",
        "Euler a",
        "DDIM",
    ]
    assert find_sampler("dreamy") is None
    assert find_schedule("SGMUniform") is None


def test_model_calls_per_step_when_second_order_is_two() -> None:
    assert (model_calls_per_step("Heun"), model_calls_per_step("Euler")) == (2, 1)


def test_names_options_and_steps_load_no_heavy_package() -> None:
    code = (
        "import sys, webui.samplers.names, webui.samplers.options, webui.samplers.steps;"
        "print([m for m in ('torch', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
