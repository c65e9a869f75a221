"""What stands on the canvas and in the fields of img2img: into requests. No browser."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.ui.serve import FAKE_WORKER
from webui.errors import ParamsError
from webui.pictures import encode
from webui.services.resolve import ImageToImageRequest
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui import batch, canvas, input_history, pasting
from webui.ui.canvas import Drawing
from webui.ui.img2img_form import (
    CANVASES,
    DEFAULTS,
    Img2ImgForm,
    Source,
    make_request,
    scaled,
    source_of,
)

SIZE = (96, 64)


def put(studio: Studio, colour: str = "#406080", size: tuple[int, int] = SIZE) -> str:
    return studio.inputs.keep_image(Image.new("RGB", size, colour))


def strokes(
    studio: Studio, colour: tuple[int, int, int, int] = (255, 0, 0, 255),
    size: tuple[int, int] = SIZE,
) -> str:  # fmt: skip
    """The left half drawn over."""
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    ImageDraw.Draw(layer).rectangle((0, 0, size[0] // 2 - 1, size[1]), fill=colour)
    return studio.inputs.keep_image(layer)


def form(mode: str, value: str = "", **changed: Any) -> dict[str, Any]:
    here = {CANVASES[mode]: value} if mode in CANVASES else {}
    return {**DEFAULTS, "mode": mode, **here, **changed}


def ask(source: Source | None = None, **changed: Any) -> ImageToImageRequest:
    source = source or Source("a" * 64, SIZE)
    return make_request({**DEFAULTS, **changed}, source, top_row={}, overrides={}, user="")


def test_form_and_defaults_name_the_same_fields() -> None:
    assert {f.name for f in dataclasses.fields(Img2ImgForm)} == set(DEFAULTS)


def test_defaults_are_those_of_a1111() -> None:
    request = ask(Source("a" * 64, SIZE, "b" * 64))
    assert (request.denoising_strength, request.resize_mode) == (0.75, "Just resize")
    inpaint = request.inpaint
    assert inpaint is not None
    assert (inpaint.blur_x, inpaint.blur_y, inpaint.content) == (4, 4, "original")
    assert (inpaint.only_masked, inpaint.padding, inpaint.is_inverted) == (False, 32, False)
    assert inpaint.soft is None


def test_source_when_canvas_is_empty_says_so(studio: Studio) -> None:
    with pytest.raises(ParamsError, match="no picture"):
        source_of(form("img2img"), studio.inputs, "en")


def test_source_of_img2img_is_the_picture_itself(studio: Studio) -> None:
    key = put(studio)
    assert source_of(form("img2img", Drawing(key).to_value()), studio.inputs, "en") == Source(
        key, SIZE
    )


def test_source_of_sketch_has_the_strokes_painted_in(studio: Studio) -> None:
    value = Drawing(put(studio), strokes(studio)).to_value()
    source = source_of(form("sketch", value), studio.inputs, "en")
    image = studio.inputs.image(source.init)
    assert source.mask is None
    assert image.getpixel((10, 10)) == (255, 0, 0)
    assert image.getpixel((90, 10)) == (0x40, 0x60, 0x80)


def test_source_of_inpaint_keeps_the_picture_and_masks_the_strokes(studio: Studio) -> None:
    key = put(studio)
    value = Drawing(key, strokes(studio, (255, 255, 255, 255))).to_value()
    source = source_of(form("inpaint", value), studio.inputs, "en")
    assert source.init == key
    assert source.mask is not None
    mask = studio.inputs.image(source.mask).convert("L")
    assert (mask.size, mask.getpixel((47, 10)), mask.getpixel((48, 10))) == (SIZE, 255, 0)


def test_source_of_inpaint_when_nothing_is_drawn_says_so(studio: Studio) -> None:
    with pytest.raises(ParamsError, match="Nothing is masked"):
        source_of(form("inpaint", Drawing(put(studio)).to_value()), studio.inputs, "en")


def test_source_of_inpaint_sketch_counts_see_through_strokes_fully_unless_soft(
    studio: Studio,
) -> None:
    value = Drawing(put(studio), strokes(studio, (255, 0, 0, 100))).to_value()

    def mask_of(**changed: Any) -> Any:
        source = source_of(form("inpaint_sketch", value, **changed), studio.inputs, "en")
        assert source.mask is not None
        assert studio.inputs.image(source.init).getpixel((10, 10)) != (0x40, 0x60, 0x80)
        return studio.inputs.image(source.mask).convert("L").getpixel((10, 10))

    assert mask_of() == 255
    assert mask_of(has_soft=True) == 100


def test_source_when_drawing_was_kept_smaller_is_scaled_to_the_picture(studio: Studio) -> None:
    value = Drawing(put(studio), strokes(studio, size=(48, 32))).to_value()
    source = source_of(form("inpaint", value), studio.inputs, "en")
    assert source.mask is not None
    assert studio.inputs.image(source.mask).size == SIZE


def test_source_of_inpaint_upload_takes_both_files(studio: Studio) -> None:
    key, mask = put(studio), put(studio, "#ffffff", (32, 32))
    given = form("inpaint_upload", Drawing(key).to_value(), mask_upload=Drawing(mask).to_value())
    assert source_of(given, studio.inputs, "en") == Source(key, SIZE, mask)
    with pytest.raises(ParamsError, match="Nothing is masked"):
        source_of({**given, "mask_upload": ""}, studio.inputs, "en")


def test_request_when_resized_by_a_scale_has_whole_steps_of_8() -> None:
    request = ask(Source("a" * 64, (100, 60)), size_rule="Resize by", resize_scale=1.5)
    assert (request.width, request.height) == (152, 88)
    assert scaled((10, 10), 0.1) == (64, 64)


def test_request_when_soft_inpainting_is_on_has_its_six_knobs() -> None:
    inpaint = ask(Source("a" * 64, SIZE, "b" * 64), has_soft=True, soft_bias=2.0).inpaint
    assert inpaint is not None and inpaint.soft is not None
    assert inpaint.soft.schedule_bias == 2.0
    assert inpaint.soft.transition_contrast_boost == 4.0


def test_request_of_each_script_has_only_that_way_of_working() -> None:
    sides = {"outpaint_sides": ["left", "down"], "outpaint_pixels": 64}
    outpaint = ask(script="Outpainting", **sides).outpaint
    assert outpaint is not None
    assert (outpaint.left, outpaint.right, outpaint.up, outpaint.down) == (64, 0, 0, 64)
    loopback = ask(script="Loopback", loops=3, **sides)
    assert loopback.outpaint is None and loopback.loopback is not None
    assert loopback.loopback.loops == 3
    upscale = ask(script="SD upscale", **sides).sd_upscale
    assert upscale is not None and upscale.overlap == 64
    assert ask(**sides).outpaint is None


def test_request_when_outpainting_has_no_side_says_what_to_do() -> None:
    with pytest.raises(ParamsError, match="no side to grow"):
        ask(script="Outpainting")


def test_request_when_tiles_are_on_has_them() -> None:
    tiles = ask(has_tiles=True, tile_width=96, tile_height=96, tile_overlap=20).tiled_diffusion
    assert tiles is not None
    assert (tiles.tile_width, tiles.overlap) == (96, 16)
    assert ask(tile_width=96).tiled_diffusion is None


@pytest.mark.parametrize("broken", ["", None, "{", "[]", '"x"', '{"picture": ""}'])
def test_canvas_when_value_is_no_drawing_reads_as_empty(broken: Any) -> None:
    assert canvas.read(broken) is None


def test_recipe_fills_the_fields_of_img2img(studio: Studio) -> None:
    values = pasting.paste(
        "a fox\nSteps: 20, Denoising strength: 0.4, Mask blur: 9, Inpaint area: Only masked, "
        "Masked area padding: 16, Masked content: fill, Size: 64x64",
        studio,
    ).values
    assert (values["denoising"], values["mask_blur"], values["padding"]) == (0.4, 9, 16)
    assert (values["inpaint_area"], values["mask_content"]) == ("Only masked", "fill")
    assert values["mask_mode"] == "Inpaint masked"
    inverted = "a fox\nSteps: 20, Mask mode: Inpaint not masked, Masked content: words, Size: 8x8"
    values = pasting.paste(inverted, studio).values
    assert (values["mask_mode"], values["mask_content"]) == ("Inpaint not masked", "original")


# Earlier inputs


def test_strip_when_a_picture_is_replaced_keeps_it_with_its_drawing(studio: Studio) -> None:
    old = Drawing("a" * 64, "b" * 64, 8, 8).to_value()
    new = Drawing("c" * 64).to_value()
    strip = input_history.keep(studio, "me", {"inpaint": old}, {"inpaint": new})
    assert strip == [old] == input_history.load(studio, "me")
    back = input_history.keep(studio, "me", {"inpaint": new}, {"inpaint": old})
    assert back == [new]


def test_strip_when_picture_only_moved_to_another_canvas_stays_empty(studio: Studio) -> None:
    value = Drawing("a" * 64).to_value()
    assert input_history.keep(studio, "me", {"inpaint": value}, {"sketch": value}) == []


# Batches


def files_in(folder: Path, **colours: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, colour in colours.items():
        (folder / f"{stem}.png").write_bytes(encode(Image.new("RGB", SIZE, colour)))
    return folder


def make(studio: Studio, **changed: Any) -> batch.Batch:
    given = form("batch", batch_source="From directory", **changed)
    return batch.make_batch(given, studio, "en", top_row={}, overrides={}, user="")


def test_batch_of_a_folder_makes_one_request_for_each_file_and_names_bad_ones(
    studio: Studio, tmp_path: Path
) -> None:
    folder = files_in(tmp_path / "in", one="#ff0000", two="#00ff00")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "note.txt").write_text("x")
    made = make(studio, batch_input_dir=str(folder), batch_output_dir=str(tmp_path / "out"))
    assert [wish.file_stem for wish in made.wishes] == ["one", "two"]
    assert {wish.output_folder for wish in made.wishes} == {str(tmp_path / "out")}
    assert len(made.skipped) == 1 and "bad.png" in made.skipped[0]


def test_batch_with_masks_pairs_them_by_name_and_skips_files_without(
    studio: Studio, tmp_path: Path
) -> None:
    folder = files_in(tmp_path / "in", one="#ff0000", two="#00ff00", three="#0000ff")
    masks = files_in(tmp_path / "masks", one="#ffffff", two="#000000")
    made = make(studio, batch_input_dir=str(folder), batch_mask_dir=str(masks))
    assert [wish.file_stem for wish in made.wishes] == ["one", "two"]
    assert all(wish.inpaint for wish in made.wishes)
    assert len({wish.inpaint.mask for wish in made.wishes if wish.inpaint}) == 2
    assert "three" in made.skipped[0]
    (masks / "two.png").unlink()
    assert len(make(studio, batch_input_dir=str(folder), batch_mask_dir=str(masks)).wishes) == 3


def test_batch_when_recipes_are_wanted_takes_the_chosen_values(
    studio: Studio, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    recipe = "a hill\nSteps: 9, Sampler: Euler, Seed: 77, Size: 64x96, CFG scale: 3.0"
    (folder / "one.png").write_bytes(encode(Image.new("RGB", SIZE), infotext=recipe))
    asked = {"batch_input_dir": str(folder), "prompt": "snow"}
    plain = make(studio, **asked).wishes[0]
    assert (plain.prompt, plain.seed, plain.steps) == ("snow", "-1", 20)
    fields = ["Prompt", "Seed", "Size"]
    filled = make(studio, **asked, has_png_info=True, png_info_fields=fields).wishes[0]
    assert (filled.prompt, filled.seed, filled.steps) == ("snow a hill", "77", 20)
    assert (filled.width, filled.height) == (64, 96)


@pytest.mark.parametrize("flags", [["--share"], ["--listen"]])
def test_batch_when_page_is_shared_refuses_folders(tmp_path: Path, flags: list[str]) -> None:
    folder = files_in(tmp_path / "in", one="#ff0000")
    arguments = ["--data-dir", str(tmp_path / "data"), "--gradio-auth", "a:b", *flags]
    shared = Studio(read_settings(arguments, environ={}), worker_command=FAKE_WORKER)
    try:
        for name in ("batch_input_dir", "batch_output_dir", "png_info_dir"):
            with pytest.raises(ParamsError, match="no other machine reaches"):
                make(shared, **{name: str(folder)})
    finally:
        shared.stop()


@pytest.mark.parametrize("path", ["relative/folder", "/nowhere/at/all"])
def test_batch_when_folder_is_none_names_it(studio: Studio, path: str) -> None:
    with pytest.raises(ParamsError, match="no folder that can be used"):
        make(studio, batch_input_dir=path)


def test_batch_of_uploads_keeps_them_in_the_draft(studio: Studio, tmp_path: Path) -> None:
    folder = files_in(tmp_path / "in", one="#ff0000")
    (folder / "bad.png").write_bytes(b"x")
    kept, bad = batch.keep_uploads(studio, sorted(folder.iterdir()))
    assert [file.stem for file in kept] == ["one"] and "bad.png" in bad[0]
    text = batch.write_uploads(kept)
    assert batch.read_uploads(text) == kept
    assert batch.read_uploads("nonsense") == batch.read_uploads(json.dumps([[1]])) == []
    given = form("batch", batch_files=text, batch_output_dir="/ignored/for/uploads")
    made = batch.make_batch(given, studio, "en", top_row={}, overrides={}, user="")
    assert (made.wishes[0].output_folder, made.wishes[0].file_stem) == ("", "one")


def test_batch_result_keeps_its_name_in_the_folder(studio: Studio, tmp_path: Path) -> None:
    folder = files_in(tmp_path / "in", one="#ff0000")
    made = make(studio, batch_input_dir=str(folder), batch_output_dir=str(tmp_path / "out"))
    params = studio.resolve(made.wishes[0])
    studio.start()
    for _ in range(2):
        job = studio.submit(params)
        assert studio.wait(job.id, 60).state == "done"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["one-1.png", "one.png"]
