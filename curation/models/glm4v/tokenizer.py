"""The tokenizer of a Glm4v model: byte-level BPE from a Hugging Face `tokenizer.json`.

Text never becomes a special token: a caption that holds `<|image|>` is spelt out like any other
words. Special tokens are looked up by name, since their ids differ between GLM versions.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from curation.core.errors import UsageError

TOKENIZER_FILE: Final = "tokenizer.json"
DEMO_TOKENIZER: Final = Path(__file__).parents[1] / "demo_tokenizer"
"""Folder of the small tokenizer that is shipped."""

SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|image|>",
    "<|video|>",
    "<|begin_of_box|>",
    "<|end_of_box|>",
)
"""What GLM-4.1V and 4.5V call the tokens that layout is made of."""


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer by its folder; small enough to send to a worker, loaded where it is used."""

    folder: str
    """Holds `tokenizer.json`."""

    def __getstate__(self) -> dict[str, str]:
        return {"folder": self.folder}

    @cached_property
    def _file(self) -> Path:
        return Path(self.folder) / TOKENIZER_FILE

    @cached_property
    def _data(self) -> bytes:
        try:
            return self._file.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{self._file}: cannot be read ({error.strerror}); name a folder with a "
                "Hugging Face tokenizer.json"
            ) from error

    @cached_property
    def sha256(self) -> str:
        """Of `tokenizer.json`: what names the tokenizer, wherever it lies."""
        return hashlib.sha256(self._data).hexdigest()

    @cached_property
    def _loaded(self) -> Any:
        from tokenizers import Tokenizer as Loaded

        try:
            spec = json.loads(self._data)
            for token in spec["added_tokens"]:
                token["special"] = True  # GLM's `<think>` is not; here text makes none of them
            loaded = Loaded.from_str(json.dumps(spec))
        except Exception as error:
            raise UsageError(f"{self._file}: not a tokenizer ({error})") from error
        loaded.encode_special_tokens = True
        return loaded

    @cached_property
    def special(self) -> dict[str, int]:
        """Ids of SPECIAL_TOKENS by name. Raises UsageError where the tokenizer lacks one."""
        ids = {name: self._loaded.token_to_id(name) for name in SPECIAL_TOKENS}
        if missing := [name for name, number in ids.items() if number is None]:
            raise UsageError(
                f"{self._file}: lacks {', '.join(missing)}; take the tokenizer of a "
                "GLM-4.1V or GLM-4.5V model"
            )
        return ids

    @cached_property
    def vocabulary(self) -> int:
        """One more than the largest id."""
        return int(max(self._loaded.get_vocab(with_added_tokens=True).values())) + 1

    @property
    def image_id(self) -> int:
        return self.special["<|image|>"]

    @property
    def video_id(self) -> int:
        return self.special["<|video|>"]

    @property
    def end_id(self) -> int:
        """`<|endoftext|>`: ends a sample, and fills the end of a pack."""
        return self.special["<|endoftext|>"]

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; nothing is added, nothing in it is special.

        A lone surrogate, which JSON can hold and UTF-8 cannot, becomes a question mark.
        """
        plain = text.encode("utf-8", "replace").decode()
        ids: list[int] = self._loaded.encode(plain, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of ids; bytes that are not UTF-8 become replacement characters."""
        text: str = self._loaded.decode(list(ids), skip_special_tokens=skip_special)
        return text


def demo_tokenizer() -> Tokenizer:
    """The small tokenizer that is shipped, for models trained on the demo."""
    return Tokenizer(str(DEMO_TOKENIZER))
