"""Which container a video's bytes are, by their beginning.

FFmpeg, left to guess, also opens playlists, which name other files and addresses.
"""

_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"})

NEEDED = 12
"""Bytes that tell."""


def video_container(start: bytes) -> str | None:
    """FFmpeg's name of the container that `start` begins; null for what is none that is known."""
    if start.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"  # WebM, too
    if start[4:8] in _BOXES:
        return "mov"  # MP4, too
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    return None
