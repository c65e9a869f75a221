"""Folders."""

from __future__ import annotations

from webui.extensions.a1111.host import current

_places = current().places
script_path = str(_places.program)
modules_path = str(_places.program / "webui" / "extensions" / "a1111" / "site" / "modules")
data_path = str(_places.data)
models_path = str(_places.models)
extensions_dir = str(_places.extensions)
extensions_builtin_dir = str(_places.program / "extensions-builtin")
config_states_dir = str(_places.data / "config_states")
default_output_dir = str(_places.data / "outputs")
roboto_ttf_file = ""
sd_configs_path = str(_places.program / "configs")
sd_default_config = ""
sd_model_file = ""
default_sd_model_file = ""
cwd = data_path
