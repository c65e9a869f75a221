"""Can this picture be painted again, exactly? And was it?

A picture's recipe names its models by their hashes; beside it the library keeps what painted it
(``made_on``) and a hash of its pixels. The verdict compares the first two with this machine as it
is now; equal pixel hashes of two pictures are the proof.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from webui import PROGRAM_VERSION
from webui.checkpoints.catalog import Catalog, Record
from webui.errors import CheckpointError, ParamsError
from webui.infotext import Infotext, parse_infotext
from webui.library.library import Library
from webui.preprocessors.recipe import read_units
from webui.prompts.networks import HYPERNET_TYPES, LORA_TYPES
from webui.services.controlnets import ControlNets
from webui.services.gallery.made_with import EXTENSIONS, FILES, MadeWith, names_in
from webui.services.lora_files import network_names
from webui.services.named_weights import NamedWeights
from webui.services.resolve import known_sampler

EXACT, CLOSE, CANNOT = "exact", "close", "cannot"
_MADE_ON = ("device", "dtype", "torch")
"""Rounding follows them; the number of threads does not matter."""
_TOLD = (*_MADE_ON, "device_name")
_NO_VAE = ("None", "Automatic")
_NAMED_HASH = re.compile(r"\s*([^:,]+):\s*([0-9a-f]+)")
_TITLE = re.compile(r"(?P<name>.*?)(?: \[(?P<hash>[0-9a-f]{10})\])?")
_OTHER_CHECKPOINTS = ("Refiner", "Hires checkpoint")
_AS_BEFORE = ("", "None", "Use same checkpoint", "Use same sampler")


@dataclass(frozen=True)
class Reason:
    """Why it is not exact.

    Attributes:
        key: ``lacks_…`` of a ``picture`` it begins with, ``checkpoint``, ``vae``, ``lora``,
            ``hypernetwork``, ``controlnet``, ``upscaler``, ``face`` restorer or ``sampler``;
            ``other_…`` of a ``vae``, ``lora``, ``hypernetwork``, ``embedding``, ``controlnet``,
            ``file`` or ``extension``, of ``device``, ``dtype``, ``torch`` or ``program``;
            ``unnamed_checkpoint``, ``unhashed``, ``unrecorded`` or ``gpu_noise``.
        name: The file, or what it was made on.
        here: What stands for it on this machine; empty where nothing does.
    """

    key: str
    name: str
    here: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a recipe gives the same picture here.

    Attributes:
        level: ``exact``: every part is the same. ``close``: some part differs or is not known.
            ``cannot``: a model is missing.
        reasons: None for ``exact``; those for ``cannot`` first.
    """

    level: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Replays:
    """Judges the pictures of a studio.

    Attributes:
        here: What the model process says of itself; empty until it has started.
    """

    library: Library
    made_with: MadeWith
    here: Callable[[], Mapping[str, Any]]

    def of(
        self, infotext: str, image: int | None, *, lacks_picture: bool = False
    ) -> tuple[Verdict | None, list[int]]:
        """The verdict on a picture, and the proofs.

        Args:
            image: The picture's number in the library; None for one that was not painted here. A
                record that is gone is as none.
            lacks_picture: It was made from a picture that is not known here.
        Returns:
            None for a picture whose recipe paints nothing; and the numbers in the library of
            pictures that are the same, pixel for pixel.
        """
        read = parse_infotext(infotext)
        saved = self.library.find(image) if image is not None else None
        same = [picture.id for picture in self.library.same_pixels(saved)] if saved else []
        if "Steps" not in read.params:
            return None, same
        here = {key: value for key, value in self.here().items() if key in _TOLD}
        made_on = saved.facts.get("made_on", {}) if saved else {}
        found = judge(
            read, made_on, self.made_with.catalog, here,
            weights=self.made_with.weights, extensions=self.made_with.contents(None),
        )  # fmt: skip
        if lacks_picture:
            found = Verdict(CANNOT, (Reason("lacks_picture", ""), *found.reasons))
        return found, same


def judge(
    infotext: Infotext,
    made_on: Mapping[str, Any],
    catalog: Catalog,
    here: Mapping[str, Any],
    *,
    weights: NamedWeights | None = None,
    extensions: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    """Compare a recipe with this machine.

    Args:
        made_on: What painted the picture: device, dtype, torch, program, files and extensions;
            empty when not recorded.
        here: The same of the model process; empty until it has started, and then not compared.
        weights: Upscalers and face restorers; None = those of the catalog.
        extensions: What is in those that are at work, by name.
    """
    params = infotext.params
    missing, others = [], []
    for reason in (
        *_checkpoints(params, catalog),
        *_samplers(params),
        *_vae(params, catalog),
        *_networks(infotext, catalog),
        *_embeddings(params, catalog),
        *_controlnets(params, catalog),
        *_files(params, made_on, weights or NamedWeights(catalog)),
        *_extensions(made_on, extensions),
        *_machine(params, made_on, here),
    ):
        (missing if reason.key.startswith("lacks_") else others).append(reason)
    level = CANNOT if missing else CLOSE if others else EXACT
    return Verdict(level, (*missing, *others))


def _checkpoints(params: Mapping[str, str], catalog: Catalog) -> Iterator[Reason]:
    name, wanted = params.get("Model", ""), params.get("Model hash", "")
    if name or wanted:
        yield from _checkpoint(name, wanted, catalog)
    else:
        yield Reason("unnamed_checkpoint", "")
    for key in _OTHER_CHECKPOINTS:
        title = _TITLE.fullmatch(params.get(key, ""))
        if title and title["name"] not in _AS_BEFORE:
            yield from _checkpoint(title["name"], title["hash"] or "", catalog)


def _checkpoint(name: str, wanted: str, catalog: Catalog) -> Iterator[Reason]:
    try:
        catalog.find_checkpoint(wanted or name)
    except CheckpointError:
        yield Reason("lacks_checkpoint", f"{name} [{wanted}]" if wanted else name)
        return
    if not wanted:
        yield Reason("unhashed", name)


def _samplers(params: Mapping[str, str]) -> Iterator[Reason]:
    """Those of extensions come and go."""
    for key in ("Sampler", "Hires sampler"):
        name = params.get(key, "")
        try:
            known_sampler(None if name in _AS_BEFORE else name, None)
        except ParamsError:
            yield Reason("lacks_sampler", name)


def _vae(params: Mapping[str, str], catalog: Catalog) -> Iterator[Reason]:
    name, wanted = params.get("VAE", ""), params.get("VAE hash", "")
    if not name or name in _NO_VAE:
        return
    try:
        yield from _same_file("vae", name, wanted, catalog.find_vae(name))
    except CheckpointError:
        yield Reason("lacks_vae", name)


def _networks(infotext: Infotext, catalog: Catalog) -> Iterator[Reason]:
    """LoRAs and hypernetworks of both passes' prompts."""
    params = infotext.params
    hires = params.get("Hires prompt", ""), params.get("Hires negative prompt", "")
    prompts = (infotext.prompt, infotext.negative_prompt, *hires)
    find_hypernetwork = partial(catalog.find, "hypernetwork")
    for kind, types, hashes, find in (
        ("lora", LORA_TYPES, "Lora hashes", catalog.find_lora),
        ("hypernetwork", HYPERNET_TYPES, "Hypernet hashes", find_hypernetwork),
    ):
        wanted = _named_hashes(params.get(hashes, ""))
        for name in network_names(prompts, types):
            try:
                yield from _same_file(kind, name, wanted.get(name, ""), find(name))
            except CheckpointError:
                yield Reason(f"lacks_{kind}", name)


def _embeddings(params: Mapping[str, str], catalog: Catalog) -> Iterator[Reason]:
    """Without its embedding a word is a word: the picture is another one, but there is one."""
    for name, wanted in _named_hashes(params.get("TI hashes", "")).items():
        found = next((record for record in catalog.embeddings() if record.stem == name), None)
        if found is None:
            yield Reason("other_embedding", name)
        else:
            yield from _same_file("embedding", name, wanted, found)


def _controlnets(params: Mapping[str, str], catalog: Catalog) -> Iterator[Reason]:
    controlnets = ControlNets(catalog)
    for told in read_units(params).values():
        name = str(told["model"])
        found, is_same = controlnets.named_so(name)
        if found is None:
            yield Reason("lacks_controlnet", name)
        elif "[" not in name:
            yield Reason("unhashed", name)
        elif not is_same:
            yield Reason("other_controlnet", name, controlnets.title(found))


def _files(
    params: Mapping[str, str], made_on: Mapping[str, Any], weights: NamedWeights
) -> Iterator[Reason]:
    was: Mapping[str, str] = made_on.get(FILES, {})
    for kind, name in dict.fromkeys(names_in(params)):
        try:
            record = weights.file_of(kind, name)
        except CheckpointError:
            yield Reason(f"lacks_{kind}", name)
            continue
        if record is not None:
            yield from _same_file("file", name, was.get(name, ""), record)


def _extensions(made_on: Mapping[str, Any], here: Mapping[str, str]) -> Iterator[Reason]:
    """What acted on the picture; without it a picture comes of it all the same."""
    was: Mapping[str, str] = made_on.get(EXTENSIONS, {})
    for name, content in was.items():
        if here.get(name) != content:
            yield Reason("other_extension", name)


def _same_file(kind: str, name: str, wanted: str, record: Record) -> Iterator[Reason]:
    """A hash that is not known yet, there or here, is not a difference; it is not a proof."""
    own = record.sha256 or ""
    if not wanted or not own:
        yield Reason("unhashed", name)
    elif not own.startswith(wanted):
        yield Reason(f"other_{kind}", name, own[: len(wanted)])


def _machine(
    params: Mapping[str, str], made_on: Mapping[str, Any], here: Mapping[str, Any]
) -> Iterator[Reason]:
    if not made_on:
        yield Reason("unrecorded", params.get("Version", ""))
        return
    now = {**here, "program": PROGRAM_VERSION}
    for key in (*_MADE_ON, "program"):
        was, is_now = str(made_on.get(key, "")), str(now.get(key, ""))
        if is_now and was != is_now:
            yield Reason(f"other_{key}", was, is_now)
    is_elsewhere = here and made_on.get("device_name") != here.get("device_name")
    if params.get("RNG", "GPU") == "GPU" and is_elsewhere:
        yield Reason("gpu_noise", str(made_on.get("device_name", "")), str(here["device_name"]))


def _named_hashes(text: str) -> dict[str, str]:
    """``ink: 9f8e7d6c5b4a, wash: 0a…`` by name."""
    return {name.strip(): digest for name, digest in _NAMED_HASH.findall(text)}
