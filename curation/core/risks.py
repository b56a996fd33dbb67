"""What readers of a corpus ask for, and whether anything measured it."""

from typing import Final

_ASKED: Final[dict[str, tuple[str, ...]]] = {
    "NSFW and other unsafe content": ("nsfw", "unsafe", "safety"),
    "aesthetic quality": ("aesthetic",),
    "watermarks": ("watermark",),
    "whether caption and image agree (CLIP score)": ("clip", "similarity", "itm"),
    "faces and other personal data in the pixels": ("face", "people"),
    "toxic language": ("toxic",),
}
"""What readers of a report ask for, and words in the name of a column that measures it."""


def unmeasured(names: list[str]) -> list[str]:
    """What no operator measured, given the names of operators and of all measured columns."""
    said = " ".join(names).lower()
    return [what for what, words in _ASKED.items() if not any(w in said for w in words)]
