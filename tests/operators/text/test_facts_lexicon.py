"""What the checker knows of names does not come from the generator that the demo checks it on."""

import ast
import re
from pathlib import Path

import curation.demo
from curation.operators.text.facts_lexicon import KINDS
from curation.operators.text.facts_worth import MARKET

FOLDER = Path(curation.demo.__file__).parent
WRITERS = (
    "backdrop", "caption", "captions_edit", "captions_facts", "captions_names", "captions_noise",
    "compose", "defects", "nouns", "pair", "palette", "words", "things/*",
)  # fmt: skip
"""Modules whose words stand in the demo's captions or on its signs."""
SHARED = {"day", "no", "co", "st"}
"""A word of the calendar, and abbreviations."""


def written():
    """Every word of every string in these modules but of what they are documented with."""
    found = set()
    for pattern in WRITERS:
        files = list(FOLDER.glob(f"{pattern}.py"))
        assert files, pattern
        for file in files:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            strings = [
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
                if id(node) not in docs
            ]
            found.update(re.findall(r"[^\W\d_]{2,}", " ".join(strings).lower()))
    return found


def test_no_word_of_the_demo_generator_is_on_the_lists_of_kinds_and_market_places():
    words = written()
    assert {"castle", "museum", "download", "berg"} <= words
    assert (KINDS | MARKET) & words == SHARED
