"""Writes down every moment it is called at, and what it was handed."""

import gradio as gr
from modules import scripts, shared
from modules.ui_components import FormRow, InputAccordion, ToolButton

shared.opts.add_option(
    "recorder_suffix", shared.OptionInfo("!", "Suffix", section=("recorder", "Recorder")).info("x")
)
TOLD = []


class Recorder(scripts.Script):
    section = "accordions"

    def title(self):
        return "Job Recorder"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with InputAccordion(False, label=self.title(), elem_id=self.elem_id("on")) as on:
            row = FormRow()
            with row:
                word = gr.Textbox("tail", label="Word", elem_id=self.elem_id("word")).style(
                    container=False
                )
                times = gr.Slider(minimum=0, maximum=4, step=1, value=1, label="Times")
                ToolButton("x")
        self.infotext_fields = [(on, "Recorder"), (word, "Recorder word")]
        self.paste_field_names = ["Recorder", "Recorder word"]
        return [on, word, times]

    def _tell(self, name, p, *args):
        TOLD.append((name, *args))

    def setup(self, p, *args):
        self._tell("setup", p, args)

    def before_process(self, p, on, word, times):
        self._tell("before_process", p, (on, word, times))
        if on:
            p.steps = 3

    def process(self, p, on, word, times):
        self._tell("process", p, list(p.all_seeds), list(p.all_prompts))
        if on:
            p.all_prompts = [f"{text}, {word}" for text in p.all_prompts]
            p.extra_generation_params["Recorder word"] = word
            p.extra_generation_params["Recorder each"] = [f"n{i}" for i in range(len(p.all_seeds))]

    def before_process_batch(self, p, *args, batch_number, prompts, seeds, subseeds):
        self._tell("before_process_batch", p, batch_number, list(prompts), list(seeds))

    def after_extra_networks_activate(
        self, p, *args, batch_number, prompts, seeds, subseeds, extra_network_data
    ):
        self._tell("after_extra_networks_activate", p, sorted(extra_network_data))

    def process_batch(self, p, *args, batch_number, prompts, seeds, subseeds):
        self._tell("process_batch", p, batch_number)

    def process_before_every_sampling(self, p, *args, x, noise, c, uc):
        self._tell("process_before_every_sampling", p, tuple(x.shape))

    def before_hr(self, p, *args):
        self._tell("before_hr", p)

    def on_mask_blend(self, p, mba, *args):
        self._tell("on_mask_blend", p, mba.is_final_blend)

    def post_sample(self, p, ps, *args):
        self._tell("post_sample", p, tuple(ps.samples.shape))

    def postprocess_batch(self, p, *args, images, batch_number):
        self._tell("postprocess_batch", p, tuple(images.shape))

    def postprocess_batch_list(self, p, pp, *args, batch_number):
        self._tell("postprocess_batch_list", p, len(pp.images))

    def postprocess_image(self, p, pp, *args):
        self._tell("postprocess_image", p, pp.image.size)

    def postprocess_maskoverlay(self, p, ppmo, *args):
        self._tell("postprocess_maskoverlay", p, ppmo.index)

    def postprocess_image_after_composite(self, p, pp, *args):
        self._tell("postprocess_image_after_composite", p, pp.image.size)
        if args[0]:
            pp.image.paste((255, 0, 0), (0, 0, 8, 8))

    def postprocess(self, p, processed, *args):
        self._tell("postprocess", p, len(processed.images))
