"""One error in a sentence, and never more."""

import pytest

from curation.operators.text.planted_errors import planted

CASES = [
    ("A red car.", "A blue car."),
    ("The dog sits left of a red chair.", "The cat sits left of a red chair."),
    ("A kettle in front of a jar", "A kettle behind a jar"),
    ("Behind the jar, a kettle", "In front of the jar, a kettle"),
    ("Two kettles", "Five kettles"),
    ("MEN at work", "Women at work"),
    ("A kettle.", None),
    ("A predator's leftovers", None),
    ("", None),
]


@pytest.mark.parametrize(("sentence", "wrong"), CASES)
def test_the_first_that_can_be_changed_is_changed(sentence, wrong):
    assert planted(sentence) == wrong
