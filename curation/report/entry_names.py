"""Names of vocabulary entries, where the vocabulary is at hand."""

from curation.core.corpus import vocabulary_path
from curation.core.errors import UsageError
from curation.core.vocabulary import Vocabulary
from curation.io.store import Store
from curation.operators.text.concepts import Concepts
from curation.report.wording import display_safe
from schemas.manifest import LayerRef

NAME = 60
"""Characters of an entry that are shown."""


def vocabulary_entries(layers: list[LayerRef], store: Store) -> dict[str, dict[str, int]]:
    """Ids by language and entry of the vocabulary that a corpus was held against.

    A manifest names it by its hash alone: it is the one that is shipped, or lies in the corpus.
    """
    for layer in layers:
        said = layer.parameters.get("vocabulary")
        if layer.operator == Concepts.name and isinstance(said, dict):
            sha256 = str(said["sha256"])
            copy = vocabulary_path(sha256)
            path = store.path(copy) if store.is_local and store.exists(copy) else ""
            known = Vocabulary(name=str(said["name"]), sha256=sha256, path=path)
            try:
                return Concepts(vocabulary=known).entries()
            except UsageError:
                return {}
    return {}


def entry_names(entries: dict[str, dict[str, int]]) -> dict[str, str]:
    """Safe names by `language:id`, as verdicts write an entry."""
    return {
        f"{language}:{number}": display_safe(entry, NAME)
        for language, ids in entries.items()
        for entry, number in ids.items()
    }
