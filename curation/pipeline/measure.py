"""Measures: brings a corpus's layers up to what a recipe's operators provide."""

import json
from collections import Counter
from functools import partial

from curation.core.corpus import Layer
from curation.core.errors import UsageError
from curation.core.fingerprint import library_versions, operator_fingerprint, plain
from curation.core.operator import IMAGE, Operator
from curation.core.progress import Progress
from curation.core.step import INDEX_COLUMNS
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus
from curation.pipeline.measure_shard import MeasureShard, ShardItem, find_killers
from schemas.manifest import LayerRef


def layers_of(operators: tuple[Operator, ...]) -> dict[str, Layer]:
    """Layer of each operator by its name, its fingerprint covering those that it reads.

    Raises UsageError for a required column that nothing before it provides.
    """
    layers: dict[str, Layer] = {}
    providers: dict[str, str] = {}
    for operator in operators:
        reads: dict[str, str] = {}
        for name in operator.requires.names:
            if name in providers:
                reads[providers[name]] = layers[providers[name]].fingerprint
            elif name != IMAGE.name and name not in INDEX_COLUMNS.names:
                raise UsageError(f"{operator.name} needs {name}, which no operator before it gives")
        layers[operator.name] = Layer(operator.name, operator_fingerprint(operator, reads))
        providers |= dict.fromkeys(operator.provides.names, operator.name)
    return layers


def measure(
    corpus: Corpus,
    operators: tuple[Operator, ...],
    engine: LocalEngine,
    progress: Progress,
    only: str = "",
) -> list[LayerRef]:
    """Measures what is missing (of one operator, or all) and says what the layers are.

    Operators share one pass over the bytes; a shard that has its layer is not read again.
    """
    layers = layers_of(operators)
    wanted = [operator for operator in operators if only in ("", operator.name)]
    done = {name: layer.done(corpus.shards_sha256) for name, layer in layers.items()}
    todo = tuple(operator for operator in wanted if not corpus.store.exists(done[operator.name]))
    if todo:
        _measure(corpus, todo, operators, layers, engine, progress)
    found = (operator for operator in operators if corpus.store.exists(done[operator.name]))
    return [
        LayerRef(
            operator=operator.name,
            fingerprint=layers[operator.name].fingerprint,
            parameters=plain(operator),
            libraries=library_versions(operator.libraries),
            columns=operator.provides.names,
            errors=json.loads(corpus.store.read(done[operator.name]))["errors"],
        )
        for operator in found
    ]


def _measure(
    corpus: Corpus,
    todo: tuple[Operator, ...],
    operators: tuple[Operator, ...],
    layers: dict[str, Layer],
    engine: LocalEngine,
    progress: Progress,
) -> None:
    names = {operator.name for operator in todo}
    task = MeasureShard(
        corpus.store,
        todo,
        tuple(layers[operator.name] for operator in todo),
        tuple((o, layers[o.name]) for o in operators if o.name not in names),
    )
    errors: dict[str, Counter[str]] = {name: Counter() for name in names}
    items = (ShardItem(shard) for shard in corpus.shards)
    label = "measure" if len(todo) > 1 else f"measure {todo[0].name}"
    with progress.track(label, corpus.samples, "samples") as tracker:
        for result in engine.map(task, items, on_crash=partial(find_killers, task)):
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
