"""M-RoPE positions of a flat pack, as transformers' Glm4v gives each of its samples."""

import torch
from torch import Tensor


def rope_positions(
    media_tokens: Tensor, cu_seqlens: Tensor, grids: Tensor, merge_size: int = 2
) -> Tensor:
    """Time, height and width of every position, int64 [3, T].

    `media_tokens` is bool [T], `cu_seqlens` int [S+1], `grids` int [M, 3] in patches. Every segment
    starts at 0. A word takes one position. A frame (an image, or a pair of frames of a video)
    stands still in time and spreads over its merged rows and columns; what follows it goes on
    after its longer side. Raises ValueError where the media tokens are not those of `grids`.
    """
    media = media_tokens.nonzero().squeeze(1)
    frames_F2 = torch.repeat_interleave(grids[:, 1:], grids[:, 0], dim=0) // merge_size
    sizes = frames_F2.prod(1)
    if len(media) != int(sizes.sum()):
        raise ValueError(f"{len(media)} media tokens for grids of {int(sizes.sum())}")
    of_frame = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    ends = sizes.cumsum(0)
    within = torch.arange(len(media), device=sizes.device) - (ends - sizes)[of_frame]
    widths = frames_F2[of_frame, 1]

    steps = (~media_tokens).long()
    steps[media[ends - 1]] = frames_F2.amax(1)
    starts = steps.cumsum(0) - steps
    borders = cu_seqlens.long()
    lengths = borders.diff()
    first = starts[borders[:-1].clamp(max=max(len(starts) - 1, 0))]
    starts = starts - torch.repeat_interleave(first, lengths)
    positions = starts.repeat(3, 1)
    positions[1, media] += within // widths
    positions[2, media] += within % widths
    return positions
