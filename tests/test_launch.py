"""launch.py: what it chooses, what it says, and one real environment made from tiny wheels."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import launch
from tests.patience import PATIENCE
from webui.launcher import environment, pip, torch_source, words
from webui.launcher.chinese import CHINESE
from webui.launcher.commands import SIDE_BY_SIDE, program_environment, read_wish, wait_for
from webui.launcher.environment import Stamp, Venv, check_disk, check_writable, pinned, venv_error
from webui.launcher.install import InstallLock
from webui.launcher.machine import (
    Machine,
    NvidiaCard,
    chip_name,
    parse_nvidia,
    probe_amd,
    probe_nvidia,
)
from webui.launcher.torch_choice import CUDA_BUILDS, ROCM_BUILDS, choose_torch
from webui.launcher.torch_source import fetch_page, find_torch, index_folders, wheel_version
from webui.launcher.words import LaunchError

ROOT = Path(__file__).resolve().parent.parent
LINUX = Machine("Linux", "x86_64")
WINDOWS = Machine("Windows", "x86_64")
MAC = Machine("Darwin", "arm64")
NOWHERE = "http://127.0.0.1:9/whl"  # the discard port: refused at once
posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and links")


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "en")
    words._is_chinese_here.cache_clear()


def with_nvidia(driver: str, capability: tuple[int, int], machine: Machine = LINUX) -> Machine:
    return machine._replace(nvidia=(NvidiaCard("Card", driver, capability),))


# --- the Python --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 11, 7), (3, 12, 1), (3, 13, 9)])
def test_python_problem_when_version_is_supported_then_none(version: tuple[int, ...]) -> None:
    assert launch.python_problem(version, is_64_bit=True) == ""


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 9, 1), (3, 14, 0), (4, 0, 0)])
def test_python_problem_when_version_is_not_supported_then_says_both_versions_and_what_to_do(
    version: tuple[int, ...],
) -> None:
    problem = launch.python_problem(version, is_64_bit=True)
    assert "3.10 to 3.13" in problem
    assert ".".join(map(str, version)) in problem
    assert "Install Python 3.12" in problem and "请安装" in problem


def test_python_problem_when_32_bit_then_asks_for_64_bit() -> None:
    assert "64-bit" in launch.python_problem((3, 11, 1), is_64_bit=False)


def test_launch_file_when_parsed_as_python_37_then_has_no_syntax_error() -> None:
    ast.parse((ROOT / "launch.py").read_text(encoding="utf-8"), feature_version=(3, 7))


def test_launcher_when_read_then_imports_only_the_standard_library_and_itself() -> None:
    shared = ROOT / "webui" / "command_line.py"
    for file in [ROOT / "launch.py", shared, *sorted((ROOT / "webui" / "launcher").glob("*.py"))]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                is_ours = name.startswith("webui.launcher") or name == "webui.command_line"
                assert is_ours or name.split(".")[0] in sys.stdlib_module_names, (file.name, name)


# --- which PyTorch -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "kind", "builds"),
    [
        (LINUX, "cpu", ("cpu",)),
        (WINDOWS, "cpu", ()),
        (MAC, "mps", ()),
        (with_nvidia("580.65.06", (8, 9)), "cuda", CUDA_BUILDS),
        (with_nvidia("590.10", (8, 6), WINDOWS), "cuda", CUDA_BUILDS),
        (with_nvidia("580.65.06", (12, 0)), "cuda", ("cu130", "cu129", "cu128")),
        (with_nvidia("575.51", (12, 0)), "cuda", ("cu129", "cu128")),
        (with_nvidia("560.35.03", (8, 9)), "cuda", ("cu126", "cu129", "cu128")),
        (with_nvidia("590.10", (6, 1)), "cuda", ("cu126",)),
        (with_nvidia("590.10", (7, 0)), "cuda", ("cu126",)),
        (with_nvidia("550.54", (0, 0)), "cuda", ("cu126", "cu129", "cu128")),
        (with_nvidia("470.82", (8, 6)), "cpu", ("cpu",)),
        (with_nvidia("560.35", (12, 0)), "cpu", ("cpu",)),
        (with_nvidia("390.10", (3, 5), WINDOWS), "cpu", ()),
        (LINUX._replace(amd="gfx1100"), "rocm", ROCM_BUILDS),
        (LINUX._replace(amd="gfx1036 gfx1201"), "rocm", ROCM_BUILDS),
        (LINUX._replace(amd="/opt/rocm"), "rocm", ROCM_BUILDS),
        (LINUX._replace(amd="gfx90c"), "cpu", ("cpu",)),
        (LINUX._replace(remark="nvidia-smi"), "cpu", ("cpu",)),
    ],
)
def test_choose_torch_when_machine_is_known_then_fits_it(
    machine: Machine, kind: str, builds: tuple[str, ...]
) -> None:
    choice = choose_torch(machine)
    assert (choice.kind, choice.builds) == (kind, builds)
    assert choice.why


def test_choose_torch_when_driver_is_too_old_then_says_which_to_get() -> None:
    assert "525 or newer" in choose_torch(with_nvidia("470.82", (8, 6))).why
    assert "570 or newer" in choose_torch(with_nvidia("560.35", (12, 0))).why


def test_choose_torch_when_two_cards_then_the_newer_decides() -> None:
    cards = (NvidiaCard("Old", "590.1", (6, 1)), NvidiaCard("New", "590.1", (8, 9)))
    choice = choose_torch(LINUX._replace(nvidia=cards))
    assert choice.builds == CUDA_BUILDS and "New" in choice.why


@pytest.mark.parametrize(
    ("wanted", "kind", "builds"),
    [
        ("cpu", "cpu", ("cpu",)),
        ("cu126", "cuda", ("cu126",)),
        ("cuda", "cuda", CUDA_BUILDS),
        ("rocm", "rocm", ROCM_BUILDS),
        ("rocm6.4", "rocm", ("rocm6.4",)),
        ("xpu", "xpu", ("xpu",)),
        ("mps", "mps", ()),
        ("auto", "cuda", CUDA_BUILDS),
    ],
)
def test_choose_torch_when_asked_for_a_build_then_that_one(
    wanted: str, kind: str, builds: tuple[str, ...]
) -> None:
    choice = choose_torch(with_nvidia("590.1", (8, 9)), wanted)
    assert (choice.kind, choice.builds) == (kind, builds)


@pytest.mark.parametrize("wanted", ["gpu", "cu1", "cuda12", "rocmx", "../cpu"])
def test_choose_torch_when_asked_for_nonsense_then_names_what_is_possible(wanted: str) -> None:
    with pytest.raises(LaunchError) as caught:
        choose_torch(LINUX, wanted)
    assert wanted in caught.value.message and "cu126" in caught.value.hint


def test_choose_torch_when_intel_mac_then_says_there_is_none() -> None:
    with pytest.raises(LaunchError, match="Intel"):
        choose_torch(Machine("Darwin", "x86_64"))


def test_parse_nvidia_when_lines_are_complete_or_not_then_reads_what_is_there() -> None:
    text = "NVIDIA H200, 570.124.06, 9.0\nGeForce GT 710, 470.82\nNo devices were found\n"
    assert parse_nvidia(text) == (
        NvidiaCard("NVIDIA H200", "570.124.06", (9, 0)),
        NvidiaCard("GeForce GT 710", "470.82", (0, 0)),
    )


def test_probe_nvidia_when_driver_does_not_know_compute_cap_then_asks_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: sys.executable)

    def run(command: list[str]) -> str | None:
        return None if "compute_cap" in command[1] else "Tesla, 418.10\n"

    assert probe_nvidia(run) == ((NvidiaCard("Tesla", "418.10", (0, 0)),), "")


def test_probe_nvidia_when_program_fails_then_remarks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: sys.executable)
    assert probe_nvidia(lambda _: None) == ((), "nvidia-smi")


def test_probe_amd_when_kernel_lists_chips_then_names_them(tmp_path: Path) -> None:
    for node, number in enumerate((0, 110000, 90010)):
        (tmp_path / str(node)).mkdir()
        (tmp_path / str(node) / "properties").write_text(f"x 1\ngfx_target_version {number}\n")
    assert probe_amd(tmp_path) == "gfx1100 gfx90a"


@pytest.mark.parametrize(
    ("number", "name"), [(90012, "gfx90c"), (100300, "gfx1030"), (110003, "gfx1103")]
)
def test_chip_name_when_number_is_the_kernels_then_is_amds(number: int, name: str) -> None:
    assert chip_name(number) == name


# --- where it lies -----------------------------------------------------------------------------


def wheel_page(name: str, build: str, platform: str = "manylinux_2_28_x86_64") -> str:
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    file = f"{name}-{pinned(name)}{build}-{python}-{python}-{platform}.whl"
    return f'<a href="/whl/x/{file}#sha256=0">{file.replace("%2B", "+")}</a>'


def test_find_torch_when_first_build_lacks_the_wheel_then_takes_the_next() -> None:
    pages = {
        f"{torch_source.PYTORCH_INDEX}/cu129/torch/": wheel_page("torch", "%2Bcu129"),
        f"{torch_source.PYTORCH_INDEX}/cu129/torchvision/": wheel_page("torchvision", "%2Bcu129"),
    }
    asked: list[str] = []

    def fetch(url: str) -> tuple[int, str]:
        asked.append(url)
        return (200, pages[url]) if url in pages else (404, "")

    source = find_torch(choose_torch(with_nvidia("590.1", (8, 9))), LINUX, fetch=fetch)
    assert source.build == "cu129" and source.remark == ""
    assert source.requirements == (
        f"torch=={pinned('torch')}+cu129",
        f"torchvision=={pinned('torchvision')}+cu129",
    )
    assert source.pages == tuple(pages)
    assert asked[0] == f"{torch_source.PYTORCH_INDEX}/cu130/torch/"


def test_find_torch_when_host_does_not_answer_then_plain_versions_after_one_question() -> None:
    asked: list[str] = []

    def fetch(url: str) -> tuple[int, str]:
        asked.append(url)
        return 0, ""

    source = find_torch(choose_torch(with_nvidia("590.1", (8, 9))), LINUX, fetch=fetch)
    assert source.requirements[0] == f"torch=={pinned('torch')}"
    assert source.pages == () and "does not answer" in source.remark
    assert len(asked) == 1


def test_find_torch_when_mirror_is_one_flat_page_then_that_page_is_used() -> None:
    flat = wheel_page("torch", "%2Bcpu") + wheel_page("torchvision", "%2Bcpu")

    def fetch(url: str) -> tuple[int, str]:
        return (200, flat) if url == "https://mirror/wheels/cpu/" else (404, "")

    source = find_torch(choose_torch(LINUX), LINUX, "https://mirror/wheels/cpu", fetch)
    assert source.pages == ("https://mirror/wheels/cpu/",)
    assert source.requirements[0].endswith("+cpu")


def test_find_torch_when_rocm_then_its_triton_lies_there_too() -> None:
    def fetch(url: str) -> tuple[int, str]:
        name = url.rstrip("/").rsplit("/", 1)[-1]
        is_there = name in torch_source.TORCH_FAMILY
        return (200, wheel_page(name, "%2Brocm7.2")) if is_there else (404, "")

    source = find_torch(choose_torch(LINUX, "rocm7.2"), LINUX, fetch=fetch)
    assert any(page.endswith("/triton-rocm/") for page in source.pages)


def test_find_torch_when_pips_own_index_is_right_then_asks_nothing() -> None:
    def fetch(url: str) -> tuple[int, str]:
        raise AssertionError(url)

    assert find_torch(choose_torch(MAC), MAC, fetch=fetch).remark == ""


@pytest.mark.parametrize(
    ("platform", "machine", "is_found"),
    [
        ("manylinux_2_28_x86_64", LINUX, True),
        ("linux_x86_64", LINUX, True),
        ("win_amd64", WINDOWS, True),
        ("win_amd64", LINUX, False),
        ("manylinux_2_28_aarch64", LINUX, False),
        ("manylinux_2_28_aarch64", Machine("Linux", "arm64"), True),
        ("macosx_11_0_arm64", MAC, True),
    ],
)
def test_wheel_version_when_platform_differs_then_only_the_fitting_one(
    platform: str, machine: Machine, is_found: bool
) -> None:
    page = wheel_page("torch", "%2Bcpu", platform)
    assert wheel_version(page, "torch", machine) == (f"{pinned('torch')}+cpu" if is_found else "")


def test_wheel_version_when_only_another_python_is_there_then_none() -> None:
    page = wheel_page("torch", "%2Bcpu").replace(f"cp{sys.version_info[0]}", "cp9")
    assert wheel_version(page, "torch", LINUX) == ""


@pytest.mark.parametrize(
    ("url", "folders"),
    [
        ("", [("cpu", torch_source.PYTORCH_INDEX + "/cpu")]),
        ("https://m/whl/", [("cpu", "https://m/whl/cpu")]),
        ("https://m/whl/cu126", [("cu126", "https://m/whl/cu126")]),
    ],
)
def test_index_folders_when_torch_index_url_is_given_then_is_a_build_or_the_folder_above(
    url: str, folders: list[tuple[str, str]]
) -> None:
    assert index_folders(choose_torch(LINUX), url) == folders


def test_fetch_page_when_nobody_listens_then_answers_at_once() -> None:
    assert fetch_page(NOWHERE, answer_seconds=3600)[0] == 0


def test_fetch_page_when_host_is_silent_then_gives_up_in_time() -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert fetch_page(address, answer_seconds=0.5) == (0, "")


# --- words -------------------------------------------------------------------------------------


def spoken_templates() -> set[str]:
    """Every literal given to tell, say, LaunchError and the tables of templates."""
    found = {text for _, *texts in pip.TROUBLES for text in texts} | {*pip.UNKNOWN_TROUBLE}
    programs = [ROOT / "webui" / name for name in ("doctor.py", "models_command.py", "../app.py")]
    for file in [*programs, *sorted((ROOT / "webui" / "launcher").glob("*.py"))]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                count = {"tell": 1, "say": 1, "LaunchError": 2}.get(node.func.id, 0)
                found |= {a.value for a in node.args[:count] if isinstance(a, ast.Constant)}
    return found


def test_chinese_when_compared_with_every_sentence_then_has_each_with_the_same_fields() -> None:
    assert not spoken_templates() - set(CHINESE)
    for english_text, chinese_text in CHINESE.items():
        fields = re.findall(r"\{.*?\}", english_text)
        assert set(re.findall(r"\{.*?\}", chinese_text)) == set(fields), english_text


def test_tell_when_system_is_chinese_then_speaks_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "zh_CN:en")
    words._is_chinese_here.cache_clear()
    error = LaunchError("The folder {folder} cannot be written.", folder="/x")
    assert error.message == "文件夹 /x 无法写入。"


@pytest.mark.parametrize(
    ("environ", "is_chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, False),
        ({"LANG": "C.UTF-8"}, False),
    ],
)
def test_speaks_chinese_when_settings_differ_then_the_stronger_wins(
    environ: dict[str, str], is_chinese: bool
) -> None:
    assert words.speaks_chinese(environ) is is_chinese


@pytest.mark.parametrize(
    ("output", "meaning"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "NewConnectionError: [Errno -3] Temporary failure in name resolution\n"
            "ERROR: No matching distribution found for torch",
            "cannot be reached",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] Max retries exceeded", "certificate"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no fitting file"),
        ("PermissionError: [WinError 5] Access is denied", "still running"),
        ("ERROR: ResolutionImpossible: for help visit", "no fitting file"),
        ("something nobody has seen", "stopped with an error"),
    ],
)
def test_trouble_when_pip_failed_then_says_what_it_means(output: str, meaning: str) -> None:
    assert meaning in pip.trouble(output)[0]


def test_venv_error_when_debian_lacks_ensurepip_then_names_the_package() -> None:
    output = "The virtual environment was not created: ensurepip is not available."
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"apt install python{version}-venv" in venv_error(output, Path("/x/.venv")).hint


def test_venv_error_when_its_pip_failed_then_does_not_blame_a_missing_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = "Error: Command '['python', '-m', 'ensurepip']' returned non-zero exit status 1."
    assert "exit status 1" in venv_error(output, tmp_path / ".venv").message
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "is full" in venv_error(output, tmp_path / ".venv").message


def test_check_disk_when_too_little_is_free_then_says_both_amounts(tmp_path: Path) -> None:
    check_disk(tmp_path, gigabytes=2, free_bytes=3 * 10**9)
    with pytest.raises(LaunchError, match=r"about 7 GB.*1\.5 GB free"):
        check_disk(tmp_path, gigabytes=7, free_bytes=1_500_000_000)


def test_check_writable_when_folder_cannot_be_written_then_says_so(tmp_path: Path) -> None:
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    # A path that no user, not even root, can write to: its parent is a file.
    (tmp_path / "file").write_text("")
    with pytest.raises(LaunchError, match="cannot be written"):
        check_writable(tmp_path / "file")


# --- the command line --------------------------------------------------------------------------


def test_read_wish_when_flags_are_mixed_then_splits_own_from_the_programs() -> None:
    wish = read_wish(["--port", "7861", "--torch", "CPU", "--listen", "--reinstall-torch"])
    assert (wish.command, wish.torch, wish.reinstall_torch) == ("serve", "cpu", True)
    assert wish.rest == ("--port", "7861", "--listen")


def test_read_wish_when_test_then_the_rest_is_pytests() -> None:
    wish = read_wish(["test", "-q", "--torch=cpu", "tests/test_launch.py", "--help"])
    assert (wish.command, wish.torch, wish.help) == ("test", "cpu", False)
    assert wish.rest == ("-q", "tests/test_launch.py", "--help")


def test_read_wish_when_command_word_is_a_value_then_goes_to_the_program() -> None:
    assert read_wish(["--ckpt", "test"]).command == "serve"


def test_read_wish_when_double_dash_then_all_after_it_is_passed_on() -> None:
    assert read_wish(["test", "--", "--torch", "x"]).rest == ("--torch", "x")


@pytest.mark.parametrize("argv", [["--torch"], ["--torch", "--port", "1"]])
def test_read_wish_when_torch_has_no_value_then_says_so(argv: list[str]) -> None:
    with pytest.raises(LaunchError, match="needs a value"):
        read_wish(argv)


def test_read_wish_when_the_variable_has_flags_then_they_come_first_and_own_ones_work() -> None:
    more = '--skip-install --torch cu126 --ckpt "a b.safetensors" --port 7000'
    wish = read_wish(["--port", "7001", "--torch", "cpu"], more, is_windows=False)
    assert (wish.command, wish.skip_install, wish.torch) == ("serve", True, "cpu")
    assert wish.rest == ("--ckpt", "a b.safetensors", "--port", "7000", "--port", "7001")


def test_read_wish_when_testing_then_the_variables_program_flags_stay_away_from_pytest() -> None:
    wish = read_wish(["test", "-q"], "--skip-install --port 7000")
    assert (wish.command, wish.skip_install, wish.rest) == ("test", True, ("-q",))


def test_read_wish_when_the_variable_is_from_windows_then_keeps_backslashes() -> None:
    wish = read_wish([], r'--ckpt-dir="C:\my models" --lora-dir C:\loras', is_windows=True)
    assert wish.rest == ("--ckpt-dir=C:\\my models", "--lora-dir", "C:\\loras")


def test_read_wish_when_the_variable_has_an_open_quote_then_says_so() -> None:
    with pytest.raises(LaunchError, match="COMMANDLINE_ARGS"):
        read_wish([], '--ckpt "half')


def test_program_environment_when_made_then_the_variable_is_used_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMMANDLINE_ARGS", "--port 7000")
    assert "COMMANDLINE_ARGS" not in program_environment()


# --- the stamp ---------------------------------------------------------------------------------


@pytest.fixture
def stamped(tmp_path: Path) -> tuple[Venv, Stamp]:
    """A folder that looks like a finished environment."""
    venv = Venv(tmp_path / ".venv")
    venv.python.parent.mkdir(parents=True)
    venv.python.symlink_to(sys.executable)
    (venv.folder / "pyvenv.cfg").write_text("home = x\n")
    stamp = Stamp(
        requirements=environment.requirements_hash(),
        interpreter=venv.interpreter,
        venv=str(venv.folder),
        wanted="",
        build="cu130",
        torch="2.13.0+cu130",
        dev=False,
    )
    venv.write_stamp(stamp)
    return venv, stamp


def test_is_current_when_nothing_changed_then_true(stamped: tuple[Venv, Stamp]) -> None:
    venv, _ = stamped
    assert venv.is_current(venv.read_stamp(), "", needs_dev=False)
    assert venv.is_current(venv.read_stamp(), "cu130", needs_dev=False)


@pytest.mark.parametrize(
    ("change", "wanted", "needs_dev"),
    [
        ({"requirements": "other"}, "", False),
        ({"interpreter": "/usr/bin/python3.99"}, "", False),
        ({"venv": "/elsewhere/.venv"}, "", False),
        ({}, "cpu", False),
        ({}, "", True),
    ],
)
def test_is_current_when_one_thing_changed_then_false(
    stamped: tuple[Venv, Stamp], change: dict[str, str], wanted: str, needs_dev: bool
) -> None:
    venv, stamp = stamped
    assert not venv.is_current(replace(stamp, **change), wanted, needs_dev)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"dev": true}'])
def test_read_stamp_when_file_is_damaged_then_none(stamped: tuple[Venv, Stamp], text: str) -> None:
    venv, _ = stamped
    venv.stamp_file.write_text(text)
    assert venv.read_stamp() is None
    assert not venv.is_current(None, "", needs_dev=False)


@posix_only
def test_problem_when_python_was_removed_then_says_so(stamped: tuple[Venv, Stamp]) -> None:
    venv, stamp = stamped
    venv.python.unlink()
    venv.python.symlink_to("/nowhere/python3")
    assert venv.problem(stamp) == "its Python is gone"


def test_requirements_hash_when_one_byte_changes_then_differs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("numpy==1\n")
    before = environment.requirements_hash(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"numpy==1\r\n")
    assert environment.requirements_hash(tmp_path) == before, "line ends are git's business"
    (tmp_path / "a.txt").write_text("numpy==2\n")
    assert environment.requirements_hash(tmp_path) != before


def test_install_lock_when_another_process_holds_it_then_says_wait() -> None:
    code = "from webui.launcher.install import InstallLock\nwith InstallLock(): pass"
    with InstallLock():
        command = [sys.executable, "-c", code]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Another start of this program" in second.stderr
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_install_lock_when_made_then_lies_beside_the_environment(tmp_path: Path) -> None:
    with InstallLock(tmp_path):
        assert [file.name for file in tmp_path.iterdir()] == [".venv.lock"]


def test_install_lock_when_only_the_environment_can_be_written_then_lies_in_it(
    tmp_path: Path,
) -> None:
    (tmp_path / ".venv.lock").mkdir()  # no user, not even root, can open that as a file
    (tmp_path / ".venv").mkdir()
    with InstallLock(tmp_path):
        assert (tmp_path / ".venv" / "install.lock").exists()


def test_install_lock_when_nothing_can_be_written_then_says_so(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot be written"), InstallLock(tmp_path / "nowhere"):
        pass


# --- the files it installs from ----------------------------------------------------------------


def requirement_names(file: str) -> set[str]:
    lines = (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    names = (re.split(r"[ =<>!~;\[]", line)[0] for line in lines if line and line[0] != "#")
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


@pytest.mark.parametrize("file", ["runtime.txt", "dev.txt", "dev-no-deps.txt"])
def test_constraints_when_compared_with_requirements_then_pin_each(file: str) -> None:
    assert requirement_names(file) <= requirement_names("constraints.txt")


def test_runtime_when_read_then_torch_has_an_upper_bound() -> None:
    text = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    for name in torch_source.TORCH_FAMILY:
        assert re.search(rf"(?m)^{name}>=[\d.]+,<[\d.]+$", text), name


def test_constraints_when_read_for_each_python_then_name_every_package_at_most_once() -> None:
    text = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    for excluded in ('>= "3.11"', '< "3.11"'):
        names = [line.split("==")[0] for line in lines if excluded not in line]
        assert len(names) == len(set(names))
    assert not [line for line in lines if "+" in line], "builds are the launcher's choice"


# --- the real thing, small ---------------------------------------------------------------------

TINY_TORCH = """
__version__ = "2.13.0+cpu"
class cuda:
    is_available = staticmethod(lambda: False)
"""
TINY_APP = """
import os, signal, sys, time
print("app", *sys.argv[1:], flush=True)
print("env", os.environ["PYTHONUTF8"], os.environ["GRADIO_ANALYTICS_ENABLED"],
      os.environ["HF_HUB_OFFLINE"], flush=True)
if "--wait" in sys.argv:
    try:
        print("waiting", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        sys.exit(7)
sys.exit(int(sys.argv[-1]) if "--code" in sys.argv else 0)
"""
TINY_PYTEST = """
import sys
print("keeps bytecode", not sys.dont_write_bytecode)
print("tests", *sys.argv[1:])
sys.exit(3)
"""


def write_wheel(folder: Path, name: str, version: str, source: str) -> None:
    """The smallest wheel that pip installs: one module and its records."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", source)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


class TinyProject:
    """A copy of the launcher with requirements that tiny local wheels fulfil."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder, self.wheels, self.flags = folder, wheels, ""
        self.venv = Venv(folder / ".venv")

    def environment(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "GRADIO", "HF_"))}
        env.update(
            PIP_NO_INDEX="1",
            PIP_FIND_LINKS=str(self.wheels),
            PIP_CONFIG_FILE=os.devnull,
            TORCH_INDEX_URL=NOWHERE,
            COMMANDLINE_ARGS=self.flags,
            LANGUAGE="en",
        )
        return env

    def command(self, *argv: str) -> list[str]:
        return [sys.executable, str(self.folder / "launch.py"), *argv]

    def launch(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*argv),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )

    def stop_pip_from_working(self) -> None:
        """From now on any pip call fails: there is no pip and nothing to install from."""
        shutil.rmtree(self.venv.packages / "pip")
        self.wheels = self.folder / "no-wheels"


def make_tiny_project(folder: Path, wheels: Path) -> TinyProject:
    wheels.mkdir(parents=True)
    for name, version, source in [
        ("torch", "2.13.0+cpu", TINY_TORCH),
        ("torchvision", "0.28.0", ""),
        ("painter", "1.0", "colour = 'red'\n"),
        ("painter", "2.0", "colour = 'blue'\n"),
        ("pytest", "9.0", TINY_PYTEST),
        ("judge", "1.0", ""),
    ]:
        write_wheel(wheels, name, version, source)
    shutil.copytree(ROOT / "webui" / "launcher", folder / "webui" / "launcher")
    shutil.copy(ROOT / "webui" / "command_line.py", folder / "webui")
    shutil.copy(ROOT / "webui" / "__init__.py", folder / "webui")
    shutil.copy(ROOT / "launch.py", folder)
    (folder / "app.py").write_text(TINY_APP, encoding="utf-8")
    requirements = folder / "requirements"
    requirements.mkdir()
    (requirements / "runtime.txt").write_text("torch<2.14\ntorchvision\npainter\n")
    (requirements / "dev.txt").write_text("pytest\n")
    (requirements / "dev-no-deps.txt").write_text("judge\n")
    (requirements / "constraints.txt").write_text(
        "torch==2.13.0\ntorchvision==0.28.0\npainter==1.0\npytest==9.0\njudge==1.0\n"
    )
    return TinyProject(folder, wheels)


@pytest.fixture(scope="module")
def first_start(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[TinyProject, subprocess.CompletedProcess[str]]:
    """A project after its very first start. Look, do not touch: copies are made of it."""
    folder = tmp_path_factory.mktemp("tiny")
    project = make_tiny_project(folder / "a project", folder / "wheels")
    return project, project.launch("--port", "7861")


@pytest.fixture
def tiny(
    first_start: tuple[TinyProject, subprocess.CompletedProcess[str]], tmp_path: Path
) -> TinyProject:
    """An own, installed copy that believes it was always here."""
    project, _ = first_start
    copy = TinyProject(tmp_path / "b project", project.wheels)
    shutil.copytree(project.folder, copy.folder, symlinks=True)
    stamp = copy.venv.read_stamp()
    assert stamp is not None
    copy.venv.write_stamp(replace(stamp, venv=str(copy.venv.folder)))
    return copy


def test_launch_when_first_start_then_installs_checks_torch_and_runs_the_app(
    first_start: tuple[TinyProject, subprocess.CompletedProcess[str]],
) -> None:
    project, done = first_start
    assert done.returncode == 0, done.stdout
    assert "First start" in done.stdout
    assert "PyTorch 2.13.0+cpu works." in done.stdout
    assert done.stdout.splitlines()[-2:] == ["app --port 7861", "env 1 0 1"]
    stamp = json.loads(project.venv.stamp_file.read_text())
    assert stamp["torch"] == "2.13.0+cpu" and stamp["dev"] is False
    assert "Successfully installed" in project.venv.log.read_text()
    assert not project.venv.pip_temp.exists()


def test_launch_when_started_again_then_calls_no_pip_and_says_nothing(tiny: TinyProject) -> None:
    tiny.stop_pip_from_working()
    done = tiny.launch("--share")
    assert done.stdout.splitlines() == ["app --share", "env 1 0 1"]
    assert done.returncode == 0


def test_launch_when_app_fails_then_keeps_its_exit_code(tiny: TinyProject) -> None:
    assert tiny.launch("--code", "42").returncode == 42


def test_launch_when_test_after_serve_then_adds_only_the_test_packages(
    tiny: TinyProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    done = tiny.launch("test", "-q", "tests/x.py")
    words = f"tests {' '.join(SIDE_BY_SIDE)} -q tests/x.py"
    assert done.stdout.splitlines()[-2:] == ["keeps bytecode True", words]
    assert done.returncode == 3
    installed = re.findall(r"Successfully installed (.*)", tiny.venv.log.read_text())
    assert installed == ["pytest-9.0", "judge-1.0"]
    tiny.stop_pip_from_working()
    assert tiny.launch().stdout.startswith("app"), "serving after testing needs no pip either"
    assert tiny.launch("test").returncode == 3


def test_launch_when_constraints_change_then_follows_them_and_leaves_torch(
    tiny: TinyProject,
) -> None:
    constraints = tiny.folder / "requirements" / "constraints.txt"
    constraints.write_text(constraints.read_text().replace("painter==1.0", "painter==2.0"))
    assert tiny.launch().returncode == 0
    assert tiny.venv.version_of("painter") == "2.0"
    assert "torch==2.13.0+cpu" in tiny.venv.log.read_text().splitlines()[0]


def test_launch_when_constraints_change_after_a_test_then_test_packages_follow_too(
    tiny: TinyProject,
) -> None:
    tiny.launch("test")
    constraints = tiny.folder / "requirements" / "constraints.txt"
    constraints.write_text(constraints.read_text() + "# a new line\n")
    assert tiny.launch().returncode == 0
    stamp = tiny.venv.read_stamp()
    assert stamp is not None and stamp.dev


def test_launch_when_last_installation_was_cut_off_then_repairs_it(tiny: TinyProject) -> None:
    tiny.venv.stamp_file.unlink()
    (tiny.venv.packages / "painter.py").unlink()
    (tiny.venv.packages / "painter-1.0.dist-info" / "RECORD").unlink()
    done = tiny.launch()
    assert "was not finished" in done.stdout and done.returncode == 0
    assert (tiny.venv.packages / "painter.py").exists()


def test_launch_when_venv_was_made_without_pip_then_makes_it_again(tiny: TinyProject) -> None:
    tiny.venv.stamp_file.unlink()
    shutil.rmtree(tiny.venv.packages / "pip")
    done = tiny.launch()
    assert "because it has no pip" in done.stdout and done.returncode == 0


@posix_only
def test_launch_when_venvs_python_is_gone_then_makes_it_again(tiny: TinyProject) -> None:
    for link in tiny.venv.python.parent.glob("python*"):
        link.unlink()
    tiny.venv.python.symlink_to("/nowhere/python3")
    done = tiny.launch()
    assert "because its Python is gone" in done.stdout
    assert done.returncode == 0 and done.stdout.splitlines()[-2] == "app"


def test_launch_when_folder_was_moved_then_adjusts_and_keeps_the_packages(
    tiny: TinyProject,
) -> None:
    moved = TinyProject(tiny.folder.with_name("moved"), tiny.wheels)
    tiny.folder.rename(moved.folder)
    done = moved.launch()
    assert "moved or copied" in done.stdout and done.returncode == 0
    assert "Successfully installed" not in moved.venv.log.read_text()
    moved.stop_pip_from_working()
    assert moved.launch().stdout.splitlines()[0] == "app"


def test_launch_when_a_package_cannot_be_had_then_explains_and_leaves_no_stamp(
    tiny: TinyProject,
) -> None:
    (tiny.folder / "requirements" / "runtime.txt").write_text("torch<2.14\nunheardof\n")
    done = tiny.launch()
    assert done.returncode == 1
    assert "The package index has no fitting file" in done.stdout
    assert "unheardof" in done.stdout and "install.log" in done.stdout
    assert "app" not in done.stdout.splitlines()
    assert tiny.venv.read_stamp() is None


def test_launch_when_another_torch_is_asked_for_then_chooses_again_once(tiny: TinyProject) -> None:
    first = tiny.launch("--torch", "cpu")
    assert "--torch cpu asks for it" in first.stdout
    tiny.stop_pip_from_working()
    assert tiny.launch("--torch", "cpu").stdout.splitlines()[0] == "app"
    assert tiny.launch().stdout.splitlines()[0] == "app"


def test_launch_when_torch_is_reinstalled_then_removed_first_and_installed(
    tiny: TinyProject,
) -> None:
    (tiny.venv.packages / "torch.py").write_text("broken(")
    done = tiny.launch("--reinstall-torch")
    assert "PyTorch 2.13.0+cpu works." in done.stdout and done.returncode == 0


def test_launch_when_skip_install_then_uses_what_is_there(tiny: TinyProject) -> None:
    tiny.venv.stamp_file.unlink()
    tiny.stop_pip_from_working()
    assert tiny.launch("--skip-install", "--api").stdout.splitlines()[0] == "app --api"


def test_launch_when_flags_are_in_the_variable_then_both_sides_get_theirs(
    tiny: TinyProject,
) -> None:
    tiny.venv.stamp_file.unlink()
    tiny.stop_pip_from_working()
    tiny.flags = '--skip-install --ckpt "a b"'
    assert tiny.launch("--api").stdout.splitlines()[0] == "app --ckpt a b --api"


def test_launch_when_help_then_own_flags_and_the_apps(tiny: TinyProject) -> None:
    done = tiny.launch("--help")
    assert "--reinstall-torch" in done.stdout
    assert "app --help" in done.stdout.splitlines()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children can be interrupted even where the tests were started with SIGINT ignored, as
    shells do for what runs in the background: an ignored signal is inherited, a handler is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@posix_only
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 7), (signal.SIGTERM, -signal.SIGTERM)])
def test_launch_when_signalled_then_the_app_gets_it(
    tiny: TinyProject, sent: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        tiny.command("--wait"), env=tiny.environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        while process.stdout.readline() != "waiting\n":
            assert process.poll() is None, "the app ended"
        process.send_signal(sent)
        assert process.wait(PATIENCE) == code
    finally:
        process.kill()
        process.communicate()


@posix_only
@pytest.mark.usefixtures("interruptible")
def test_wait_for_when_interrupted_then_waits_for_the_program_to_end_itself() -> None:
    code = (
        "import os, signal, subprocess, sys, threading\n"
        "from webui.launcher.commands import wait_for\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1); exit(5)'])\n"
        "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "sys.exit(wait_for(child))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=PATIENCE).returncode == 5
    assert wait_for(subprocess.Popen([sys.executable, "-c", "exit(4)"])) == 4


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Collecting numpy<3,>=2.2"], "looking up numpy"),
        (
            ["Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (191.8 MB)"],
            "downloading torch-2.13.0 0 of 192 MB",
        ),
        (["  Downloading torch-2.13.0-cp311.whl.metadata (31 kB)"], "looking up packages"),
        (["Processing /w/torch-2.13.0-x.whl"], "taking torch-2.13.0 from this machine"),
        (["Using cached numpy-2.4.6-x.whl (16 MB)"], "taking numpy-2.4.6 from this machine"),
        (["Installing collected packages: a, b, c"], "unpacking 0 of 3 packages"),
    ],
)
def test_pip_progress_when_pip_speaks_then_says_what_is_happening(
    tmp_path: Path, lines: list[str], status: str
) -> None:
    with open(tmp_path / "log", "w") as log:
        progress = pip.PipProgress(Venv(tmp_path), "Packages", log)
        for line in lines:
            progress.read(line)
    assert progress.line() == f"  Packages: {status}, 0 s"


def test_downloaded_bytes_when_pip_is_writing_then_counts_them(tmp_path: Path) -> None:
    assert pip.downloaded_bytes(tmp_path, "a.whl") == 0
    (tmp_path / "pip-unpack-x").mkdir()
    (tmp_path / "pip-unpack-x" / "a.whl").write_bytes(b"123")
    assert pip.downloaded_bytes(tmp_path, "a.whl") == 3
