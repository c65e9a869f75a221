"""Makes many prompts of one, as generators of prompts do."""

import math

import gradio as gr
import modules.scripts as scripts
from modules import script_callbacks
from modules.generation_parameters_copypaste import parse_generation_parameters, quote  # noqa: F401
from modules.processing import fix_seed


class Script(scripts.Script):
    def title(self):
        return "Many Prompts v2"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with gr.Group(elem_id="many"), gr.Accordion("Many Prompts", open=False):
            on = gr.Checkbox(label="On", value=False)
            with gr.Group(visible=True):
                most = gr.Slider(label="Most", minimum=0, maximum=9, step=1, value=3)
                seed = gr.Number(label="Seed", value=0, precision=0)
                gr.HTML("<b>help</b>")
        return [on, most, seed]

    def process(self, p, on, most, seed):
        if not on:
            return
        fix_seed(p)
        p.all_prompts = ["one frog", "two frogs", "three frogs"][:most]
        p.n_iter = math.ceil(len(p.all_prompts) / p.batch_size)
        p.all_seeds = [int(p.seed) + i for i in range(len(p.all_prompts))]
        p.prompt_for_display = p.prompt


def saved(params):
    if "parameters" in params.pnginfo:
        params.pnginfo["parameters"] += f", Template: {params.p.prompt}"


script_callbacks.on_before_image_saved(saved)
script_callbacks.on_infotext_pasted(lambda text, pairs: pairs.setdefault("Template", "none"))
