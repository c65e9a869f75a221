"""Runs pip so that a person who never opened a terminal sees what is happening, and why not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from webui.launcher.environment import Venv, clean_environment
from webui.launcher.words import LaunchError, say, tell

# (what pip printed, what it means, what to do); the first that fits is shown.
TROUBLES = (
    (
        r"No space left on device|\[Errno 28\]",
        "The disk is full.",
        "Free some space and start again; it goes on where it stopped.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError",
        "The package index's certificate was refused.",
        "On a company network, ask for its certificate file and tell pip: "
        "pip config set global.cert FILE",
    ),
    (
        r"Temporary failure in name resolution|Name or service not known|getaddrinfo failed|"
        r"nodename nor servname|NewConnectionError|NameResolutionError|Network is unreachable|"
        r"ConnectTimeout|ReadTimeout|Read timed out|ProxyError|Connection refused|"
        r"ConnectionResetError|Max retries exceeded",
        "The package index cannot be reached.",
        "Check the internet connection and start again. Behind a proxy: set HTTPS_PROXY. "
        "Near a mirror: pip config set global.index-url ADDRESS",
    ),
    (
        r"DO NOT MATCH THE HASHES|BadZipFile|invalid wheel|IncompleteRead|has an invalid",
        "A download arrived damaged.",
        "Start again. If it happens twice, empty pip's store first: pip cache purge",
    ),
    (
        r"WinError 206|filename or extension is too long|[Ll]ong [Pp]ath",
        "Windows refuses the long file names.",
        "Move the project to a short folder such as C:\\danqing.",
    ),
    (
        r"Permission denied|WinError 5\b|\[Errno 13\]",
        "A file could not be replaced; perhaps the program is still running.",
        "Close every window of the program and start again.",
    ),
    (
        # Our own versions fit together: pip calls it a conflict when an index lacks one of them.
        r"No matching distribution found|ResolutionImpossible|conflicting dependencies",
        "The package index has no fitting file for a package.",
        "Check the internet connection. If pip uses a mirror, it may be behind: try another. "
        "For PyTorch: try --torch cpu.",
    ),
    (
        r"MemoryError|Cannot allocate memory",
        "Memory ran out.",
        "Close other programs and start again.",
    ),
)
UNKNOWN_TROUBLE = ("pip stopped with an error.", "Starting again often helps.")
SECONDS_BETWEEN_LINES = 30
BIG_FILE_BYTES = 2e7
SHOWN_FILE_BYTES = 2e6


def trouble(output: str) -> tuple[str, str]:
    """(what happened, what to do), as templates, for pip's output of a failed run."""
    for pattern, meaning, hint in TROUBLES:
        if re.search(pattern, output):
            return meaning, hint
    return UNKNOWN_TROUBLE


def pip_environment(venv: Venv) -> dict[str, str]:
    """The person's own pip settings, less what would lead it out of .venv."""
    venv.pip_temp.mkdir(parents=True, exist_ok=True)
    env = clean_environment()
    env.update(
        PIP_USER="0",
        PIP_REQUIRE_VIRTUALENV="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_INPUT="1",
        PYTHONUTF8="1",
        PYTHONUNBUFFERED="1",
    )
    for name in ("TMPDIR", "TEMP", "TMP"):
        env[name] = str(venv.pip_temp)
    return env


def run_pip(venv: Venv, arguments: list[str], title: str) -> None:
    """Run pip in the environment, show what it is doing, keep everything it says in the log.

    Args:
        title: What is installed: a template of words.
    Raises:
        LaunchError: pip failed; its last lines were shown.
    """
    command = [str(venv.python), "-m", "pip", *arguments]
    with venv.log.open("a", encoding="utf-8") as log:
        log.write("$ " + " ".join(command) + "\n")
        process = subprocess.Popen(
            command,
            env=pip_environment(venv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            lines = PipProgress(venv, tell(title), log).follow(process)
            code = process.wait()
        finally:
            stop_process(process)
    if code:
        for line in lines[-15:]:
            print("    " + line, flush=True)
        meaning, hint = trouble("\n".join(lines))
        say("Everything pip said: {log}", log=venv.log)
        raise LaunchError("Installing the packages failed. {meaning}", hint, meaning=tell(meaning))


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a process that this one started, if it still runs."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class PipProgress:
    """Turns pip's lines into one short status: a living line on a terminal, else few lines."""

    def __init__(self, venv: Venv, title: str, log: TextIO) -> None:
        self.venv = venv
        self.title = title
        self.log = log
        self.started = self.last_said = time.monotonic()
        self.is_terminal = sys.stdout.isatty()
        self.status = tell("looking up packages")
        self.file = ""
        self.file_bytes = 0.0
        self.package_count = 0
        self.present_before = self._count_present()

    def follow(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Read pip's output to its end and return its lines."""
        assert process.stdout is not None, "started with a pipe"
        lines: list[str] = []
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(done,), daemon=True)
        ticker.start()
        try:
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").rstrip()
                lines.append(line)
                self.log.write(line + "\n")
                self.log.flush()
                self.read(line)
        finally:
            done.set()
            ticker.join()
            if self.is_terminal:
                print("\r\033[K", end="", flush=True)
        return lines

    def read(self, line: str) -> None:
        """Take one line of pip into account."""
        text = line.strip()
        if text.startswith("Collecting "):
            self.file = ""
            package = re.split(r"[ =<>!~;\[]", text.removeprefix("Collecting "))[0]
            self.status = tell("looking up {package}", package=package)
        elif text.startswith(("Downloading ", "Using cached ", "Processing ")):
            self._read_file(text)
        elif text.startswith("Installing collected packages:"):
            self.file = ""
            self.package_count = text.count(",") + 1
            self.status = tell("unpacking")
            self._announce(tell("unpacking {count} packages", count=self.package_count))

    def _read_file(self, text: str) -> None:
        found = re.match(r"(\w+)(?: cached)? (\S+?)(?: \(([\d.]+) ([kMG]?B)\))?$", text)
        if not found or found[2].endswith(".metadata"):
            return
        name = found[2].rsplit("/", 1)[-1].replace("%2B", "+")
        unit = {"kB": 1e3, "MB": 1e6, "GB": 1e9}.get(found[4] or "", 1.0)
        package = "-".join(name.split("-")[:2])
        if found[1] != "Downloading":
            self.file = ""
            self.status = tell("taking {package} from this machine", package=package)
            return
        self.file, self.file_bytes = name, float(found[3] or 0) * unit
        self.status = tell("downloading {package}", package=package)
        if self.file_bytes >= BIG_FILE_BYTES:
            self._announce(f"{self.status} ({self.file_bytes / 1e6:.0f} MB)")

    def _announce(self, text: str) -> None:
        if not self.is_terminal:
            print(f"  {self.title}: {text}", flush=True)
            self.last_said = time.monotonic()

    def _tick(self, done: threading.Event) -> None:
        while not done.wait(0.5):
            if self.is_terminal:
                width = shutil.get_terminal_size().columns - 1
                print("\r\033[K" + self.line()[:width], end="", flush=True)
            elif time.monotonic() - self.last_said >= SECONDS_BETWEEN_LINES:
                print(self.line(), flush=True)
                self.last_said = time.monotonic()

    def line(self) -> str:
        """The status in one line: deed, amount, time so far."""
        amount = ""
        if self.package_count:
            done = min(max(self._count_present() - self.present_before, 0), self.package_count)
            amount = tell(" {done} of {count} packages", done=done, count=self.package_count)
        elif self.file and self.file_bytes >= SHOWN_FILE_BYTES:
            here = downloaded_bytes(self.venv.pip_temp, self.file) / 1e6
            amount = tell(" {done:.0f} of {all:.0f} MB", done=here, all=self.file_bytes / 1e6)
        elapsed = spoken_time(time.monotonic() - self.started)
        return f"  {self.title}: {self.status}{amount}, {elapsed}"

    def _count_present(self) -> int:
        return sum(1 for _ in self.venv.packages.glob("*.dist-info"))


def downloaded_bytes(folder: Path, name: str) -> int:
    """How much of a file pip has written so far into its temporary folder."""
    sizes = [0]
    for path in folder.glob("*/" + name):
        try:
            sizes.append(path.stat().st_size)
        except OSError:
            continue
    return max(sizes)


def spoken_time(seconds: float) -> str:
    """65 is '1 min 5 s'."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes:
        return tell("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    return tell("{seconds} s", seconds=rest)
