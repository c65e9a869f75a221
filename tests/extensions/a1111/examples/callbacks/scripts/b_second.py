"""A second script of the same folder, and a step of Extras."""

import gradio as gr
from modules import script_callbacks, scripts_postprocessing


class Tinted(scripts_postprocessing.ScriptPostprocessing):
    name = "Tint"
    order = 500

    def ui(self):
        strength = gr.inputs.Slider(0, 1, default=0.5, label="Tint strength")
        return {"strength": strength}

    def process(self, pp, strength):
        if not strength:
            return
        red = pp.image.copy()
        red.paste((255, 0, 0), (0, 0, red.width, int(red.height * strength)))
        pp.image = red
        pp.info["Tint"] = strength
        pp.nametags.append("tint")


def tabs():
    with gr.Blocks(analytics_enabled=False) as tab, gr.Box():
        gr.Markdown("answer", elem_id="b_second_answer")
    return [(tab, "Second", "second")]


script_callbacks.on_ui_tabs(tabs)
