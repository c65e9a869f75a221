"""An open checkpoint whose layers are read by their paths in its networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from webui.checkpoints.conversion import Source
from webui.checkpoints.families import FAMILIES
from webui.checkpoints.headers import Header
from webui.checkpoints.identify import identify_file
from webui.checkpoints.load_parts import empty_parts, part_files
from webui.checkpoints.specs import ArchSpec
from webui.checkpoints.weights import RenamedWeights, open_weights
from webui.errors import CheckpointError
from webui.networks.lora.matching import LayerTable, text_layers, unet_layers

UNET = "unet"


@dataclass(frozen=True)
class OpenModel:
    """A checkpoint, file or diffusers folder.

    Attributes:
        networks: Without weights, by part: ``unet``, ``text_encoder`` …; no VAE.
        files: Part → header of its file, and flat name → where it is in it.
    """

    path: Path
    spec: ArchSpec
    networks: Mapping[str, nn.Module]
    files: Mapping[str, tuple[Header, Mapping[str, Source]]]
    _weights: Mapping[str, RenamedWeights]

    def lora_number(self, part: str) -> int:
        """Which text encoder a part is in LoRA files."""
        return {t.folder: t.lora_number for t in FAMILIES[self.spec.family].texts}[part]

    def tables(self) -> dict[str, LayerTable]:
        """The layers that LoRAs may change, by part."""
        return {
            part: unet_layers(network)
            if part == UNET
            else text_layers(network, self.lora_number(part))
            for part, network in self.networks.items()
        }

    def source(self, part: str, path: str, leaf: str = "weight") -> Source:
        """Where a tensor of a layer is stored.

        Raises:
            CheckpointError: The file does not hold it.
        """
        try:
            return self.files[part][1][_flat(path, leaf)]
        except KeyError as err:
            raise CheckpointError(
                f"{self.path.name} is incomplete: {path}.{leaf} is missing.",
                "Choose a complete checkpoint.",
                path=str(self.path),
            ) from err

    def read(self, part: str, path: str) -> Tensor:
        """The weight of a layer, as stored; valid while the model is open.

        Raises:
            CheckpointError: The file does not hold it.
        """
        self.source(part, path)
        return self._weights[part].read(_flat(path, "weight"))


def _flat(path: str, leaf: str) -> str:
    """Stored names leave out the ``text_model.`` that some modules have in front."""
    return f"{path.removeprefix('text_model.')}.{leaf}"


@contextmanager
def open_model(path: Path) -> Iterator[OpenModel]:
    """Open a checkpoint.

    Raises:
        CheckpointError: It cannot be read, or its family is not known.
    """
    spec = identify_file(path)
    networks = {part: network for part, network in empty_parts(spec).items() if part != "vae"}
    files = {part: found for part, found in part_files(path, spec).items() if part in networks}
    with ExitStack() as opened:
        by_path = {
            header.path: opened.enter_context(open_weights(header.path))
            for header, _ in files.values()
        }
        weights = {
            part: RenamedWeights(by_path[header.path], sources)
            for part, (header, sources) in files.items()
        }
        yield OpenModel(path, spec, networks, files, weights)
