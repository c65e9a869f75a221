"""POST /sdapi/v1/txt2img: what is asked for, what is painted, what is answered."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.clients import QUICK
from webui.options import OPTIONS
from webui.prompts.styles import Style
from webui.studio import Studio

TXT2IMG = "/sdapi/v1/txt2img"


def paint(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = client.post(TXT2IMG, json={**QUICK, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refuse(client: TestClient, status: int, **more: Any) -> dict[str, Any]:
    text = json.dumps({**QUICK, **more})  # as NaN, which httpx would not send
    answer = client.post(TXT2IMG, content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert isinstance(body["detail"], str) and len(body["detail"]) > 10
    return body


def open_image(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def info_of(answer: dict[str, Any]) -> dict[str, Any]:
    return json.loads(answer["info"])


def test_answer_when_plain_has_one_png_with_its_recipe(client: TestClient) -> None:
    answer = paint(client)

    (image,) = map(open_image, answer["images"])
    assert image.format == "PNG" and image.size == (64, 64)
    assert "Seed: 7" in image.info["parameters"]


def test_parameters_when_fields_are_left_out_hold_the_api_defaults(client: TestClient) -> None:
    parameters = paint(client, steps=None, unheard_of=1)["parameters"]

    assert parameters["steps"] is None  # as received
    assert parameters["sampler_name"] is None and parameters["sampler_index"] == "Euler"
    assert parameters["cfg_scale"] == 7.0 and parameters["hr_scale"] == 2.0
    assert "unheard_of" not in parameters


def test_info_when_nothing_is_named_says_euler_and_50_steps(client: TestClient) -> None:
    answer = client.post(TXT2IMG, json={"width": 64, "height": 64})

    info = info_of(answer.json())
    assert (info["sampler_name"], info["steps"], info["cfg_scale"]) == ("Euler", 50, 7.0)
    assert 0 <= info["seed"] <= 4294967293
    assert answer.json()["parameters"]["seed"] == -1


def test_info_when_batches_are_painted_lists_seeds_and_recipes_of_all(client: TestClient) -> None:
    answer = paint(client, batch_size=2, n_iter=2)

    info = info_of(answer)
    assert len(answer["images"]) == 4
    assert info["all_seeds"] == [7, 8, 9, 10]
    told = [int(text.partition("Seed: ")[2].split(",")[0]) for text in info["infotexts"]]
    assert told == info["all_seeds"]
    assert info["index_of_first_image"] == 0


INFO_KEYS = {
    "prompt", "negative_prompt", "all_prompts", "all_negative_prompts", "seed", "subseed",
    "all_seeds", "all_subseeds", "subseed_strength", "width", "height", "sampler_name",
    "cfg_scale", "steps", "batch_size", "restore_faces", "face_restoration_model",
    "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w",
    "seed_resize_from_h", "denoising_strength", "extra_generation_params",
    "index_of_first_image", "infotexts", "styles", "job_timestamp", "clip_skip",
    "is_using_inpainting_conditioning", "version",
}  # fmt: skip


def test_info_when_read_has_every_key_of_a1111(client: TestClient) -> None:
    info = info_of(paint(client))

    assert set(info) >= INFO_KEYS
    assert len(info["job_timestamp"]) == 14 and info["job_timestamp"].isdigit()


def test_images_when_saving_many_begin_with_the_grid(client: TestClient, studio: Studio) -> None:
    answer = paint(client, batch_size=2, save_images=True)

    info = info_of(answer)
    assert [open_image(text).size for text in answer["images"]] == [(128, 64), (64, 64), (64, 64)]
    assert info["index_of_first_image"] == 1 and len(info["infotexts"]) == 3
    saved = list((studio.settings.folders.data / "outputs" / "txt2img-images").rglob("*.png"))
    assert len(saved) >= 2


def test_images_when_return_grid_is_overridden_off_have_none(client: TestClient) -> None:
    answer = paint(client, batch_size=2, save_images=True, override_settings={"return_grid": False})

    assert len(answer["images"]) == 2 and info_of(answer)["index_of_first_image"] == 0


def test_images_when_not_saving_leave_no_file_in_outputs(
    client: TestClient, studio: Studio
) -> None:
    outputs = studio.settings.folders.data / "outputs"
    before = set(outputs.rglob("*.png"))

    paint(client, batch_size=2)

    assert set(outputs.rglob("*.png")) == before


def test_images_when_not_sent_are_an_empty_list(client: TestClient) -> None:
    answer = paint(client, send_images=False)

    assert answer["images"] == [] and len(info_of(answer)["infotexts"]) == 1


@pytest.mark.parametrize("image_format", ["jpg", "webp"])
def test_images_when_format_is_overridden_are_in_it(client: TestClient, image_format: str) -> None:
    answer = paint(client, override_settings={"samples_format": image_format})

    expected = {"jpg": "JPEG", "webp": "WEBP"}[image_format]
    assert open_image(answer["images"][0]).format == expected


@pytest.mark.parametrize(
    ("field", "sent", "used"),
    [
        ("steps", "4", 4),
        ("steps", 4.9, 4),
        ("steps", "4.9", 4),
        ("batch_size", None, 1),
        ("cfg_scale", "6.5", 6.5),
        ("cfg_scale", 6, 6.0),
        ("width", 71, 64),
    ],
)
def test_number_when_sent_loosely_is_understood(
    client: TestClient, field: str, sent: Any, used: Any
) -> None:
    assert info_of(paint(client, **{field: sent}))[field] == used


@pytest.mark.parametrize("sent", [0, "false", "False", "0", False, None])
def test_bool_when_sent_loosely_is_understood(client: TestClient, sent: Any) -> None:
    assert len(paint(client, enable_hr=sent)["images"]) == 1


ALL_FIELDS = (
    "prompt", "negative_prompt", "styles", "seed", "subseed", "subseed_strength",
    "seed_resize_from_h", "seed_resize_from_w", "sampler_name", "sampler_index", "scheduler",
    "batch_size", "n_iter", "cfg_scale", "restore_faces", "tiling", "do_not_save_samples",
    "do_not_save_grid", "eta", "denoising_strength", "s_min_uncond", "s_churn", "s_tmin",
    "s_tmax", "s_noise", "override_settings", "override_settings_restore_afterwards",
    "refiner_checkpoint", "refiner_switch_at", "disable_extra_networks", "firstpass_image",
    "comments", "script_name", "script_args", "alwayson_scripts", "send_images", "save_images",
    "force_task_id", "infotext", "enable_hr", "firstphase_width", "firstphase_height", "hr_scale",
    "hr_resize_x", "hr_resize_y", "hr_upscaler", "hr_second_pass_steps", "hr_checkpoint_name",
    "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt",
)  # fmt: skip


def test_null_when_sent_for_every_field_means_the_default(client: TestClient) -> None:
    answer = paint(client, **dict.fromkeys(ALL_FIELDS))

    assert len(answer["images"]) == 1 and info_of(answer)["cfg_scale"] == 7.0


BAD_VALUES = [
    (422, {"width": 63}, "width"),
    (422, {"height": 1_000_000}, "height"),
    (422, {"width": -8}, "width"),
    (422, {"steps": 0}, "steps"),
    (422, {"steps": "many"}, "steps"),
    (422, {"steps": [3]}, "steps"),
    (422, {"steps": math.inf}, "steps"),
    (422, {"cfg_scale": math.nan}, "cfg_scale"),
    (422, {"cfg_scale": "nan"}, "cfg_scale"),
    (422, {"cfg_scale": -1}, "cfg_scale"),
    (422, {"prompt": "x" * 1_000_000}, "prompt"),
    (422, {"prompt": ["a", "list"]}, "prompt"),
    (422, {"batch_size": 0}, "batch_size"),
    (422, {"batch_size": 1e9}, "batch_size"),
    (422, {"n_iter": 10**9}, "n_iter"),
    (422, {"seed": 2**70}, "seed"),
    (422, {"subseed_strength": 2}, "subseed_strength"),
    (422, {"enable_hr": True, "denoising_strength": 1.5}, "denoising_strength"),
    (422, {"enable_hr": True, "hr_scale": 99}, "hr_scale"),
    (422, {"enable_hr": "maybe"}, "enable_hr"),
    (422, {"styles": "one"}, "styles"),
    (422, {"script_name": "deforum"}, "Script 'deforum' not found"),
    (422, {"script_name": "x/y/z plot"}, "has no values"),
    (422, {"alwayson_scripts": {"AnimateDiff": {"args": []}}}, "Script 'AnimateDiff' not found"),
    (404, {"refiner_checkpoint": "other"}, "Could not find checkpoint with name other"),
    (422, {"override_settings": {"CLIP_stop_at_last_layers": 99}}, "CLIP_stop_at_last_layers"),
    (422, {"override_settings": {"samples_format": "bmp"}}, "samples_format was"),
    (400, {"sampler_name": "k_euler_a"}, "Sampler not found"),
    (400, {"sampler_index": "DPM++ 2M Imaginary"}, "Sampler not found"),
    (400, {"enable_hr": True, "hr_sampler_name": "Nope"}, "Sampler not found"),
    (404, {"enable_hr": True, "hr_upscaler": "Big"}, "could not find upscaler named Big"),
    (422, {"override_settings": {"no_such_option": 1}}, "no_such_option"),
    (404, {"override_settings": {"sd_vae": "nope.safetensors"}}, "nope.safetensors"),
]


@pytest.mark.parametrize(("status", "fields", "told"), BAD_VALUES)
def test_bad_value_when_sent_is_named_and_no_job_is_made(
    client: TestClient, studio: Studio, status: int, fields: dict[str, Any], told: str
) -> None:
    before = sum(studio.jobs.counts().values())

    body = refuse(client, status, **fields)

    assert told in body["detail"]
    assert set(body) >= {"error", "detail", "body", "errors"}
    assert sum(studio.jobs.counts().values()) == before


@pytest.mark.parametrize("field", ["script_args", "firstpass_image"])
def test_value_when_nested_without_end_is_echoed_as_far_as_can_be(
    client: TestClient, field: str
) -> None:
    nested = json.loads("[" * 900 + "]" * 900)
    parameters = paint(client, **{field: nested})["parameters"]

    assert parameters[field][0][0][0] and "[" * 200 not in json.dumps(parameters)


def test_unknown_override_when_sent_has_the_key_error_shape(client: TestClient) -> None:
    body = refuse(client, 422, override_settings={"no_such_option": 1})

    assert body["error"] == "KeyError" and body["errors"] == "'no_such_option'"


def test_body_when_not_json_is_explained(client: TestClient) -> None:
    answer = client.post(
        TXT2IMG, content=b'{"steps": 3,', headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 422
    assert "not readable JSON" in answer.json()["detail"]


def test_body_when_nested_absurdly_deep_is_refused(client: TestClient) -> None:
    text = '{"alwayson_scripts": ' * 20_000 + "{}" + "}" * 20_000

    answer = client.post(TXT2IMG, content=text, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 422) and isinstance(answer.json()["detail"], str)


def test_sampler_name_when_it_carries_a_schedule_is_split(
    studio: Studio, client: TestClient
) -> None:
    info = info_of(paint(client, sampler_name="Euler a Karras"))

    job = studio.jobs.list(limit=1)[0]
    assert info["sampler_name"] == "Euler a"
    assert studio.params_of(job).schedule == "Karras"


def test_hires_when_denoising_is_null_uses_three_quarters(
    client: TestClient, studio: Studio
) -> None:
    info = info_of(paint(client, enable_hr=True, denoising_strength=None))

    hires = studio.params_of(studio.jobs.list(limit=1)[0]).hires
    assert hires is not None and hires.denoising_strength == 0.75 and hires.upscaler == "Latent"
    assert info["denoising_strength"] == 0.75


def test_hires_when_denoising_is_zero_is_painted(client: TestClient, studio: Studio) -> None:
    paint(
        client,
        enable_hr=True,
        denoising_strength=0,
        hr_sampler_name="Euler a",
        hr_scheduler="karras",
    )

    hires = studio.params_of(studio.jobs.list(limit=1)[0]).hires
    assert hires is not None and hires.denoising_strength == 0
    assert (hires.sampler, hires.schedule) == ("Euler a", "Karras")


def test_styles_when_named_are_merged_and_unknown_ones_are_ignored(
    client: TestClient, studio: Studio
) -> None:
    studio.styles.save(Style("ink", "{prompt}, ink drawing", "colour"))

    info = info_of(paint(client, styles=["ink", "unknown"]))

    assert info["prompt"] == "a boat, ink drawing" and info["negative_prompt"] == "colour"
    assert info["styles"] == ["ink", "unknown"]


def test_overrides_when_restored_afterwards_leave_options_alone(
    client: TestClient, studio: Studio
) -> None:
    info = info_of(paint(client, override_settings={"CLIP_stop_at_last_layers": 2}))

    assert info["clip_skip"] == 2 and studio.options["CLIP_stop_at_last_layers"] == 1


def test_overrides_when_kept_stay_in_memory_but_not_in_the_file(
    client: TestClient, studio: Studio
) -> None:
    paint(
        client,
        override_settings={"eta_noise_seed_delta": 31337},
        override_settings_restore_afterwards=False,
    )

    kept = studio.options["eta_noise_seed_delta"]
    studio.options.load()
    assert kept == 31337 and studio.options["eta_noise_seed_delta"] == 0


def test_checkpoint_override_when_known_by_its_stem_is_used(
    client: TestClient, studio: Studio
) -> None:
    info = info_of(paint(client, override_settings={"sd_model_checkpoint": "second"}))

    assert info["sd_model_name"] == "second"


def test_checkpoint_override_when_unknown_paints_with_the_chosen_one_and_says_so(
    client: TestClient,
) -> None:
    chosen = info_of(paint(client))["sd_model_name"]

    info = info_of(paint(client, override_settings={"sd_model_checkpoint": "missing"}))

    assert info["sd_model_name"] == chosen
    assert any("missing" in warning for warning in info["warnings"])


def test_schedule_when_unknown_is_automatic_and_told(client: TestClient) -> None:
    info = info_of(
        paint(client, scheduler="nope", enable_hr=True, hr_scheduler="never", hr_scale=1.5)
    )

    assert "scheduler 'nope' is unknown; Automatic was used." in info["warnings"]
    assert "hr_scheduler 'never' is unknown; Automatic was used." in info["warnings"]


@pytest.mark.parametrize("schedule", ["karras", "Karras", "", "Automatic", "automatic", None])
def test_schedule_when_known_needs_no_warning(client: TestClient, schedule: str | None) -> None:
    info = info_of(paint(client, scheduler=schedule))

    assert not any("unknown" in warning for warning in info["warnings"])


@pytest.mark.parametrize("knob", ["s_churn", "s_tmin", "s_tmax", "s_noise"])
def test_sampler_knob_when_its_option_was_changed_follows_the_option(
    client: TestClient, studio: Studio, knob: str
) -> None:
    default = next(option.default for option in OPTIONS if option.key == knob)

    paint(client, **{knob: 0.25})
    by_request = studio.params_of(studio.jobs.list(limit=1)[0]).sampling
    paint(client, **{knob: 0.25}, override_settings={knob: default + 0.5})
    by_option = studio.params_of(studio.jobs.list(limit=1)[0]).sampling

    assert getattr(by_request, knob) == 0.25
    assert getattr(by_option, knob) == default + 0.5


def test_failed_job_when_memory_runs_out_answers_its_status_and_text(client: TestClient) -> None:
    body = refuse(client, 507, prompt="fail")

    assert body["error"] == "DeviceMemoryError"
    assert "8 GiB were needed" in body["detail"] and "Make smaller pictures" in body["detail"]


def test_failed_job_when_unexpected_answers_500(client: TestClient) -> None:
    assert "unexpected problem" in refuse(client, 500, prompt="defect")["detail"]


def test_task_id_when_forced_names_the_job(client: TestClient, studio: Studio) -> None:
    paint(client, force_task_id="task(mine)")

    assert studio.jobs.by_task("task(mine)").state == "done"


def test_infotext_when_sent_fills_only_what_the_request_leaves_out(
    client: TestClient, studio: Studio
) -> None:
    recipe = (
        "a fox\nNegative prompt: blurry\nSteps: 9, Sampler: DPM++ 2M Karras, CFG scale: 3.5, "
        "Seed: 99, Size: 128x64, Clip skip: 2, ENSD: 5"
    )

    answer = client.post(TXT2IMG, json={"infotext": recipe, "steps": 2})

    info = info_of(answer.json())
    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert (info["prompt"], info["negative_prompt"]) == ("a fox", "blurry")
    assert (info["steps"], info["seed"], info["cfg_scale"]) == (2, 99, 3.5)
    assert (info["width"], info["height"], info["clip_skip"]) == (128, 64, 2)
    assert (params.sampler, params.schedule) == ("DPM++ 2M", "Automatic")
    assert params.eta_noise_seed_delta == 5 and params.hires is None
    assert answer.json()["parameters"]["seed"] == 99


def test_infotext_when_its_prompt_reads_as_choices_is_painted_as_it_stands(
    client: TestClient,
) -> None:
    recipe = "a {red|blue} fox\nSteps: 2, Sampler: Euler, Seed: 1, Size: 64x64"

    told = info_of(client.post(TXT2IMG, json={"infotext": recipe}).json())
    own = info_of(client.post(TXT2IMG, json={"infotext": recipe, "prompt": "{red|blue}"}).json())

    assert told["prompt"] == "a {red|blue} fox" and own["prompt"] in ("red", "blue")


def test_infotext_when_it_tells_of_hires_switches_it_on(client: TestClient, studio: Studio) -> None:
    recipe = (
        "a fox\nSteps: 2, Sampler: Euler, Seed: 1, Size: 64x64, Denoising strength: 0.4, "
        "Hires upscale: 1.5, Hires upscaler: Latent (nearest)"
    )

    client.post(TXT2IMG, json={"infotext": recipe})

    hires = studio.params_of(studio.jobs.list(limit=1)[0]).hires
    assert hires is not None
    assert (hires.scale, hires.upscaler, hires.denoising_strength) == (1.5, "Latent (nearest)", 0.4)


def test_infotext_when_a_value_is_nonsense_names_it(client: TestClient) -> None:
    answer = client.post(
        TXT2IMG, json={"infotext": "x\nSteps: lots, Sampler: Euler, Seed: 1, Size: 64x64"}
    )

    assert answer.status_code == 422 and "Steps: lots" in answer.json()["detail"]


def test_prompt_when_it_holds_half_a_character_is_painted_and_echoed(client: TestClient) -> None:
    text = '{"prompt": "a \\ud800 b", "steps": 1, "width": 64, "height": 64}'

    answer = client.post(TXT2IMG, content=text, headers={"Content-Type": "application/json"})

    assert answer.status_code == 200 and answer.json()["parameters"]["prompt"] == "a ? b"


@pytest.mark.parametrize("name", ["Seed", "SAMPLER", "refiner"])
def test_built_in_script_when_mentioned_is_tolerated(client: TestClient, name: str) -> None:
    assert len(paint(client, alwayson_scripts={name: {"args": []}})["images"]) == 1


def test_answer_when_prompts_are_drawn_names_the_prompt_of_each_picture(client: TestClient) -> None:
    info = info_of(paint(client, prompt="{a|b|c|d} hat", negative_prompt="x", n_iter=6))

    assert len(info["all_prompts"]) == 6 and len(set(info["all_prompts"])) > 1
    assert set(info["all_prompts"]) <= {"a hat", "b hat", "c hat", "d hat"}
    assert info["prompt"] == info["all_prompts"][0]
    assert info["all_negative_prompts"] == ["x"] * 6
