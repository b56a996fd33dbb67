"""Absolute CLIP thresholds by model: a cosine means something only for the weights it is of.

A model that is not here has no absolute threshold; the 99th percentile of shuffled pairs of the
corpus itself (`curate calibrate`) takes its place. The demo's model is not here on purpose.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A pair below `cosine` is dropped."""

    cosine: float
    source: str


_LAION: Final = (
    "Schuhmann et al., 'LAION-400M: Open Dataset of CLIP-Filtered 400 Million Image-Text Pairs' "
    "(2021): ViT-B/32 of OpenAI, cosine below 0.3 dropped"
)
_GLM: Final = (
    "GLM-4.5V technical report (2025), image-text data: CLIP score above 0.3, its model not named; "
    "LAION-400M (2021) set the number for ViT-B/32 of OpenAI"
)

THRESHOLDS: Final[dict[tuple[str, str], Threshold]] = {
    ("ViT-B-32-quickgelu", "openai"): Threshold(cosine=0.3, source=_LAION),
    ("ViT-B-32-quickgelu", "laion400m_e31"): Threshold(cosine=0.3, source=_GLM),
    ("ViT-B-32-quickgelu", "laion400m_e32"): Threshold(cosine=0.3, source=_GLM),
    ("ViT-B-32", "laion2b_e16"): Threshold(cosine=0.3, source=_GLM),
    ("ViT-B-32", "laion2b_s34b_b79k"): Threshold(cosine=0.3, source=_GLM),
}
"""By open_clip's model name and pretrained tag."""


def absolute_threshold(model: str, pretrained: str) -> Threshold | None:
    """The threshold that belongs to these weights, or null."""
    return THRESHOLDS.get((model, pretrained))
