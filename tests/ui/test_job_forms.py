"""A waiting job put back into its form asks for the same again, pictures, mask and all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.ui.test_settings_routes import made_studio
from webui.errors import JobError
from webui.params import Extras, TextToImage
from webui.services.resolve import ImageToImageRequest, TextToImageRequest
from webui.studio import Studio
from webui.ui import batch, canvas, form, img2img_form, pasting, queue_deeds, restore_form
from webui.ui.job_forms import form_values
from webui.ui.session import Visitor

ME = Visitor("my browser")
PLAIN = {"prompt": "a hill", "seed": 7, "subseed": 8, "width": 64, "height": 96, "steps": 3}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    made = made_studio(tmp_path_factory.mktemp("forms"))
    made.supervisor.pause()
    yield made
    made.stop()


def picture(studio: Studio, colour: str, mode: str = "RGB") -> str:
    return studio.inputs.keep_image(Image.new(mode, (72, 40), colour))


def asked_again(studio: Studio, values: dict[str, Any]) -> Any:
    """What Generate asks for when these values stand in the form."""
    around = {"top_row": {}, "overrides": pasting.read_chips(values["overrides"]), "user": ""}
    if "mode" not in values:
        return studio.resolve(form.make_request(values, **around))
    source = img2img_form.source_of(values, studio.inputs, "en")
    return studio.resolve(img2img_form.make_request(values, source, **around))


def told(params: Any) -> dict[str, Any]:
    """What a request comes to: a variation's seed is drawn anew where its strength is 0, and
    guidance by the picture is 1.5 where nothing is said."""
    found = params.model_dump()
    if not params.subseed_strength:
        del found["subseed"]
    if found.get("image_cfg_scale") == 1.5:
        found["image_cfg_scale"] = None
    return found


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"prompt": "a {red|blue} hill", "negative_prompt": "{x|y}", "batch_count": 3},
        {"prompt": "a {red|blue} hill", "overrides": {"dynamic_prompts": False}},
        {"sampler": "DDIM", "schedule": "Karras", "subseed_strength": 0.5, "tiling": True,
         "overrides": {"CLIP_stop_at_last_layers": 2, "eta_ddim": 0.25, "randn_source": "CPU",
                       "s_noise": 1.1, "emphasis": "No norm", "uni_pc_order": 2}},
        {"seed_resize_from_h": 64,
         "tiled_diffusion": {"tile_width": 128, "overlap": 64, "method": "MultiDiffusion"}},
        {"hires": {"upscaler": "Latent", "steps": 2, "scale": 1.5, "sampler": "Euler a",
                   "schedule": "Beta", "prompt": "{larger|finer}", "cfg_scale": 3.0}},
    ],
)  # fmt: skip
def test_text_job_in_its_form_asks_for_the_same(studio: Studio, wish: dict[str, Any]) -> None:
    params = studio.resolve(TextToImageRequest.model_validate({**PLAIN, **wish}))

    assert told(asked_again(studio, form_values(params, studio))) == told(params)


@pytest.mark.parametrize(
    "wish",
    [
        {"denoising_strength": 0.4, "resize_mode": "Crop and resize", "upscaler": "Nearest",
         "overrides": {"img2img_color_correction": True}},
        {"inpaint": {"blur_x": 7, "blur_y": 7, "content": "latent noise", "is_inverted": True}},
        {"inpaint": {"only_masked": True, "padding": 8, "round_mask": False,
                     "soft": {"schedule_bias": 2.0, "mask_influence": 0.5}}},
        {"loopback": {"loops": 2, "final_denoising_strength": 0.2, "curve": "Lazy",
                      "interrogation": "DeepBooru"}},
        {"sd_upscale": {"upscaler": "Lanczos", "scale": 1.5, "overlap": 16}},
        {"outpaint": {"left": 32, "up": 32, "blur": 8, "content": "matched noise"}},
    ],
)  # fmt: skip
def test_picture_job_in_its_form_asks_for_the_same(studio: Studio, wish: dict[str, Any]) -> None:
    if "inpaint" in wish:
        wish = {**wish, "inpaint": {**wish["inpaint"], "mask": picture(studio, "#808080", "L")}}
    request = {**PLAIN, "init_images": (picture(studio, "green"),), **wish}
    params = studio.resolve(ImageToImageRequest.model_validate(request))

    values = form_values(params, studio)

    assert told(asked_again(studio, values)) == told(params)
    assert canvas.read(values["mask_upload"]) == (
        canvas.holding(studio.inputs, params.inpaint.mask) if params.inpaint else None
    )


def test_extras_job_in_its_form_has_its_photographs_and_scratches(studio: Studio) -> None:
    mask = Image.new("L", (72, 40), 0)
    mask.paste(255, (10, 10, 20, 20))
    params = Extras(
        images=(picture(studio, "grey"),), names=("old",), upscaler_1="Lanczos",
        upscaling_resize=3.0, colour_repair=0.5, scratch_mask=studio.inputs.keep_image(mask),
    )  # fmt: skip

    values = form_values(params, studio)
    wishes, _ = restore_form.make_requests(values, studio, "en", user="")

    [again] = wishes
    assert isinstance(again, Extras) and batch.read_uploads(values["batch_files"])[0].stem == "old"
    same = ("images", "names", "upscaler_1", "upscaling_resize", "colour_repair", "scratch_mask")
    assert [getattr(again, n) for n in same] == [getattr(params, n) for n in same]
    assert again.gfpgan_visibility == 0


def test_job_that_no_form_can_ask_for_is_told_and_not_held(studio: Studio) -> None:
    pictures = (picture(studio, "red"), picture(studio, "blue"))
    job = studio.submit(
        ImageToImageRequest.model_validate({**PLAIN, "batch_size": 2, "init_images": pictures}),
        client=ME.client,
    )

    with pytest.raises(JobError, match="No form"):
        queue_deeds.edit(studio, job.id, ME)
    assert not studio.jobs.get(job.id).is_paused


def test_edited_job_is_replaced_by_a_request_of_its_kind_only(studio: Studio) -> None:
    wish = {**PLAIN, "init_images": (picture(studio, "green"),)}
    job = studio.submit(ImageToImageRequest.model_validate(wish), client=ME.client)
    tab, _ = queue_deeds.edit(studio, job.id, ME)

    text = TextToImageRequest.model_validate(PLAIN)
    changed = ImageToImageRequest.model_validate({**wish, "prompt": "a lake"})

    assert tab == "img2img" and studio.jobs.get(job.id).is_paused
    assert not studio.control.replace(text, ME.client)
    assert not studio.control.replace(changed, "another browser")
    assert studio.control.replace(changed, ME.client)
    assert not studio.control.replace(changed, ME.client), "edited once"
    kept = studio.params_of(studio.jobs.get(job.id))
    assert not isinstance(kept, TextToImage) and kept.prompt == "a lake"
    assert not studio.jobs.get(job.id).is_paused
