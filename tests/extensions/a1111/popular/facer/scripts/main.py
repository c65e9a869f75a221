"""Repaints a part of every finished picture, as popular detailers do."""

from contextlib import suppress
from copy import copy
from pathlib import Path

import gradio as gr
from modules import images, paths, script_callbacks, scripts, shared  # noqa: F401
from modules.devices import NansException
from modules.processing import (  # noqa: F401
    Processed,
    StableDiffusionProcessingImg2Img,
    create_infotext,
    process_images,
)
from modules.scripts import PostprocessImageArgs
from modules.sd_samplers import all_samplers
from modules.shared import cmd_opts, opts, state  # noqa: F401
from modules.ui_components import InputAccordion
from PIL import Image, ImageDraw

SEEN = []
MODELS = Path(paths.models_path, "facer")


class FaceFixer(scripts.Script):
    def title(self):
        return "Face Fixer"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        names = ["Same", *(sampler.name for sampler in all_samplers)]
        with InputAccordion(False, label="Face Fixer") as on, gr.Group(), gr.Tabs(), gr.Tab("1st"):
            sampler = gr.Dropdown(names, value=names[0], label="Sampler", elem_id=self.elem_id("s"))
            prompt = gr.Textbox("", label="Prompt", show_label=False, lines=3)
            strength = gr.Slider(label="Strength", minimum=0.0, maximum=1.0, step=0.01, value=0.4)
            kept = gr.State({})
            sampler.change(
                fn=lambda name, known: {**known, "sampler": name}, inputs=[sampler, kept],
                outputs=kept, queue=False, show_progress=False,
            )  # fmt: skip
        self.infotext_fields = [
            (on, lambda pairs: "FF strength" in pairs),
            (sampler, "FF sampler"),
            (prompt, "FF prompt"),
            (strength, "FF strength"),
        ]
        return [on, sampler, prompt, strength, kept]

    def process(self, p, on, sampler, prompt, strength, kept):
        if on and not getattr(p, "is_inner", False):
            p.extra_generation_params.update({"FF strength": strength, "FF prompt": prompt})

    def postprocess_image(self, p, pp: PostprocessImageArgs, on, sampler, prompt, strength, kept):
        if not on or getattr(p, "is_inner", False):
            return
        inner = StableDiffusionProcessingImg2Img(
            init_images=[pp.image], denoising_strength=strength, mask=None, mask_blur=4,
            inpainting_fill=1, inpaint_full_res=True, inpaint_full_res_padding=8,
            sd_model=p.sd_model, outpath_samples=p.outpath_samples, prompt=prompt or p.prompt,
            styles=p.styles, seed=p.all_seeds[p.iteration * p.batch_size + p.batch_index],
            subseed=p.subseed, sampler_name=p.sampler_name, batch_size=1, n_iter=1, steps=p.steps,
            cfg_scale=p.cfg_scale, width=p.width, height=p.height, restore_faces=False,
            tiling=p.tiling, extra_generation_params=copy(p.extra_generation_params),
            do_not_save_samples=True, do_not_save_grid=True, override_settings={"sd_vae": None},
        )  # fmt: skip
        inner.cached_c = inner.cached_uc = [None, None]
        inner.scripts, inner.script_args = copy(p.scripts), copy(p.script_args)
        inner.scripts.alwayson_scripts = []
        inner.is_inner = True
        inner.image_mask = Image.new("L", pp.image.size, 0)
        ImageDraw.Draw(inner.image_mask).rectangle((8, 8, 40, 40), fill=255)
        with suppress(NansException):
            done = process_images(inner)
            both = map(_corners, (done.images[0], pp.image))
            SEEN.append([a != b for a, b in zip(*both, strict=True)])
            state.assign_current_image(done.images[0])
            pp.image = done.images[0]
        inner.close()


def _corners(image):
    return image.getpixel((24, 24)), image.getpixel((60, 60))


def settings():
    section = ("FF", "Face Fixer")
    options = {
        "ff_max": shared.OptionInfo(2, "Most", gr.Slider, {"minimum": 1, "maximum": 9, "step": 1}),
        "ff_kept": shared.OptionInfo(["a"], "Kept", gr.CheckboxGroup, {"choices": ["a", "b"]}),
        "FF_Colour": shared.OptionInfo("#ff0000", "Colour", gr.ColorPicker, {}),
        "ff_broken": shared.OptionInfo("", "Broken", gr.Dropdown, lambda: {"choices": 1 / 0}),
    }
    for key, info in options.items():
        info.section = section
        shared.opts.add_option(key, info.needs_reload_ui())


script_callbacks.on_ui_settings(settings)
script_callbacks.on_before_ui(lambda: None)
