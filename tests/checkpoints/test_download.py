"""Downloads from a server that misbehaves: what arrives is right, or nothing arrives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints.file_server import File, FileServer, evil_pickle, serving, weights
from tests.patience import wait_until
from webui.checkpoints.download import asking, client, fetch, transfer
from webui.checkpoints.download.client import Rules
from webui.checkpoints.download.fetch import Network, Wanted, discard_part, download
from webui.checkpoints.download.keys import Keys
from webui.checkpoints.download.mirrors import Mirrors
from webui.checkpoints.download.telling import State
from webui.errors import CheckpointError, DownloadError, JobCancelled, UnsafeCheckpointError

PATH = "/files/net.safetensors"
SMALL = weights(0.6)


@dataclass
class Watching:
    """Remembers what it is told; stops the download once ``stop_at`` bytes have come."""

    told: list[State] = field(default_factory=list)
    stop_at: int | None = None

    def tell(self, state: State) -> None:
        self.told.append(state)

    def is_interrupted(self) -> bool:
        return bool(
            self.stop_at is not None and self.told and self.told[-1].done_bytes >= self.stop_at
        )


@dataclass
class Places:
    own_models: Path
    embeddings: tuple[Path, ...] = ()


class Downloads:
    """Fetches from the server into the test's own folder."""

    def __init__(self, folder: Path, server: FileServer) -> None:
        self.server = server
        self.places = Places(folder / "models", (folder / "embeddings",))
        self.watching = Watching()
        self.keys = Keys(None, {})
        self.mirrors = Mirrors({})

    def give(self, data: bytes = SMALL, **how: Any) -> File:
        self.server.files[PATH] = File(data, **how)
        return self.server.files[PATH]

    def wanted(self, *paths: str, **more: Any) -> Wanted:
        urls = tuple(p if "//" in p else self.server.url(p) for p in paths or (PATH,))
        return Wanted(urls, **{"kind": "checkpoint", **more})

    def fetch(self, *paths: str, public_only: bool = False, **more: Any) -> Path:
        network = Network(Rules(self.keys, public_only), self.mirrors)
        return download(self.wanted(*paths, **more), self.places, network, self.watching)

    @property
    def left(self) -> list[str]:
        """Every file that lies about."""
        return sorted(p.name for p in self.places.own_models.rglob("*") if p.is_file())


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Downloads]:
    # Small parts and short pauses: what is tried are the rules, not the waiting.
    monkeypatch.setattr(transfer, "SEGMENT_BYTES", 128 << 10)
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 16 << 10)
    monkeypatch.setattr(transfer, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(fetch, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(fetch, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(asking, "LATECOMER_SECONDS", 0.1)
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(FileServer()) as server:
        yield Downloads(tmp_path, server)


# Soundly


def test_download_when_the_server_is_sound_then_parallel_parts_make_the_file(
    downloads: Downloads,
) -> None:
    file = downloads.give()
    path = downloads.fetch(sha256=file.sha256)
    assert path == downloads.places.own_models / "Stable-diffusion/net.safetensors"
    assert path.read_bytes() == file.data
    assert downloads.left == ["net.safetensors"]
    ranges = {asked.range for asked in downloads.server.asked}
    assert len(ranges) == 1 + -(-len(file.data) // transfer.SEGMENT_BYTES)
    last = downloads.watching.told[-1]
    assert last.total_bytes == len(file.data) and last.host == "127.0.0.1"


def test_download_when_the_server_gives_no_ranges_then_one_piece(downloads: Downloads) -> None:
    file = downloads.give(has_ranges=False)
    assert downloads.fetch().read_bytes() == file.data


def test_download_when_no_length_is_told_then_the_end_of_the_answer_counts(
    downloads: Downloads,
) -> None:
    file = downloads.give(has_ranges=False, told_length=-1)
    assert downloads.fetch().read_bytes() == file.data


def test_download_when_no_kind_is_told_then_the_file_says_where_it_belongs(
    downloads: Downloads, tmp_path: Path
) -> None:
    import numpy as np
    from safetensors.numpy import save

    lora = {
        f"lora_unet_down_blocks_0_attentions_0_proj_in.{part}": np.ones(shape, np.float32)
        for part, shape in {
            "lora_down.weight": (4, 320), "lora_up.weight": (320, 4), "alpha": (),
        }.items()
    }  # fmt: skip
    downloads.give(save(lora))
    assert downloads.fetch(kind="").parent.name == "Lora"
    downloads.give(weights(0.1, 7))
    with pytest.raises(DownloadError, match="cannot be told") as caught:
        downloads.fetch(PATH + "?other", kind="")
    assert "Choose" in caught.value.hint
    downloads.server.forget()
    assert downloads.fetch(PATH + "?other", kind="vae").parent.name == "VAE"
    assert [asked.range for asked in downloads.server.asked] == ["bytes=0-0"]


def test_download_when_a_comfyui_folder_is_there_then_it_is_used(downloads: Downloads) -> None:
    folder = downloads.places.own_models / "checkpoints"
    folder.mkdir(parents=True)
    downloads.give()
    assert downloads.fetch().parent == folder


# Cuts and lies


@pytest.mark.parametrize("has_ranges", [True, False])
def test_download_when_the_line_is_cut_then_goes_on(downloads: Downloads, has_ranges: bool) -> None:
    file = downloads.give(has_ranges=has_ranges, cut_after=70_000, cuts=3)
    assert downloads.fetch().read_bytes() == file.data


def test_download_when_every_answer_is_cut_at_once_then_gives_up_in_words(
    downloads: Downloads,
) -> None:
    downloads.give(cut_after=10)
    with pytest.raises(DownloadError, match=r"broke|ended before"):
        downloads.fetch()
    assert not any(name.endswith(".safetensors") for name in downloads.left)


@pytest.mark.parametrize("told", [50, len(SMALL) + 999])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_download_when_the_length_is_a_lie_then_nothing_gets_the_name(
    downloads: Downloads, told: int, has_ranges: bool
) -> None:
    downloads.give(told_length=told, has_ranges=has_ranges)
    with pytest.raises((DownloadError, CheckpointError)):
        downloads.fetch()
    assert not any(name.endswith(".safetensors") for name in downloads.left)


def test_download_when_the_end_comes_early_and_the_size_is_known_then_refused(
    downloads: Downloads,
) -> None:
    downloads.server.files["/face.onnx"] = File(
        SMALL, has_ranges=False, told_length=-1, cut_after=1000
    )
    with pytest.raises(DownloadError, match=f"sent 1000 of {len(SMALL)} bytes"):
        downloads.fetch("/face.onnx", kind="face-detector", size_bytes=len(SMALL))


def test_download_when_ranges_begin_elsewhere_then_reads_in_one_piece(
    downloads: Downloads,
) -> None:
    file = downloads.give(wrong_start=5)
    assert downloads.fetch(sha256=file.sha256).read_bytes() == file.data


def test_download_when_parts_come_as_the_whole_then_reads_in_one_piece(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = downloads.give()
    real = client._judge_status

    def stop_giving_ranges(response: Any, host: str) -> None:
        file.has_ranges = False
        real(response, host)

    monkeypatch.setattr(client, "_judge_status", stop_giving_ranges)
    assert downloads.fetch().read_bytes() == file.data


def test_download_when_the_bytes_are_others_then_thrown_away(downloads: Downloads) -> None:
    downloads.give()
    with pytest.raises(DownloadError, match="other bytes than were published"):
        downloads.fetch(sha256="0" * 64)
    assert [p for p in downloads.left if p.endswith(".safetensors")] == []
    part = next(downloads.places.own_models.rglob("*.part"))
    assert part.stat().st_size == 0


def test_download_when_the_size_is_another_then_not_even_begun(downloads: Downloads) -> None:
    downloads.give()
    with pytest.raises(DownloadError, match="another file"):
        downloads.fetch(size_bytes=5)
    assert len(downloads.server.asked) == 1


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_download_when_a_page_comes_then_says_so(downloads: Downloads, kind: str) -> None:
    downloads.give(b"<!DOCTYPE html><html>Log in</html>", kind=kind)
    with pytest.raises(DownloadError, match="web page in place of the file"):
        downloads.fetch()
    assert not any(name.endswith(".safetensors") for name in downloads.left)


def test_download_when_the_file_is_cut_at_its_source_then_refused(downloads: Downloads) -> None:
    downloads.give(SMALL[:-100])
    with pytest.raises(CheckpointError, match=r"net\.safetensors") as caught:
        downloads.fetch()
    assert "thrown away" in caught.value.message and ".part" not in caught.value.message


def test_download_when_a_pickle_asks_for_more_then_refused_and_gone(downloads: Downloads) -> None:
    downloads.server.files["/evil.ckpt"] = File(evil_pickle())
    with pytest.raises(UnsafeCheckpointError, match="asks to run"):
        downloads.fetch("/evil.ckpt")
    assert not any(name.endswith(".ckpt") for name in downloads.left)


def test_download_when_a_pickle_is_called_safetensors_then_read_as_a_pickle(
    downloads: Downloads,
) -> None:
    downloads.give(evil_pickle())
    with pytest.raises(UnsafeCheckpointError):
        downloads.fetch()


@pytest.mark.parametrize("name", ["/setup.exe", "/notes.txt", "/model.safetensors.zip"])
def test_download_when_it_is_no_weights_by_its_name_then_refused(
    downloads: Downloads, name: str
) -> None:
    downloads.server.files[name] = File(SMALL)
    with pytest.raises(DownloadError, match="no file of weights"):
        downloads.fetch(name)


# Patience


@pytest.mark.parametrize("status", [429, 503, 500, 408])
def test_download_when_the_server_asks_for_patience_then_waits_and_goes_on(
    downloads: Downloads, status: int
) -> None:
    file = downloads.give(statuses=[(status, {"Retry-After": "0"}), (status, {})])
    assert downloads.fetch().read_bytes() == file.data


def test_download_when_told_how_long_to_wait_then_waits_so_long(downloads: Downloads) -> None:
    file = downloads.give(statuses=[(429, {"Retry-After": "0.6"})])
    began = time.monotonic()
    assert downloads.fetch().read_bytes() == file.data
    assert time.monotonic() - began >= 0.6
    assert any(state.stage == "waiting" for state in downloads.watching.told)


def test_download_when_interrupted_while_waiting_then_ends_at_once(downloads: Downloads) -> None:
    downloads.give(statuses=[(429, {"Retry-After": "3600"})] * 9)
    downloads.watching.stop_at = 0
    with pytest.raises(JobCancelled):
        downloads.fetch()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("0.5", 0.5), ("99999", 120), ("soon", None), ("", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)  # fmt: skip
def test_retry_after_when_read_then_in_seconds(text: str, seconds: float | None) -> None:
    assert client.retry_after(text) == seconds


@pytest.mark.parametrize("status", [401, 403])
def test_download_when_a_key_is_wanted_then_says_where_to_put_it(
    downloads: Downloads, status: int
) -> None:
    downloads.give(statuses=[(status, {})])
    with pytest.raises(DownloadError, match="wants a key") as caught:
        downloads.fetch()
    assert "models key" in caught.value.hint


# Redirects


def test_download_when_redirected_then_followed(downloads: Downloads) -> None:
    file = downloads.give()
    downloads.server.files["/short.safetensors"] = File(redirect=PATH)
    assert downloads.fetch("/short.safetensors").read_bytes() == file.data


def test_download_when_redirected_in_a_circle_then_says_so(downloads: Downloads) -> None:
    downloads.server.files["/a.safetensors"] = File(redirect="/b.safetensors")
    downloads.server.files["/b.safetensors"] = File(redirect="/a.safetensors")
    with pytest.raises(DownloadError, match="in a circle"):
        downloads.fetch("/a.safetensors")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", "gopher://x", "//"])
def test_download_when_redirected_off_the_web_then_refused(
    downloads: Downloads, target: str
) -> None:
    downloads.give(redirect=target)
    with pytest.raises(DownloadError, match="redirects"):
        downloads.fetch()


@dataclass
class OneKey:
    """A key for one host name."""

    host: str

    def header_for(self, url: Any) -> dict[str, str]:
        return {"Authorization": "Bearer secret"} if url.host == self.host else {}


def test_download_when_redirected_to_another_host_then_the_key_stays_behind(
    downloads: Downloads,
) -> None:
    file = downloads.give()
    there = downloads.server.url(PATH, "localhost")
    downloads.server.files["/gate.safetensors"] = File(redirect=there, needs_key="secret")
    downloads.keys = OneKey("127.0.0.1")  # type: ignore[assignment]
    assert downloads.fetch("/gate.safetensors").read_bytes() == file.data
    keys = {(asked.path, asked.key) for asked in downloads.server.asked}
    assert ("/gate.safetensors", "secret") in keys and (PATH, "") in keys
    assert (PATH, "secret") not in keys


def test_download_when_a_hub_tells_the_hash_then_it_is_checked(downloads: Downloads) -> None:
    downloads.give()
    linked = {"X-Linked-Etag": '"' + "ab" * 32 + '"', "X-Linked-Size": str(len(SMALL))}
    downloads.server.files["/hub.safetensors"] = File(redirect=PATH, headers=linked)
    with pytest.raises(DownloadError, match="other bytes than were published"):
        downloads.fetch("/hub.safetensors")


def test_download_when_a_number_is_absurd_then_it_counts_for_nothing(downloads: Downloads) -> None:
    file = downloads.give(headers={"x-linked-size": "9" * 5000})
    assert downloads.fetch().read_bytes() == file.data


def test_download_when_a_hub_has_another_file_then_not_even_begun(downloads: Downloads) -> None:
    downloads.give()
    linked = {"X-Linked-Etag": '"' + "ab" * 32 + '"'}
    downloads.server.files["/hub.safetensors"] = File(redirect=PATH, headers=linked)
    with pytest.raises(DownloadError, match="another file: its sha256"):
        downloads.fetch("/hub.safetensors", sha256="cd" * 32)
    assert len(downloads.server.asked) == 2


# Sources and mirrors


def test_download_when_a_source_fails_then_the_next_one_serves(downloads: Downloads) -> None:
    file = downloads.give()
    downloads.server.files["/bad.safetensors"] = File(weights(0.6, 5))
    path = downloads.fetch(
        "/gone.safetensors", "/bad.safetensors", PATH, sha256=file.sha256, name="x.safetensors"
    )
    assert path.read_bytes() == file.data


def test_download_when_no_source_serves_then_every_reason_is_told(downloads: Downloads) -> None:
    downloads.server.files["/page.safetensors"] = File(b"<html>", kind="text/html")
    with pytest.raises(DownloadError) as caught:
        downloads.fetch("/gone.safetensors", downloads.server.url("/page.safetensors", "localhost"))
    assert "HTTP 404" in caught.value.message and "web page" in caught.value.message


def test_download_when_one_source_is_dead_then_what_the_other_said_tells_what_to_do(
    downloads: Downloads,
) -> None:
    downloads.give(weights(0.1))
    with pytest.raises(DownloadError, match="other bytes than were published") as caught:
        downloads.fetch("http://localhost:9/gone.safetensors", PATH, sha256="ab" * 32)
    assert "cannot be reached" in caught.value.message
    assert caught.value.hint == "Another source may have the right ones."


def test_download_when_the_original_is_dead_then_the_mirror_serves_and_is_told(
    downloads: Downloads,
) -> None:
    file = downloads.give()
    downloads.mirrors = Mirrors({"nowhere.invalid": (downloads.server.url("").rstrip("/"),)})
    path = downloads.fetch("https://nowhere.invalid" + PATH)
    assert path.read_bytes() == file.data
    assert downloads.watching.told[-1].mirror_of == "nowhere.invalid"


# Stopping and going on


def test_download_when_stopped_then_goes_on_where_it_was(downloads: Downloads) -> None:
    file = downloads.give(pause=0.004)
    downloads.watching.stop_at = 200_000
    with pytest.raises(JobCancelled):
        downloads.fetch(sha256=file.sha256)
    came = downloads.watching.told[-1].done_bytes
    assert 200_000 <= came < len(file.data)
    file.pause, downloads.watching = 0, Watching()
    downloads.server.forget()
    assert downloads.fetch(sha256=file.sha256).read_bytes() == file.data
    assert downloads.server.bytes_asked(PATH) <= len(file.data) - came + 1


def test_download_when_the_file_changed_meanwhile_then_begins_again(downloads: Downloads) -> None:
    old = downloads.give(pause=0.004, headers={"ETag": '"one"'})
    downloads.watching.stop_at = 200_000
    with pytest.raises(JobCancelled):
        downloads.fetch()
    new = downloads.give(weights(0.6, 9), headers={"ETag": '"two"'})
    downloads.watching = Watching()
    assert len(new.data) == len(old.data)
    assert downloads.fetch().read_bytes() == new.data


def test_download_when_killed_in_the_middle_then_goes_on(
    downloads: Downloads, tmp_path: Path
) -> None:
    file = downloads.give(weights(3), pause=0.01)
    program = (
        "import sys; from pathlib import Path;"
        "from tests.checkpoints.test_download import *;"
        "d = Downloads(Path(sys.argv[1]), FileServer());"
        "fetch.SAVE_SECONDS = 0.1; transfer.SEGMENT_BYTES = 128 << 10;"
        f"d.fetch({downloads.server.url(PATH)!r}, sha256={file.sha256!r})"
    )
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=env)
    state = tmp_path / "models" / ".downloads"

    def has_kept_some() -> bool:
        assert child.poll() is None, "it was to be killed in the middle"
        return any('"spans": [[' in kept.read_text() for kept in state.glob("*.json"))

    wait_until(has_kept_some)
    child.send_signal(signal.SIGKILL)
    child.wait()
    file.pause = 0
    downloads.server.forget()
    assert downloads.fetch(sha256=file.sha256).read_bytes() == file.data
    assert 0 < downloads.server.bytes_asked(PATH) < len(file.data)
    assert downloads.left == ["net.safetensors"]


def test_download_when_another_program_fetches_it_then_left_to_that(downloads: Downloads) -> None:
    from webui.checkpoints.download.part_file import PartFile

    downloads.give()
    other = PartFile(fetch.part_path(downloads.wanted(), downloads.places))
    with pytest.raises(DownloadError, match="being fetched already"):
        downloads.fetch()
    other.close()
    assert downloads.fetch().exists()


def test_part_when_discarded_then_nothing_is_left(downloads: Downloads) -> None:
    file = downloads.give(pause=0.004)
    downloads.watching.stop_at = 100_000
    with pytest.raises(JobCancelled):
        downloads.fetch(sha256=file.sha256)
    discard_part(downloads.wanted(sha256=file.sha256), downloads.places)
    assert downloads.left == []


OTHER_DISK = Path("/dev/shm")


@pytest.mark.skipif(not OTHER_DISK.is_dir(), reason="needs a second file system")
def test_download_when_the_folder_is_a_link_to_another_disk_then_copied_whole(
    downloads: Downloads,
) -> None:
    file = downloads.give()
    with tempfile.TemporaryDirectory(dir=OTHER_DISK) as elsewhere:
        downloads.places.own_models.mkdir(parents=True)
        (downloads.places.own_models / "VAE").symlink_to(elsewhere)
        path = downloads.fetch(kind="vae", sha256=file.sha256)
        assert path.read_bytes() == file.data
        assert os.listdir(elsewhere) == ["net.safetensors"]
        assert not list((downloads.places.own_models / ".downloads").iterdir())


# Nothing is written over


def test_download_when_the_very_file_is_there_then_nothing_is_asked(downloads: Downloads) -> None:
    file = downloads.give()
    path = downloads.fetch(sha256=file.sha256)
    downloads.server.forget()
    assert downloads.fetch(sha256=file.sha256, name="net.safetensors") == path
    assert downloads.server.asked == []


def test_download_when_the_very_file_lies_under_the_servers_name_then_that_one(
    downloads: Downloads,
) -> None:
    file = downloads.give()
    path = downloads.fetch(sha256=file.sha256)
    before = path.stat().st_mtime_ns
    assert downloads.fetch(sha256=file.sha256, name="") == path
    assert path.stat().st_mtime_ns == before and downloads.left == ["net.safetensors"]


@pytest.mark.parametrize("name", ["net.safetensors", ""])
def test_download_when_another_file_has_the_name_then_it_stays(
    downloads: Downloads, name: str
) -> None:
    mine = downloads.places.own_models / "Stable-diffusion" / "net.safetensors"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    file = downloads.give()
    for sha256 in (file.sha256, None):
        with pytest.raises(DownloadError, match="is there already"):
            downloads.fetch(sha256=sha256, name=name)
    assert mine.read_bytes() == b"mine"


# Room on the disk

Usage = namedtuple("Usage", "total used free")


def test_download_when_the_disk_is_too_small_then_nothing_is_fetched(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads.give()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, len(SMALL)))
    with pytest.raises(DownloadError, match="has no room") as caught:
        downloads.fetch()
    assert "GB" in caught.value.message and "Free some space" in caught.value.hint
    assert len(downloads.server.asked) == 1


def test_download_when_the_disk_fills_up_then_stops_and_goes_on_later(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = downloads.give(pause=0.004)
    real = os.fdopen
    room = 300_000

    class Full:
        """A file on a disk with so much room."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def write(self, data: Any) -> int:
            if self._inner.tell() + len(data) > room:
                raise OSError(28, "No space left on device")
            return self._inner.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    monkeypatch.setattr(os, "fdopen", lambda *a, **k: Full(real(*a, **k)))
    with pytest.raises(DownloadError, match="has no room"):
        downloads.fetch(sha256=file.sha256)
    monkeypatch.setattr(os, "fdopen", real)
    file.pause = 0
    assert downloads.fetch(sha256=file.sha256).read_bytes() == file.data


# Where nobody may go


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "fe80::1",
                "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "0.0.0.0", "100.64.0.1",
                "224.0.0.1"],
)  # fmt: skip
def test_address_when_private_then_not_public(address: str) -> None:
    assert not client.is_public(address)


def test_address_when_public_then_public() -> None:
    assert client.is_public("1.1.1.1") and client.is_public("2606:4700:4700::1111")


def test_download_for_people_elsewhere_never_reaches_into_the_private_network(
    downloads: Downloads,
) -> None:
    downloads.give()
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(DownloadError, match="private network"):
            downloads.fetch(downloads.server.url(PATH, host), public_only=True)
    assert downloads.server.asked == []


def test_download_for_people_elsewhere_may_use_the_mirrors_of_the_owner(
    downloads: Downloads,
) -> None:
    file = downloads.give()
    downloads.mirrors = Mirrors({"nowhere.invalid": (downloads.server.url(""),)})
    rules = Rules(downloads.keys, True, downloads.mirrors.servers())
    wanted = downloads.wanted("https://nowhere.invalid" + PATH)
    network = Network(rules, downloads.mirrors)
    path = download(wanted, downloads.places, network, downloads.watching)
    assert path.read_bytes() == file.data


def test_download_for_people_elsewhere_connects_to_the_address_that_was_judged(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = downloads.give()
    judged = []

    async def judge(url: Any) -> list[str]:
        judged.append(url.host)
        return ["127.0.0.1"]

    monkeypatch.setattr(client, "public_addresses", judge)
    url = f"http://a-name.invalid:{downloads.server.port}{PATH}"  # no name server knows it
    network = Network(Rules(downloads.keys, True), downloads.mirrors)
    path = download(downloads.wanted(url), downloads.places, network, downloads.watching)
    assert path.read_bytes() == file.data and set(judged) == {"a-name.invalid"}
    with pytest.raises(DownloadError, match=r"a-name\.invalid does not have this file"):
        download(
            downloads.wanted(url.replace("net", "no")),
            downloads.places,
            network,
            downloads.watching,
        )


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y.ckpt", "http://", "net.ckpt", "http://u:p@x/y.ckpt"]
)
def test_download_when_it_is_no_web_address_then_refused(downloads: Downloads, url: str) -> None:
    wanted = replace(downloads.wanted(), urls=(url,))
    network = Network(Rules(downloads.keys), downloads.mirrors)
    with pytest.raises(DownloadError, match=r"no http|web address|password"):
        download(wanted, downloads.places, network, downloads.watching)
