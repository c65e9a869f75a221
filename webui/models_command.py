"""``python launch.py models``: weights without the page: list, search, get, check, where, key.

Runs in .venv's Python, needs no server, and uses the page's folders, mirrors and keys. What it
fetches and what the page fetches is one and the same unfinished file.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from webui.checkpoints.catalog import Catalog
from webui.checkpoints.download.beside import write_beside
from webui.checkpoints.download.client import Rules
from webui.checkpoints.download.fetch import Network
from webui.checkpoints.download.folder import get
from webui.checkpoints.download.hubs import Offer, offers
from webui.checkpoints.download.keys import SITES, Keys
from webui.checkpoints.download.known import fetch_known, places_of
from webui.checkpoints.download.mirrors import read_mirrors
from webui.checkpoints.download.naming import KINDS, USUAL_FOLDERS, folder_of, safe_name
from webui.checkpoints.download.telling import State, in_bytes
from webui.checkpoints.hashes import sha256_of_file
from webui.checkpoints.known_weights import KNOWN, KnownWeights, closest_known, known_named
from webui.checkpoints.other_programs import roots_of_all
from webui.errors import WebUIError
from webui.launcher.words import say, tell
from webui.settings import Folders, read_settings
from webui.settings import make_parser as program_flags

LISTED_KINDS = (
    "checkpoint", "vae", "lora", "embedding", "hypernetwork", "upscaler", "face",
    "face-detector", "controlnet", "vae-approx",
)  # fmt: skip
BAR_CHARACTERS = 24
TOLD_EVERY_SECONDS = 5.0
"""Where the output is no screen."""
USAGE = "python launch.py models"


def make_parser() -> argparse.ArgumentParser:
    """The command's own words; flags of the program (--data-dir …) may follow."""
    about = tell("Weights without the page. Flags of the program, such as --data-dir, come last.")
    parser = argparse.ArgumentParser(prog=USAGE, description=about)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add = commands.add_parser
    add("list", help=tell("what lies in the model folders"))
    found = add("search", help=tell("search the list of well-known weights"))
    found.add_argument("words", nargs="*", metavar="WORD")
    get = add("get", help=tell("get well-known weights by name, or what a link leads to"))
    get.add_argument("what", nargs="+", metavar="NAME|LINK")
    get.add_argument("--to", choices=KINDS, default="", help=tell("what kind of file it is"))
    get.add_argument("--file", default="", help=tell("which of several files at the link"))
    get.add_argument("--as", dest="name", default="", help=tell("the name to keep it under"))
    check = add("check", help=tell("compare files with their known hashes"))
    check.add_argument("names", nargs="*", metavar="FILE")
    add("where", help=tell("folders, mirrors, keys"))
    key = add("key", help=tell("store a key for a site; it is asked for, never shown"))
    key.add_argument("site", choices=SITES)
    return parser


def split_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own words, and the program's flags, which begin with the first of them."""
    actions = program_flags()._actions
    known = {flag for action in actions for flag in action.option_strings} - {"-h", "--help"}
    first = (n for n, word in enumerate(argv) if word.partition("=")[0] in known)
    place = next(first, len(argv))
    return list(argv[:place]), list(argv[place:])


def main(argv: Sequence[str]) -> int:
    """Do what was asked.

    Returns:
        Exit code: 0 when all is well, 1 when something failed, 2 for words that mean nothing.
    """
    own, flags = split_words(argv)
    parser = make_parser()
    asked = parser.parse_args(own)
    if asked.command is None:
        parser.print_help()
        return 2
    try:
        folders = read_settings(flags).folders
        return _DEEDS[asked.command](asked, folders)
    except WebUIError as err:
        print(f"\n{err.message}\n{err.hint}".rstrip(), flush=True)
        return 1
    except KeyboardInterrupt:
        say("\nStopped. The same command goes on from here.")
        return 130


# What there is


def _list(_asked: Any, folders: Folders) -> int:
    with _Looking(folders) as catalog:
        for kind in LISTED_KINDS:
            records = catalog.records(kind)
            if not records:
                continue
            print(f"\n{kind} ({len(records)})")
            for record in records:
                problem = f"  !! {record.problem}" if record.problem else ""
                print(f"  {in_bytes(record.size):>9}  {record.name}{problem}")
    return 0


def _where(_asked: Any, folders: Folders) -> int:
    say("What is fetched goes here:")
    for kind in USUAL_FOLDERS:
        print(f"  {kind:<14} {folder_of(kind, folders)}")
    print(f"  {'embedding':<14} {folder_of('embedding', folders)}")
    say("Looked into: {folders}", folders=", ".join(str(folder) for folder in folders.models))
    say("Mirrors ({file}):", file=folders.mirrors)
    for host, bases in read_mirrors(folders.mirrors).by_host.items():
        print(f"  {host} = {', '.join(bases)}")
    sites = ", ".join(sorted(Keys(folders.keys).sites()))
    say("Keys: {sites}", sites=sites or tell("none"))
    return 0


class _Looking:
    """A catalog whose findings go to a scratch database: looking changes nothing."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def __enter__(self) -> Catalog:
        elsewhere, problems = roots_of_all(self._folders.programs)
        for problem in problems:
            print(problem.message)
        self._scratch = tempfile.TemporaryDirectory()
        facts = Path(self._scratch.name) / "facts.sqlite3"
        self._catalog = Catalog(self._folders, facts, elsewhere)
        return self._catalog

    def __exit__(self, *_: object) -> None:
        self._catalog.close()
        self._scratch.cleanup()


# The well-known ones


def _search(asked: Any, folders: Folders) -> int:
    words = [word.casefold() for word in asked.words]
    found = [known for known in KNOWN if all(word in _text(known) for word in words)]
    for known in found:
        is_here = any(path.exists() for path in places_of(known, folders))
        size = in_bytes(known.size_bytes) if known.size_bytes else "?"
        mark = "*" if is_here else " "
        print(f"{mark} {known.name:<34} {known.kind:<14} {size:>9}  {known.licence}")
    if not found:
        say("Nothing of that name is in the list.")
        return 1
    say('* is here already. Get one with: python launch.py models get "NAME"')
    return 0


def _text(known: KnownWeights) -> str:
    return f"{known.name} {known.file} {known.kind} {known.family}".casefold()


def _get(asked: Any, folders: Folders) -> int:
    what = " ".join(asked.what)
    network = Network(Rules(Keys(folders.keys)), read_mirrors(folders.mirrors))
    with _Screen() as screen:
        known = known_named(what)
        if known is not None:
            say("{name}: licence {licence}", name=known.name, licence=known.licence)
            packages = folders.database.parent / "packages"
            path = fetch_known(known, folders, packages, network, screen)
        elif "/" in what:
            offer = _chosen(offers(what, network, asked.to), asked)
            path = get(offer.wanted, folders, network, screen)
            if offer.notes is not None:
                write_beside(path, offer.wanted.kind, offer.notes, network)
        else:
            say("No well-known weights are called {name}.", name=repr(what))
            close = closest_known(what)
            if close:
                say("Did you mean: {names}?", names=", ".join(close))
            say("All of them: python launch.py models search")
            return 1
    say("It lies in {path}", path=path)
    return 0


def _chosen(found: list[Offer], asked: Any) -> Offer:
    """The one file that is meant.

    Raises:
        WebUIError: There are several, and nobody said which.
    """
    if asked.file:
        found = [offer for offer in found if asked.file in (offer.label, offer.wanted.name)]
    mains = [offer for offer in found if offer.is_main]
    chosen = found if len(found) == 1 else mains if len(mains) == 1 else []
    if not chosen:
        for offer in found:
            print(f"  {offer.label}")
        raise WebUIError(
            tell("There are several files at this address."), tell("Say which one with --file.")
        )
    (offer,) = chosen
    if not asked.name:
        return offer
    return replace(offer, wanted=replace(offer.wanted, name=safe_name(asked.name)))


# Hashes


def _check(asked: Any, folders: Folders) -> int:
    by_hash = {known.sha256: known for known in KNOWN if known.sha256}
    by_file = {known.file: known for known in KNOWN}
    wrong = 0
    with _Looking(folders) as catalog:
        records = list(_to_check(catalog, asked.names))
        if asked.names and not records:
            say("No file of that name is there. All of them: python launch.py models list")
            return 1
        for record in records:
            if record.path.is_dir():
                continue
            record = catalog.inspected(record)
            digest = sha256_of_file(record.path)
            known, named = by_hash.get(digest), by_file.get(record.path.name)
            if known is not None:
                told = tell("it is {name}", name=known.name)
            elif named is not None and named.sha256 and not record.problem:
                told = tell("NOT the published {name}", name=named.name)
                wrong += 1
            else:
                told = tell("not in the list")
            problem = f"  !! {record.problem}" if record.problem else ""
            print(f"{digest}  {record.name}  ({told}){problem}", flush=True)
            wrong += bool(record.problem)
    return 1 if wrong else 0


def _to_check(catalog: Catalog, names: Sequence[str]) -> Iterator[Any]:
    for kind in LISTED_KINDS:
        for record in catalog.records(kind):
            if not names or {record.name, record.stem, record.path.name} & set(names):
                yield record


# Keys


def _key(asked: Any, folders: Folders) -> int:
    key = getpass.getpass(tell("Key for {site} (empty takes it away): ", site=asked.site))
    Keys(folders.keys).keep(asked.site, key)
    say("Kept." if key.strip() else "Taken away.")
    return 0


# The screen


class _Screen:
    """Shows how far a download is: one line that changes, or a line now and then."""

    def __init__(self) -> None:
        self._is_screen = sys.stdout.isatty()
        self._told_at = 0.0
        self._width = 0

    def __enter__(self) -> _Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            print(flush=True)

    def is_interrupted(self) -> bool:
        """Ctrl+C interrupts by itself."""
        return False

    def tell(self, state: State) -> None:
        """See ``telling.Watcher``."""
        now = time.monotonic()
        if not self._is_screen and now - self._told_at < TOLD_EVERY_SECONDS:
            return
        self._told_at = now
        line = describe(state)
        if self._is_screen:
            print("\r" + line.ljust(self._width), end="", flush=True)
            self._width = len(line)
        else:
            print(line, flush=True)


def describe(state: State) -> str:
    """One line about a download."""
    if state.stage == "asking":
        return tell("asking which source answers first …")
    amount = in_bytes(state.done_bytes)
    if state.total_bytes:
        share = min(1.0, state.done_bytes / state.total_bytes)
        bar = "#" * round(BAR_CHARACTERS * share)
        amount = (
            f"[{bar:-<{BAR_CHARACTERS}}] {share:4.0%}  {amount} / {in_bytes(state.total_bytes)}"
        )
    if state.stage == "checking":
        return f"{amount}  {tell('checking …')}"
    if state.stage == "waiting":
        waits = tell("the server asks for {seconds:.0f} s of patience", seconds=state.wait_seconds)
        return f"{amount}  {waits}"
    speed = f"  {in_bytes(state.bytes_per_second)}/s" if state.bytes_per_second else ""
    rest = state.rest_seconds
    left = f"  {int(rest) // 60}:{int(rest) % 60:02d}" if rest is not None and rest < 86400 else ""
    mirror = f" ({tell('mirror of {host}', host=state.mirror_of)})" if state.mirror_of else ""
    return f"{amount}{speed}{left}  {state.host}{mirror}"


_DEEDS = {
    "list": _list, "where": _where, "search": _search, "get": _get, "check": _check, "key": _key,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
