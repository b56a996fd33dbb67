"""Names of vocabulary entries, where the vocabulary is at hand."""

from curation.core.errors import UsageError
from curation.core.vocabulary import Vocabulary
from curation.operators.text.concepts import Concepts
from curation.report.wording import display_safe
from schemas.manifest import LayerRef

NAME = 60
"""Characters of an entry that are shown."""


def vocabulary_entries(layers: list[LayerRef]) -> dict[str, dict[str, int]]:
    """Ids by language and entry of the vocabulary that a corpus was held against.

    A manifest names it by its hash alone: it is found where it is the one that is shipped.
    """
    for layer in layers:
        said = layer.parameters.get("vocabulary")
        if layer.operator == Concepts.name and isinstance(said, dict):
            known = Vocabulary(name=str(said["name"]), sha256=str(said["sha256"]), path="")
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
