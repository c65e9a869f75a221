"""No spelling of a path leads out of the folders that are served."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.security.conftest import GUEST, OWNER, SECRET, Open
from webui.content_disposition import content_disposition

SERVED = (
    "/gradio_api/file={}", "/gradio_api/file/{}", "/static/{}", "/assets/{}", "/svelte/{}",
    "/gradio_api/proxy={}", "/ui/input/{}", "/ui/gallery/zip/{}", "/ui/train/picture/x/{}",
    "/ui/train/picture/{}/x.png", "/ui/train/sample/1/{}", "/ui/card/{}/thumb", "/ui/card/{}",
    "/danqing/v1/gallery/zip/{}", "/sd_extra_networks/thumb?filename={}",
    "/sd_extra_networks/metadata?page=lora&item={}", "/danqing/v1/model-info?file={}", "/{}",
)  # fmt: skip


def spellings(target: Path) -> list[str]:
    """The ways in which a file outside may be named."""
    up = "../" * 12
    absolute = target.as_posix()
    relative = up + absolute.lstrip("/")
    once = quote(relative, safe="")
    return [
        absolute, relative, f"outputs/{relative}", once, quote(once, safe=""),
        absolute.replace("/", "%2f"), f"%2e%2e/%2e%2e/{absolute}", f"..%5c..%5c{absolute}",
        relative.replace("/", "\\"), f"....//....//{absolute}", f"file://{absolute}",
        f"\\\\?\\{absolute}", f"C:{absolute}", f"{absolute}%00.png", f"{absolute};.png",
        f"%c0%ae%c0%ae/{absolute}", f"{absolute}/.", f"./{absolute}",
    ]  # fmt: skip


@pytest.mark.parametrize("user", [OWNER, GUEST])
@pytest.mark.parametrize("served", SERVED)
def test_file_when_it_lies_outside_is_never_served(opened: Open, served: str, user: str) -> None:
    data = opened.studio.settings.folders.data
    (data / "config.json").touch()
    is_api = served.startswith(("/danqing", "/sd_extra"))
    browser = opened.client(user, raise_server_exceptions=False)
    client = opened.program(user) if is_api else browser
    for target in (data / "secret.txt", Path("/etc/passwd")):
        for spelling in spellings(target):
            answer = client.get(served.format(spelling))
            assert SECRET not in answer.text and "root:x:" not in answer.text, spelling
            assert answer.status_code != 500, (served, spelling)


@pytest.mark.skipif(sys.platform == "win32", reason="links there need another right")
def test_link_when_it_leads_out_of_the_outputs_is_not_followed(opened: Open) -> None:
    data = opened.studio.settings.folders.data
    link = data / "outputs" / "innocent.txt"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(data / "secret.txt")
    answer = opened.client(OWNER).get(f"/gradio_api/file={link}")
    link.unlink()

    assert SECRET not in answer.text and answer.status_code == 403


def test_database_and_keys_when_asked_for_are_not_served(opened: Open) -> None:
    data = opened.studio.settings.folders.data
    owner = opened.client(OWNER)
    inner = [p for p in (data / "data").rglob("*") if p.is_file()]
    assert inner
    for path in (*inner, data / "config.json", Path(os.__file__)):
        assert owner.get(f"/gradio_api/file={path}").status_code == 403, path


@pytest.mark.parametrize(
    "name",
    ['a"; x="b.png', "a\r\nSet-Cookie: x=1.png", "a\nb.png", "图.png", "", "a;b.png", "%0d%0a.png"],
)
def test_file_name_when_it_holds_anything_makes_no_other_header(name: str) -> None:
    header = content_disposition("attachment", name)
    assert "\r" not in header and "\n" not in header and header.isascii()
    assert header.count('"') == 2 and header.count(";") == 2
    assert header.startswith('attachment; filename="')


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_picture_when_its_name_breaks_lines_is_served_without_a_new_header(opened: Open) -> None:
    from tests.security.test_guests import paint

    _, picture = paint(opened, "")
    evil = picture.path.with_name('x\r\nSet-Cookie: evil=1;".png')
    answer = opened.client(OWNER).get(f"/ui/picture/{picture.id}")
    assert answer.status_code == 200
    told = content_disposition("inline", evil.name)
    assert "Set-Cookie: evil" not in told and "evil" not in answer.headers.get("set-cookie", "")
