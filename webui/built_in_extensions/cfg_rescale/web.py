"""The panel of CFG rescale."""

from __future__ import annotations

from webui.hookspecs import Form, Number, Words, hook


@hook
def forms() -> list[Form]:
    """One slider, on both painting tabs."""
    strength = Number(
        name="strength",
        label=Words(en="Strength", zh="强度"),
        help=Words(
            en="0 = off, 1 = all. About 0.7 for checkpoints made with zero terminal SNR.",
            zh="0 为关闭，1 为全部。零终端信噪比的模型约用 0.7。",
        ),
        default=0.7,
        step=0.05,
        infotext="CFG rescale",
    )
    return [Form(fields=(strength,))]
