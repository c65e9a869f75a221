"""What one painting job says on its way: progress, previews, pictures with their recipes."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from torch import Tensor

from webui import PROGRAM_VERSION
from webui.checkpoints.load_pipeline import LoadedPipeline
from webui.model_process.extensions import JobExtensions
from webui.model_process.job_supplies import JobSupplies
from webui.params import ImageToImage, Painting, TextToImage
from webui.pictures import encode
from webui.pipelines.basic_preview import glimpse
from webui.pipelines.decode import decode
from webui.pipelines.preview import side_by_side
from webui.pipelines.recipe import ModelFacts, write_recipe
from webui.pipelines.supplies import Picture
from webui.preprocessors.recipe import unit_pairs
from webui.prompts.networks import cut_networks

if TYPE_CHECKING:
    from webui.model_process.painter import Painter
    from webui.model_process.script_models import InUse

PREVIEW_FORMATS = ("png", "jpeg", "webp")
PREVIEW_SECONDS = 0.25  # previews closer together than this are not seen
PREVIEW_PAUSE = 4.0  # times what the last preview took: they take a fifth of the time at most


class JobListener:
    """Turns what the pipeline says into messages for the web process."""

    def __init__(
        self,
        painter: Painter,
        message: dict[str, Any],
        params: TextToImage | ImageToImage,
        supplies: JobSupplies,
        facts: ModelFacts,
        facts_of_others: Mapping[str, ModelFacts],
    ) -> None:
        self._painter = painter
        self._job = message["job"]
        self._params = params
        self._supplies = supplies
        self._facts = facts
        self._facts_of_others = facts_of_others
        self._joined: JobExtensions | None = message.get("joined")
        self._wishes = message.get("preview", {})
        self._show = message.get("infotext", {})
        controlnets: dict[str, dict[str, Any]] = message.get("controlnets", {})
        self._titles = {name: facts["title"] for name, facts in controlnets.items()}
        self._batch = -1
        self._step = 0
        self._next_preview = 0.0

    def of(
        self, params: TextToImage | ImageToImage, more: Any, in_use: InUse | None = None
    ) -> JobListener:
        """The same for another request of this job.

        Args:
            more: Whose ``infotext`` adds to its recipes; None = as here.
            in_use: What it is painted with; None = with the job's own.
        """
        other = copy(self)
        other._params, other._joined = params, more or self._joined
        if in_use is not None:
            other._facts, other._facts_of_others = in_use.facts, in_use.others
        return other

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None:
        self._batch, self._step = batch, step
        self._send(
            {
                "type": "progress",
                "batch": batch,
                "batches": batches,
                "step": step,
                "steps": steps,
                "stage": stage,
            }
        )

    def preview(self, latents: Tensor) -> None:
        every = self._wishes.get("every_n_steps", 1)
        began = time.monotonic()
        if not self._wishes.get("enabled", True) or every <= 0 or self._step % every:
            return
        model = self._supplies.latest
        if model is None or began < self._next_preview:
            return
        if not self._wishes.get("grid", True):
            latents = latents[:1]
        if isinstance(model, LoadedPipeline):
            pictures = glimpse(model, latents, self._params.width, self._params.height)
        elif self._wishes.get("method") == "Full":
            pictures = decode(model, latents, self.warn)
        else:
            maker = self._painter.preview_maker(model, self._wishes, self.warn)
            began = time.monotonic()  # choosing it happens once
            pictures = maker.draw(latents)
        if not pictures:
            return
        image = side_by_side(pictures)
        image_format = self._wishes.get("format", "jpeg")
        if image_format not in PREVIEW_FORMATS:
            image_format = "jpeg"
        data = io.BytesIO()
        image.save(data, image_format, **({"quality": 80} if image_format != "png" else {}))
        self._send({"type": "preview", "image": data.getvalue(), "format": image_format})
        ended = time.monotonic()
        self._next_preview = ended + max(PREVIEW_SECONDS, PREVIEW_PAUSE * (ended - began))

    def finished(self, picture: Picture) -> None:
        params = self._params
        if picture.prompt is not None:
            own = params.of_picture(picture.index)
            params = own.model_copy(update={"prompt": picture.prompt})
        self.hand_over(picture, self.recipe(picture, params))

    def recipe(self, picture: Picture, params: TextToImage | ImageToImage) -> str:
        """A picture's infotext.

        Args:
            params: The request that painted it.
        """
        is_outpainted = isinstance(params, ImageToImage) and params.outpaint is not None
        return write_recipe(
            params,
            self._facts,
            index=picture.index,
            seed=picture.seed,
            subseed=picture.subseed,
            show=self._show,
            others=self._facts_of_others,
            grown_to=picture.image.size if is_outpainted or self._facts.has_own_sampler else None,
            networks=self.networks(params.of_picture(picture.index)),
            more=self._joined.infotext(picture.index) if self._joined else {},
        )

    def hand_over(self, picture: Picture, infotext: str) -> None:
        """Send a finished picture with its recipe."""
        params = self._params
        output = params.output
        data = encode(
            picture.image,
            format=output.format,
            infotext=infotext if output.embed_infotext else None,
            quality=output.quality,
            lossless=output.lossless,
        )
        self._send(
            {
                "type": "image",
                "index": picture.index,
                "batch": picture.index // params.batch_size,
                "image": data,
                "format": output.format,
                "infotext": infotext,
                "seed": picture.seed,
                "subseed": picture.subseed,
                "width": picture.image.width,
                "height": picture.image.height,
                "facts": {
                    "model_name": self._facts.name,
                    "model_hash": (self._facts.sha256 or "")[:10],
                    "pixels": hashlib.sha256(picture.image.tobytes()).hexdigest(),
                    "made_on": self._painter.facts() | {"program": PROGRAM_VERSION},
                },
            }
        )

    def networks(self, params: Painting) -> dict[str, str]:
        """What the prompts of a request, or of one of its pictures, have brought in so far, and its
        ControlNets; see ``write_recipe``."""
        named = {m.name for prompt in params.prompts for m in cut_networks(prompt)[1]}
        tells_loras, tells = (self._show.get(f"{kind}_hashes", True) for kind in ("lora", "ti"))
        return {
            "Lora hashes": self._supplies.loras.hashes(named) if tells_loras else "",
            "Lora layers": self._supplies.put_on.counts(named) if tells_loras else "",
            "Hypernet hashes": self._supplies.hypernetworks.hashes(named) if tells_loras else "",
            "TI hashes": self._supplies.embeddings.hashes() if tells else "",
            **unit_pairs(params.control, self._titles),
        }

    def warn(self, message: str) -> None:
        self._send({"type": "warning", "message": message})

    def should_stop(self) -> bool:
        return self._painter.asked.should_stop

    def takes_next_batch(self) -> bool:
        if self._painter.asked.interrupted:
            return False
        self._painter.asked.clear_skip()
        return True

    def _send(self, message: dict[str, Any]) -> None:
        self._painter.sender.send({**message, "job": self._job})
