"""A1111 folders: what lies in them, the order they are loaded in, and what does not load."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.extensions.a1111.conftest import MakeFolder, MakeHost
from tests.patience import PATIENCE, wait_until
from webui.errors import ExtensionError, JobCancelled
from webui.extensions.a1111.folder import A1111Folder, is_a1111_folder, scripts_in_order
from webui.extensions.a1111.installing import Consents, install
from webui.extensions.a1111.pieces import extra_flags, page_files, translations
from webui.extensions.fence import Trouble
from webui.options import Options

Drop = Callable[[str], A1111Folder]


def test_folder_when_of_the_layout_then_its_parts_are_found(example: Drop, tmp_path: Path) -> None:
    folder = example("recorder")
    assert is_a1111_folder(folder.path) and not is_a1111_folder(tmp_path)
    assert list(page_files([folder])) == ["recorder/javascript/recorder.js", "recorder/style.css"]
    assert translations([folder]) == {"ja_JP": {"Width": "幅"}}


def test_scripts_when_metadata_asks_then_come_in_its_order(example: Drop) -> None:
    folders = [A1111Folder(example("recorder").path), example("callbacks"), example("redoer")]
    assert [file.canonical_name for file in scripts_in_order(folders)] == [
        "callbacks/a_first.py", "callbacks/b_second.py", "recorder/recorder.py", "redoer/redo.py",
    ]  # fmt: skip


def test_order_when_folders_wait_for_each_other_then_all_are_loaded(script: MakeFolder) -> None:
    one = script("", "one", metadata__ini="[scripts]\nAfter = two")
    two = script("", "two", metadata__ini="[scripts]\nAfter = one")
    assert {file.folder.name for file in scripts_in_order([one, two])} == {"one", "two"}


def test_needs_when_missing_then_only_told(script: MakeFolder, host: MakeHost) -> None:
    folder = script("", metadata__ini="[Extension]\nRequires = other|third")
    assert "other or third" in " ".join(host(folder).folders["small"].notes)


def test_modules_when_no_folder_is_loaded_then_do_not_exist(example: Drop, host: MakeHost) -> None:
    loaded = host(example("callbacks"))
    assert importlib.import_module("modules.shared").opts is loaded.options
    with pytest.raises(ExtensionError):
        host()
    loaded.close()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("modules.shared")


def test_scripts_when_loaded_then_classes_callbacks_and_their_folder_are_known(
    example: Drop, host: MakeHost
) -> None:
    loaded = host(example("callbacks"), example("recorder"), example("redoer"))
    assert [one.canonical_name for one in loaded.classes] == [
        "callbacks/b_second.py", "recorder/recorder.py", "redoer/redo.py",
    ][1:]  # fmt: skip
    assert [one.canonical_name for one in loaded.steps] == ["callbacks/b_second.py"]
    assert loaded.modules["callbacks/a_first.py"].BASE.endswith("callbacks")
    assert loaded.options.recorder_suffix == "!"
    assert not any("callbacks" in path for path in sys.path)
    assert loaded.folders["recorder"].seconds > 0


def test_callbacks_when_called_then_in_order_two_in_reverse_and_past_broken_ones(
    example: Drop, host: MakeHost, troubles: list[Trouble]
) -> None:
    loaded = host(example("callbacks"))
    told = loaded.modules["callbacks/a_first.py"].TOLD
    loaded.callbacks.call("before_ui")
    assert told == ["before_ui b", "before_ui a"]
    names = [one.name for one in loaded.callbacks.of("model_loaded")]
    assert names == ["callbacks/a_first.py/model_loaded-2", "callbacks/a_first.py/model_loaded"]
    told.clear()
    loaded.callbacks.call("model_loaded", None)
    assert told == ["model_loaded"]
    assert [(one.plugin, one.moment) for one in troubles] == [("callbacks", "on_model_loaded")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import modules.nothing_like_it", "modules.nothing_like_it"),
        ("from modules.processing import made_up", "made_up"),
        ("from modules import shared\nshared.opts.made_up", "made_up"),
        ("import sd_made_up_package", "sd_made_up_package"),
        ("import ldm.modules.attention", "built in"),
        ("from modules import sd_hijack_unet", "needs modules.sd_hijack_unet. It changes"),
        ("from modules import sd_unet", "needs modules.sd_unet. It changes"),
        ("from modules import made_up", "needs modules.made_up of A1111's web UI"),
        ("from modules import processing\nprocessing.process_images = None", "process_images"),
        ("raise SystemExit(3)", "end the program"),
        ("import sys\nsys.exit()", "end the program"),
        ("this is no Python", "SyntaxError"),
    ],
)
def test_script_when_it_cannot_run_then_is_left_out_and_told_why(
    script: MakeFolder, host: MakeHost, example: Drop, text: str, told: str
) -> None:
    loaded = host(script(text), example("redoer"))
    assert told in loaded.folders["small"].problem
    assert [one.owner for one in loaded.classes] == ["redoer"]


def test_script_when_it_comes_from_another_file_of_its_folder_then_is_found_once(
    script: MakeFolder, host: MakeHost
) -> None:
    own = "from modules import scripts\nclass Base(scripts.Script): pass\n"
    own += "class Whole(Base):\n    def title(self): return 'Whole'\n"
    folder = script(
        "from own_parts import Base, Whole\nclass More(Base): pass\n", own_parts__py=own
    )
    (folder.path / "scripts" / "second.py").write_text("from own_parts import Whole", "utf-8")
    loaded = host(folder)
    assert [one.made.__name__ for one in loaded.classes] == ["Whole", "More"]
    assert loaded.runners["txt2img"].titles == ["Whole", "More"]


EVERYTHING = """
from modules import extra_networks, script_callbacks, scripts, shared, ui_extra_networks
TOLD = []
class Kind(extra_networks.ExtraNetwork):
    def activate(self, p, params_list):
        TOLD.append([one.items for one in params_list])
kind = Kind("kind")
extra_networks.register_extra_network(kind)
extra_networks.register_extra_network_alias(kind, "sort")
ui_extra_networks.register_page(ui_extra_networks.ExtraNetworksPage("Cards"))
shared.opts.add_option("small_one", shared.OptionInfo(3, "One"))
shared.opts.onchange("sd_model_checkpoint", lambda: TOLD.append("chosen"), call=False)
script_callbacks.on_before_reload(lambda: TOLD.append("before_reload"))
script_callbacks.on_script_unloaded(lambda: TOLD.append("unloaded"))
script_callbacks.on_list_unets(print)
"""


def test_folder_when_unloaded_then_nothing_of_it_stays(script: MakeFolder, host: MakeHost) -> None:
    loaded = host(script(EVERYTHING))
    told = loaded.modules["small/main.py"].TOLD
    assert loaded.folders["small"].notes == [
        "Its page of cards «Cards» is not shown here.",
        "It waits for on_list_unets, which never comes here.",
    ]
    loaded.unload("small")
    assert told == ["before_reload", "unloaded"]
    assert not (loaded.extra_networks or loaded.network_pages or loaded.modules)
    assert "small_one" not in loaded.options and loaded.option_owners == {}


def test_networks_when_a_kind_has_two_names_then_is_told_once_of_both(
    script: MakeFolder, host: MakeHost
) -> None:
    loaded = host(script(EVERYTHING))
    networks = importlib.import_module("modules.extra_networks")
    networks.activate(None, networks.parse_prompt("a <kind:one:1> <sort:two>")[1])
    assert loaded.modules["small/main.py"].TOLD == [[["one", "1"], ["two"]]]


def test_onchange_when_of_an_option_of_ours_then_it_stays_ours(
    script: MakeFolder, host: MakeHost
) -> None:
    loaded = host(script(EVERYTHING))
    assert loaded.option_owners == {"small_one": "small"}
    loaded.options.set("sd_model_checkpoint", "other")
    assert loaded.modules["small/main.py"].TOLD == ["chosen"]


CHANGES = """
from modules import shared
TOLD = []
def told():
    TOLD.append(shared.opts.small_one)
def fails():
    raise ValueError("no")
shared.options_templates.update(shared.options_section(("small", "Small"), {
    "small_one": shared.OptionInfo(3, "One", onchange=told)}))
shared.opts.onchange("small_one", fails, call=False)
"""


def test_onchange_when_another_job_has_another_value_then_is_told_once_and_past_a_broken_one(
    script: MakeFolder, host: MakeHost, tmp_path: Path, troubles: list[Trouble]
) -> None:
    loaded = host(script(CHANGES))
    told = loaded.modules["small/main.py"].TOLD
    values = Options(tmp_path / "other.json")
    loaded.options.begin_job(values)
    assert told == []
    loaded.options.set("small_one", 4)
    assert told == [4]
    loaded.options.begin_job(values)
    assert told == [4, 3], "what a job's scripts have changed ends with it"
    loaded.options.data["small_one"] = 5
    loaded.options.set("small_one", 6, run_callbacks=False)
    assert told == [4, 3] and loaded.options.small_one == 6
    assert [(one.plugin, one.moment) for one in troubles] == [("small", "onchange")] * 2
    loaded.unload("small")
    loaded.options.set("small_one", 7)
    assert told == [4, 3]


def test_folders_when_of_the_same_name_then_the_later_is_left_out(
    script: MakeFolder, host: MakeHost
) -> None:
    loaded = host(script("", "Tool"), script("", "tool"))
    assert loaded.folders["tool"].folder.name == "Tool"
    assert "same name" in loaded.folders["tool"].notes[0]


def test_gradio_when_imported_by_a_script_then_older_ways_work_there_alone(
    script: MakeFolder, host: MakeHost
) -> None:
    loaded = host(
        script(
            "import gradio as gr\nfrom gradio.components import Textbox\n"
            "with gr.Blocks():\n"
            "    with gr.Box():\n"
            "        box = gr.Textbox('a', label='b', plain=True).style(container=False)\n"
            "        image = gr.Image(source='upload', tool='sketch', type='pil')\n"
            "CHANGE = gr.Textbox.update(value='c', visible=False)\n"
            "IS_ONE = isinstance(box, Textbox) and box.get_block_name() == 'textbox'\n"
        )
    )
    import gradio as gr

    module = loaded.modules["small/main.py"]
    assert gr.update(value="c", visible=False) == module.CHANGE
    assert module.box.get_config()["label"] == "b" and module.box.get_config()["value"] == "a"
    assert module.IS_ONE and isinstance(module.box, gr.Textbox) and module.box.container is False
    assert not hasattr(gr, "Box") and not hasattr(gr.Textbox, "style")


def test_flags_when_a_preload_declares_them_then_are_read(
    script: MakeFolder, host: MakeHost
) -> None:
    text = "def preload(parser):\n    parser.add_argument('--small-size', type=int, default=7)\n"
    folder = script("", preload__py=text)
    loaded = host()
    words = ["--port", "7", "--small-size", "9"]
    assert extra_flags([folder], words, loaded.imports, loaded.fence) == {"small_size": 9}
    assert extra_flags([folder], [], loaded.imports, loaded.fence) == {"small_size": 7}


def test_install_when_not_agreed_then_waits_and_a_changed_file_asks_again(
    script: MakeFolder, tmp_path: Path
) -> None:
    text = (
        "import launch, pathlib\nassert launch.is_installed('pydantic')\n"
        f"pathlib.Path({str(tmp_path / 'made')!r}).write_text('yes')\nprint('all is well')\n"
    )
    folder, consents = script("", install__py=text), Consents(tmp_path / "consents.json")
    assert consents.wants(folder) and not (tmp_path / "made").exists()
    done = install(folder, consents, tmp_path)
    assert done.is_done and "all is well" in done.output, done.output
    assert (tmp_path / "made").exists() and not consents.wants(folder)
    folder.install.write_text("raise RuntimeError('no')", encoding="utf-8")
    assert consents.wants(folder)
    assert not install(folder, consents, tmp_path).is_done and consents.wants(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="ends the process alone there")
def test_install_when_stopped_then_it_ends_and_can_be_run_again(
    script: MakeFolder, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    text = f"import pathlib, time\npathlib.Path({str(made)!r}).touch()\ntime.sleep(600)\n"
    folder, consents, cancel = script("", install__py=text), Consents(tmp_path / "c"), Event()
    seen: list[BaseException] = []

    def run() -> None:
        try:
            install(folder, consents, tmp_path, cancel=cancel)
        except JobCancelled as err:
            seen.append(err)

    thread = Thread(target=run)
    thread.start()
    wait_until(made.exists, "install.py was not begun")
    cancel.set()
    thread.join(PATIENCE)
    assert len(seen) == 1 and consents.wants(folder)


def test_install_when_it_calls_pip_itself_then_versions_are_kept(
    script: MakeFolder, tmp_path: Path
) -> None:
    constraints = tmp_path / "what is kept.txt"
    constraints.write_text("made-up-package==1.0\n")
    text = (
        "import subprocess, sys\nline = [sys.executable, '-m', 'pip', 'install', '--no-index',\n"
        "        '--disable-pip-version-check', '--dry-run', 'made-up-package==2.0']\n"
        "raise SystemExit(subprocess.run(line).returncode)\n"
    )
    done = install(script("", install__py=text), Consents(tmp_path / "c"), tmp_path, constraints)
    assert not done.is_done and "(constraint) made-up-package==1.0" in done.output, done.output


@pytest.mark.skipif(sys.platform == "win32", reason="ends the process alone there")
def test_install_when_it_takes_too_long_then_what_it_started_ends_too(
    script: MakeFolder, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    text = (
        "import subprocess, sys, time\n"
        f"held = open({str(held)!r}, 'w')\n"
        "code = 'import time; time.sleep(600)'\n"
        "subprocess.Popen([sys.executable, '-c', code], pass_fds=[held.fileno()])\n"
        "time.sleep(600)\n"
    )
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    done = install(script("", install__py=text), Consents(tmp_path / "c"), tmp_path, seconds=0.7)
    assert "ended after 0.7 seconds" in done.output
    wait_until(lambda: _has_no_writer(reader), "what it started still holds the file")
    os.close(reader)


def _has_no_writer(reader: int) -> bool:
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False


def test_modules_when_imported_in_a_fresh_process_then_bring_no_torch(tmp_path: Path) -> None:
    code = f"""
import sys, importlib
from pathlib import Path
from webui.extensions.a1111.host import Host, Places
from webui.extensions.a1111.importing import SITE
from webui.extensions.fence import Fence, within_time
from webui.options import Options
here = Path({str(tmp_path)!r})
host = Host("web", Places(here, here, here, here), Fence(within_time), options=Options(here / "c"))
assert not any("a1111/site" in path for path in sys.path)
with host:
    others = {{"ui", "ui_common", "ui_components", "older_gradio", "drawing"}}
    others |= {{"__init__"}}
    for file in sorted((SITE / "modules").glob("*.py")):
        if file.stem not in others:
            importlib.import_module(f"modules.{{file.stem}}")
    assert "gradio" not in sys.modules
assert "torch" not in sys.modules and "modules" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_script_when_it_never_comes_to_an_end_then_is_given_up(
    script: MakeFolder, host: MakeHost, example: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.extensions.a1111.host.LOAD_SECONDS", 0.3)
    loaded = host(script("while True:\n    pass"))
    assert "longer than 0.3 s" in loaded.folders["small"].problem
    assert loaded.classes == []
