"""A step of Extras, as removers of backgrounds are."""

import gradio as gr
from modules import scripts_postprocessing
from modules.ui_components import FormRow, InputAccordion


class Remover(scripts_postprocessing.ScriptPostprocessing):
    name = "Remover"
    order = 20000

    def ui(self):
        with InputAccordion(False, label="Remover") as enable, FormRow():
            model = gr.Dropdown(label="Model", choices=["None", "net"], value="None")
            level = gr.Slider(label="Level", minimum=0, maximum=255, step=1, value=240)
        return {"enable": enable, "model": model, "level": level}

    def process(self, pp: scripts_postprocessing.PostprocessedImage, enable, model, level):
        if enable and model != "None":
            pp.image = pp.image.point(lambda value: min(value, level))
            pp.info["Remover"] = model
