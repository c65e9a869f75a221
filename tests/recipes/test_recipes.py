"""What other programs store, as they store it, with words and numbers of our own."""

from __future__ import annotations

import copy
import io
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sd_parsers
from PIL import Image, PngImagePlugin

from webui.errors import LibraryError
from webui.recipes import Recipe, read_picture, read_text

GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "sd/harbour_v2.safetensors"},
    },
    "2": {
        "class_type": "LoraLoader",
        "inputs": {
            "lora_name": "ink\\wash.safetensors", "strength_model": 0.8, "strength_clip": 0.5,
            "model": ["1", 0], "clip": ["1", 1],
        },
    },
    "3": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["2", 1]}},
    "4": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "a lighthouse [old], embedding:fine", "clip": ["3", 0]},
    },
    "5": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["3", 0]}},
    "6": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 640, "height": 832, "batch_size": 1},
    },
    "7": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 41, "steps": 24, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras",
            "denoise": 1.0, "model": ["2", 0], "positive": ["4", 0], "negative": ["5", 0],
            "latent_image": ["6", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0], "vae": ["9", 0]}},
    "9": {"class_type": "VAELoader", "inputs": {"vae_name": "fine.vae.pt"}},
    "10": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "c"}},
    "11": {"class_type": "FaceDetailer", "inputs": {"x": 1}},
}  # fmt: skip


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key.replace("__", "-"), value)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def picture(**texts: str) -> Recipe:
    found = read_picture(png(**texts))
    assert found is not None
    return found


def pairs(recipe: Recipe) -> dict[str, str]:
    assert read_text(recipe.text).infotext == recipe.infotext  # it survives being shown
    return recipe.infotext.params


def prompts(recipe: Recipe) -> tuple[str, str]:
    return recipe.infotext.prompt, recipe.infotext.negative_prompt


def test_comfyui_graph() -> None:
    recipe = picture(prompt=json.dumps(GRAPH))
    assert recipe.program == "ComfyUI"
    assert prompts(recipe) == ("a lighthouse \\[old\\], fine <lora:wash:0.5:0.8>", "blurry")
    assert pairs(recipe) == {
        "Clip skip": "2", "Steps": "24", "Sampler": "DPM++ 2M", "Schedule type": "Karras",
        "CFG scale": "6.5", "Seed": "41", "Size-1": "640", "Size-2": "832", "Model": "harbour_v2",
        "VAE": "fine.vae.pt", "RNG": "CPU",
    }  # fmt: skip
    assert recipe.left_out == ("node: FaceDetailer",)


def with_second_pass(*between: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    graph = json.loads(json.dumps(GRAPH))
    link: list[Any] = ["7", 0]
    for number, (kind, inputs) in enumerate(between, 20):
        source = "pixels" if "Encode" in kind else "image" if "Image" in kind else "samples"
        graph[str(number)] = {"class_type": kind, "inputs": {source: link, **inputs}}
        link = [str(number), 0]
    second = {**graph["7"]["inputs"], "latent_image": link, "denoise": 0.5, "steps": 9}
    graph["30"] = {"class_type": "KSampler", "inputs": second}
    graph["8"]["inputs"]["samples"] = ["30", 0]
    return graph


def test_comfyui_second_pass_over_a_latent_picture_is_hires() -> None:
    step = ("LatentUpscaleBy", {"upscale_method": "nearest-exact", "scale_by": 1.5})
    found = pairs(read_text(json.dumps(with_second_pass(step))))
    assert found["Hires upscale"] == "1.5" and found["Hires steps"] == "9"
    assert found["Hires upscaler"] == "Latent (nearest-exact)"
    assert found["Denoising strength"] == "0.5" and found["Steps"] == "24"


def test_comfyui_second_pass_over_a_picture_names_its_model() -> None:
    graph = with_second_pass(
        ("VAEDecode", {}),
        ("ImageUpscaleWithModel", {"upscale_model": ["40", 0]}),
        ("ImageScale", {"upscale_method": "lanczos", "width": 1280, "height": 1664}),
        ("VAEEncode", {}),
    )
    graph["40"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "4x-Sharp.pth"}}
    found = pairs(read_text(json.dumps(graph)))
    assert found["Hires upscaler"] == "4x-Sharp" and found["Hires resize-1"] == "1280"


def test_comfyui_sampler_that_only_goes_on_is_no_second_pass() -> None:
    recipe = read_text(json.dumps(with_second_pass()))
    assert not any(key.startswith("Hires") for key in pairs(recipe))
    assert "second sampler: KSampler, node 30" in recipe.left_out


def test_comfyui_prompts_that_are_joined_and_texts_that_come_from_elsewhere() -> None:
    graph = json.loads(json.dumps(GRAPH))
    graph["12"] = {"class_type": "PrimitiveString", "inputs": {"value": "in fog"}}
    graph["13"] = {"class_type": "CLIPTextEncode", "inputs": {"text": ["12", 0], "clip": ["3", 0]}}
    both = {"conditioning_1": ["4", 0], "conditioning_2": ["13", 0]}
    graph["14"] = {"class_type": "ConditioningCombine", "inputs": both}
    area = {"conditioning": ["14", 0], "width": 64, "strength": 1.0}
    graph["15"] = {"class_type": "ConditioningSetArea", "inputs": area}
    graph["7"]["inputs"]["positive"] = ["15", 0]
    recipe = read_text(json.dumps(graph))
    assert prompts(recipe)[0].startswith("a lighthouse \\[old\\], fine AND in fog")
    assert "ConditioningSetArea: width 64, strength 1.0" in recipe.left_out


def test_comfyui_saved_page_without_the_graph() -> None:
    nodes, links = [], []
    widgets = {
        "1": ["sd/harbour_v2.safetensors"], "4": ["a lighthouse"], "5": ["blurry"],
        "6": [640, 832, 1], "7": [41, "fixed", 24, 6.5, "euler_ancestral", "normal", 1.0],
    }  # fmt: skip
    for key, node in GRAPH.items():
        slots = []
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                links.append([len(links), int(value[0]), value[1], int(key), len(slots), "X"])
                slots.append({"name": name, "link": len(links) - 1})
        nodes.append(
            {"id": int(key), "type": node["class_type"], "inputs": slots,
             "widgets_values": widgets.get(key, [])}
        )  # fmt: skip
    recipe = picture(workflow=json.dumps({"nodes": nodes, "links": links}))
    found = pairs(recipe)
    assert prompts(recipe)[0].startswith("a lighthouse") and found["Sampler"] == "Euler a"
    assert (found["Seed"], found["CFG scale"], found["Size-2"]) == ("41", "6.5", "832")


def test_comfyui_webp_keeps_its_graph_in_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(GRAPH)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", exif=exif)
    recipe = read_picture(tmp_path / "a.webp")
    assert recipe is not None and pairs(recipe)["Seed"] == "41"


def test_comfyui_picture_with_an_infotext_of_a_saving_node_keeps_that() -> None:
    text = "a cat\nSteps: 5, Sampler: Euler, CFG scale: 3, Seed: 9, Version: ComfyUI"
    recipe = picture(prompt=json.dumps(GRAPH), parameters=text)
    assert recipe.program == "ComfyUI" and pairs(recipe)["Seed"] == "9"


FOOOCUS = {
    "base_model": "harbourXL", "base_model_hash": "0a1b2c3d4e", "clip_skip": 2,
    "full_prompt": ["cinematic a lighthouse", "a lighthouse, intricate"],
    "full_negative_prompt": ["anime", "blurry"], "prompt": "a lighthouse",
    "negative_prompt": "blurry", "guidance_scale": 4.0, "loras": [["ink.safetensors", 0.1, "ff"]],
    "performance": "Speed", "refiner_model": "late.safetensors", "refiner_switch": 0.5,
    "resolution": "(896, 1152)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras",
    "seed": "6952411511246973023", "sharpness": 2.0, "steps": 30, "styles": "['Cinematic']",
    "version": "Fooocus v2.5.5",
}  # fmt: skip


def test_fooocus_scheme() -> None:
    recipe = picture(parameters=json.dumps(FOOOCUS), fooocus_scheme="fooocus")
    assert recipe.program == "Fooocus"
    assert prompts(recipe) == (
        "cinematic a lighthouse BREAK a lighthouse, intricate <lora:ink:0.1>",
        "anime BREAK blurry",
    )
    found = pairs(recipe)
    assert (found["Sampler"], found["Schedule type"]) == ("DPM++ 2M SDE", "Karras")
    assert found["Seed"] == "6952411511246973023" and found["CFG scale"] == "4"
    assert found["Refiner"] == "late" and found["Size-2"] == "1152"
    assert recipe.left_out == ("performance: Speed", "sharpness: 2.0")


def test_fooocus_log_and_its_second_scheme() -> None:
    log = {
        "Prompt": "a cat", "Negative Prompt": "", "Styles": "['Photo']", "Performance": "Speed",
        "Resolution": "(1024, 1024)", "Guidance Scale": "4", "Base Model": "m.safetensors",
        "Sampler": "euler", "Scheduler": "strange", "Seed": "12", "LoRA 1": "ink.safetensors : 0.3",
    }  # fmt: skip
    recipe = read_text(json.dumps(log))
    assert prompts(recipe)[0] == "a cat <lora:ink:0.3>" and pairs(recipe)["Seed"] == "12"
    assert "scheduler: strange" in recipe.left_out and "styles: ['Photo']" in recipe.left_out
    text = "a cat\nSteps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 5, Version: Fooocus v2.5.5"
    assert picture(parameters=text, fooocus_scheme="a1111").program == "Fooocus"


def test_invokeai_metadata() -> None:
    stored = {
        "positive_prompt": "a (red apple)1.3, stars++", "negative_prompt": "text-", "width": 512,
        "height": 768, "seed": 3, "rand_device": "cpu", "cfg_scale": 7.5, "steps": 30,
        "scheduler": "dpmpp_2m_k", "model": {"name": "harbour"}, "vae": {"model_name": "fine"},
        "loras": [{"model": {"name": "ink"}, "weight": 0.75}], "clip_skip": 1, "app_version": "4",
        "ref_images": [{"image": "x.png"}],
    }  # fmt: skip
    recipe = picture(invokeai_metadata=json.dumps(stored))
    assert recipe.program == "InvokeAI"
    assert prompts(recipe) == ("a (red apple:1.3), (stars:1.21) <lora:ink:0.75>", "(text:0.9)")
    assert pairs(recipe) == {
        "Steps": "30", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "7.5",
        "Seed": "3", "Size-1": "512", "Size-2": "768", "Model": "harbour", "VAE": "fine",
        "Clip skip": "2", "RNG": "CPU",
    }  # fmt: skip
    assert recipe.left_out == ('ref_images: [{"image": "x.png"}]',)


def test_invokeai_before() -> None:
    image = {
        "prompt": [{"prompt": "a cat [dog]", "weight": 1.0}], "steps": 50, "cfg_scale": 5,
        "height": 768, "width": 512, "seed": 29, "sampler": "k_euler_a", "threshold": 0,
        "postprocessing": [{"type": "esrgan"}],
    }  # fmt: skip
    metadata = {"model_weights": "harbour", "app_id": "invoke-ai/InvokeAI", "image": image}
    recipe = picture(sd__metadata=json.dumps(metadata))
    assert prompts(recipe) == ("a cat", "dog") and pairs(recipe)["Sampler"] == "Euler a"
    assert recipe.left_out == ('postprocessing: [{"type": "esrgan"}]',)
    dream = '"a cat [dog]" -s 50 -S 29 -W 512 -H 768 -C 5 -A k_lms -U 4 0.95'
    for recipe in (picture(Dream=dream), read_text(dream)):
        assert prompts(recipe) == ("a cat", "dog")
        assert pairs(recipe)["Size-2"] == "768" and pairs(recipe)["Sampler"] == "LMS"
        assert recipe.left_out == ("-U: 4 0.95",)


def test_civitai_and_requests_of_the_api() -> None:
    meta = {
        "prompt": "a cat", "negativePrompt": "dog", "steps": 20, "sampler": "Euler a", "seed": 0,
        "cfgScale": 7, "Size": "512x768", "Model": "m.safetensors", "clipSkip": 2, "hashes": {},
        "resources": [{"name": "ink", "type": "lora", "weight": 0.6}], "mystery": 5,
    }  # fmt: skip
    for value in (meta, {"id": 7, "meta": meta}):
        recipe = read_text(json.dumps(value))
        assert recipe.program == "Civitai"
        assert prompts(recipe) == ("a cat <lora:ink:0.6>", "dog")
        assert pairs(recipe)["Seed"] == "0" and pairs(recipe)["Size-1"] == "512"
        assert recipe.left_out == ("mystery: 5",)
    request = {"prompt": "a cat", "sampler_name": "Euler", "width": 64, "height": 96, "seed": 3,
               "enable_hr": False, "hr_scale": 2, "denoising_strength": 0.5}  # fmt: skip
    found = pairs(read_text(json.dumps(request)))
    assert found == {"Sampler": "Euler", "Seed": "3", "Size-1": "64", "Size-2": "96"}


def test_midjourney() -> None:
    recipe = read_text(
        "https://s.mj.run/x a cat::2 a dog::-0.5 fog --ar 16:9 --no people, text --niji 6 --seed 7"
    )
    assert recipe.program == "Midjourney"
    assert pairs(recipe) == {"Size-1": "704", "Size-2": "384", "Seed": "7"}
    assert recipe.text.splitlines() == [
        "a cat :2 AND a dog :-0.5 AND fog", "Negative prompt: people, text",
        "Size: 704x384, Seed: 7",
    ]  # fmt: skip
    assert recipe.left_out == ("picture: https://s.mj.run/x", "--niji: 6")
    stored = picture(Description="a cat --ar 1:1 --v 6 Job ID: 12-ab")
    assert (stored.program, stored.text) == ("Midjourney", "a cat\nSize: 512x512")


def test_novelai_and_plain_texts() -> None:
    comment = json.dumps({"steps": 5, "sampler": "k_euler", "seed": 2, "scale": 10.0, "uc": "dog"})
    recipe = picture(Software="NovelAI", Description="a cat", Comment=comment)
    assert recipe.program == "NovelAI" and prompts(recipe) == ("a cat", "dog")
    assert read_text("a cat, (x:1.2) -- and more::").text == "a cat, (x:1.2) -- and more::"
    sdnext = "a cat\nSteps: 5, Sampler: Euler, Seed: 2, App: SD.Next, Version: 4a"
    assert read_text(sdnext).program == "SD.Next"
    assert read_picture(png()) is None


INVOKE = {
    "positive_prompt": "a cat", "negative_prompt": "dog", "seed": 41, "steps": 5, "cfg_scale": 7.5,
    "scheduler": "euler", "model": {"model_name": "m", "base_model": "sd-1"},
}  # fmt: skip
NOVELAI = {"steps": 5, "sampler": "k_euler", "seed": 41, "scale": 10.0, "uc": "dog", "strength": 0}


@pytest.mark.parametrize(
    "texts",
    [
        {"parameters": "a cat\nNegative prompt: dog\nSteps: 5, Sampler: Euler, Seed: 41"},
        {"parameters": json.dumps({**FOOOCUS, "seed": 41}), "fooocus_scheme": "fooocus"},
        {"invokeai_metadata": json.dumps(INVOKE)},
        {"Software": "NovelAI", "Description": "a cat", "Comment": json.dumps(NOVELAI),
         "Source": "Stable Diffusion 1D44365E"},
    ],
)  # fmt: skip
def test_another_reader_of_recipes_reads_the_same(texts: dict[str, str]) -> None:
    theirs = sd_parsers.ParserManager().parse(Image.open(io.BytesIO(png(**texts))))
    ours = picture(**texts)
    assert theirs is not None
    (sampler,) = theirs.samplers
    assert int(sampler.parameters["seed"]) == int(pairs(ours)["Seed"]) == 41
    assert theirs.prompts[0].value in prompts(ours)[0]
    assert theirs.negative_prompts[0].value in prompts(ours)[1]


def test_broken_recipes_are_read_as_far_as_they_go() -> None:
    """Each value of each format is replaced by something odd: never an error."""
    odd: list[Any] = [None, [], {}, "", -1, 1.5, True, "x" * 50, ["1", 0], [[[]]], {"a": {"b": 1}}]
    chance = random.Random(5)
    for whole in (GRAPH, FOOOCUS, {"nodes": [{"id": 1, "type": "KSampler"}], "links": [[1, 2]]}):
        for _ in range(400):
            value = json.loads(json.dumps(whole))
            for _ in range(chance.randint(1, 4)):
                spoil(value, odd, chance)
            assert isinstance(read_text(json.dumps(value)), Recipe)


def spoil(value: Any, odd: list[Any], chance: random.Random) -> None:
    while isinstance(value, (dict, list)) and value:
        key = chance.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
        if chance.random() < 0.4 or not isinstance(value[key], (dict, list)) or not value[key]:
            value[key] = copy.deepcopy(chance.choice(odd))
            return
        value = value[key]


def test_graph_that_runs_in_a_circle_ends() -> None:
    graph = json.loads(json.dumps(GRAPH))
    graph["2"]["inputs"]["model"] = ["2", 0]
    graph["3"]["inputs"]["clip"] = ["3", 0]
    graph["4"] = {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["4", 0]}}
    graph["6"] = {"class_type": "LatentUpscale", "inputs": {"samples": ["6", 0]}}
    assert read_text(json.dumps(graph)).program == "ComfyUI"


@pytest.mark.parametrize("text", ["{" * 100_000, "[" * 50, '{"a":' * 60_000, "{}", "\0", "--ar"])
def test_text_that_is_no_recipe(text: str) -> None:
    assert isinstance(read_text(text), Recipe)


@pytest.mark.parametrize(
    ("version", "program"),
    [
        ("f2.0.1v1.10.1-previous-1-g1", "Forge"),
        ("Fooocus v2.5.5", "Fooocus"),
        ("fancy 3", "A1111"),
        ("v1.10.1", "A1111"),
        ("Danqing 0.1.0", "Danqing"),
    ],
)
def test_program_is_told_by_its_version(version: str, program: str) -> None:
    text = f"a cat\nSteps: 5, Sampler: Euler, Seed: 2, Version: {version}"
    assert read_text(text).program == program


def test_damaged_exif_data_ends_in_a_recipe_or_in_words(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(GRAPH)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", exif=exif)
    data = bytearray((tmp_path / "a.webp").read_bytes())
    at = data.index(b"prompt:")
    for place in range(at - 40, at):
        spoilt = bytearray(data)
        spoilt[place] ^= 0xFF
        with suppress(LibraryError):  # a picture, or none: never another error
            read_picture(bytes(spoilt))
