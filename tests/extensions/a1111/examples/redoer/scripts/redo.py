"""Enlarges a picture tile by tile, each painted anew: one process_images for every tile."""

import math

import gradio as gr
from modules import images, processing, scripts
from modules.processing import Processed
from modules.shared import opts, state
from PIL import Image, ImageDraw


class Script(scripts.Script):
    def title(self):
        return "Redo in tiles"

    def show(self, is_img2img):
        return is_img2img

    def ui(self, is_img2img):
        gr.HTML("<p>Tiles</p>")
        tile = gr.Slider(minimum=64, maximum=256, step=8, label="Tile", value=64)
        redraws = gr.Radio(label="Order", choices=["Linear", "Chess"], value="Linear", type="index")
        save = gr.Checkbox(label="Save tiles", value=False)
        return [tile, redraws, save]

    def run(self, p, tile, order, save):
        processing.fix_seed(p)
        p.extra_generation_params["Redo tile"] = tile
        p.do_not_save_grid = p.do_not_save_samples = True
        p.inpaint_full_res = False
        p.inpainting_fill = 1
        p.n_iter = p.batch_size = 1
        seed = p.seed
        whole = images.flatten(p.init_images[0], opts.img2img_background_color)
        whole = images.resize_image(0, whole, whole.width * 2, whole.height * 2)
        columns, rows = math.ceil(whole.width / tile), math.ceil(whole.height / tile)
        state.job_count = columns * rows
        info = None
        for row in range(rows):
            for column in range(columns):
                if state.interrupted:
                    break
                box = (column * tile, row * tile, (column + 1) * tile, (row + 1) * tile)
                mask = Image.new("L", whole.size, "black")
                ImageDraw.Draw(mask).rectangle(box, fill="white")
                p.width = p.height = tile
                p.image_mask = mask.crop(box)
                p.init_images = [whole.crop(box)]
                p.seed = seed + row * columns + column
                done = processing.process_images(p)
                info = info or done.infotext(p, 0)
                whole.paste(done.images[0], box[:2])
        return Processed(p, [whole], seed, info)
