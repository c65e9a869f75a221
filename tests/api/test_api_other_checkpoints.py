"""Refiner and hires checkpoint over the API: what they become, and what an unknown one answers."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.clients import QUICK
from webui.params import Hires, Refiner, TextToImage
from webui.studio import Studio

SECOND = "second.safetensors"
TXT2IMG = "/sdapi/v1/txt2img"


def params_of(client: TestClient, studio: Studio, **fields: Any) -> TextToImage:
    answer = client.post(TXT2IMG, json={**QUICK, **fields})
    assert answer.status_code == 200, answer.text
    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert isinstance(params, TextToImage)
    return params


@pytest.mark.parametrize(
    ("fields", "switch_at"), [({}, 0.0), ({"refiner_switch_at": 0.6}, 0.6)], ids=["null", "0.6"]
)
def test_refiner_when_named_takes_over_when_asked_and_at_once_with_null(
    client: TestClient, studio: Studio, fields: dict[str, Any], switch_at: float
) -> None:
    params = params_of(client, studio, refiner_checkpoint="second", **fields)

    assert params.refiner == Refiner(checkpoint=SECOND, switch_at=switch_at)


@pytest.mark.parametrize("name", [None, "", "None", "none"])
def test_refiner_when_named_none_is_off(
    client: TestClient, studio: Studio, name: str | None
) -> None:
    assert params_of(client, studio, refiner_checkpoint=name, refiner_switch_at=0.5).refiner is None


def test_refiner_when_options_say_how_follows_them(client: TestClient, studio: Studio) -> None:
    overrides = {
        "refiner_switch_by_sample_steps": True,
        "hires_fix_refiner_pass": "both passes",
    }

    params = params_of(client, studio, refiner_checkpoint="second", override_settings=overrides)

    assert params.refiner is not None
    assert (params.refiner.by_steps, params.refiner.hires_pass) == (True, "both passes")


@pytest.mark.parametrize("name", ["second", SECOND, "seco"], ids=["stem", "name", "part"])
def test_hires_checkpoint_when_named_is_found(
    client: TestClient, studio: Studio, name: str
) -> None:
    hires = params_of(client, studio, enable_hr=True, hr_checkpoint_name=name, hr_cfg=3).hires

    assert hires is not None and (hires.checkpoint, hires.cfg_scale) == (SECOND, 3.0)


@pytest.mark.parametrize("name", [None, "", "Use same checkpoint"])
def test_hires_checkpoint_when_the_same_is_open(
    client: TestClient, studio: Studio, name: str | None
) -> None:
    hires = params_of(client, studio, enable_hr=True, hr_checkpoint_name=name).hires

    assert isinstance(hires, Hires) and (hires.checkpoint, hires.cfg_scale) == (None, None)


@pytest.mark.parametrize(
    "fields",
    [{"refiner_checkpoint": "nowhere"}, {"enable_hr": True, "hr_checkpoint_name": "nowhere"}],
    ids=lambda fields: next(reversed(fields)),
)
def test_checkpoint_when_unknown_answers_404_in_a1111s_words(
    client: TestClient, fields: dict[str, Any]
) -> None:
    answer = client.post(TXT2IMG, json={**QUICK, **fields})

    assert answer.status_code == 404
    assert answer.json()["errors"] == "Could not find checkpoint with name nowhere"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"refiner_checkpoint": "second", "refiner_switch_at": 1.5}, "refiner_switch_at"),
        ({"enable_hr": True, "hr_cfg": -1}, "hr_cfg"),
    ],
    ids=["refiner_switch_at", "hr_cfg"],
)
def test_value_when_out_of_range_is_named_as_the_client_named_it(
    client: TestClient, fields: dict[str, Any], field: str
) -> None:
    answer = client.post(TXT2IMG, json={**QUICK, **fields})

    assert answer.status_code == 422 and field in answer.json()["detail"]


def test_infotext_when_it_names_other_checkpoints_fills_the_fields(
    client: TestClient, studio: Studio
) -> None:
    text = (
        "a boat\nSteps: 2, Sampler: Euler, CFG scale: 7.0, Seed: 3, Size: 64x64, "
        "Denoising strength: 0.5, Hires checkpoint: second, Hires CFG Scale: 4.5, "
        "Hires upscale: 1.5, Hires upscaler: Latent, Refiner: second, Refiner switch at: 0.7, "
        "Hires refiner: first pass, Refiner switch by sampling steps: True, Version: v1.10.1"
    )

    params = params_of(client, studio, infotext=text)

    assert params.hires is not None
    assert (params.hires.checkpoint, params.hires.cfg_scale) == (SECOND, 4.5)
    assert params.refiner == Refiner(
        checkpoint=SECOND, switch_at=0.7, by_steps=True, hires_pass="first pass"
    )
