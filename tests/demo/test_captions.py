"""Captions as facts, originals with planted faults, and requests that a server would see too."""

from dataclasses import replace

import numpy as np
import pytest

from curation.demo.caption import caption
from curation.demo.captions_edit import edited
from curation.demo.captions_facts import KINDS, stated, told, truths
from curation.demo.captions_names import draw_extras
from curation.demo.captions_noise import changed, claim, noisy
from curation.demo.captions_pictures import VISION, draw_pictures
from curation.demo.captions_tasks import Asked, exchanges, lessons
from curation.demo.pair import scene_of
from curation.demo.scene import Group
from curation.engines.local import LocalEngine
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.tokenizer import demo_tokenizer

SCENES = [scene_of(11, n) for n in range(300)]


def rng(n: int) -> np.random.Generator:
    return np.random.default_rng([n, 9])


def test_a_full_caption_states_every_thing_colour_number_and_place_and_nothing_false():
    for scene in SCENES:
        facts, true = stated(f"{told(scene, words=True)}."), truths(scene)
        assert facts <= true
        plain = {"object", "colour", "count", "size", "place", "words"}
        assert {fact for fact in true if fact[0] in plain} <= facts


def test_no_caption_of_the_demo_states_what_is_not_true_of_its_scene():
    for n, scene in enumerate(SCENES):
        for k in range(3):
            told_so = caption(scene, rng(10 * n + k))
            assert stated(told_so) <= truths(scene), told_so


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (
            "Two red cars to the right of a small blue cup on the beach.",
            {
                ("object", "car"), ("count", "car", "2"), ("colour", "car", "red"),
                ("object", "cup"), ("size", "cup", "small"), ("colour", "cup", "blue"),
                ("left", "cup", "car"), ("place", "beach"),
            },
        ),
        (
            "An orange orange bed with a crown on top",
            {("colour", "bed", "orange"), ("object", "bed"), ("object", "crown"),
             ("on", "crown", "bed")},
        ),
        (
            'A cat and a white sign that says "RED CAR" on a red background with white dots',
            {("object", "cat"), ("object", "sign"), ("colour", "sign", "white"),
             ("words", "red car"), ("place", "dots"), ("colour", "background", "red"),
             ("colour", "dots", "white")},
        ),
        ("A dog below a kite | Blue Door Gallery",
         {("object", "dog"), ("object", "kite"), ("above", "kite", "dog")}),
        ("A bear between a cat and an ant, greeting card",
         {("object", "bear"), ("object", "cat"), ("object", "ant"),
          ("between", "bear", "ant", "cat")}),
        ("Nothing that is known", set()),
    ],
)  # fmt: skip
def test_what_a_caption_states(words, facts):
    assert stated(words) == facts


def test_every_fact_has_a_kind():
    assert {fact[0] for scene in SCENES for fact in truths(scene)} <= KINDS.keys()


def test_a_noisy_original_says_which_of_its_facts_are_false_and_the_answer_has_none_of_them():
    kinds = set()
    for n, scene in enumerate(SCENES):
        given = noisy(scene, rng(n))
        assert given.true | given.false == stated(given.original)
        assert given.true <= truths(scene)
        assert not given.false & truths(scene)
        assert stated(given.rewritten) <= truths(scene)
        for extra in given.extras:
            assert extra in given.original
            assert extra in given.rewritten
        kinds |= {KINDS[fact[0]] for fact in given.false}
    assert kinds == {"object", "attribute", "relation", "place"}


def test_an_answer_keeps_all_that_an_original_has_right():
    """Only a second relation between the same things may go: on top of is above, too."""
    kept = 0
    for n, scene in enumerate(SCENES):
        given = noisy(scene, rng(n))
        facts = stated(given.rewritten)
        assert {fact for fact in given.true - facts if fact[0] not in ("left", "next")} == set()
        kept += len(given.true & facts)
        named = {fact[1] for fact in stated(given.original) if fact[0] == "object"}
        assert {fact[1] for fact in facts if fact[0] == "object"} <= named
    assert kept > 0.99 * sum(len(noisy(scene, rng(n)).true) for n, scene in enumerate(SCENES))


GROUPS = (
    Group(thing="phone", colour="blue", size="small"),
    Group(thing="phone", colour="white", size="big"),
    Group(thing="scissors", colour="red", count=3),
)


@pytest.mark.parametrize(
    ("relation", "groups", "original", "answer"),
    [
        ("left", GROUPS[:2], "A big white phone to the right of a phone",
         "A big white phone to the right of a blue phone on a green background"),
        ("on", GROUPS[1:], "Three pairs of scissors with a phone on top",
         "A white phone on top of three pairs of red scissors on a green background"),
        ("on", GROUPS[1:], "A phone on scissors in the snow",
         "A white phone on top of pairs of red scissors on a green background"),
        ("left", GROUPS[1:], "Two pairs of scissors to the left of a red phone",
         "Pairs of red scissors and a white phone on a green background"),
        ("between", GROUPS, "A phone, a dog and a phone",
         "A blue phone and a white phone on a green background"),
        ("left", GROUPS[:2], "Three dogs | Papermoon", "A picture on a green background"),
    ],
)  # fmt: skip
def test_an_original_is_set_right(relation, groups, original, answer):
    scene = replace(
        SCENES[0], groups=groups, relation=relation, place="plain", place_colours=("green",),
        board=None,
    )  # fmt: skip
    said = edited(scene, original, stated(original) & truths(scene))
    assert said == answer
    assert stated(said) <= truths(scene)


def test_half_of_the_originals_hold_what_no_picture_shows():
    given = [noisy(scene, rng(n)) for n, scene in enumerate(SCENES)]
    assert 0.3 < np.mean([bool(each.extras) for each in given]) < 0.7
    assert 0.3 < np.mean([bool(each.false) for each in given]) < 0.7


def test_names_and_numbers_are_put_in_word_for_word():
    for n in range(100):
        text, extras = draw_extras("A red car on the beach. | Papermoon", rng(n))
        assert extras
        assert all(extra in text for extra in extras)
        assert text.endswith("| Papermoon")


def test_a_changed_scene_is_told_otherwise_or_is_the_same_scene():
    told_otherwise = [told(scene) != told(changed(scene, rng(n))) for n, scene in enumerate(SCENES)]
    assert np.mean(told_otherwise) > 0.9


def test_claims_are_true_or_false_as_they_say():
    drawn = [(scene, claim(scene, rng(n))) for n, scene in enumerate(SCENES)]
    assert all(said.true == (stated(said.words) <= truths(scene)) for scene, said in drawn)
    assert 0.35 < np.mean([said.true for _, said in drawn]) < 0.65


def test_the_same_seed_asks_the_same_and_another_turn_asks_otherwise():
    one, again, other = (list(exchanges(3, 5, Asked(turn=turn))) for turn in (0, 0, 1))
    assert one == again
    assert one[0] == other[0]
    assert one[1] != other[1]
    more = list(exchanges(3, 5, Asked(turn=0, rewrites=3)))
    assert more[:2] == one[:2]
    assert len({original for _, original, _ in more[1:4]}) == 3


def test_pictures_do_not_depend_on_workers_and_keep_within_the_budget_of_tokens():
    with LocalEngine(workers=0) as alone, LocalEngine(workers=2) as two:
        pictures = draw_pictures(11, 8, alone, small=True)
        again = draw_pictures(11, 8, two, small=True)
    assert all((one == other).all() for one, other in zip(pictures, again, strict=True))
    for picture in pictures:
        grid = VISION.image_grid(picture.shape[1], picture.shape[0])
        assert (grid[1] * 14, grid[2] * 14) == picture.shape[:2]
        assert 12 <= VISION.tokens(grid) <= 20


def test_a_lesson_is_the_chat_that_a_server_lays_out_and_ends_with_the_end():
    processor = Processor(demo_tokenizer(), VISION)
    alone, both, *_ = lessons(processor, (112, 112), 11, 0, Asked(turn=0))
    text = processor.tokenizer.decode(alone.asked, skip_special=False)
    image = f"<|begin_of_image|>{'<|image|>' * 16}<|end_of_image|>"
    assert text == (
        f'[gMASK]<sop><|system|>\n<|user|>\n{image}<data name="caption"/>\nCaption?<|assistant|>\n'
    )
    assert '<data name="caption">\n' in processor.tokenizer.decode(both.asked)
    assert alone.answer[-1] == processor.tokenizer.end_id
    assert processor.tokenizer.decode(alone.answer) == f"{told(scene_of(11, 0))}."
