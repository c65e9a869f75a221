"""ComfyUI's graphs: from the picture that was saved back to sampler, prompts and files.

A node is ``{"class_type": …, "inputs": {name: value or [node id, output number]}}``. A page's own
``workflow`` has the same in lists of widgets; its plain nodes are read where the graph is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from webui.recipes.elsewhere import comfy_sampler, comfy_schedule
from webui.recipes.recipe import Draft, Recipe, is_said, mapping, plain_number, stem

MOST_NODES = 5000
_PASSES_ON = ("Reroute", "PreviewImage", "SaveImage", "VAEDecode", "VAEDecodeTiled", "Note")
_SAMPLERS = ("sampler_name", "steps", "cfg")
_TEXT_INPUTS = ("text", "text_g", "text_l", "string", "value", "prompt", "positive")
_WIDGETS: dict[str, tuple[str | None, ...]] = {
    "KSampler": ("seed", None, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", None, "steps", "cfg", "sampler_name", "scheduler",
        "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "CLIPTextEncode": ("text",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "VAELoader": ("vae_name",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "UpscaleModelLoader": ("model_name",),
    "LoadImage": ("image",),
}  # fmt: skip
"""Values of a workflow's node, in their order; None for the button beside a seed."""


@dataclass(frozen=True)
class Node:
    """One box of a graph."""

    id: str
    kind: str
    inputs: dict[str, Any]


@dataclass
class Graph:
    """All boxes by id; which of them went into the recipe is noted."""

    nodes: dict[str, Node]
    used: set[str] = field(default_factory=set[str])

    def take(self, node: Node) -> Node:
        """The node, as one that is in the recipe."""
        self.used.add(node.id)
        return node

    def at(self, link: Any) -> Node | None:
        """The node a link leads to; reroutes are followed."""
        for _ in range(MOST_NODES):
            if not isinstance(link, list) or not link:
                return None
            node = self.nodes.get(str(link[0]))
            if node is None or node.kind != "Reroute":
                return node
            self.take(node)
            link = next(iter(node.inputs.values()), None)
        return None

    def value(self, node: Node, name: str) -> Any:
        """An input's value; one that comes from another node is looked for there."""
        value = node.inputs.get(name)
        for _ in range(20):
            source = self.at(value)
            if source is None:
                return value if not isinstance(value, list) else None
            self.take(source)
            names = [name, *_TEXT_INPUTS, "seed", "int", "float", "number", "Number", "Value"]
            value = next((source.inputs[n] for n in names if n in source.inputs), None)
        return None

    def up(self, link: Any, follow: Callable[[Node], Any]) -> Iterator[Node]:
        """The nodes of a chain, nearest first.

        Args:
            follow: The link a node goes on by.
        """
        seen: set[str] = set()
        while (node := self.at(link)) and node.id not in seen:
            seen.add(node.id)
            yield node
            link = follow(node)


def is_graph(value: Any) -> bool:
    """True for ComfyUI's ``prompt``."""
    nodes = list(mapping(value).values())
    return bool(nodes) and any("class_type" in mapping(node) for node in nodes)


def is_workflow(value: Any) -> bool:
    """True for what ComfyUI's page saves."""
    found = mapping(value)
    return isinstance(found.get("nodes"), list) and isinstance(found.get("links"), list)


def read_graph(value: Any) -> Recipe | None:
    """The recipe of the picture that a graph saves last; None when nothing in it samples."""
    found: dict[str, Node] = {}
    for key, node in list(mapping(value).items())[:MOST_NODES]:
        box = mapping(node)
        if isinstance(box.get("class_type"), str):
            found[key] = Node(key, box["class_type"], mapping(box.get("inputs")))
    graph = Graph(found)
    sampler = _last_sampler(graph)
    return _Reading(graph, Draft()).read(sampler) if sampler else None


def read_workflow(value: Any) -> Recipe | None:
    """The same from a saved page: plain nodes only, their values stand in lists."""
    saved = mapping(value)
    links: dict[Any, list[Any]] = {}
    for link in saved["links"][:MOST_NODES]:
        if isinstance(link, list) and len(link) >= 5:
            links[link[0]] = [str(link[1]), link[2]]
    nodes: dict[str, Any] = {}
    for node in map(mapping, saved["nodes"][:MOST_NODES]):
        if node.get("mode") in (2, 4) or not isinstance(node.get("type"), str):  # switched off
            continue
        inputs: dict[str, Any] = {}
        widgets = node.get("widgets_values")
        if isinstance(widgets, list):
            names = _WIDGETS.get(node["type"], ())
            inputs = {name: v for name, v in zip(names, widgets, strict=False) if name}
        for slot in map(mapping, node.get("inputs") or []):
            if slot.get("link") in links:
                inputs[str(slot.get("name"))] = links[slot["link"]]
        nodes[str(node.get("id"))] = {"class_type": node["type"], "inputs": inputs}
    return read_graph(nodes)


def _is_sampler(node: Node) -> bool:
    return all(name in node.inputs for name in _SAMPLERS)


def _last_sampler(graph: Graph) -> Node | None:
    """The one whose picture is saved; else one that no other goes on from."""
    for node in graph.nodes.values():
        if node.kind in ("SaveImage", "PreviewImage") or "filename_prefix" in node.inputs:
            found = next(filter(_is_sampler, _picture_chain(graph, node)), None)
            if found:
                return found
    samplers = [node for node in graph.nodes.values() if _is_sampler(node)]
    earlier = {
        before.id
        for node in samplers
        for before in graph.up(node.inputs.get("latent_image"), _picture_link)
    }
    return next((node for node in samplers if node.id not in earlier), None)


def _picture_chain(graph: Graph, node: Node) -> Iterator[Node]:
    return graph.up(_picture_link(node), _picture_link)


def _picture_link(node: Node) -> Any:
    """What a picture or a latent picture comes from."""
    names = ("images", "image", "samples", "latent_image", "latent", "pixels", "samples_to")
    return next((node.inputs[n] for n in names if isinstance(node.inputs.get(n), list)), None)


@dataclass
class _Reading:
    """Writes one sampler, and the one before it where there are two passes."""

    graph: Graph
    draft: Draft

    def read(self, last: Node) -> Recipe:
        graph, draft = self.graph, self.draft
        chain = list(graph.up(last.inputs.get("latent_image"), _picture_link))
        first = next(filter(_is_sampler, chain), None)
        base = first or last
        draft.prompt = self._text(base.inputs.get("positive"))
        draft.negative_prompt = self._text(base.inputs.get("negative"))
        self._sampler(base)
        beginning = graph.up(base.inputs.get("latent_image"), _picture_link) if first else chain
        self._beginning(list(beginning), base)
        if first:
            between = chain[: chain.index(first)]
            if any(_is_upscaling(step) for step in between):
                self._second_pass(last, between)
            else:
                draft.leave_out("second sampler", f"{last.kind}, node {last.id}")
                graph.take(last)
        self._model(base)
        self._vae(last)
        draft.put("RNG", "CPU")
        for node in graph.nodes.values():
            if node.id not in graph.used and node.kind not in _PASSES_ON:
                draft.left_out.append(f"node: {node.kind}")
        return draft.finish("ComfyUI")

    def _sampler(self, node: Node) -> None:
        value = self.graph.value
        self.graph.take(node)
        seed = "seed" if "seed" in node.inputs else "noise_seed"
        self.draft.put("Steps", value(node, "steps"))
        sampler, schedule = self._sampler_names(node)
        self.draft.put("Sampler", sampler)
        self.draft.put("Schedule type", schedule)
        self.draft.put("CFG scale", plain_number(value(node, "cfg")))
        found = value(node, seed)
        self.draft.pairs["Seed"] = found if isinstance(found, int) else -1
        for name in ("start_at_step", "end_at_step"):
            if value(node, name) not in (None, 0, 10000):
                self.draft.leave_out(name, value(node, name))

    def _sampler_names(self, node: Node) -> tuple[str | None, str | None]:
        name, schedule = str(self.graph.value(node, "sampler_name")), node.inputs.get("scheduler")
        sampler = comfy_sampler(name)
        known = comfy_schedule(str(schedule)) if schedule else None
        if sampler is None:
            self.draft.leave_out("sampler", name)
        if schedule and known is None:
            self.draft.leave_out("scheduler", str(schedule))
        return sampler, known

    def _beginning(self, chain: list[Node], base: Node) -> None:
        """An empty latent picture has a size; any other beginning is a picture."""
        for node in chain:
            value = self.graph.value
            if "batch_size" in node.inputs or node.kind.startswith("Empty"):
                self.graph.take(node)
                self.draft.put_size(value(node, "width"), value(node, "height"))
                return
            if "VAEEncode" in node.kind or node.kind == "LoadImage":
                self.draft.put("Denoising strength", plain_number(value(base, "denoise")))
            if node.kind == "LoadImage":
                self.graph.take(node)
                self.draft.leave_out("picture it began with", str(node.inputs.get("image")))
                return
            if "VAEEncode" in node.kind:
                self.graph.take(node)

    def _second_pass(self, node: Node, between: list[Node]) -> None:
        draft, value = self.draft, self.graph.value
        self.graph.take(node)
        draft.put("Denoising strength", plain_number(value(node, "denoise")))
        draft.put("Hires steps", value(node, "steps"))
        sampler, _ = self._sampler_names(node)
        if sampler != draft.pairs.get("Sampler"):
            draft.put("Hires sampler", sampler)
        for step in between:
            self.graph.take(step)
            if "scale_by" in step.inputs:
                draft.put("Hires upscale", plain_number(value(step, "scale_by")))
            elif "upscale_method" in step.inputs and "width" in step.inputs:
                width, height = value(step, "width"), value(step, "height")
                draft.put("Hires resize", f"{width}x{height}")
            method = value(step, "upscale_method")
            if "Latent" in step.kind and isinstance(method, str):
                draft.put("Hires upscaler", _latent_upscaler(method))
            loader = self.graph.at(step.inputs.get("upscale_model"))
            if loader:
                name = value(self.graph.take(loader), "model_name")
                draft.put("Hires upscaler", stem(str(name)))

    def _model(self, sampler: Node) -> None:
        """The checkpoint, and the LoRAs between it and the sampler, the nearest last."""
        loras: list[tuple[Any, Any, Any]] = []
        for node in self.graph.up(sampler.inputs.get("model"), _model_link):
            value = self.graph.value
            if "lora_name" in node.inputs:
                weight = value(node, "strength_model")
                clip = node.inputs.get("strength_clip", 0.0)
                loras.append((value(node, "lora_name"), weight, clip))
                self.graph.take(node)
            name = value(node, "ckpt_name") or value(node, "unet_name")
            if isinstance(name, str):
                self.graph.take(node)
                self.draft.put("Model", stem(name))
        for name, weight, clip in reversed(loras):
            self.draft.add_lora(name, weight, clip)

    def _vae(self, sampler: Node) -> None:
        decoders = [n for n in self.graph.nodes.values() if n.kind.startswith("VAEDecode")]
        for node in decoders:
            if self.graph.at(node.inputs.get("samples")) is sampler:
                loader = self.graph.at(node.inputs.get("vae"))
                if loader and "vae_name" in loader.inputs:
                    name = self.graph.value(self.graph.take(loader), "vae_name")
                    self.draft.put("VAE", str(name).replace("\\", "/").rpartition("/")[2])

    def _text(self, link: Any, depth: int = 0) -> str:
        """The words that a conditioning comes from."""
        node = self.graph.at(link)
        if node is None or depth > 50:
            return ""
        self.graph.take(node)
        inputs = node.inputs
        if "text_g" in inputs:
            parts = [self.graph.value(node, "text_g"), self.graph.value(node, "text_l")]
            return _plain(" ".join(dict.fromkeys(p for p in parts if isinstance(p, str))))
        text = self.graph.value(node, "text")
        if isinstance(text, str):
            self._clip(inputs.get("clip"))
            return _plain(text)
        joined = {"ConditioningCombine": " AND ", "ConditioningConcat": " BREAK "}.get(node.kind)
        links = [inputs[n] for n in inputs if n.startswith("conditioning")] or [
            inputs[n] for n in ("positive", "base_positive") if n in inputs
        ]
        if joined is None:
            self._leave_out_inputs(node)
            links = links[:1]
        texts = [self._text(inner, depth + 1) for inner in links]
        return (joined or "").join(filter(None, texts))

    def _leave_out_inputs(self, node: Node) -> None:
        given = {k: v for k, v in node.inputs.items() if not isinstance(v, list) and is_said(v)}
        told = ", ".join(f"{key} {value}" for key, value in given.items())
        self.draft.leave_out(node.kind, told or "yes")

    def _clip(self, link: Any) -> None:
        for node in self.graph.up(link, lambda found: found.inputs.get("clip")):
            layer = self.graph.value(node, "stop_at_clip_layer")
            if isinstance(layer, int):
                self.graph.take(node)
                self.draft.put("Clip skip", -layer if layer < -1 else None)


def _is_upscaling(node: Node) -> bool:
    return bool({"scale_by", "upscale_method", "upscale_model"} & set(node.inputs))


def _model_link(node: Node) -> Any:
    return next((v for k, v in node.inputs.items() if k.startswith("model")), None)


def _plain(text: str) -> str:
    """ComfyUI's square brackets are only brackets; a name behind ``embedding:`` is the name."""
    text = text.replace("\\[", "[").replace("\\]", "]").replace("[", "\\[").replace("]", "\\]")
    return text.replace("embedding:", "").strip()


def _latent_upscaler(method: str) -> str:
    kinds: Mapping[str, str] = {
        "nearest-exact": "Latent (nearest-exact)",
        "bicubic": "Latent (bicubic)",
        "bislerp": "Latent (bicubic)",
    }
    return kinds.get(method, "Latent")
