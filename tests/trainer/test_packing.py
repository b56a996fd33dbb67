"""Every sample is packed once, packs are full, steps are alike in cost."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.trainer.packing import (
    ITEM,
    Balance,
    CostWeights,
    Items,
    Packer,
    Packing,
    Packs,
    fit,
    group_steps,
)


def items(lengths) -> Items:
    made = np.zeros(len(lengths), ITEM)
    made["tokens"], made["row"] = lengths, np.arange(len(lengths))
    return made


def packs_of(lengths, batch: int = 1000, **packing) -> list[Items]:
    packer = Packer(Packing(**packing))
    stream = items(lengths)
    packs = [
        pack
        for start in range(0, len(stream), batch)
        for packs in packer.add(stream[start : start + batch])
        for pack in packs.each()
    ]
    return [*packs, *(pack for packs in packer.close() for pack in packs.each())]


@given(st.lists(st.integers(1, 64), max_size=80))
def test_no_pack_overflows_and_no_sample_is_lost(lengths):
    packs = fit(np.array(lengths, np.int32), 64)
    assert len(packs) == len(lengths)
    held = np.bincount(packs, lengths)
    assert (held > 0).all() and (held <= 64).all()


def test_the_fullest_pack_that_takes_a_sample_gets_it():
    packs = fit(np.array([60, 50, 12, 4], np.int32), 64)
    assert packs.tolist() == [0, 1, 1, 0]


@given(
    st.lists(st.integers(1, 128), min_size=1, max_size=300),
    st.integers(1, 6),
    st.integers(1, 120),
)
def test_the_stream_comes_out_whole_whatever_its_batches(lengths, window, batch):
    packs = packs_of(lengths, batch, seq_len=128, window=window)
    assert sorted(np.concatenate(packs)["row"].tolist()) == list(range(len(lengths)))
    assert all(pack["tokens"].sum() <= 128 for pack in packs)
    again = packs_of(lengths, 7, seq_len=128, window=window)
    assert [pack["row"].tolist() for pack in again] == [pack["row"].tolist() for pack in packs]


@pytest.mark.parametrize("seq_len", [8192, 32768])
def test_packs_are_full_on_lengths_of_every_kind(seq_len):
    rng = np.random.default_rng(1)
    short = rng.geometric(1 / 300, 60_000) + 60
    pages = rng.integers(2_000, 8_000, 3_000)
    lengths = rng.permutation(np.concatenate([short, pages])).clip(1, seq_len)
    packs = packs_of(lengths, seq_len=seq_len)[: -len(lengths) // 4000 or None]
    assert np.mean([pack["tokens"].sum() for pack in packs]) / seq_len >= 0.995


def test_what_cannot_be_filled_leaves_all_the_same():
    packs = packs_of([500] * 2000, seq_len=819, window=16)
    assert len(packs) == 2000


def test_no_length_waits_for_ever():
    rng = np.random.default_rng(4)
    lengths = np.where(np.arange(4000) % 50 == 7, 700, rng.integers(20, 200, 4000))
    packer = Packer(Packing(seq_len=1000, window=8))
    left_after = {}
    for n in range(0, 4000, 100):
        for packs in packer.add(items(lengths)[n : n + 100]):
            left_after.update((int(row), n) for row in packs.items["row"])
    waits = [left_after[n] - n for n in range(7, 3000, 50)]
    assert max(waits) < 8 * 8 * 1000 / 110 + 200


def test_a_plan_of_so_many_packs_leaves_little_behind():
    lengths = np.random.default_rng(5).integers(20, 400, 4000)
    packer = Packer(Packing(seq_len=1000, window=16), wanted=500)
    packs = [pack for packs in packer.add(items(lengths)) for pack in packs.each()]
    assert len(packs) == 500
    seen = np.concatenate(packs)["row"]
    assert seen.max() + 1 - len(seen) < 60  # the last window alone looks a little ahead
    assert sum(pack["tokens"].sum() for pack in packs) / 500_000 >= 0.99


def some_packs(count: int, seed: int = 2) -> Packs:
    rng = np.random.default_rng(seed)
    parts = [items(rng.integers(10, 4000, rng.integers(2, 40))) for _ in range(count)]
    return Packs(np.concatenate(parts), np.array([len(part) for part in parts]))


def test_steps_are_alike_in_cost_and_shuffled():
    costs = CostWeights(token=0).costs(some_packs(256))
    order = group_steps(costs, 8, seed=3, block=0)
    before, after = Balance(), Balance()
    before.add(costs, 8)
    after.add(costs[order], 8)
    assert before.ratio > 1.5 and after.ratio < 1.1
    means = costs[order].reshape(-1, 8).mean(1)
    assert 0.2 < np.mean(np.diff(means) > 0) < 0.8
    assert sorted(order.tolist()) == list(range(256))
    assert group_steps(costs, 8, seed=3, block=1).tolist() != order.tolist()


def test_packs_are_taken_and_summed_as_one_by_one():
    packs = some_packs(20)
    packs.items["supervised"] = packs.items["tokens"] // 3
    alone = packs.each()
    weights = CostWeights(token=1, square=2, patch=0, patch_square=0, supervised=5)
    sums = [
        int((pack["tokens"] + 2 * pack["tokens"] ** 2 + 5 * pack["supervised"]).sum())
        for pack in alone
    ]
    assert weights.costs(packs).tolist() == sums
    order = np.random.default_rng(0).permutation(20)[:13]
    taken = packs.take(order).each()
    assert [pack["row"].tolist() for pack in taken] == [alone[n]["row"].tolist() for n in order]
    assert packs.take(order[:0]).each() == []


def test_the_time_of_packing_does_not_grow_with_the_length_of_a_sequence():
    shares = np.random.default_rng(6).uniform(0.02, 0.4, 4_000)

    def seconds(seq_len: int) -> float:
        lengths = (shares * seq_len).astype(np.int32)
        began = time.process_time()
        packs_of(lengths, seq_len=seq_len, window=8)
        return time.process_time() - began

    seconds(1_024)
    assert seconds(1 << 18) < 4 * seconds(1_024)
