"""Scores by small heads over stored CLIP embeddings: NSFW, aesthetic, watermark, knowledge-dense.

A head is a safetensors file: `weight` and `bias` pairs in the order of the numbers in their names
(`0.weight`, `0.bias`, `2.weight`; a bias may be absent), the last of one row. Its header's
metadata says the rest: `column` (what it scores), `activation` between layers (relu, gelu, none),
`output` (sigmoid, none) and `clip` (the model whose embeddings it takes). No head is shipped.

Products are of fixed-point numbers of 26 bits (two for each weight, which lose nothing of an fp32
one), so that their sums are never rounded (as in core/embedding) and a score depends on its row
alone, whatever the batch, library or processor.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.core.embedding import Doubles, vectors
from curation.core.errors import UsageError
from curation.core.operator import BatchFn, Operator, append

ACTIVATIONS = ("relu", "gelu", "none")
OUTPUTS = ("sigmoid", "none")

_BITS = 26
"""Of both factors: a sum of products stays below the product of an input's largest number and the
sum of a row's magnitudes, and is a multiple of 2**-52 of it."""

_erf = np.vectorize(math.erf, otypes=[np.float64])
_exp = np.vectorize(math.exp, otypes=[np.float64])
_SHAPES: dict[str, Callable[[Doubles], Doubles]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "gelu": lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "sigmoid": lambda x: 1.0 / (1.0 + _exp(np.clip(-x, -700.0, 700.0))),
    "none": lambda x: x,
}


@dataclass(frozen=True, kw_only=True)
class HeadFile:
    """One head: named and hashed by content; where it lies is not part of any fingerprint."""

    column: str
    """What it scores; the name of its column."""
    width: int
    """Numbers in an embedding that it takes."""
    clip: str
    """Model that it was trained on, as its header says; empty where it does not."""
    sha256: str
    path: str = field(metadata={"hashed": False}, compare=False)

    @classmethod
    def at(cls, path: str) -> "HeadFile":
        """The head in a file; `COLUMN=FILE` names its column where the header does not.

        Raises UsageError if it cannot be read or is no such head.
        """
        column, equals, file = path.partition("=")
        if not equals:
            column, file = "", path
        data = _read(file)
        head = _parse(file, data)
        return cls(
            column=_column(file, column or head.column),
            width=head.weights[0][0].shape[1],
            clip=head.clip,
            sha256=hashlib.sha256(data).hexdigest(),
            path=file,
        )

    def load(self) -> "Head":
        """Its weights. Raises UsageError if the file has changed since it was named."""
        if not self.path:
            raise UsageError(
                f"the head for {self.column} is known by its hash alone; name its file again "
                "(--set linear_head.heads=FILE)"
            )
        data = _read(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UsageError(f"{self.path}: the head changed during the run; start it again")
        return _parse(self.path, data)


@dataclass(frozen=True, kw_only=True)
class LinearHead(Operator):
    """A column for each head: its score of the image's embedding, null where there is none."""

    name = "linear_head"

    heads: tuple[HeadFile, ...] = ()
    """Files to score with; all for embeddings of one width."""

    def __post_init__(self) -> None:
        columns = [head.column for head in self.heads]
        if len(set(columns)) < len(columns):
            raise ValueError(f"two heads give one column: {', '.join(columns)}")
        widths = {head.width for head in self.heads}
        if len(widths) > 1:
            said = ", ".join(f"{head.column} {head.width}" for head in self.heads)
            raise ValueError(f"heads take embeddings of different widths: {said}")

    @property
    def requires(self) -> pa.Schema:
        width = self.heads[0].width if self.heads else 0
        return pa.schema([("clip_image", pa.binary(2 * width) if width else pa.binary())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([(head.column, pa.float32()) for head in self.heads])

    def check_model(self, model: str) -> None:
        """Raises UsageError if a head says that it belongs to another model than `model`."""
        for head in self.heads:
            if head.clip and head.clip != model:
                raise UsageError(
                    f"{head.path or head.column}: made for embeddings of {head.clip}, "
                    f"these are of {model}"
                )

    def open(self) -> BatchFn:
        heads = {head.column: head.load() for head in self.heads}

        def score(batch: pa.RecordBatch) -> pa.RecordBatch:
            halves, usable = vectors(batch["clip_image"])
            inputs = halves[usable].astype(np.float64)
            places = np.where(usable, np.cumsum(usable) - 1, -1)
            index = pa.array(places, mask=~usable)
            columns = {
                name: pa.array(head(inputs).astype(np.float32)).take(index)
                for name, head in heads.items()
            }
            return append(batch, self.provides, columns)

        return score


@dataclass(frozen=True, kw_only=True)
class Head:
    """The layers of a head."""

    column: str
    clip: str
    activation: str
    output: str
    weights: tuple[tuple[Doubles, Doubles], ...]
    """(outputs, inputs) each, as a coarse part and the rest of it: on the grid of a row's sum of
    magnitudes."""
    biases: tuple[Doubles, ...]

    def __call__(self, inputs: Doubles) -> Doubles:
        """Scores of (rows, width) embeddings as they are stored."""
        values = inputs
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            coarse, rest = weight
            if number:
                values = _SHAPES[self.activation](values)
                values = _on_grid(values, np.abs(values).max(axis=1, initial=0.0))
            values = values @ coarse.T + values @ rest.T + bias
        scores: Doubles = _SHAPES[self.output](values[:, 0])
        return scores


def _halved(weight: Doubles) -> tuple[Doubles, Doubles]:
    coarse = _on_grid(weight, np.abs(weight).sum(axis=1))
    rest = weight - coarse
    return coarse, _on_grid(rest, np.abs(rest).sum(axis=1))


def _on_grid(rows: Doubles, sizes: Doubles) -> Doubles:
    """Each row rounded to `_BITS` bits below the power of two above its size."""
    steps = np.ldexp(1.0, np.frexp(sizes)[1] - _BITS)[:, None]
    rounded: Doubles = np.rint(rows / steps) * steps
    return rounded


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: head cannot be read ({error.strerror})") from error


def _column(path: str, column: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", column):
        raise UsageError(
            f"{path}: its header names no column (small letters, digits, _), got {column!r}; "
            "write COLUMN=FILE, as nsfw_score=FILE"
        )
    return column


def _parse(path: str, data: bytes) -> Head:
    tensors, said = _tensors(path, data)
    activation, output = said.get("activation", "none"), said.get("output", "none")
    if activation not in ACTIVATIONS or output not in OUTPUTS:
        raise UsageError(
            f"{path}: activation is one of {', '.join(ACTIVATIONS)} and output of "
            f"{', '.join(OUTPUTS)}, got {activation!r} and {output!r}"
        )
    weights, biases = _layers(path, tensors)
    return Head(
        column=said.get("column", ""),
        clip=said.get("clip", ""),
        activation=activation,
        output=output,
        weights=tuple(_halved(weight) for weight in weights),
        biases=biases,
    )


def _tensors(path: str, data: bytes) -> tuple[dict[str, Doubles], dict[str, str]]:
    """Tensors by name, and the header's metadata."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = {name: tensor.astype(np.float64) for name, tensor in load(data).items()}
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path}: no whole safetensors file of floats ({error}); get it again"
        ) from error
    return tensors, header.get("__metadata__", {})


def _layers(
    path: str, tensors: dict[str, Doubles]
) -> tuple[tuple[Doubles, ...], tuple[Doubles, ...]]:
    """Weights and biases in order. Raises UsageError for anything but a chain down to one score."""
    strange = [name for name in tensors if not re.search(r"(^|\.)(weight|bias)$", name)]
    names = sorted((n for n in tensors if n.endswith("weight")), key=_numbers)
    if strange or not names:
        raise UsageError(
            f"{path}: a head consists of weights and biases, got {', '.join(sorted(tensors))}"
        )
    weights = tuple(np.atleast_2d(tensors[name]) for name in names)
    biases = tuple(
        np.atleast_1d(tensors.get(name[: -len("weight")] + "bias", np.zeros(len(weight))))
        for name, weight in zip(names, weights, strict=True)
    )
    shapes = [tuple(weight.shape) for weight in weights]
    widths = [shape[-1] for shape in shapes] + [1]
    good = all(
        shape == (after, width) and bias.shape == (after,)
        for shape, width, after, bias in zip(shapes, widths, widths[1:], biases, strict=False)
    )
    if not good or not all(np.isfinite(part).all() for part in (*weights, *biases)):
        raise UsageError(f"{path}: layers do not lead to one finite score, shapes {shapes}")
    return weights, biases


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
