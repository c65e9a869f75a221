"""What is drawn, what is said about it, and what is kept back."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from tools.starter.captions import caption, coloured, plain_caption, plural, with_article
from tools.starter.concepts import COLOURS, RECOLOURABLE, SCENES, read_concepts
from tools.starter.drawings import Sprites, recoloured, to_hsv, to_rgb
from tools.starter.pools import LAYOUTS
from tools.starter.scenes import (
    Background,
    Scene,
    Subject,
    draw,
    is_held_out,
    sample_scene,
)


@pytest.mark.parametrize(
    ("word", "many"),
    [("cat", "cats"), ("fox", "foxes"), ("cherry", "cherries"), ("wolf", "wolves"),
     ("slice of pizza", "slices of pizza"), ("fish", "fish"), ("grapes", "grapes"),
     ("tomato", "tomatoes"), ("turkey", "turkeys")],
)  # fmt: skip
def test_plural(word: str, many: str) -> None:
    assert plural(word) == many


@pytest.mark.parametrize(
    ("word", "said"),
    [("cat", "a cat"), ("owl", "an owl"), ("unicorn", "a unicorn"), ("ufo", "a ufo"),
     ("hourglass", "an hourglass"), ("grapes", "grapes"), ("purple grapes", "purple grapes")],
)  # fmt: skip
def test_article(word: str, said: str) -> None:
    assert with_article(word) == said


def test_coloured_when_the_name_holds_a_colour_then_it_is_replaced() -> None:
    assert coloured("red heart", "green") == "green heart"
    assert coloured("rose", "") == "rose"


def test_concepts_when_read_then_core_is_part_of_all_and_no_drawing_stands_twice() -> None:
    core, everything = read_concepts(), read_concepts("all")
    names = [concept.name for concept in everything]
    assert 50 <= len(core) < len(everything) == len(set(names))
    assert set(names) >= RECOLOURABLE
    assert all(a.word and a != b for a, b in pairwise(everything))


def test_held_out_pairs_when_sampling_then_never_occur() -> None:
    concepts, rng = read_concepts(), random.Random(0)
    scenes = [sample_scene(concepts, rng) for _ in range(3000)]
    met = {(s.concept.name, n) for x in scenes for s in x.subjects for n in x.background.names}
    kept_back = {
        (c.name, b) for c in concepts for b in (*COLOURS, *SCENES) if is_held_out(c.name, b)
    }
    assert 60 < len(kept_back) < 250
    assert not met & kept_back
    assert len(met) > 800


def test_held_out_is_the_same_everywhere() -> None:
    assert [b for b in COLOURS if is_held_out("cat-face", b)] == ["gray"]


def test_caption_names_what_the_scene_shows(sprites: Sprites) -> None:
    star, cat, _ = sprites.concepts
    blue = Background("colour", ("blue",))
    pair = Scene((Subject(star, "green"), Subject(cat)), "pair", blue)
    for seed in range(50):
        said = caption(pair, random.Random(seed))
        assert "green" in said and "star" in said and "blue" in said
        assert "cat" in said or "kitten" in said
        assert said.index("star") < max(said.find("cat"), said.find("kitten"))


def test_caption_when_the_background_is_not_named_then_says_nothing_of_it(
    sprites: Sprites,
) -> None:
    quiet = Scene((Subject(sprites.concepts[1]),), "one", Background("colour", ("pink",), False))
    assert all("pink" not in caption(quiet, random.Random(seed)) for seed in range(50))


@pytest.mark.parametrize(
    ("layout", "said"),
    [("one", "a cat on an orange background"), ("two", "two cats on an orange background"),
     ("left", "a cat on the left on an orange background")],
)  # fmt: skip
def test_plain_caption(sprites: Sprites, layout: str, said: str) -> None:
    assert plain_caption(sprites.concepts[1], "orange", layout) == said


@pytest.mark.parametrize(
    ("layout", "left", "top"),
    [("left", 1, 0), ("right", -1, 0), ("top", 0, 1), ("bottom", 0, -1), ("one", 0, 0)],
)
def test_draw_puts_the_subject_where_the_layout_says(
    sprites: Sprites, layout: str, left: int, top: int
) -> None:
    cat = sprites.concepts[1]
    scene = Scene((Subject(cat),), layout, Background("colour", ("white",)))
    picture = draw(scene, sprites, random.Random(3))
    covered = picture.min(-1) < 0.6
    rows, columns = np.nonzero(covered)
    assert np.sign(round((63.5 - columns.mean()) / 20)) == left
    assert np.sign(round((63.5 - rows.mean()) / 20)) == top


@pytest.mark.parametrize("layout", LAYOUTS)
def test_draw_stays_inside_the_picture(sprites: Sprites, layout: str) -> None:
    star, cat, _ = sprites.concepts
    subjects = (Subject(star), Subject(cat)) if layout == "pair" else (Subject(star),)
    for seed, name in enumerate(SCENES):
        scene = Scene(subjects, layout, Background("scene", (name,)))
        picture = draw(scene, sprites, random.Random(seed))
        assert picture.shape == (128, 128, 3)
        assert picture.min() >= 0 and picture.max() <= 1


def test_recoloured_when_red_becomes_blue_then_blue_is_strongest(sprites: Sprites) -> None:
    red = sprites.get("star", "", 56)
    blue = recoloured(red, 0.6)
    inside = blue[..., 3] > 0.9
    assert (blue[inside][:, 2] > blue[inside][:, 0] + 0.3).all()
    assert (red[inside][:, 0] > red[inside][:, 2] + 0.3).all()


def test_hsv_there_and_back() -> None:
    colours = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    assert np.allclose(to_rgb(to_hsv(colours)), colours, atol=1e-5)
