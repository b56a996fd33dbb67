"""Image-text pairs: the picture; the caption has its place beside it."""

from curation.report.viewer.blocks import Block, Shown, by_segments


def render(shown: Shown) -> list[Block]:
    """Every image, with the boxes that its training sample draws over it."""
    return [block for block in by_segments(shown) if block["kind"] != "words"]
