"""Dockerfile and compose.yaml, without an engine: what they name exists and is safe to publish."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.patience import PATIENCE
from webui.launcher.commands import read_wish
from webui.launcher.torch_choice import CUDA_BUILDS
from webui.settings import read_settings

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instructions(word: str) -> list[str]:
    """What stands behind each of these instructions, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"(?m)^{word}\s+(.*)$", joined)


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def test_dockerfile_when_read_by_hadolint_is_clean() -> None:
    hadolint = shutil.which(
        "hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if not hadolint:
        pytest.skip("there is no hadolint for this machine")

    done = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=PATIENCE
    )

    assert done.returncode == 0 and not done.stdout, done.stdout


def test_dockerfile_when_it_installs_then_what_it_copied_suffices(tmp_path: Path) -> None:
    """The launcher is run in a folder that holds only what was copied before the installation."""
    before = DOCKERFILE[: DOCKERFILE.index("RUN python launch.py install")]
    for line in re.findall(r"(?m)^COPY --chown=\S+ (.+)$", before):
        *sources, target = line.split()
        for source in sources:
            to = tmp_path / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, to)
    code = (
        "import launch, webui.launcher.commands\n"
        "from webui.launcher.install import CONSTRAINTS; print(CONSTRAINTS[1])"
    )

    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()


def test_dockerfile_when_it_starts_the_program_then_the_flags_are_known() -> None:
    (command,) = instructions("CMD")
    words = json.loads(command)
    wish = read_wish(words[2:])
    settings = read_settings(wish.rest, {})

    assert words[:2] == ["python", "launch.py"] and wish.skip_install
    assert settings.port == 7860 and "7860" in instructions("EXPOSE")
    assert settings.host == "0.0.0.0" and settings.made_logins, "never open without a password"
    assert str(settings.folders.data) in json.loads(instructions("VOLUME")[0])
    assert instructions("USER")[-1] != "root" and instructions("USER")[-1] != "0"


def test_dockerignore_when_read_keeps_what_the_program_needs_and_nothing_private() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]

    assert "*" in lines, "all that is not named stays out"
    assert all(list(ROOT.glob(name)) for name in kept)
    assert {"app.py", "launch.py", "webui", "requirements"} <= set(kept)
    assert not {"data", "outputs", "log", ".git", "models", "extensions"} & set(kept)


@pytest.mark.parametrize(("service", "profile"), [("danqing", "cpu"), ("danqing-nvidia", "nvidia")])
def test_compose_when_a_profile_is_chosen_then_one_service_answers_this_machine_alone(
    compose: dict[str, Any], service: str, profile: str
) -> None:
    chosen = [name for name, it in compose["services"].items() if profile in it["profiles"]]
    told = compose["services"][service]
    torch = told["build"]["args"]["TORCH"]

    assert chosen == [service]
    assert told["ports"] == ["127.0.0.1:${DANQING_PORT:-7860}:7860"]
    assert torch in ("cpu", *CUDA_BUILDS) and ("deploy" in told) == (torch != "cpu")
    folders = [mount.rpartition(":")[2] for mount in told["volumes"]]
    assert folders == ["/app/models", "/data", "/data/outputs"]
    assert "COMMANDLINE_ARGS" in told["environment"] and "privileged" not in told


def test_compose_when_it_names_volumes_and_flags_then_they_exist(compose: dict[str, Any]) -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    example = re.search(r"DANQING_FLAGS=(.+)", text)
    assert example is not None

    settings = read_settings(["--listen"], {"COMMANDLINE_ARGS": example[1]})

    assert [name for name, _ in settings.page_logins] == ["me"] and not settings.made_logins
    assert set(compose["volumes"]) == {"data", "outputs"}
