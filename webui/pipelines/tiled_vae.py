"""Encode and decode large pictures in strips, with the result of the whole at once.

Cutting a picture into tiles and blending them changes what a VAE makes of it: its GroupNorms take
the mean and spread of the whole map, its attention looks everywhere. Here the network is walked
layer by layer instead. A map is a thing that can be asked for some of its rows; a layer is a map
over another map that asks for as many rows around as its convolution reaches. Nothing is
calculated before rows are asked for, and only few maps are kept:

* each residual block's result, written over its input where the shapes allow;
* the map between a block's two convolutions, unless it is large, when it is calculated twice;
* never a map that was enlarged or only normalised.

The statistics of a GroupNorm are summed up, in double precision, while the rows of its input pass
by. Attention keeps the keys and values of the whole map and takes its queries strip by strip.

Everything runs through the modules themselves, so packed weights, half precision and
wrap-around padding (``networks/tiling.py``) act as they do in the whole.

Measured with a full-size SD 1.x VAE of random weights, float32: see ``benchmarks/README.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from webui.networks.tiles import Span, pieces

STRIP_BYTES: Final = 64 << 20
"""Rows are taken in strips whose widest map is about this large."""
SPARE_BYTES: Final = 1 << 30
"""A map that is only needed for a moment is kept if it is no larger, else calculated twice."""
FEWEST_ROWS: Final = 8

Rows = Callable[[Tensor], Tensor]


class Map(ABC):
    """A (1, C, height, width) map that is asked for its rows.

    Attributes:
        is_ring: Its upper edge meets its lower one; rows beyond the ends can then be asked for.
        fewest_rows: Strips are not made smaller than this.
    """

    fewest_rows = FEWEST_ROWS

    def __init__(self, channels: int, height: int, width: int, is_ring: bool) -> None:
        self.channels = channels
        self.height = height
        self.width = width
        self.is_ring = is_ring

    @abstractmethod
    def read(self, rows: Span) -> Tensor:
        """(1, C, rows, width); not to be changed. Outside 0 … height only on a ring."""

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """Bytes that one row needs in the widest map calculated on the way to it."""


class Kept(Map):
    """A map in memory.

    Args:
        values: (1, C, height, width).
        device: Where rows are wanted; the values may be kept elsewhere.
    """

    def __init__(self, values: Tensor, device: torch.device, is_ring: bool = False) -> None:
        super().__init__(values.shape[1], values.shape[2], values.shape[3], is_ring)
        self.values = values
        self._device = device
        self._reach = 0
        self._saved: dict[int, Tensor] = {}
        """Rows as they were before they were written over, by number."""

    @property
    def row_bytes(self) -> int:
        """See ``Map``."""
        return self.channels * self.width * self.values.element_size()

    def read(self, rows: Span) -> Tensor:
        """See ``Map``."""
        parts = list(self._parts(rows))
        together = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        return together.to(self._device)

    def _parts(self, rows: Span) -> Iterator[Tensor]:
        """The rows as they were, in as few pieces as possible."""
        begin = None
        for number in range(rows.start, rows.stop):
            row = number % self.height
            is_apart = row in self._saved or (begin is not None and row == 0)
            if begin is not None and is_apart:
                yield self.values[:, :, begin : (number - 1) % self.height + 1]
                begin = None
            if row in self._saved:
                yield self._saved[row]
            elif begin is None:
                begin = row
        if begin is not None:
            yield self.values[:, :, begin : (rows.stop - 1) % self.height + 1]

    def begin_overwriting(self, reach: int) -> None:
        """New rows will be written while old ones up to ``reach`` above are still read."""
        self._saved = {}
        self._reach = reach
        if self.is_ring:  # the last strip looks over the lower edge at the first rows
            self._save(range(min(reach, self.height)))

    def overwrite(self, rows: Span, values: Tensor) -> None:
        """Replace rows; the old ones that the next strip still looks at are saved."""
        first = set(range(self._reach)) if self.is_ring else set()
        self._saved = {r: v for r, v in self._saved.items() if r in first}
        self._save(range(max(0, rows.stop - self._reach), rows.stop))
        self.write(rows, values)

    def end_overwriting(self) -> None:
        """All rows are new."""
        self._saved = {}

    def write(self, rows: Span, values: Tensor) -> None:
        """Fill in rows."""
        self.values[:, :, rows.start : rows.stop] = values

    def _save(self, numbers: range) -> None:
        for number in numbers:
            if number not in self._saved:
                self._saved[number] = self.values[:, :, number : number + 1].clone()


class Layer(Map):
    """What a layer makes of maps of the same height.

    Args:
        sources: Maps it reads.
        run: From their rows to its own.
        channels: Of the result.
        reach: Rows it looks at above and below, counted in the sources; 0 or 1. With 1 its
            convolution pads by itself what lies outside of what it is given.
        scale: Its rows for each of the sources'.
    """

    def __init__(
        self,
        sources: list[Map],
        run: Callable[..., Tensor],
        channels: int,
        reach: int = 0,
        scale: int = 1,
        is_ring: bool = False,
    ) -> None:
        source = sources[0]
        super().__init__(channels, source.height * scale, source.width * scale, is_ring)
        self._sources = sources
        self._run = run
        self._reach = reach
        self._scale = scale
        self.fewest_rows = FEWEST_ROWS if reach else 1
        self.at_least_row_bytes = self.channels * self.width * 4

    @property
    def row_bytes(self) -> int:
        """See ``Map``."""
        source = max(s.row_bytes for s in self._sources) // self._scale
        return max(source, self.at_least_row_bytes)

    def read(self, rows: Span) -> Tensor:
        """See ``Map``."""
        wanted = Span(rows.start // self._scale, -(-rows.stop // self._scale))
        start, stop = wanted.start - self._reach, wanted.stop + self._reach
        if not self.is_ring:
            start, stop = max(0, start), min(stop, self._sources[0].height)
        made = self._run(*(source.read(Span(start, stop)) for source in self._sources))
        above = rows.start - start * self._scale
        return made[:, :, above : above + rows.length]


class Halved(Map):
    """What a stride-2 convolution makes of a map: it pads zeros below and at the right, looks at
    rows 2r … 2r+2, and is never wrapped around."""

    def __init__(self, source: Map, run: Rows, channels: int) -> None:
        super().__init__(channels, source.height // 2, source.width // 2, is_ring=False)
        self._source = source
        self._run = run

    @property
    def row_bytes(self) -> int:
        """See ``Map``."""
        return self._source.row_bytes * 2

    def read(self, rows: Span) -> Tensor:
        """See ``Map``."""
        stop = min(2 * rows.stop + 2, self._source.height)
        return self._run(self._source.read(Span(2 * rows.start, stop)))[:, :, : rows.length]


class Moments:
    """Mean and spread of every channel of a map whose rows come one after another.

    Source:
        Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing
        sample variances".
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None  # sum of squared distances from the mean

    def add(self, values: Tensor) -> None:
        """Take in (1, C, h, w)."""
        if values.is_meta:  # only planned
            return
        variance, mean = torch.var_mean(values.float(), dim=(0, 2, 3), correction=0)
        count = values.shape[2] * values.shape[3]
        mean, squares = mean.double().cpu(), variance.double().cpu() * count  # (C,)
        if self._mean is None or self._squares is None:
            self._count, self._mean, self._squares = count, mean, squares
            return
        together = self._count + count
        apart = mean - self._mean
        self._squares += squares + apart**2 * (self._count * count / together)
        self._mean += apart * (count / together)
        self._count = together

    def normaliser(self, norm: nn.GroupNorm, device: torch.device) -> Rows:
        """What a GroupNorm does to rows of a map with these moments."""
        if self._mean is None or self._squares is None:
            return lambda rows: rows
        means = self._mean.view(norm.num_groups, -1)  # (groups, channels of a group)
        variances = self._squares.view(norm.num_groups, -1) / self._count
        mean = means.mean(dim=1, keepdim=True)
        variance = (variances + (means - mean) ** 2).mean(dim=1, keepdim=True)
        scale = (variance + norm.eps).rsqrt().expand_as(means).flatten()
        shift = -mean.expand_as(means).flatten() * scale
        if norm.affine:
            weight, bias = norm.weight.double().cpu(), norm.bias.double().cpu()
            scale, shift = scale * weight, shift * weight + bias
        scale, shift = (v.float().view(1, -1, 1, 1).to(device) for v in (scale, shift))
        return lambda rows: torch.addcmul(shift, rows.float(), scale).to(rows.dtype)


class Walk:
    """Goes over maps strip by strip.

    Args:
        device: Where layers run. storage: Where maps are kept.
        is_ring: Convolutions wrap around.
        spare_bytes: See ``SPARE_BYTES``.
        strip_done: Called after every strip; may raise to end the walk.
    """

    def __init__(
        self,
        device: torch.device,
        storage: torch.device,
        *,
        is_ring: bool,
        spare_bytes: int,
        strip_done: Callable[[], None],
    ) -> None:
        self.device = device
        self.is_ring = is_ring
        self._storage = storage
        self._spare_bytes = spare_bytes
        self._strip_done = strip_done

    def take(self, values: Tensor) -> Kept:
        """A map of values that are there already."""
        return Kept(values, self.device, self.is_ring)

    def layer(self, source: Map, run: Rows, channels: int, reach: int = 0, scale: int = 1) -> Layer:
        """One layer over one map."""
        return Layer([source], run, channels, reach, scale, self.is_ring)

    def keep(self, made: Map) -> tuple[Kept, Moments]:
        """Calculate a map and keep it."""
        values: Tensor | None = None
        moments = Moments()
        for rows in self._strips(made):
            part = self._read(made, rows)
            if values is None:
                values = self._empty(made, part)
            moments.add(part)
            values.narrow(2, rows.start, rows.length).copy_(part)
            self._strip_done()
        assert values is not None
        return Kept(values, self.device, self.is_ring), moments

    def keep_over(self, old: Kept, made: Map, reach: int) -> tuple[Kept, Moments]:
        """Calculate a map and keep it in the memory of an old one that it is made from.

        Args:
            reach: Rows of the old map above and below that a row is made from.
        """
        moments = Moments()
        old.begin_overwriting(reach)
        for rows in self._strips(made):
            part = self._read(made, rows)
            moments.add(part)
            old.overwrite(rows, part)
            self._strip_done()
        old.end_overwriting()
        return old, moments

    def moments(self, made: Map) -> Moments:
        """Calculate a map only to know its moments."""
        moments = Moments()
        for rows in self._strips(made):
            moments.add(self._read(made, rows))
            self._strip_done()
        return moments

    def collect(
        self, source: Map, run: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """What ``run`` makes of all rows: (1, cells, C) twice."""
        parts: list[tuple[Tensor, Tensor]] = []
        for rows in self._strips(source):
            parts.append(self._run(run, source, rows))
            self._strip_done()
        one, other = zip(*parts, strict=True)
        return torch.cat(one, dim=1), torch.cat(other, dim=1)

    def is_spare(self, made: Map, share: float = 1.0) -> bool:
        """Whether a map of passing use is small enough to be kept."""
        size = made.channels * made.height * made.width * 4
        return size <= self._spare_bytes * share

    def _strips(self, made: Map) -> list[Span]:
        return pieces(made.height, max(made.fewest_rows, STRIP_BYTES // made.row_bytes))

    def _run(
        self, run: Callable[[Tensor], tuple[Tensor, Tensor]], source: Map, rows: Span
    ) -> tuple[Tensor, Tensor]:
        return run(source.read(rows))

    def _read(self, made: Map, rows: Span) -> Tensor:
        return made.read(rows)

    def _empty(self, made: Map, like: Tensor) -> Tensor:
        shape = (1, made.channels, made.height, made.width)
        return torch.empty(
            shape, dtype=like.dtype, device=self._storage, memory_format=torch.channels_last
        )


class Plan(Walk):
    """Walks the same way without calculating, to know how many strips there will be."""

    def __init__(self, **how: Any) -> None:
        self.count = 0
        meta = torch.device("meta")
        super().__init__(meta, meta, strip_done=self._one_more, **how)

    def _one_more(self) -> None:
        self.count += 1

    def _read(self, made: Map, rows: Span) -> Tensor:
        return torch.empty(1, made.channels, rows.length, made.width, device="meta")

    def _run(self, run: Any, source: Map, rows: Span) -> tuple[Tensor, Tensor]:
        nothing = torch.empty(1, rows.length * source.width, source.channels, device="meta")
        return nothing, nothing


# The autoencoder, layer by layer.


class OnTile(Protocol):
    """Told about every strip. May raise to end the work."""

    def __call__(self, done: int, total: int, /) -> None: ...


@torch.inference_mode()
def decode_in_tiles(
    vae: Any,
    latents: Tensor,
    on_tile: OnTile = lambda done, total: None,
    *,
    storage: torch.device | None = None,
    spare_bytes: int = SPARE_BYTES,
) -> Tensor:
    """Decode one picture with little memory.

    Args:
        vae: diffusers' AutoencoderKL, on the device it shall run on.
        latents: (1, 4, h, w), not VAE-scaled, in the VAE's number format and on its device.
        on_tile: Told after every strip; the strips of a run are not equally long.
        storage: Where maps are kept; None = the VAE's device.
        spare_bytes: Maps of passing use are kept up to this size, else calculated twice.
    Returns:
        (1, 3, 8h, 8w) pixels, as ``vae.decode`` gives them up to rounding.
    """
    return _walked(_decode, vae, latents, on_tile, storage, spare_bytes)


@torch.inference_mode()
def encode_in_tiles(
    vae: Any,
    pixels: Tensor,
    on_tile: OnTile = lambda done, total: None,
    *,
    storage: torch.device | None = None,
    spare_bytes: int = SPARE_BYTES,
) -> Tensor:
    """Encode one picture with little memory.

    Args:
        vae, on_tile, storage, spare_bytes: As for ``decode_in_tiles``.
        pixels: (1, 3, H, W) in [-1, 1], sides multiples of 8, in the VAE's number format.
    Returns:
        (1, 4, H/8, W/8), the middle of the distribution, not VAE-scaled.
    """
    return _walked(_encode, vae, pixels, on_tile, storage, spare_bytes).chunk(2, dim=1)[0]


def _walked(
    way: Callable[[Walk, Any, Tensor], Tensor],
    vae: Any,
    values: Tensor,
    on_tile: OnTile,
    storage: torch.device | None,
    spare_bytes: int,
) -> Tensor:
    """Plan a walk to know its length, then go."""
    how: dict[str, Any] = {"is_ring": _wraps_around(vae), "spare_bytes": spare_bytes}
    plan = Plan(**how)
    way(plan, vae, torch.empty_like(values, device="meta"))
    done = 0

    def strip_done() -> None:
        nonlocal done
        done += 1
        on_tile(done, plan.count)

    device = values.device
    walk = Walk(device, storage or device, strip_done=strip_done, **how)
    return way(walk, vae, values).to(device)


def _wraps_around(vae: nn.Module) -> bool:
    return any(getattr(layer, "padding_mode", "") == "circular" for layer in vae.modules())


def _decode(walk: Walk, vae: Any, latents: Tensor) -> Tensor:
    decoder = vae.decoder
    made: Map = walk.take(latents)
    if vae.post_quant_conv is not None:
        made = walk.layer(made, vae.post_quant_conv, vae.post_quant_conv.out_channels)
    made, moments = walk.keep(_convolved(walk, made, decoder.conv_in))
    made, moments = _middle(walk, decoder.mid_block, made, moments)
    for block in decoder.up_blocks:
        for residual in block.resnets:
            made, moments = _residual(walk, residual, made, moments)
        for enlarging in block.upsamplers or ():
            made, moments = _enlarged(walk, enlarging, made)
    return _last(walk, decoder, made, moments)


def _encode(walk: Walk, vae: Any, pixels: Tensor) -> Tensor:
    encoder = vae.encoder
    made: Map = _convolved(walk, walk.take(pixels), encoder.conv_in)
    moments = walk.moments(made)
    for block in encoder.down_blocks:
        for residual in block.resnets:
            made, moments = _residual(walk, residual, made, moments)
        for halving in block.downsamplers or ():
            made, moments = walk.keep(Halved(made, halving, halving.conv.out_channels))
    made, moments = _middle(walk, encoder.mid_block, made, moments)
    values = _last(walk, encoder, made, moments)
    if vae.quant_conv is None or values.is_meta:
        return values
    return vae.quant_conv(values.to(walk.device))


def _convolved(walk: Walk, source: Map, convolution: nn.Conv2d) -> Layer:
    return walk.layer(source, convolution, convolution.out_channels, reach=1)


def _residual(walk: Walk, block: Any, source: Map, moments: Moments) -> tuple[Kept, Moments]:
    """diffusers' ResnetBlock2D without time embedding."""
    first = moments.normaliser(block.norm1, walk.device)
    hidden: Map = walk.layer(
        source,
        lambda rows: block.conv1(block.nonlinearity(first(rows))),
        block.conv1.out_channels,
        reach=1,
    )
    if is_spare := walk.is_spare(hidden):
        hidden, moments = walk.keep(hidden)
    else:
        moments = walk.moments(hidden)
    second = moments.normaliser(block.norm2, walk.device)

    def joined(rows: Tensor, straight: Tensor) -> Tensor:
        if block.conv_shortcut is not None:
            straight = block.conv_shortcut(straight)
        rows = block.conv2(block.nonlinearity(second(rows)))
        return (straight + rows) / block.output_scale_factor

    channels = block.conv2.out_channels
    result = Layer([hidden, source], joined, channels, reach=1, is_ring=walk.is_ring)
    if isinstance(source, Kept) and source.channels == channels:
        return walk.keep_over(source, result, reach=1 if is_spare else 2)
    return walk.keep(result)


def _enlarged(walk: Walk, block: Any, source: Map) -> tuple[Map, Moments]:
    """diffusers' Upsample2D; a large result is calculated when it is needed."""
    large = walk.layer(source, block, block.conv.out_channels, reach=1, scale=2)
    if walk.is_spare(large, share=0.25):
        return walk.keep(large)
    return large, walk.moments(large)


def _middle(walk: Walk, block: Any, source: Map, moments: Moments) -> tuple[Kept, Moments]:
    """diffusers' UNetMidBlock2D."""
    made, moments = _residual(walk, block.resnets[0], source, moments)
    for attention, residual in zip(block.attentions, block.resnets[1:], strict=True):
        if attention is not None:
            made, moments = _attended(walk, attention, made, moments)
        made, moments = _residual(walk, residual, made, moments)
    return made, moments


def _attended(walk: Walk, block: Any, source: Kept, moments: Moments) -> tuple[Kept, Moments]:
    """diffusers' Attention over all cells of a map; queries are taken strip by strip."""
    normed = moments.normaliser(block.group_norm, walk.device)

    def tokens(rows: Tensor) -> Tensor:
        return normed(rows).flatten(2).transpose(1, 2)  # (1, cells, C)

    def heads(values: Tensor) -> Tensor:
        return values.unflatten(2, (block.heads, -1)).transpose(1, 2)  # (1, heads, cells, C')

    keys, values = walk.collect(source, lambda r: (block.to_k(tokens(r)), block.to_v(tokens(r))))

    def attend(rows: Tensor) -> Tensor:
        queries = heads(block.to_q(tokens(rows)))
        found = scaled_dot_product_attention(queries, heads(keys), heads(values))
        found = block.to_out[0](found.transpose(1, 2).flatten(2)).transpose(1, 2)
        found = found.reshape(rows.shape)
        if block.residual_connection:
            found = found + rows
        return found / block.rescale_output_factor

    result = walk.layer(source, attend, source.channels)
    result.at_least_row_bytes = source.width * source.height * source.width * 4  # its scores
    return walk.keep_over(source, result, reach=0)


def _last(walk: Walk, part: Any, source: Map, moments: Moments) -> Tensor:
    """The end of an encoder or a decoder."""
    normed = moments.normaliser(part.conv_norm_out, walk.device)
    result = walk.layer(
        source,
        lambda rows: part.conv_out(part.conv_act(normed(rows))),
        part.conv_out.out_channels,
        reach=1,
    )
    return walk.keep(result)[0].values
