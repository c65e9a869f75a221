"""What a person is told about a training set that does not stop it; no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SENTENCES = {
    "alpha_dropped": (
        "{count} pictures have transparent parts, which show whatever colour lies beneath "
        "(first: {first}). Switch alpha_mask on to leave those parts out."
    ),
    "bucket_adjusted": "{sentence}",
    "bucket_small": (
        "The size {width}x{height} has only {count} pictures for batches of {batch_size} "
        "(first: {first}); they are trained in a batch of their own."
    ),
    "caption_dropped_always": (
        "caption_dropout_every_n_epochs is 1: no caption is ever used. Set it to 0 or at least 2."
    ),
    "caption_empty": '"{file}" is empty; "{words}" is used instead.',
    "caption_missing": (
        '{missing} of {pictures} images in "{folder}" have no "{extension}" caption (first: '
        '{first}). They use "{words}".'
    ),
    "caption_missing_nothing": (
        '{missing} of {pictures} images in "{folder}" have no "{extension}" caption (first: '
        "{first}) and no word in the folder's name: they are trained without words."
    ),
    "caption_other_extension": (
        'Is caption_extension "{extension}" right? There are {count} "{other}" files in "{folder}".'
    ),
    "custom_attributes": (
        'custom_attributes of "{folder}" ({names}) are not used here: write what shall be learnt '
        "into the captions."
    ),
    "dataset_config_wins": "dataset_config is used, so {names} is not looked at.",
    "face_name_missing": (
        "{count} pictures have no face in their file names (first: {first}); they are cut in the "
        "middle."
    ),
    "folder_is_subset": (
        '"{folder}" holds the pictures itself; it is used as one concept with {repeats} repeats.'
    ),
    "folder_loose": (
        '{count} images directly in "{folder}" are not used: only those in folders named like '
        '"10_mychar" are.'
    ),
    "folder_skipped": (
        'The folders {names} in "{folder}" are not used: their names do not start with a number '
        'of repeats and "_".'
    ),
    "folder_twice": 'The folder "{folder}" is named twice; the second is not used.',
    "keep_tokens_all": (
        "keep_tokens is {keep_tokens}, and most captions have no more tags: nothing is shuffled."
    ),
    "latents_of_another_program": (
        "{count} latents are read from files of another program beside the pictures. Delete those "
        ".npz files if they were made with another VAE."
    ),
    "picture_broken": '"{file}" cannot be read as an image ({reason}) and is left out.',
    "pictures_blurred": (
        "Out of focus, it seems: {count} (first: {first}). A LoRA learns blur as gladly as the "
        "subject; leave out what you can spare."
    ),
    "pictures_copy": (
        "Copies of other pictures, or almost: {count} (first: {first}). They count double; remove "
        "them unless that is meant."
    ),
    "pictures_enlarged": (
        "Much smaller than the size they are trained at: {count} (first: {first}). They are "
        "enlarged and look soft."
    ),
    "pictures_few": "{count} pictures are few. 10 to 30 different ones give a far better LoRA.",
    "pictures_long_caption": (
        "Very long captions: {count} (first: {first}). Words beyond 75 tokens are only used with "
        "max_token_length 150 or 225."
    ),
    "pictures_odd_caption": (
        "Captions that look like a mistake – brackets, a tag twice, no letters: {count} (first: "
        "{first})."
    ),
    "reg_doubles": (
        "{count} class images join in (with repeats), so an epoch has {times} times as many steps."
    ),
    "reg_unused": "{unused} of {count} class images are never used: they are more than needed.",
    "steps_short": (
        "This training has only {steps} steps. Most LoRAs of a person or character need 1000 to "
        "2000: more repeats or epochs would help."
    ),
}
"""Every sentence by its code, in English; the page has them in Chinese too."""


@dataclass(frozen=True)
class Notice:
    """One sentence about the pictures.

    Attributes:
        code: A key of ``SENTENCES``. values: What is filled in.
    """

    code: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return SENTENCES[self.code].format_map(self.values)


def first_names(names: list[str], most: int = 5) -> str:
    """Some of many names, for a sentence."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
