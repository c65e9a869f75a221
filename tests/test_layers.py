"""Who may import whom: downwards only. The table here is the house's drawing, read by a machine."""

from __future__ import annotations

import sys

import pytest

from tests.source_tree import chain, imports, modules, reachable

WORDS = frozenset(
    {
        "access", "brake", "content_disposition", "database", "database_rescue", "errors",
        "extension_forms", "file_lock", "hook_types", "hookspecs", "infotext",
        "lenient", "option_values", "options", "params", "passwords", "pictures", "progress",
        "roles", "settings", "video", "wire",
    }
)  # fmt: skip
ROOM_OF_FILE = {
    **dict.fromkeys(WORDS, "words"),
    "worker": "model_process",
    "train_command": "model_process",
    "services": "studio",
}
"""Single files of webui/ that belong to a room of another name; the others are their own room."""
A1111_MODULES = "webui.extensions.a1111.site"
"""What A1111's extensions import; a room of its own, which nothing of ours imports."""

MODEL_ROOMS = {"checkpoints", "prompts", "samplers", "networks", "torch_setup", "words"}
STUDIO_ROOMS = {
    "jobs", "library", "recipes", "extensions", "checkpoints", "preprocessors", "prompts",
    "samplers", "training", "words",
}  # fmt: skip
ALLOWED: dict[str, set[str]] = {
    "command_line": set(),
    "words": {"command_line"},
    "torch_setup": {"words"},
    "prompts": {"words"},
    "samplers": {"words"},
    "networks": {"words", "prompts"},
    "checkpoints": {"words", "prompts", "samplers", "networks", "torch_setup"},
    "preprocessors": {"words"},
    "pipelines": MODEL_ROOMS | {"preprocessors"},
    "restoration": MODEL_ROOMS,
    "training": MODEL_ROOMS,
    "describing": MODEL_ROOMS,
    "map_networks": MODEL_ROOMS | {"preprocessors"},
    "merging": MODEL_ROOMS,
    "model_process": MODEL_ROOMS
    | {
        "pipelines",
        "map_networks",
        "preprocessors",
        "restoration",
        "training",
        "describing",
        "merging",
        "extensions",
    },
    "jobs": {"words"},
    "recipes": {"words"},
    "library": {"words", "recipes"},
    "extensions": {"words"},
    "built_in_extensions": MODEL_ROOMS | {"pipelines", "restoration"},
    "a1111_modules": {"words", "extensions"},
    "studio": STUDIO_ROOMS,
    "api": STUDIO_ROOMS | {"studio"},
    "ui": STUDIO_ROOMS | {"studio"},
    "doctor": {"words", "checkpoints", "prompts", "launcher"},
    "models_command": {"words", "checkpoints", "launcher"},
    "app": {"words", "studio", "api", "ui", "launcher"},
    "launcher": {"command_line"},
    "launch": {"launcher"},
}
WEB_ROOMS = (
    "words", "preprocessors", "jobs", "library", "recipes", "extensions", "studio", "api", "ui",
    "doctor", "models_command", "app",
)  # fmt: skip
FOR_THE_WEB = {
    "checkpoints": {
        "basic_support",
        "catalog",
        "describers",
        "foreign_text",
        "identify",
        "hashes",
        "headers",
        "labels",
        "other_programs",
        "sidecars",
        "download",
        "known_weights",
        "map_networks",
        "report",
        "scan",
    },
    "samplers": {"names", "steps"},
    "training": {
        "buckets",
        "captions",
        "checks",
        "config",
        "dataset_config",
        "dataset_doctor",
        "dataset_entries",
        "dataset_folders",
        "dataset_plan",
        "estimates",
        "face_crops",
        "network_args",
        "notices",
        "optimizer_names",
        "photographs",
        "presets",
        "rates",
        "samples",
        "steps",
        "written",
    },
}
"""Of these rooms the web side may import only these modules; they must stay free of torch."""
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "accelerate", "spandrel", "torchsde"}
FRAMEWORKS = {"gradio": {"ui", "app", "a1111_modules"}, "fastapi": {"api", "ui", "app"}}
FRAMEWORKS["gradio_client"] = FRAMEWORKS["gradio"]
FRAMEWORKS["starlette"] = FRAMEWORKS["uvicorn"] = FRAMEWORKS["fastapi"]


def room(module: str) -> str:
    """The room of one of our modules: 'webui.api.pictures' is in 'api'; webui itself is in ''."""
    parts = module.split(".")
    if module.startswith(A1111_MODULES):
        return "a1111_modules"
    if parts[0] != "webui":
        return parts[0]
    return ROOM_OF_FILE.get(parts[1], parts[1]) if len(parts) > 1 else ""


def top(module: str) -> str:
    return module.split(".")[0]


OURS = {name for name in modules() if name != "webui"}


def test_rooms_when_listed_then_every_module_has_a_room_in_the_table() -> None:
    assert {room(name) for name in OURS} <= set(ALLOWED)


@pytest.mark.parametrize("module", sorted(OURS))
def test_imports_when_read_then_lead_downwards_only(module: str) -> None:
    here = room(module)
    for other in imports()[module]:
        if top(other) not in ("webui", "app", "launch") or other == "webui":
            continue
        there = room(other)
        assert there == here or there in ALLOWED[here], f"{module} may not import {other}"


@pytest.mark.parametrize("module", sorted(m for m in OURS if room(m) in WEB_ROOMS))
def test_imports_when_the_web_side_uses_a_model_room_then_only_its_light_modules(
    module: str,
) -> None:
    for other in imports()[module]:
        if room(other) in FOR_THE_WEB and room(other) != room(module):
            name = other.split(".")[2] if other.count(".") >= 2 else ""
            assert name in FOR_THE_WEB[room(other)], f"{module} may not import {other}"


@pytest.mark.parametrize("module", sorted(m for m in OURS if room(m) in (*WEB_ROOMS, "prompts")))
def test_imports_when_followed_from_the_web_side_then_never_reach_torch(module: str) -> None:
    found = reachable(module)
    heavy = [chain(found, name) for name in found if top(name) in HEAVY]
    assert heavy == []


@pytest.mark.parametrize("module", sorted(OURS))
def test_imports_when_a_framework_is_used_then_only_in_its_room(module: str) -> None:
    for other in imports()[module]:
        assert room(module) in FRAMEWORKS.get(top(other), {room(module)}), (module, other)


@pytest.mark.parametrize("module", sorted(m for m in OURS if room(m) == "words"))
def test_words_when_read_then_lean_on_little(module: str) -> None:
    light = {"pydantic", "pydantic_core", "annotated_types", "pluggy", "PIL", "msgpack", "webui"}
    for other in imports()[module]:
        assert top(other) in light | sys.stdlib_module_names, f"{module} imports {other}"
