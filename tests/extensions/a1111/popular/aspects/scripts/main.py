"""Buttons beside the size, in the ways of Gradio 3."""

import gradio as gr
import modules.scripts as scripts
from modules.ui import create_refresh_button, gr_show, switch_values_symbol  # noqa: F401
from modules.ui_components import ToolButton


class Ratio(ToolButton):
    def __init__(self, ratio=1.0, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def apply(self, width, height):
        return [width, int(width * self.ratio)]


class Aspects(scripts.Script):
    def __init__(self):
        self.parts = {}

    def title(self):
        return "Aspects"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def after_component(self, component, **kwargs):
        if kwargs.get("elem_id") in ("txt2img_width", "txt2img_height"):
            self.parts[kwargs["elem_id"]] = component

    def ui(self, is_img2img):
        with gr.Column(), gr.Row(variant="compact"):
            buttons = [Ratio(ratio=r, value=str(r), elem_id=f"r{r}") for r in (1.0, 1.5)]
            width = gr.Number(value=512, label="Width", interactive=True)
            height = gr.Number(value=0, label="Height", visible=False)
            swap = ToolButton(value=switch_values_symbol)
        for button in buttons:
            button.click(button.apply, inputs=[width, height], outputs=[width, height])
        swap.click(fn=None, _js="(a, b) => [b, a]", inputs=[width, height],
                   outputs=[width, height], show_progress=False)  # fmt: skip
        first = width.change(lambda x: x, width, height, _js="x => x", queue=False, api_name=False)
        first.then(fn=None, _js="() => {}").success(fn=None, _js="() => {}")
        gr.Button("wide").style(full_width=True).click(None, [], None, _js="() => {}")
        gr.Gallery(label="pictures", show_label=False).style(grid=4, height="auto")
        file = gr.File(label="file", file_count="single", type="file")
        sketch = gr.Image(label="sketch", source="upload", type="pil", tool="sketch")
        several = gr.Dropdown(["a", "b"], multiselect=True, value=["a"], label="several")
        create_refresh_button(several, lambda: None, lambda: {"choices": ["a"]}, "refresh")
        return [width, height, several, file, sketch]
