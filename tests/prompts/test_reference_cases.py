"""Recorded cases of A1111's formats, run against our code.

``PROMPT_CASES=some/file.json`` runs that file instead of the ones in tests/data. A file is a list
of cases or an object with a list ``cases``; a case has a ``kind``, its inputs and ``expect``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webui.infotext import parse_infotext, quote
from webui.prompts.attention import parse_attention
from webui.prompts.comments import cut_comments
from webui.prompts.composition import split_and
from webui.prompts.networks import LORA_TYPES, NetworkMention, cut_networks, lora_weights
from webui.prompts.schedule import schedule_prompt
from webui.prompts.styles import apply_styles
from webui.samplers.names import effective_schedule, resolve_sampler
from webui.samplers.steps import hires_target, image_seeds, img2img_steps

DATA = Path(__file__).resolve().parent.parent / "data"
DEFAULT_FILES = (DATA / "prompt-cases.json", DATA / "prompt-language-cases.json")

Case = dict[str, Any]


def read_cases() -> list[Case]:
    named = os.environ.get("PROMPT_CASES")
    files = (Path(named),) if named else DEFAULT_FILES
    found: list[Case] = []
    for file in files:
        content = json.loads(file.read_text(encoding="utf-8"))
        found += content["cases"] if isinstance(content, dict) else content
    assert found, f"no cases in {files}"
    return found


def as_lists(pairs: list[tuple[Any, Any]]) -> list[list[Any]]:
    return [list(pair) for pair in pairs]


def attention(case: Case) -> Any:
    return as_lists(parse_attention(case["input"], bad_weight="raise"))


def schedule(case: Case) -> Any:
    return as_lists(
        schedule_prompt(
            case["input"], case["steps"], case.get("hires_steps"), case.get("old_timelines", False)
        )
    )


def composition(case: Case) -> Any:
    return as_lists(split_and(case["input"]))


def extra_networks(case: Case) -> Any:
    prompt, mentions = cut_networks(case["input"])
    if "lora" in case:
        loras = [mention for mention in mentions if mention.type in LORA_TYPES]
        assert len(loras) == len(case["lora"])
        for mention, expected in zip(loras, case["lora"], strict=True):
            check(lambda mention=mention: as_weights(mention), expected)
    networks = [
        {"type": m.type, "positional": list(m.positional), "named": dict(m.named)} for m in mentions
    ]
    return {"prompt": prompt, "networks": networks}


def as_weights(mention: NetworkMention) -> dict[str, Any]:
    lora = lora_weights(mention)
    return {"name": lora.name, "te": lora.te, "unet": lora.unet, "dyn": lora.dyn}


def styles(case: Case) -> Any:
    return apply_styles(case["prompt"], case["styles"])


def comments(case: Case) -> Any:
    return cut_comments(case["input"])


def infotext_parse(case: Case) -> Any:
    read = parse_infotext(case["input"])
    return {
        "prompt": read.prompt,
        "negative_prompt": read.negative_prompt,
        "params": read.params,
    }


def infotext_quote(case: Case) -> Any:
    return quote(case["input"])


def sampler_name(case: Case) -> Any:
    resolved = resolve_sampler(case["sampler_name"], case["scheduler"], case.get("sampler_index"))
    return {
        "sampler": resolved.sampler,
        "schedule_type_after_fix": resolved.schedule_label,
        "schedule_used": effective_schedule(resolved.sampler, resolved.schedule_label),
    }


def img2img(case: Case) -> Any:
    schedule_steps, t_enc = img2img_steps(
        case["steps"],
        case["denoising_strength"],
        fix_steps=case["img2img_fix_steps"],
        forced_steps=case["forced_steps"],
    )
    return {
        "schedule_steps": schedule_steps,
        "t_enc": t_enc,
        # The steps left when a schedule of that many is cut; none of an empty one.
        "model_steps": min(t_enc + 1, schedule_steps),
    }


def hires(case: Case) -> Any:
    names = ("width", "height", "hr_scale", "hr_resize_x", "hr_resize_y")
    target = hires_target(*(case[name] for name in names))
    return {
        "upscale_to": list(target.upscale_to),
        "truncate_latent": list(target.truncate_latent),
        "final_latent": list(target.final_latent),
    }


def batch_seeds(case: Case) -> Any:
    seeds, subseeds = image_seeds(
        case["seed"], case["subseed"], case["subseed_strength"], case["count"]
    )
    return {"seeds": list(seeds), "subseeds": list(subseeds)}


RUNNERS: dict[str, Callable[[Case], Any]] = {
    "attention": attention,
    "schedule": schedule,
    "composition": composition,
    "extra_networks": extra_networks,
    "styles": styles,
    "comments": comments,
    "infotext_parse": infotext_parse,
    "infotext_quote": infotext_quote,
    "sampler_name": sampler_name,
    "img2img_steps": img2img,
    "hires_target": hires,
    "batch_seeds": batch_seeds,
}


def check(run: Callable[[], Any], expected: Any) -> None:
    """Compare a result, or the error's kind where ``{"error": name}`` is expected."""
    if not (isinstance(expected, dict) and set(expected) == {"error"}):
        assert run() == expected
        return
    with pytest.raises(Exception) as caught:
        run()
    kinds = [kind.__name__ for kind in type(caught.value).__mro__]
    assert expected["error"] in kinds


def run_case(case: Case) -> None:
    assert case["kind"] in RUNNERS, f"no runner for cases of kind {case['kind']!r}"
    check(lambda: RUNNERS[case["kind"]](case), case["expect"])


def case_name(case: Case) -> str:
    text = json.dumps({k: v for k, v in case.items() if k not in ("kind", "expect", "note")})
    return f"{case['kind']}-{text[:60]}"


@pytest.mark.parametrize("case", read_cases(), ids=case_name)
def test_case_when_run_gives_what_the_reference_gives(case: Case) -> None:
    run_case(case)


def test_case_of_unknown_kind_fails() -> None:
    with pytest.raises(AssertionError, match="no runner"):
        run_case({"kind": "new_thing", "expect": None})


def test_case_with_wrong_expectation_fails() -> None:
    with pytest.raises(AssertionError):
        run_case({"kind": "composition", "input": "a", "expect": [["b", 1.0]]})
    with pytest.raises(pytest.fail.Exception):
        run_case({"kind": "composition", "input": "a", "expect": {"error": "ValueError"}})
