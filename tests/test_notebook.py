"""notebooks/danqing.ipynb is run cell by cell, without installing and without the tunnel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.patience import PATIENCE
from webui.settings import PROJECT_DIR

NOTEBOOK = PROJECT_DIR / "notebooks" / "danqing.ipynb"

PAINT = """\
import json, urllib.request
wish = {"prompt": "a red apple on a yellow background", "seed": 1, "steps": 4,
        "width": 64, "height": 64, "save_images": True}
request = urllib.request.Request(f"http://127.0.0.1:{PORT}/sdapi/v1/txt2img",
    data=json.dumps(wish).encode(), headers={"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=120) as answer:
    print(len(json.load(answer)["images"]), "picture painted")
"""
STOP = """\
program.terminate()
print("ended with", program.wait(150))
"""


def test_notebook_when_run_from_top_to_bottom_paints_and_keeps_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = tmp_path / "kernels" / "python3"
    kernels.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("DANQING_NOTEBOOK_TEST", "1")
    monkeypatch.setenv("DANQING_NOTEBOOK_DATA", str(tmp_path / "data"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    ids = [cell.id for cell in notebook.cells]
    notebook.cells.insert(ids.index("save"), new_code_cell(PAINT))
    notebook.cells.append(new_code_cell(STOP))

    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    try:
        NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    finally:
        _stop_what_it_started(tmp_path / "data")

    said = {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert str(PROJECT_DIR) in said["install"]
    assert "Stable Diffusion 1.5" in said["models"]
    assert "Danqing (丹青) is at http://127.0.0.1:" in said["link"]
    assert "1 files are in" in said["save"]
    assert list((tmp_path / "data" / "saved" / "outputs").rglob("*.png"))


def _stop_what_it_started(data: Path) -> None:
    """When a cell failed, the program is still there: end it by its command line's data folder."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if str(data) in (process.info["cmdline"] or ()):
            process.terminate()


@pytest.mark.parametrize("kind", ["zip", "folder", "nested", "git"])
def test_install_when_run_again_finds_the_program_it_has_fetched(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells are run more than once; a second fetch into the same folder would fail."""
    there = tmp_path / "made" / ("danqing-main" if kind == "nested" else "")
    there.mkdir(parents=True)
    (there / "launch.py").touch()
    source = str(tmp_path / "made")
    if kind == "zip":
        source = shutil.make_archive(str(tmp_path / "packed"), "zip", source)
    if kind == "git":
        author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        for words in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", "a")):
            subprocess.run(["git", *words], cwd=source, check=True, timeout=PATIENCE)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("DANQING_NOTEBOOK_TEST", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = next(cell.source for cell in notebook.cells if cell.id == "install")

    places: list[Path] = []
    for _ in range(2):
        names: dict[str, Any] = {}
        exec(code.replace('SOURCE = ""', f"SOURCE = {source!r}"), names)
        places.append(names["ROOT"])

    assert places[0] == places[1] and (places[0] / "launch.py").is_file()
    assert places[0].is_relative_to(work)


def test_notebook_when_read_has_five_cells_in_order_each_told_in_both_languages() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell.id for cell in notebook.cells if cell.cell_type == "code"]
    told = {cell.id: cell.source for cell in notebook.cells if cell.cell_type == "markdown"}

    assert code == ["install", "models", "start", "link", "save"]
    assert set(told) == {"about", *(f"{name}-about" for name in code)}
    for text in told.values():
        assert any("\u4e00" <= sign <= "\u9fff" for sign in text) and "the " in text.lower()
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without results"
    for word in ("Google's terms", "12 hours", "Internet", "GB", "条款"):
        assert word in told["about"]
