"""Skeletons of the people in a picture: bodies, and with them hands and faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from webui.map_networks.pose import BodyPose
from webui.map_networks.pose_parts import FacePose, HandPose, face_square, hand_squares, parts_in
from webui.preprocessors.maps import Pixels
from webui.preprocessors.pose_drawing import Person, drawn


@dataclass(frozen=True)
class Skeletons:
    """Makes a map of the people in a picture.

    Attributes:
        hand, face: None = they are not looked for.
        has_bodies: They are drawn, too.
    """

    body: BodyPose
    hand: HandPose | None = None
    face: FacePose | None = None
    has_bodies: bool = True

    def __call__(self, picture: Pixels) -> Pixels:
        """The skeletons in a picture (H, W, 3) of uint8 RGB, drawn on black."""
        return self.drawn(self.people(picture), picture)

    def drawn(self, people: Sequence[Person], picture: Pixels) -> Pixels:
        """People who were found in a picture, as its map."""
        if not self.has_bodies:
            people = [replace(person, body={}) for person in people]
        return drawn(people, picture.shape[1], picture.shape[0])

    def people(self, picture: Pixels) -> list[Person]:
        """The people in a picture, in its pixels."""
        height, width = picture.shape[:2]
        found: list[Person] = []
        for body in self.body.bodies(picture):
            person = Person(body)
            if self.hand is not None:
                hands = {
                    f"{side}_hand": parts_in(self.hand, picture, square)
                    for side, square in hand_squares(body, width, height).items()
                }
                person = replace(person, **hands)
            if self.face is not None and (square := face_square(body, width, height)):
                person = replace(person, face=parts_in(self.face, picture, square))
            found.append(person)
        return found
