"""Kinds of networks that prompts can name: ``<kind:name:weight>``."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from webui.extensions.a1111.host import current

_TAG = re.compile(r"<(\w+):([^>]+)>")


class ExtraNetworkParams:
    """What stands in a tag behind the kind."""

    def __init__(self, items: list[str] | None = None) -> None:
        self.items = items or []
        self.positional: list[str] = []
        self.named: dict[str, str] = {}
        for item in self.items:
            name, equals, value = item.partition("=")
            if equals and name.strip().isidentifier():
                self.named[name] = value
            else:
                self.positional.append(item)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExtraNetworkParams) and self.items == other.items

    __hash__ = None  # type: ignore[assignment]


class ExtraNetwork:
    """A kind of network."""

    owner = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def activate(self, p: Any, params_list: list[ExtraNetworkParams]) -> None:
        """Called for every batch; an empty list switches all off."""

    def deactivate(self, p: Any) -> None:
        """Called when the job is done."""


def register_extra_network(extra_network: ExtraNetwork) -> None:
    """Make a kind known. What prompts say of lora, lyco and hypernet acts besides."""
    register_extra_network_alias(extra_network, extra_network.name)


def register_extra_network_alias(extra_network: ExtraNetwork, alias: str) -> None:
    """Another name of a kind."""
    extra_network.owner = current().caller()[0]
    current().extra_networks[alias] = extra_network


def parse_prompt(prompt: str) -> tuple[str, dict[str, list[ExtraNetworkParams]]]:
    """A prompt without its tags, and what they said, by kind."""
    found: dict[str, list[ExtraNetworkParams]] = defaultdict(list)

    def cut(tag: re.Match[str]) -> str:
        found[tag[1]].append(ExtraNetworkParams(tag[2].split(":")))
        return ""

    return _TAG.sub(cut, prompt), found


def parse_prompts(prompts: list[str]) -> tuple[list[str], dict[str, list[ExtraNetworkParams]]]:
    """As ``parse_prompt``; the tags of the first prompt count."""
    read = [parse_prompt(prompt) for prompt in prompts]
    return [text for text, _ in read], read[0][1] if read else {}


def activate(p: Any, extra_network_data: dict[str, list[ExtraNetworkParams]]) -> None:
    """Tell all kinds of extensions what a batch's prompts say, under all their names."""
    host = current()
    said: dict[Any, list[ExtraNetworkParams]] = {}
    for name, network in host.extra_networks.items():
        said.setdefault(network, []).extend(extra_network_data.get(name, ()))
    for network, listed in said.items():
        host.fence.call(network.owner, "activate", network.activate, p, listed)


def deactivate(p: Any, extra_network_data: dict[str, list[ExtraNetworkParams]]) -> None:
    """Tell all kinds of extensions that the job is done."""
    host = current()
    for network in dict.fromkeys(host.extra_networks.values()):
        host.fence.call(network.owner, "deactivate", network.deactivate, p)


def __getattr__(name: str) -> Any:
    if name == "extra_network_registry":
        return current().extra_networks
    raise AttributeError(f"module 'modules.extra_networks' has no attribute {name!r}")
