"""What people see. Loaded in the web process: no torch here."""

from __future__ import annotations

from webui.hookspecs import Form, Number, Words, hook


@hook
def forms() -> list[Form]:
    """One slider, on both painting tabs."""
    share = Number(
        name="share",
        label=Words(en="Share of noise", zh="噪声比例"),
        default=0.98,
        minimum=0.8,
        maximum=1.0,
        infotext="Softer noise",
    )
    return [Form(fields=(share,))]
