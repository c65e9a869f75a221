"""Registers for everything."""

from modules import script_callbacks, shared
from modules.scripts import basedir

BASE = basedir()
TOLD = []


def teller(name):
    def told(*args, **kwargs):
        TOLD.append(name)

    return told


def noisy(params):
    TOLD.append(f"cfg_denoiser {params.sampling_step}/{params.total_sampling_steps}")


def pasted(infotext, params):
    params["Word"] = "pasted"


def settings():
    shared.opts.add_option("first_option", shared.OptionInfo(5, "First", section=("first", "F")))


def broken(*args):
    raise RuntimeError("this callback is broken")


def add_routes(demo, app):
    @app.get("/first/hello")
    def hello():
        return {"hello": "world"}


script_callbacks.on_app_started(add_routes)
script_callbacks.on_ui_settings(settings)
script_callbacks.on_infotext_pasted(pasted)
script_callbacks.on_before_ui(teller("before_ui a"))
script_callbacks.on_before_ui(teller("before_ui b"), name="named")
script_callbacks.on_script_unloaded(teller("script_unloaded a"))
script_callbacks.on_model_loaded(broken)
script_callbacks.on_model_loaded(teller("model_loaded"))
script_callbacks.on_cfg_denoiser(noisy)
script_callbacks.on_cfg_denoised(lambda params: TOLD.append("cfg_denoised"))
script_callbacks.on_cfg_after_cfg(lambda params: TOLD.append("cfg_after_cfg"))
script_callbacks.on_before_image_saved(lambda params: params.pnginfo.update(seen="yes"))
script_callbacks.on_image_saved(lambda params: TOLD.append(f"saved {params.filename}"))
