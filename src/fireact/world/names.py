"""Made-up names: pronounceable, distinct within one world, and from so large a space that a model must copy them."""

from __future__ import annotations

import random
from collections.abc import Iterable

ONSETS = (
    "B", "Br", "C", "D", "Dr", "F", "G", "Gr", "H", "J", "K", "L", "M", "N", "P", "R", "S", "St", "T", "Tr",
    "V", "W",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u")
MIDDLES = ("l", "ld", "m", "n", "nd", "r", "rd", "rl", "rv", "s", "st", "lv", "v", "z", "th")
ENDINGS = (
    "a", "an", "ane", "ar", "ash", "el", "en", "er", "ia", "in", "ing", "is", "ith", "o", "oma", "on", "ora",
    "orn", "us", "ume",
)  # fmt: skip
ADJECTIVES = (
    "Silver", "Silent", "Broken", "Hidden", "Golden", "Bitter", "Distant", "Empty", "Frozen", "Gentle",
    "Hollow", "Iron", "Burning", "Lonely", "Scarlet", "Narrow", "Ancient", "Pale", "Quiet", "Restless",
    "Secret", "Sunken", "Tender", "Velvet", "Wandering", "Winter", "Crooked", "Bright", "Copper", "Drowned",
)  # fmt: skip
UNWANTED = {"Homo", "Moron", "Nazis", "Penis", "Rapin", "Semen"}
LONG_SHARE = 0.3
"""Share of words with three syllables; the others have two."""


def word(rng: random.Random) -> str:
    """A capitalised made-up word."""
    while True:
        more = rng.choice(VOWELS) + rng.choice(MIDDLES) if rng.random() < LONG_SHARE else ""
        made = rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(MIDDLES) + more + rng.choice(ENDINGS)
        if made not in UNWANTED:
            return made


class Namer:
    """Hands out names of the four styles, none of them twice and none that is reserved."""

    def __init__(self, rng: random.Random, *, reserved: Iterable[str] = ()) -> None:
        self.rng = rng
        self.used = set(reserved)

    def fresh(self, style: str, kind: str = "") -> str:
        """A new name; `kind` is the last word of names of the style `house`."""
        while True:
            name = self._draw(style, kind)
            if name not in self.used:
                self.used.add(name)
                return name

    def _draw(self, style: str, kind: str) -> str:
        if style == "person":
            return f"{word(self.rng)} {word(self.rng)}"
        if style == "title":
            return f"The {self.rng.choice(ADJECTIVES)} {word(self.rng)}"
        if style == "house":
            return f"{word(self.rng)} {kind.capitalize()}"
        return word(self.rng)
