"""How this installation runs: folders, device, precision, ports. Read once, at the start.

Flag names are A1111's where a flag exists there. Below app.py, studio.py and worker.py nobody
receives the whole Settings, only the values it needs.
"""

from __future__ import annotations

import argparse
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.command_line import split_flags
from webui.errors import SettingsError
from webui.passwords import SCHEME, hash_password, is_hashed, make_password
from webui.roles import GUEST_MARK

PROJECT_DIR = Path(__file__).resolve().parent.parent
DEFAULT_PORT = 7860
DEFAULT_API_PORT = 7861
MADE_OWNER, MADE_GUEST = "owner", "guest"
"""Logins that are made where a password is needed and none was given."""
SECRET_FLAGS = ("api_auth", "gradio_auth", "gradio_auth_path", "guest_auth")
"""Flags whose values are never kept as they were given."""


@dataclass(frozen=True)
class Folders:
    """Where things lie. Extra folders are searched after the project's own."""

    data: Path
    models: tuple[Path, ...]
    checkpoints: tuple[Path, ...] = ()
    vaes: tuple[Path, ...] = ()
    loras: tuple[Path, ...] = ()
    embeddings: tuple[Path, ...] = ()
    hypernetworks: tuple[Path, ...] = ()
    upscalers: tuple[Path, ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    """Extra folders of further kinds: kind and path."""
    programs: tuple[Path, ...] = ()
    """Where other programs keep models that are used here, too (``other_programs``)."""
    database_name: str = "danqing.sqlite3"

    @property
    def database(self) -> Path:
        """The SQLite file with jobs, pictures and hashes."""
        return self.data / "data" / self.database_name

    @property
    def logs(self) -> Path:
        return self.data / "log"

    @property
    def own_models(self) -> Path:
        """Where weights that are fetched go: ``--models-dir``, else models/ of the data folder."""
        first = next(iter(self.models), None)
        return self.data / "models" if first in (None, PROJECT_DIR / "models") else first

    def are_inside(self, folder: Path) -> bool:
        """Whether a folder lies around the program, its data or its models, as ``/`` or a home
        folder does: nothing is served from such a folder, and nothing in it taken for pictures."""
        own = (PROJECT_DIR, self.data, *self.models)
        return any(kept.resolve().is_relative_to(folder.resolve()) for kept in own)

    @property
    def mirrors(self) -> Path:
        """The list of mirrors, which people may edit."""
        return self.data / "mirrors.txt"

    @property
    def keys(self) -> Path:
        """Keys for sites that want one; readable by its owner alone."""
        return self.database.parent / "keys.json"


@dataclass(frozen=True)
class Precision:
    """Number formats and memory plans of the model process."""

    no_half: bool = False
    no_half_vae: bool = False
    bf16: bool = False
    lowvram: bool = False
    medvram: bool = False
    medvram_sdxl: bool = False
    model_memory_bytes: int = 0
    model_ram_bytes: int = 0


@dataclass(frozen=True)
class Settings:
    """Everything the start-up flags decide."""

    folders: Folders
    precision: Precision
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    port_is_fixed: bool = False
    share: bool = False
    api: bool = True
    page: bool = True
    autolaunch: bool = False
    theme: str | None = None
    subpath: str = ""
    page_logins: tuple[tuple[str, str], ...] = ()
    """Names of owners and their hashed passwords."""
    api_logins: tuple[tuple[str, str], ...] = ()
    guest_logins: tuple[tuple[str, str], ...] = ()
    made_logins: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Names and passwords that were made, to be printed once."""
    trusted_proxies: str = ""
    device: str = ""
    device_id: int | None = None
    threads: int = 0
    styles_files: tuple[str, ...] = ()
    preferred_checkpoint: str = ""
    usual_vae: str = ""
    tls_keyfile: str | None = None
    tls_certfile: str | None = None
    cors_origins: tuple[str, ...] = ()
    cors_origins_regex: str | None = None
    api_log: bool = False
    api_server_stop: bool = False
    keep_alive_seconds: int = 30
    no_hashing: bool = False
    prompt_history: bool = True
    worker_idle_minutes: float = 0
    ignored: tuple[str, ...] = ()
    flags: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_private(self) -> bool:
        """No other machine reaches the page: who uses it may do what this machine's owner may."""
        return is_loopback(self.host) and not self.share and not self.guest_logins

    @property
    def may_install_extensions(self) -> bool:
        """Whether the page may install, update and remove extensions, which run as the program:
        where neither other machines nor pages of other sites can ask for it."""
        is_alone = not (self.cors_origins or self.cors_origins_regex or self.trusted_proxies)
        is_told = bool(self.flags.get("enable_insecure_extension_access"))
        return is_told or (self.is_private and is_alone)

    @property
    def asks_here(self) -> bool:
        """The person at this machine needs a password, too: one was given, or from other machines
        the same port is reached."""
        made = {name for name, _ in self.made_logins}
        given = any(name not in made for name, _ in (*self.page_logins, *self.guest_logins))
        return given or not is_loopback(self.host)


def make_parser() -> argparse.ArgumentParser:
    """The program's flags, in the order ``--help`` shows them."""
    parser = argparse.ArgumentParser(
        prog="launch.py",
        description="Danqing (丹青) WebUI: a painting studio in the browser.",
        allow_abbrev=False,
    )
    _add_server_flags(parser.add_argument_group("server"))
    _add_folder_flags(parser.add_argument_group("folders"))
    _add_device_flags(parser.add_argument_group("device"))
    _add_accepted_flags(parser.add_argument_group("accepted for compatibility"))
    return parser


def _add_server_flags(group: Any) -> None:
    add = group.add_argument
    add("--port", type=int, default=None, help="port of the page (default 7860)")
    add(
        "--listen",
        action="store_true",
        help="answer other machines too (0.0.0.0); a password is made unless one is given",
    )
    add("--server-name", default=None, metavar="HOST", help="answer on this address")
    add(
        "--share",
        action="store_true",
        help="make a public Gradio link; passwords are made unless some are given",
    )
    add("--api", action="store_true", help="serve the HTTP API (always on unless --no-api)")
    add("--no-api", action="store_true", help="do not serve the HTTP API")
    add("--nowebui", action="store_true", help="API only, no page (default port 7861)")
    add("--api-auth", default=None, metavar="USER:PASS[,…]", help="password for the API")
    add("--gradio-auth", default=None, metavar="USER:PASS[,…]", help="password for the page")
    add("--gradio-auth-path", default=None, metavar="FILE", help="file with such pairs")
    add("--guest-auth", default=None, metavar="USER:PASS[,…]", help="password for guests")
    add(
        "--forwarded-allow-ips",
        default=None,
        metavar="A,B",
        help="proxies whose word on the visitor's address is taken",
    )
    add("--autolaunch", action="store_true", help="open the page in the browser")
    add("--no-autolaunch", action="store_true", help="do not open the page in the browser")
    add("--theme", default=None, choices=["dark", "light"], help="colour scheme of the page")
    add("--subpath", default="", metavar="PATH", help="serve below this path")
    add("--tls-keyfile", default=None)
    add("--tls-certfile", default=None)
    add("--cors-allow-origins", default="", metavar="A,B")
    add("--cors-allow-origins-regex", default=None)
    add("--api-log", action="store_true", help="one console line for each API request")
    add("--api-server-stop", action="store_true", help="allow stopping the server over the API")
    add("--timeout-keep-alive", type=int, default=30)
    add("--freeze-settings", action="store_true", help="the API may not change settings")
    add("--hide-ui-dir-config", action="store_true", help="the API does not show folder settings")
    add("--no-prompt-history", action="store_true", help="do not write params.txt")
    add("--disable-all-extensions", action="store_true", help="load no extension")
    add(
        "--disable-extra-extensions", action="store_true",
        help="load no extensions but those that came with the program",
    )  # fmt: skip
    add(
        "--enable-insecure-extension-access", action="store_true",
        help="let the page install, update and remove extensions although others reach it",
    )  # fmt: skip


_UPSCALER_FLAGS = ("realesrgan", "swinir", "scunet", "dat", "bsrgan")
_FACE_FLAGS = ("gfpgan", "codeformer")


def _paths(flags: argparse.Namespace, names: Sequence[str]) -> list[str | None]:
    return [vars(flags)[f"{name}_models_path"] for name in names]


def _add_folder_flags(group: Any) -> None:
    add = group.add_argument
    add("--data-dir", default=None, metavar="DIR", help="where outputs, settings and jobs live")
    add("--models-dir", default=None, metavar="DIR", help="another models folder")
    for flag in ("ckpt", "vae", "lora", "embeddings", "hypernetwork"):
        add(f"--{flag}-dir", default=None, metavar="DIR", help=f"an extra {flag} folder")
    add("--lyco-dir-backcompat", default=None, metavar="DIR", help="an extra lora folder")
    add("--vae-path", default=None, metavar="FILE", help="what «Automatic» means as VAE")
    add("--controlnet-dir", default=None, metavar="DIR", help="an extra ControlNet folder")
    add("--esrgan-models-path", default=None, metavar="DIR", help="an extra upscaler folder")
    for flag in (*_UPSCALER_FLAGS, *_FACE_FLAGS):
        add(f"--{flag}-models-path", default=None, metavar="DIR")
    add(
        "--models-from", "--extra-model-paths-config", "--forge-ref-a1111-home",
        "--forge-ref-comfy-home", dest="models_from", action="append", nargs="+", default=None,
        metavar="PLACE", help="use the models of A1111, ComfyUI or lora-scripts where they lie: "
        "the program's folder, or an extra_model_paths.yaml; may be given several times",
    )  # fmt: skip
    add("--ckpt", default=None, metavar="FILE", help="checkpoint to begin with")
    add("--styles-file", action="append", default=None, metavar="FILE")
    add("--no-hashing", action="store_true", help="never compute model hashes")


def _add_device_flags(group: Any) -> None:
    add = group.add_argument
    add("--device", default="", choices=["", "cpu", "cuda", "mps", "xpu"], help="where to compute")
    add("--use-cpu", nargs="*", default=None, help="compute on the CPU")
    add("--device-id", type=int, default=None, help="which GPU")
    add("--no-half", action="store_true", help="float32 everywhere")
    add("--no-half-vae", action="store_true", help="float32 for the VAE")
    add("--bf16", action="store_true", help="bfloat16 instead of float16")
    add("--lowvram", action="store_true", help="keep only what is needed on the GPU")
    add("--medvram", action="store_true", help="move the text encoder and VAE off the GPU")
    add("--medvram-sdxl", action="store_true", help="--medvram for SDXL only")
    add("--threads", type=int, default=0, help="CPU threads of the model process, 0 = automatic")
    add("--model-memory-gb", type=float, default=0, help="memory for loaded models, 0 = automatic")
    add(
        "--model-ram-gb", type=float, default=0,
        help="main memory for models that wait beside a GPU, 0 = automatic",
    )  # fmt: skip
    add(
        "--worker-idle-minutes", type=float, default=0, help="end the idle model process, 0 = never"
    )


# A1111's flags that have nothing to decide here, and launch.py's own (for who starts app.py with
# its COMMANDLINE_ARGS): scripts that give them still start the program.
_IGNORED_SWITCHES = (
    "xformers", "force-enable-xformers", "xformers-flash-attention", "opt-sdp-attention",
    "opt-sdp-no-mem-attention", "opt-sub-quad-attention", "opt-split-attention",
    "opt-split-attention-v1", "opt-split-attention-invokeai", "disable-opt-split-attention",
    "opt-channelslast", "upcast-sampling", "always-batch-cond-uncond", "lowram",
    "disable-nan-check", "disable-model-loading-ram-optimization", "skip-torch-cuda-test",
    "skip-version-check", "skip-python-version-check", "skip-prepare-environment",
    "skip-load-model-at-start", "skip-install", "reinstall", "reinstall-torch",
    "reinstall-xformers", "update-check", "update-all-extensions",
    "no-download-sd-model",
    "do-not-download-clip", "disable-safe-unpickle", "allow-code", "test-server",
    "no-progressbar-hiding", "disable-console-progressbars", "enable-console-prompts",
    "unload-gfpgan", "gradio-debug", "gradio-queue", "no-gradio-queue", "add-stop-route",
)  # fmt: skip
_IGNORED_WITH_VALUE = (
    "torch", "precision", "loglevel", "ui-settings-file", "ui-config-file", "gradio-img2img-tool",
    "gradio-inpaint-tool", "gradio-allowed-path",
    "localizations-dir", "filenames-max-length",
    "sub-quad-q-chunk-size", "sub-quad-kv-chunk-size", "sub-quad-chunk-threshold",
)  # fmt: skip


def _add_accepted_flags(group: Any) -> None:
    for flag in _IGNORED_SWITCHES:
        group.add_argument(f"--{flag}", action="store_true", help=argparse.SUPPRESS)
    for flag in _IGNORED_WITH_VALUE:
        group.add_argument(f"--{flag}", nargs="?", const="", help=argparse.SUPPRESS)


def _ignored(flags: argparse.Namespace) -> tuple[str, ...]:
    given = vars(flags)
    switches = [f for f in _IGNORED_SWITCHES if given[f.replace("-", "_")]]
    valued = [f for f in _IGNORED_WITH_VALUE if given[f.replace("-", "_")] is not None]
    return tuple(f"--{flag}" for flag in (*switches, *valued))


def _flags_of(environ: Mapping[str, str]) -> list[str]:
    try:
        return split_flags(environ.get("COMMANDLINE_ARGS", ""))
    except ValueError as err:
        raise SettingsError(
            f"COMMANDLINE_ARGS cannot be read: {err}.",
            "Close every quotation mark in it.",
        ) from err


def read_settings(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Settings:
    """Read the flags, with ``COMMANDLINE_ARGS`` before them as A1111 does.

    Raises:
        SettingsError: COMMANDLINE_ARGS or a value cannot be used, or the server would be open
            without a password.
        SystemExit: argparse's own, for ``--help`` and unknown flags.
    """
    environ = os.environ if environ is None else environ
    flags = make_parser().parse_args([*_flags_of(environ), *argv])
    host = flags.server_name or ("0.0.0.0" if flags.listen else "127.0.0.1")
    logins = _all_logins(flags, is_open=flags.share or not is_loopback(host))
    settings = Settings(
        folders=_folders(flags),
        precision=Precision(
            no_half=flags.no_half,
            no_half_vae=flags.no_half_vae,
            bf16=flags.bf16,
            lowvram=flags.lowvram,
            medvram=flags.medvram,
            medvram_sdxl=flags.medvram_sdxl,
            model_memory_bytes=int(flags.model_memory_gb * 2**30),
            model_ram_bytes=int(flags.model_ram_gb * 2**30),
        ),
        host=host,
        port=flags.port or (DEFAULT_API_PORT if flags.nowebui else DEFAULT_PORT),
        port_is_fixed=flags.port is not None,
        share=flags.share,
        api=not flags.no_api,
        page=not flags.nowebui,
        autolaunch=flags.autolaunch,
        theme=flags.theme,
        subpath="/" + flags.subpath.strip("/") if flags.subpath.strip("/") else "",
        page_logins=logins.page,
        api_logins=logins.api,
        guest_logins=logins.guest,
        made_logins=logins.made,
        trusted_proxies=flags.forwarded_allow_ips or environ.get("FORWARDED_ALLOW_IPS", ""),
        device="cpu" if flags.use_cpu is not None else flags.device,
        device_id=flags.device_id,
        threads=flags.threads,
        styles_files=tuple(flags.styles_file or ()),
        preferred_checkpoint=flags.ckpt or "",
        usual_vae=_file_in_folder(flags.vae_path) if flags.vae_path else "",
        tls_keyfile=flags.tls_keyfile,
        tls_certfile=flags.tls_certfile,
        cors_origins=tuple(o.strip() for o in flags.cors_allow_origins.split(",") if o.strip()),
        cors_origins_regex=flags.cors_allow_origins_regex,
        api_log=flags.api_log,
        api_server_stop=flags.api_server_stop,
        keep_alive_seconds=flags.timeout_keep_alive,
        no_hashing=flags.no_hashing,
        prompt_history=not flags.no_prompt_history,
        worker_idle_minutes=flags.worker_idle_minutes,
        ignored=_ignored(flags),
        flags={k: "…" if v and k in SECRET_FLAGS else v for k, v in vars(flags).items()},
    )
    _check(settings)
    return settings


def _file_in_folder(file: str) -> str:
    """A file's path as it is listed: its folder followed to the end, a link's own name kept."""
    path = Path(file).expanduser()
    return str(path.parent.resolve() / path.name)


def _folders(flags: argparse.Namespace) -> Folders:
    data = Path(flags.data_dir).expanduser().resolve() if flags.data_dir else PROJECT_DIR
    models = [PROJECT_DIR / "models"]
    if flags.models_dir:
        models.insert(0, Path(flags.models_dir).expanduser().resolve())
    if data != PROJECT_DIR:
        models.append(data / "models")

    def extra(*values: str | None) -> tuple[Path, ...]:
        return tuple(Path(v).expanduser().resolve() for v in values if v)

    return Folders(
        data=data,
        models=tuple(models),
        checkpoints=extra(flags.ckpt_dir),
        vaes=extra(flags.vae_dir, flags.vae_path and str(Path(flags.vae_path).parent)),
        loras=extra(flags.lora_dir, flags.lyco_dir_backcompat),
        embeddings=(data / "embeddings", *extra(flags.embeddings_dir)),
        hypernetworks=extra(flags.hypernetwork_dir),
        upscalers=extra(flags.esrgan_models_path, *_paths(flags, _UPSCALER_FLAGS)),
        others=(
            *(("face", str(path)) for path in extra(*_paths(flags, _FACE_FLAGS))),
            *(("controlnet", str(path)) for path in extra(flags.controlnet_dir)),
        ),
        programs=extra(*(place for places in flags.models_from or () for place in places)),
    )


@dataclass(frozen=True)
class _AllLogins:
    """Everybody who may log in: names and hashed passwords, and what was made."""

    page: tuple[tuple[str, str], ...]
    api: tuple[tuple[str, str], ...]
    guest: tuple[tuple[str, str], ...]
    made: tuple[tuple[str, str], ...]


def _all_logins(flags: argparse.Namespace, *, is_open: bool) -> _AllLogins:
    """The logins that were given, and those that are made because none was.

    An open server has an owner's login at each door; where nothing at all was given, guests have
    one, too.
    """
    page = _logins(flags.gradio_auth, flags.gradio_auth_path, "--gradio-auth")
    api = _logins(flags.api_auth, None, "--api-auth")
    guest = _logins(flags.guest_auth, None, "--guest-auth")
    needs_owner = not page and (bool(guest) or (is_open and not (flags.nowebui and api)))
    names = [MADE_OWNER] if needs_owner else []
    if needs_owner and not guest and not flags.nowebui:
        names.append(MADE_GUEST)
    made = {name: make_password() for name in names}
    hashed = {name: hash_password(password) for name, password in made.items()}
    return _AllLogins(
        page=(*page, *((n, h) for n, h in hashed.items() if n == MADE_OWNER)),
        api=api,
        guest=(*guest, *((n, h) for n, h in hashed.items() if n == MADE_GUEST)),
        made=tuple(made.items()),
    )


def _logins(inline: str | None, file: str | None, flag: str) -> tuple[tuple[str, str], ...]:
    text = inline or ""
    if file:
        try:
            text += "," + Path(file).read_text(encoding="utf-8").replace("\n", ",")
        except OSError as err:
            raise SettingsError(f"{file}, given to {flag}-path, cannot be read: {err}.") from err
    pairs: list[tuple[str, str]] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        user, colon, password = item.partition(":")
        if not (user and colon and password):
            raise SettingsError(
                f"{flag} was given a pair without user, colon or password.",
                f"Write it as {flag} user:password[,user2:password2].",
            )
        if GUEST_MARK in user:
            raise SettingsError(
                f"{flag} names {user!r}: {GUEST_MARK} marks guests.", "Choose another user name."
            )
        pairs.append((user, _hashed(user, password, flag)))
    return tuple(pairs)


def _hashed(user: str, password: str, flag: str) -> str:
    """A password's hash, which may stand in its place.

    Raises:
        SettingsError: It begins like a hash, and no password could be compared with it.
    """
    if not password.startswith(f"{SCHEME}$"):
        return hash_password(password)
    if is_hashed(password):
        return password
    raise SettingsError(
        f"{flag} gives {user!r} a hashed password that is not whole.",
        "Make it again with webui.passwords.hash_password, and copy all of it.",
    )


def is_loopback(host: str) -> bool:
    """True when only this machine can reach the address."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _check(settings: Settings) -> None:
    if not 1 <= settings.port <= 65535:
        raise SettingsError(f"--port was {settings.port}.", "Choose a port from 1 to 65535.")
    if settings.share and settings.tls_certfile:
        raise SettingsError(
            "--share and --tls-certfile were given together, but the tunnel talks http to us.",
            "Leave one out: the public link is https already.",
        )
    _check_tls(settings.tls_keyfile, settings.tls_certfile)
    _check_regex(settings.cors_origins_regex)


def _check_tls(keyfile: str | None, certfile: str | None) -> None:
    if not keyfile and not certfile:
        return
    if not (keyfile and certfile):
        given, missing = ("key", "cert") if keyfile else ("cert", "key")
        raise SettingsError(
            f"--tls-{given}file was given without --tls-{missing}file.",
            "Give both files for https, or neither for http.",
        )
    for flag, file in (("--tls-keyfile", keyfile), ("--tls-certfile", certfile)):
        try:
            with open(file, "rb"):
                pass
        except OSError as err:
            raise SettingsError(
                f"{file}, given to {flag}, cannot be read: {err.strerror or err}.",
                "Give the path of a PEM file that this user may read.",
            ) from err
    try:  # nobody is there to be asked for the password of a locked key
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, lambda: b"")
    except ssl.SSLError as err:
        raise SettingsError(
            f"{certfile} and {keyfile} are no certificate with its key: {err.reason or err}.",
            "Give PEM files that belong together, the key without a password.",
        ) from err


def _check_regex(pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as err:
        raise SettingsError(
            f"--cors-allow-origins-regex was {pattern!r}, which is no regular expression: {err}.",
            "For example: --cors-allow-origins-regex 'https://.*[.]example[.]org'",
        ) from err
