"""Measures: brings a corpus's layers up to what a recipe's operators provide."""

import json
from collections import Counter
from functools import partial

import pyarrow as pa

from curation.core.corpus import Layer
from curation.core.engine import Engine
from curation.core.errors import UsageError
from curation.core.fingerprint import library_versions, operator_fingerprint, plain
from curation.core.operator import ERROR, IMAGE, FittedOperator, Operator, StreamedOperator
from curation.core.progress import Progress
from curation.core.step import INDEX_COLUMNS
from curation.io.corpus import Corpus
from curation.pipeline.fit import fit
from curation.pipeline.measure_again import MendShard
from curation.pipeline.measure_shard import MeasureShard, ShardItem, find_killers
from curation.pipeline.measure_stream import StreamShard
from curation.pipeline.source_check import warn_of_unknown
from schemas import SAMPLE
from schemas.manifest import LayerRef


def switched_on(operators: tuple[Operator, ...]) -> tuple[Operator, ...]:
    """Operators that give columns, and do not follow one that gives none."""
    giving = {operator.name for operator in operators if operator.provides.names}
    return tuple(
        operator
        for operator in operators
        if operator.name in giving and (not operator.follows or operator.follows in giving)
    )


def layers_of(operators: tuple[Operator, ...], shards_sha256: str = "") -> dict[str, Layer]:
    """Layer of each operator by its name, its fingerprint covering those that it reads.

    `shards_sha256`, the hash of the shard table, is part of what operators read that are fitted to
    the corpus. Raises UsageError for a required column that nothing before it provides, or that is
    of another width.
    """
    layers: dict[str, Layer] = {}
    providers: dict[str, str] = {}
    provided: dict[str, pa.DataType] = {}
    for operator in operators:
        fitted = {"shards": shards_sha256} if isinstance(operator, FittedOperator) else {}
        reads: dict[str, Layer] = {}
        for name in operator.requires.names:
            if name in providers:
                reads[providers[name]] = layers[providers[name]]
            elif name != IMAGE.name and name not in INDEX_COLUMNS.names:
                raise UsageError(
                    f"{operator.name} needs {name}, which no operator before it gives (columns "
                    "of the source: --set source_columns.columns=NAME gives source_NAME)"
                )
        _check_widths(operator, provided)
        taken = {*provided, *INDEX_COLUMNS.names, *(field.name for field in SAMPLE), ERROR.name}
        for name in operator.provides.names:
            if name in taken:
                raise UsageError(f"{operator.name} gives {name}, a column that is there already")
        layers[operator.name] = _layer(operator, reads, fitted)
        providers |= dict.fromkeys(operator.provides.names, operator.name)
        provided |= {field.name: field.type for field in operator.provides}
    return layers


def _layer(operator: Operator, reads: dict[str, Layer], fitted: dict[str, str]) -> Layer:
    """Layer of an operator, behind it those that it may mend."""
    before = cause = None
    mended = next((layer for layer in reads.values() if layer.before is not None), None)
    if operator.before is not None:
        before = _layer(operator.before, reads, fitted)
    elif operator.mends and mended is not None and mended.before is not None:
        before = _layer(operator, {**reads, mended.operator: mended.before}, fitted)
        cause = mended.cause or mended.before
    read = {name: layer.fingerprint for name, layer in reads.items()}
    return Layer(operator.name, operator_fingerprint(operator, {**fitted, **read}), before, cause)


def _check_widths(operator: Operator, provided: dict[str, pa.DataType]) -> None:
    """Raises UsageError where an operator needs bytes of another width than there are."""
    for field in operator.requires:
        there = provided.get(field.name, field.type)
        if pa.types.is_fixed_size_binary(field.type) and field.type != there:
            raise UsageError(
                f"{operator.name} needs {field.name} of {field.type.byte_width} bytes, but it has "
                f"{getattr(there, 'byte_width', 'no fixed number of')} bytes (made for another "
                "model?)"
            )


def measure(
    corpus: Corpus,
    operators: tuple[Operator, ...],
    engine: Engine,
    progress: Progress,
    only: str = "",
) -> list[LayerRef]:
    """Measures what is missing (of one operator and those it reads, or all); says what there is.

    Operators share one pass over the bytes, but each that holds a model or is fitted to the corpus
    has a pass of its own after those before it; a shard that has its layer is not read again.
    """
    operators = switched_on(operators)
    layers = layers_of(operators, corpus.shards_sha256)
    wanted = _with_read(operators, only) if only else operators
    done = {name: layer.done(corpus.shards_sha256) for name, layer in layers.items()}
    todo = tuple(operator for operator in wanted if not corpus.store.exists(done[operator.name]))
    warn_of_unknown(corpus, todo, progress)
    for together in _passes(todo):
        for placed in _by_engine(together, engine):
            _measure(corpus, placed, operators, layers, engine.at(placed[0].name), progress)
    found = (operator for operator in operators if corpus.store.exists(done[operator.name]))
    return [
        LayerRef(
            operator=operator.name,
            fingerprint=layers[operator.name].fingerprint,
            parameters=plain(operator),
            libraries=library_versions(operator.libraries),
            identity=dict(operator.identity()),
            columns=operator.provides.names,
            errors=json.loads(corpus.store.read(done[operator.name]))["errors"],
        )
        for operator in found
    ]


def _with_read(operators: tuple[Operator, ...], name: str) -> tuple[Operator, ...]:
    """The named operator, and those before it whose columns it needs, however indirectly."""
    taken: list[Operator] = []
    needed: set[str] = set()
    for operator in reversed(operators):
        if operator.name == name or needed & set(operator.provides.names):
            taken.insert(0, operator)
            needed |= set(operator.requires.names)
    return tuple(taken)


def _threads(operator: Operator, engine: Engine) -> int:
    """Threads that a process of the operator takes: all of them where one feeds a GPU."""
    if operator.threads and operator.identity().get("device") == "cuda":
        return max(1, engine.workers)
    return operator.threads


def _passes(todo: tuple[Operator, ...]) -> list[tuple[Operator, ...]]:
    """Operators without a model share a pass, up to the first that reads what a model gives."""
    passes: list[tuple[Operator, ...]] = []
    waiting = list(todo)
    while waiting:
        taken = _cheap(waiting) or waiting[:1]
        passes.append(tuple(taken))
        waiting = [operator for operator in waiting if operator not in taken]
    return passes


def _by_engine(together: tuple[Operator, ...], engine: Engine) -> list[tuple[Operator, ...]]:
    """Operators of one pass in one piece for each engine that they are placed on, in order."""
    pieces: list[tuple[Engine, list[Operator]]] = []
    for operator in together:
        mine = engine.at(operator.name)
        if pieces and pieces[-1][0] is mine:
            pieces[-1][1].append(operator)
        else:
            pieces.append((mine, [operator]))
    return [tuple(operators) for _, operators in pieces]


def _cheap(waiting: list[Operator]) -> list[Operator]:
    """Those without a model or fit that read nothing of what is left for later passes."""
    taken: list[Operator] = []
    later: set[str] = set()
    for operator in waiting:
        own_pass = operator.threads or isinstance(operator, FittedOperator)
        if own_pass or later & set(operator.requires.names):
            later |= set(operator.provides.names)
        else:
            taken.append(operator)
    return taken


def _measure(
    corpus: Corpus,
    todo: tuple[Operator, ...],
    operators: tuple[Operator, ...],
    layers: dict[str, Layer],
    engine: Engine,
    progress: Progress,
) -> None:
    names = {operator.name for operator in todo}
    other = tuple((o, layers[o.name]) for o in operators if o.name not in names)
    for operator in todo:
        if isinstance(operator, FittedOperator):
            fit(corpus, operator, layers[operator.name], other, engine, progress)
    mine = tuple(layers[operator.name] for operator in todo)
    model = todo[0] if todo[0].threads else None
    task = MeasureShard(corpus.store, todo, mine, other)
    if isinstance(model, StreamedOperator):
        task = StreamShard(
            corpus.store, todo, mine, other, identity=tuple(model.identity().items())
        )
    elif mine[0].before is not None and len(todo) == 1:
        task = MendShard(corpus.store, todo, mine, other)
    errors: dict[str, Counter[str]] = {name: Counter() for name in names}
    items = (ShardItem(shard) for shard in corpus.shards)
    label = "measure" if len(todo) > 1 else f"measure {todo[0].name}"
    with progress.track(label, corpus.samples, "samples") as tracker:
        on_crash = partial(find_killers, task)
        threads = _threads(todo[0], engine)
        for result in engine.map(task, items, on_crash=on_crash, threads=threads, operator=model):
            tracker.advance(result["samples"])
            for name, counted in result["errors"].items():
                errors[name].update(counted)
            for line in result["said"]:
                progress.say(line)
    for name in sorted(names):
        layer = layers[name]
        corpus.store.settle(layer.folder)
        said = {"layer": layer.folder, "errors": dict(sorted(errors[name].items()))}
        corpus.store.write(
            layer.done(corpus.shards_sha256), json.dumps(said, sort_keys=True).encode()
        )
