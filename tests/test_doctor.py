"""The doctor: each check on a machine that is made up, and one look at the real one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from webui import doctor
from webui.doctor import Check, Patient
from webui.launcher import words
from webui.launcher.environment import Venv
from webui.launcher.machine import Machine, NvidiaCard
from webui.settings import PROJECT_DIR, read_settings

LINUX = Machine("Linux", "x86_64")
FACTS: dict[str, Any] = {"version": "2.13.0+cpu", "device": "cpu", "cards": []}


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "en")
    words._is_chinese_here.cache_clear()


@pytest.fixture
def patient(data_dir: Path, tmp_path: Path) -> Patient:
    """A machine with the starter checkpoint, an empty data folder and no .venv."""
    settings = read_settings(["--data-dir", str(data_dir)], {})
    return Patient(settings, Venv(tmp_path / ".venv"), LINUX)


def with_models(patient: Patient, folder: Path) -> Patient:
    assert patient.settings is not None
    folders = replace(patient.settings.folders, models=(folder,))
    return patient._replace(settings=replace(patient.settings, folders=folders))


def test_check_models_when_starter_is_there_then_ok_and_nothing_is_written(
    patient: Patient, data_dir: Path
) -> None:
    check = doctor.check_models(patient)
    assert check.found.startswith("checkpoints: ") and check.state != "problem"
    assert list(data_dir.iterdir()) == []


def test_check_models_when_folder_is_empty_then_problem_says_where_to_put_one(
    patient: Patient, tmp_path: Path
) -> None:
    check = doctor.check_models(with_models(patient, tmp_path / "models"))
    assert check.state == "problem" and "models/Stable-diffusion" in check.advice


def test_check_models_when_another_programs_folder_is_gone_then_names_it(
    patient: Patient, tmp_path: Path
) -> None:
    gone = tmp_path / "stable-diffusion-webui"
    assert patient.settings is not None
    folders = replace(patient.settings.folders, programs=(gone,))
    patient = patient._replace(settings=replace(patient.settings, folders=folders))
    check = doctor.check_models(patient)
    assert check.state == "warning" and str(gone) in check.advice


def test_check_models_when_one_file_is_damaged_then_names_it(
    patient: Patient, tmp_path: Path, starter_checkpoint: Path
) -> None:
    folder = tmp_path / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    (folder / "good.safetensors").symlink_to(starter_checkpoint)
    (folder / "cut off.safetensors").write_bytes(starter_checkpoint.read_bytes()[:1000])
    check = doctor.check_models(with_models(patient, tmp_path / "models"))
    assert check.state == "warning" and check.found == "checkpoints: 1"
    assert "cut off.safetensors" in check.advice and "good" not in check.advice


def test_check_environment_when_venv_is_missing_then_says_how_to_make_it(
    patient: Patient,
) -> None:
    check = doctor.check_environment(patient)
    assert check.state == "warning" and "it is missing" in check.found
    assert "python launch.py" in check.advice


def test_check_packages_when_none_is_there_then_problem_names_them(patient: Patient) -> None:
    patient.venv.packages.mkdir(parents=True)
    check = doctor.check_packages(patient)
    assert check.state == "problem" and "torch" in check.found


def install_records(venv: Venv, changes: dict[str, str]) -> None:
    for name in doctor.requirement_names():
        version = changes.get(name, doctor.exact_versions()[name])
        info = venv.packages / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")


def test_check_packages_when_versions_are_the_tried_ones_then_ok(patient: Patient) -> None:
    patient.venv.packages.mkdir(parents=True)
    install_records(patient.venv, {"torch": doctor.exact_versions()["torch"] + "+cu130"})
    assert doctor.check_packages(patient).state == "ok"


def test_check_packages_when_one_version_differs_then_warns_with_both(patient: Patient) -> None:
    patient.venv.packages.mkdir(parents=True)
    install_records(patient.venv, {"gradio": "7.0.0"})
    check = doctor.check_packages(patient)
    assert check.state == "warning"
    assert f"gradio 7.0.0 ({doctor.exact_versions()['gradio']})" in check.found


@pytest.mark.parametrize(
    ("facts", "machine", "state"),
    [
        (FACTS, LINUX, "ok"),
        (FACTS, LINUX._replace(nvidia=(NvidiaCard("H200", "580.1", (9, 0)),)), "warning"),
        ({**FACTS, "device": "cuda", "cards": [["H200", 151e9]]}, LINUX, "ok"),
    ],
)
def test_check_torch_when_a_card_is_not_used_then_warns(
    patient: Patient,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    machine: Machine,
    state: str,
) -> None:
    monkeypatch.setattr(doctor, "probe_torch", lambda: (facts, ""))
    assert doctor.check_torch(patient._replace(machine=machine)).state == state


def test_probe_torch_when_it_crashes_then_only_its_own_process_does() -> None:
    assert doctor.probe_torch("import os; os.abort()")[1].startswith("exit code")
    assert doctor.probe_torch("import nothing_like_it")[1].endswith("'nothing_like_it'")


def test_probe_torch_when_it_hangs_then_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TORCH_SECONDS", 0.5)
    assert "no answer" in doctor.probe_torch("import time; time.sleep(60)")[1]


@pytest.mark.slow
def test_probe_torch_when_run_for_real_then_computes() -> None:
    facts, failure = doctor.probe_torch()
    assert failure == "" and facts["device"] in ("cpu", "cuda", "mps")


def test_check_disk_when_folder_cannot_be_written_then_problem(
    patient: Patient, tmp_path: Path
) -> None:
    assert patient.settings is not None
    (tmp_path / "file").write_text("")
    folders = replace(patient.settings.folders, data=tmp_path / "file")
    check = doctor.check_disk_space(
        patient._replace(settings=replace(patient.settings, folders=folders))
    )
    assert check.state == "problem" and "cannot be written" in check.found


def test_check_memory_when_little_is_free_then_warns(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "memory_bytes", lambda: (8 * 10**9, 10**9))
    assert doctor.check_memory(patient).state == "warning"


def test_check_network_when_vocabulary_is_whole_then_ok(patient: Patient) -> None:
    assert doctor.check_network(patient).state == "ok"


def test_check_port_when_taken_then_warns(data_dir: Path, patient: Patient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = read_settings(["--data-dir", str(data_dir), "--port", str(port)], {})
        check = doctor.check_port(patient._replace(settings=settings))
    assert check.state == "warning" and "--port" in check.advice
    assert doctor.check_port(patient._replace(settings=settings)).state == "ok"


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warning", 0), ("problem", 1)])
def test_main_when_json_is_asked_for_then_the_exit_code_follows_the_worst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: Any, code: int
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _: iter([Check("x", state, "found", "do")]))
    assert doctor.main(["--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["can_paint"] is (code == 0)
    assert report["checks"] == [{"name": "x", "state": state, "found": "found", "advice": "do"}]


def test_main_when_a_flag_cannot_be_used_then_says_so_and_still_looks_at_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "probe_torch", lambda: (FACTS, ""))
    assert doctor.main(["--port", "99999"]) == 1
    output = capsys.readouterr().out
    assert "from 1 to 65535" in output and "[ok] torch" in output


def test_doctor_when_no_package_is_installed_then_still_answers(tmp_path: Path) -> None:
    """As with a broken .venv: launch.py then uses a Python that has none of the packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    command = [str(Venv(tmp_path).python), "-m", "webui.doctor", "--json"]
    done = subprocess.run(
        command, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1, done.stderr
    states = {check["name"]: check["state"] for check in json.loads(done.stdout)["checks"]}
    assert states["torch"] == "problem" and states["python"] == "ok"
