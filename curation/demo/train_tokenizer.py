"""Trains the small tokenizer on demo captions and prose: what `curation/models/demo_tokenizer` is.

python -m curation.demo train-tokenizer --out DIR
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from curation.core.errors import ERROR_CODES
from curation.demo.caption import caption
from curation.demo.pair import scene_of
from curation.models.glm4v.tokenizer import SPECIAL_TOKENS, TOKENIZER_FILE

WORDS = 4_096
CAPTIONS = 20_000
SEED = 71
_PURPOSE = 102
"""Of the draws behind captions, apart from those of the demo corpus and of the small CLIP."""

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where GLM's tokenizer cuts text before it merges bytes."""


def texts(captions: int, prose: list[Path]) -> Iterator[str]:
    """Captions of demo scenes, boxes and times as samples hold them, then files of prose."""
    for n in range(captions):
        rng = np.random.default_rng((SEED, n, _PURPOSE))
        yield caption(scene_of(SEED, n), rng)
        if n % 10 == 0:
            yield f"[[{','.join(str(side) for side in rng.integers(0, 1000, 4))}]]"
    yield from ERROR_CODES.values()
    for path in prose:
        yield from path.read_text(encoding="utf-8").splitlines(keepends=True)


def train_tokenizer(
    out: Path, prose: list[Path], words: int = WORDS, captions: int = CAPTIONS
) -> int:
    """Writes `tokenizer.json` into `out`; returns its words, special tokens included."""
    return learn_tokenizer(out, texts(captions, prose), words)


def learn_tokenizer(out: Path, told: Iterable[str], words: int, pattern: str = PATTERN) -> int:
    """Writes `tokenizer.json` into `out`, learnt from texts; returns its words, special ones too.

    Merges depend on counts alone, so the same texts give the same file.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words - len(SPECIAL_TOKENS),
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(told, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL_TOKENS])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / TOKENIZER_FILE))
    return int(tokenizer.get_vocab_size())
