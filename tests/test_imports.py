"""What importing really loads, seen from fresh processes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from tests.source_tree import PROJECT, modules
from tests.test_layers import FOR_THE_WEB, HEAVY, WEB_ROOMS, room

LOAD_AND_LIST = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""


PREPARE = "from webui.torch_setup import prepare_torch; prepare_torch()"


def loaded_by(names: list[str], first: str = "") -> set[str]:
    """Modules present after running ``first`` and importing the names in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", first + LOAD_AND_LIST, json.dumps(names)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def web_modules() -> list[str]:
    """Every module that the web process may load."""
    light = {f"webui.{name}.{part}" for name, parts in FOR_THE_WEB.items() for part in parts}
    return [m for m in modules() if room(m) in (*WEB_ROOMS, "prompts") or m in light]


def test_web_side_when_imported_whole_then_loads_no_torch() -> None:
    names = web_modules()
    assert {"webui.params", "webui.studio", "webui.jobs.store"} <= set(names)
    loaded = loaded_by(names)
    assert set(names) <= loaded
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()


def test_words_when_imported_then_load_no_framework_and_no_numpy() -> None:
    loaded = loaded_by([m for m in modules() if room(m) == "words"])
    tops = {name.split(".")[0] for name in loaded}
    assert tops & {*HEAVY, "gradio", "fastapi", "pandas", "numpy"} == set()


@pytest.mark.slow
def test_every_module_when_imported_then_loads_without_an_error() -> None:
    needs_a_host = "a1111_modules"  # see tests/extensions/a1111/test_loading.py
    names = [name for name in modules() if name != "launch" and room(name) != needs_a_host]
    assert set(names) <= loaded_by(names, first=PREPARE)


@pytest.mark.parametrize("module", sorted(modules()))
def test_source_when_parsed_as_the_oldest_python_then_has_no_syntax_error(module: str) -> None:
    ast.parse(modules()[module].read_text(encoding="utf-8"), feature_version=(3, 10))
