"""Settings with capitals, a few routes: what helpers of the prompt box are made of."""

from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from modules import (  # noqa: F401
    extra_networks,
    hashes,
    prompt_parser,
    script_callbacks,
    scripts,
    sd_hijack,
    sd_models,
    shared,
)
from modules.paths import data_path, extensions_dir, models_path, script_path  # noqa: F401

TAGS = Path(scripts.basedir(), "tags")
FOLDERS = [Path(shared.cmd_opts.embeddings_dir), Path(shared.cmd_opts.hypernetwork_dir)]


def settings():
    section = ("tag", "Tag Helper")
    shared.opts.add_option(
        "tag_File",
        shared.OptionInfo("a.csv", "File", gr.Dropdown, lambda: {"choices": ["a.csv", "None"]},
                          refresh=list, section=section),
    )  # fmt: skip
    shared.opts.add_option(
        "tag_colours",
        shared.OptionInfo("{}", "Colours", gr.Code, lambda: {"language": "json"}, section=section),
    )


def embeddings(sd_model):
    return sd_hijack.model_hijack.embedding_db


def routes(_: gr.Blocks, app: FastAPI):
    @app.get("/tagapi/v1/file")
    async def file():
        return JSONResponse(shared.opts.tag_File)


script_callbacks.on_ui_settings(settings)
script_callbacks.on_model_loaded(embeddings)
script_callbacks.on_app_started(routes)
