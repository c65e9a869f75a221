"""POST /sdapi/v1/img2img: what is asked for, what is painted, what is answered."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.clients import QUICK
from webui.params import ImageToImage
from webui.studio import Studio

IMG2IMG = "/sdapi/v1/img2img"


def encoded(
    color: str = "red", size: tuple[int, int] = (64, 64), mode: str = "RGB", kind: str = "PNG"
) -> str:
    data = io.BytesIO()
    Image.new(mode, size, color).save(data, kind)
    return base64.b64encode(data.getvalue()).decode()


APPLE = encoded()
MASK = encoded("white", mode="L")


def send(client: TestClient, **more: Any) -> Any:
    return client.post(IMG2IMG, json={**QUICK, "init_images": [APPLE], **more})


def paint(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = send(client, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def painted(client: TestClient, studio: Studio, **more: Any) -> ImageToImage:
    """What a request became."""
    paint(client, **more)
    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert isinstance(params, ImageToImage)
    return params


def info_of(answer: dict[str, Any]) -> dict[str, Any]:
    return json.loads(answer["info"])


def test_answer_when_plain_has_a_picture_and_the_request(client: TestClient) -> None:
    answer = paint(client)

    image = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    assert image.size == (64, 64)
    assert answer["parameters"]["denoising_strength"] == 0.75
    assert info_of(answer)["denoising_strength"] == 0.75
    assert info_of(answer)["seed"] == 7


def test_defaults_when_only_pictures_are_sent_are_those_of_the_api(
    client: TestClient, studio: Studio
) -> None:
    answer = client.post(IMG2IMG, json={"init_images": [APPLE], "mask": MASK})

    assert answer.status_code == 200, answer.text
    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert isinstance(params, ImageToImage)
    assert (params.width, params.height, params.steps, params.sampler) == (512, 512, 50, "Euler")
    assert (params.denoising_strength, params.resize_mode) == (0.75, "Just resize")
    inpaint = params.inpaint
    assert inpaint is not None
    assert (inpaint.content, inpaint.only_masked, inpaint.padding) == ("fill", True, 0)
    assert (inpaint.blur_x, inpaint.blur_y, inpaint.is_inverted) == (4, 4, False)
    assert inpaint.round_mask and inpaint.soft is None


@pytest.mark.parametrize("missing", [None, []])
def test_init_images_when_missing_are_404(client: TestClient, missing: Any) -> None:
    answer = send(client, init_images=missing)

    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("Init image not found")


def test_parameters_when_pictures_are_not_wanted_back_hold_null(client: TestClient) -> None:
    parameters = paint(client, mask=MASK)["parameters"]

    assert parameters["init_images"] is None and parameters["mask"] is None


def test_parameters_when_pictures_are_wanted_back_hold_them(client: TestClient) -> None:
    parameters = paint(client, mask=MASK, include_init_images=True)["parameters"]

    assert parameters["init_images"] == [APPLE] and parameters["mask"] == MASK


def test_images_when_one_serves_a_whole_batch(client: TestClient, studio: Studio) -> None:
    params = painted(client, studio, batch_size=3)

    assert params.batch_size == 3 and len(params.init_images) == 1


def test_batch_when_fewer_pictures_than_its_size_come_has_as_many(
    client: TestClient, studio: Studio
) -> None:
    params = painted(client, studio, batch_size=4, init_images=[APPLE, encoded("blue")])

    assert params.batch_size == 2 and len(set(params.init_images)) == 2


def test_pictures_when_more_than_the_batch_are_refused(client: TestClient) -> None:
    answer = send(client, batch_size=2, init_images=[APPLE] * 3)

    assert answer.status_code == 422
    assert "bad number of images passed: 3" in answer.json()["detail"]
    assert answer.json()["error"] == "RuntimeError"


@pytest.mark.parametrize(
    ("field", "sent", "found"),
    [
        ("resize_mode", 0, "Just resize"),
        ("resize_mode", 1, "Crop and resize"),
        ("resize_mode", 2, "Resize and fill"),
        ("resize_mode", 3, "Just resize (latent upscale)"),
        ("denoising_strength", 0.3, 0.3),
        ("denoising_strength", None, 0.75),
        ("image_cfg_scale", 1.5, 1.5),
        ("initial_noise_multiplier", 0.8, 0.8),
        ("initial_noise_multiplier", None, 1.0),
        ("cfg_scale", 3, 3.0),
    ],
)
def test_field_when_sent_reaches_the_job(
    client: TestClient, studio: Studio, field: str, sent: Any, found: Any
) -> None:
    assert getattr(painted(client, studio, **{field: sent}), field) == found


@pytest.mark.parametrize(
    ("sent", "field", "found"),
    [
        ({"mask_blur": 9}, "blur_x", 9),
        ({"mask_blur": 9, "mask_blur_y": 3}, "blur_y", 9),
        ({"mask_blur": 0}, "blur_x", 0),
        ({"mask_blur_x": 5}, "blur_x", 5),
        ({"mask_blur_x": 5}, "blur_y", 4),
        ({"mask_round": False}, "round_mask", False),
        ({"inpainting_fill": 1}, "content", "original"),
        ({"inpainting_fill": 2}, "content", "latent noise"),
        ({"inpainting_fill": 3}, "content", "latent nothing"),
        ({"inpaint_full_res": False}, "only_masked", False),
        ({"inpaint_full_res": 0}, "only_masked", False),
        ({"inpaint_full_res_padding": 24}, "padding", 24),
        ({"inpainting_mask_invert": 1}, "is_inverted", True),
        ({"inpainting_mask_invert": True}, "is_inverted", True),
        ({"inpainting_mask_invert": False}, "is_inverted", False),
    ],
)
def test_mask_field_when_sent_reaches_the_job(
    client: TestClient, studio: Studio, sent: dict[str, Any], field: str, found: Any
) -> None:
    params = painted(client, studio, mask=MASK, **sent)

    assert getattr(params.inpaint, field) == found


def test_mask_fields_when_there_is_no_mask_mean_nothing(client: TestClient, studio: Studio) -> None:
    assert painted(client, studio, mask_blur=9, inpainting_fill=2).inpaint is None


TORN = base64.b64encode(base64.b64decode(encoded(size=(400, 400), kind="BMP"))[:999]).decode()


@pytest.mark.parametrize("field", ["init_images", "mask"])
@pytest.mark.parametrize("bad", ["not base64!", base64.b64encode(b"text").decode(), TORN])
def test_picture_when_unreadable_is_named(client: TestClient, field: str, bad: str) -> None:
    answer = send(client, **{field: [bad] if field == "init_images" else bad})

    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert detail.startswith("Invalid encoded image") and len(detail) > 40


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_picture_when_in_another_format_is_taken(client: TestClient, kind: str) -> None:
    assert paint(client, init_images=[encoded(kind=kind)])["images"]


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK", "I;16"])
def test_picture_when_in_another_mode_is_taken(client: TestClient, mode: str) -> None:
    data = io.BytesIO()
    Image.new(mode, (64, 64)).save(data, "TIFF" if mode == "CMYK" else "PNG")

    assert paint(client, init_images=[base64.b64encode(data.getvalue()).decode()])["images"]


def test_picture_when_a_data_uri_is_the_same_input(client: TestClient, studio: Studio) -> None:
    plain = painted(client, studio).init_images
    uri = painted(client, studio, init_images=[f"data:image/png;base64,{APPLE}"]).init_images

    assert plain == uri
    assert studio.inputs.image(plain[0]).getpixel((0, 0)) == (255, 0, 0)


def test_picture_when_an_address_is_refused(client: TestClient) -> None:
    answer = send(client, init_images=["http://127.0.0.1/a.png"])

    assert answer.status_code == 422 and "Requests not allowed" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ({"resize_mode": 4}, "resize_mode"),
        ({"mask": MASK, "inpainting_fill": -1}, "inpainting_fill"),
        ({"denoising_strength": 1.5}, "denoising_strength"),
        ({"denoising_strength": float("nan")}, "denoising_strength"),
        ({"mask": MASK, "mask_blur": -1}, "mask_blur"),
        ({"mask": MASK, "inpaint_full_res_padding": -1}, "inpaint_full_res_padding"),
        ({"width": 63}, "width"),
        ({"steps": 0}, "steps"),
        ({"initial_noise_multiplier": -1}, "initial_noise_multiplier"),
        ({"init_images": "text"}, "init_images"),
        ({"alwayson_scripts": {"soft inpainting": [True]}}, "soft inpainting"),
    ],
)
def test_value_when_out_of_range_is_422_and_named(
    client: TestClient, sent: dict[str, Any], name: str
) -> None:
    text = json.dumps({**QUICK, "init_images": [APPLE], **sent})
    answer = client.post(IMG2IMG, content=text, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422, answer.text
    assert name in answer.json()["detail"]


def test_sampler_when_unknown_is_400(client: TestClient) -> None:
    answer = send(client, sampler_name="Dice")

    assert answer.status_code == 400 and "Sampler not found" in answer.json()["detail"]


def test_override_when_of_a_wrong_type_is_refused_as_by_options(client: TestClient) -> None:
    answer = send(client, override_settings={"jpeg_quality": "best"})

    assert answer.status_code == 422 and "jpeg_quality" in answer.json()["detail"]


def test_override_when_given_fills_what_the_request_leaves_open(
    client: TestClient, studio: Studio
) -> None:
    params = painted(
        client,
        studio,
        mask=MASK,
        override_settings={
            "img2img_fix_steps": True,
            "img2img_color_correction": "true",
            "img2img_extra_noise": "0.1",
            "inpainting_mask_weight": 0.5,
        },
    )

    assert params.fix_steps and params.color_correction and params.extra_noise == 0.1
    assert params.inpaint is not None and params.inpaint.conditioning_weight == 0.5


def test_pictures_when_saved_many_begin_with_the_grid(client: TestClient, studio: Studio) -> None:
    answer = paint(client, batch_size=2, save_images=True)

    assert len(answer["images"]) == 3 and info_of(answer)["index_of_first_image"] == 1
    saved = list((studio.settings.folders.data / "outputs" / "img2img-images").rglob("*.png"))
    assert len(saved) >= 2


RECIPE = (
    "a fox\nSteps: 9, Sampler: Euler a, CFG scale: 3.5, Seed: 99, Size: 128x64, "
    "Denoising strength: 0.35, Noise multiplier: 0.9, Image CFG scale: 1.2"
)


def test_infotext_when_it_tells_of_no_mask_leaves_the_mask_fields(
    client: TestClient, studio: Studio
) -> None:
    client.post(IMG2IMG, json={"init_images": [APPLE], "mask": MASK, "infotext": RECIPE})

    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert isinstance(params, ImageToImage) and params.inpaint is not None
    assert (params.prompt, params.steps, params.seed) == ("a fox", 9, 99)
    assert (params.denoising_strength, params.image_cfg_scale) == (0.35, 1.2)
    assert params.initial_noise_multiplier == 0.9
    assert (params.inpaint.content, params.inpaint.only_masked) == ("fill", True)


def test_infotext_when_it_tells_of_a_mask_fills_the_mask_fields(
    client: TestClient, studio: Studio
) -> None:
    recipe = f"{RECIPE}, Mask blur: 7, Mask mode: Inpaint not masked, Masked content: latent noise"
    sent = {"init_images": [APPLE], "mask": MASK, "infotext": recipe, "mask_blur": 2}
    client.post(IMG2IMG, json=sent)

    inpaint = studio.params_of(studio.jobs.list(limit=1)[0]).inpaint  # type: ignore[union-attr]
    assert inpaint is not None
    assert (inpaint.blur_x, inpaint.is_inverted, inpaint.content) == (2, True, "latent noise")
    assert (inpaint.only_masked, inpaint.padding) == (False, 32)  # what recipes leave out


def test_infotext_when_a_mask_word_is_unknown_names_it(client: TestClient) -> None:
    answer = send(client, mask=MASK, infotext=f"{RECIPE}, Masked content: glue")

    assert answer.status_code == 422 and "Masked content: glue" in answer.json()["detail"]


# Scripts


def test_loopback_when_named_counts_every_loop(client: TestClient, studio: Studio) -> None:
    params = painted(
        client,
        studio,
        script_name="Loopback",
        script_args=[3, 0.2, "Lazy", "None"],
        batch_size=2,
    )

    assert params.loopback is not None
    assert (params.loopback.loops, params.loopback.curve) == (3, "Lazy")
    assert params.loopback.final_denoising_strength == 0.2
    assert params.batch_size == 1 and params.image_count == 3


def test_loopback_when_interrogating_is_asked_for_without_weights_names_the_files(
    client: TestClient, studio: Studio
) -> None:
    wish = {"script_name": "loopback", "script_args": [2, 0.5, "Linear", "CLIP"]}
    info = info_of(paint(client, **wish))

    (told,) = (note for note in info["warnings"] if "interrogator" in note)
    assert "No captioner" in told and "blip" in told.lower()
    (job,) = studio.jobs.list(limit=1)
    params: Any = studio.params_of(job)
    assert params.loopback.interrogation == "CLIP"


@pytest.mark.parametrize(
    ("name", "arguments", "content"),
    [
        ("Outpainting mk2", ["", 32, 8, ["left", "down"], 1.5, 0.1], "matched noise"),
        ("Poor man's outpainting", [32, 8, "latent noise", ["left", "down"]], "latent noise"),
        ("poor man's outpainting", [32, 8, 1, ["left", "down"]], "original"),
    ],
)
def test_outpainting_when_named_grows_to_multiples_of_64(
    client: TestClient, studio: Studio, name: str, arguments: list[Any], content: str
) -> None:
    params = painted(client, studio, script_name=name, script_args=arguments)

    outpaint = params.outpaint
    assert outpaint is not None and outpaint.content == content
    assert (outpaint.left, outpaint.right, outpaint.up, outpaint.down) == (64, 0, 0, 64)
    assert outpaint.blur == (40 if "mk2" in name else 32)
    if "mk2" in name:
        assert (outpaint.noise_q, outpaint.color_variation) == (1.5, 0.1)


def test_outpainting_when_both_sides_grow_shares_what_64_needs(
    client: TestClient, studio: Studio
) -> None:
    arguments = [40, 4, "fill", ["left", "right"]]
    params = painted(client, studio, script_name="poor man's outpainting", script_args=arguments)

    assert params.outpaint is not None
    assert (params.outpaint.left, params.outpaint.right) == (64, 64)  # 64 + 80 -> 192


def test_sd_upscale_when_called_as_a1111s_tests_do_is_understood(
    client: TestClient, studio: Studio
) -> None:
    params = painted(client, studio, script_name="sd upscale", script_args=["", 8, "Lanczos", 2.0])

    assert params.sd_upscale is not None
    assert (params.sd_upscale.overlap, params.sd_upscale.scale) == (8, 2.0)
    assert params.sd_upscale.upscaler == "Lanczos"


def test_sd_upscale_when_the_upscaler_is_a_number_is_understood(
    client: TestClient, studio: Studio
) -> None:
    params = painted(client, studio, script_name="sd upscale", script_args=["", 8, 2, 2])

    assert params.sd_upscale is not None and params.sd_upscale.upscaler == "Nearest"


def test_sd_upscale_when_no_upscaler_is_chosen_keeps_the_size(
    client: TestClient, studio: Studio
) -> None:
    params = painted(client, studio, script_name="sd upscale", script_args=["", 8, "None", 2])

    assert params.sd_upscale is not None and params.sd_upscale.scale == 1.0


def test_script_when_arguments_are_left_out_uses_their_defaults(
    client: TestClient, studio: Studio
) -> None:
    params = painted(client, studio, script_name="loopback")

    assert params.loopback is not None and params.loopback.loops == 4


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("loopback", ["many"], "script_args[0]"),
        ("loopback", [0], "loops"),
        ("loopback", [2, 0.5, "Wild"], "Aggressive"),
        ("loopback", [2, 0.5, "Lazy", "None", 5], "takes 4"),
        ("sd upscale", ["", 64, "Lanczos", 2], "overlap"),
        ("sd upscale", ["", 8, "Magic", 2], "Lanczos"),
        ("sd upscale", ["", 8, 99, 2], "script_args[2]"),
        ("sd upscale", ["", 8, "Lanczos", 99], "scale"),
        ("outpainting mk2", ["", 32, -1, ["up"], 1, 0], "blur"),
        ("outpainting mk2", ["", 32, 8, [], 1, 0], "side"),
        ("outpainting mk2", ["", 32, 8, ["aft"], 1, 0], "left"),
        ("poor man's outpainting", [-8, 8, "fill", ["left"]], "left"),
        ("poor man's outpainting", [8, 8, "glue", ["left"]], "latent noise"),
    ],
)
def test_script_when_an_argument_is_wrong_is_422_and_named(
    client: TestClient, name: str, arguments: list[Any], told: str
) -> None:
    answer = send(client, script_name=name, script_args=arguments)

    assert answer.status_code == 422, answer.text
    assert told in answer.json()["detail"]


def test_script_when_unknown_or_of_the_other_kind_is_422(client: TestClient) -> None:
    assert send(client, script_name="x/y/z plot").status_code == 422
    answer = client.post("/sdapi/v1/txt2img", json={**QUICK, "script_name": "loopback"})
    assert answer.status_code == 422 and "Script 'loopback' not found" in answer.text


def test_script_when_selectable_and_sent_as_always_on_is_422(client: TestClient) -> None:
    answer = send(client, alwayson_scripts={"SD upscale": {"args": []}})

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("Cannot have a selectable script")


def test_soft_inpainting_when_on_reaches_the_mask(client: TestClient, studio: Studio) -> None:
    entry = {"args": [True, 1.5, 0.25, 8, 0.5, 1, 3, "more"]}
    params = painted(client, studio, mask=MASK, alwayson_scripts={"Soft Inpainting": entry})

    soft = params.inpaint.soft if params.inpaint else None
    assert soft is not None
    assert (soft.schedule_bias, soft.preservation_strength) == (1.5, 0.25)
    assert (soft.transition_contrast_boost, soft.mask_influence) == (8, 0.5)
    assert (soft.difference_threshold, soft.difference_contrast) == (1, 3)


@pytest.mark.parametrize("entry", [{}, {"args": []}, {"args": [False, 2]}])
def test_soft_inpainting_when_not_switched_on_is_off(
    client: TestClient, studio: Studio, entry: dict[str, Any]
) -> None:
    params = painted(client, studio, mask=MASK, alwayson_scripts={"soft inpainting": entry})

    assert params.inpaint is not None and params.inpaint.soft is None


def test_script_info_when_asked_tells_arguments_in_order(client: TestClient) -> None:
    infos = client.get("/sdapi/v1/script-info").json()

    (upscale,) = [info for info in infos if info["name"] == "sd upscale"]
    assert upscale["is_img2img"] and not upscale["is_alwayson"]
    assert [a["label"] for a in upscale["args"]] == [
        None, "Tile overlap", "Upscaler", "Scale Factor",
    ]  # fmt: skip
    assert set(upscale["args"][0]) == {"label", "value", "minimum", "maximum", "step", "choices"}
    titles = client.get("/sdapi/v1/scripts").json()
    assert set(titles["img2img"]) >= {
        "loopback", "outpainting mk2", "poor man's outpainting", "sd upscale", "soft inpainting",
    }  # fmt: skip
    assert "loopback" not in titles["txt2img"]
