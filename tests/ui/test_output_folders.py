"""Which folders Gradio may serve files from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from webui.options import Options
from webui.settings import PROJECT_DIR, read_settings
from webui.ui.page import output_folders


def folders(data: Path, **options: str) -> list[str]:
    chosen = Options(data / "config.json")
    for key, value in options.items():
        chosen.set(key, value)
    settings = read_settings(["--data-dir", str(data)], {})
    studio: Any = SimpleNamespace(settings=settings, options=chosen)
    return output_folders(studio)


def test_served_folders_when_nothing_is_changed_are_the_outputs(tmp_path: Path) -> None:
    served = folders(tmp_path)

    assert str(tmp_path / "outputs") in served
    assert all(Path(folder).is_relative_to(tmp_path) for folder in served)


@pytest.mark.parametrize("outdir", ["/", "..", ".", str(PROJECT_DIR), str(PROJECT_DIR.parent)])
def test_served_folders_when_an_output_folder_holds_everything_leave_it_out(
    tmp_path: Path, outdir: str
) -> None:
    served = folders(tmp_path, outdir_samples=outdir)

    assert served == folders(tmp_path)


def test_served_folders_when_pictures_go_elsewhere_include_that(tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / "pictures"

    assert str(elsewhere) in folders(tmp_path, outdir_samples=str(elsewhere))
