"""A million rows, and fifty people at once; how long that takes is a benchmark's (`viewer`)."""

from pathlib import Path

import duckdb
import pytest

from tests.pipeline.corpora import curate, write_pairs
from tests.report.viewer.corpora import view_of
from tests.report.viewer.crowd import ASKED, crowd
from tests.report.viewer.large import PER_SHARD, enlarge

pytestmark = pytest.mark.slow

SHARDS = 20


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    curate(write_pairs(folder / "source", 60), folder / "small", shard_samples=60)
    return enlarge(folder / "small", folder / "large", SHARDS)


def test_a_recount_of_a_million_rows_is_exact(large):
    view = view_of(large)
    assert view.fates.size == SHARDS * PER_SHARD
    (layer,) = (large / "layers").glob("image_pixels-*")
    (final,) = (large / "ledgers").glob("final-*")
    kept = (
        f"(SELECT blur FROM read_parquet('{layer}/0*.parquet') "
        f"JOIN read_parquet('{final}/0*.parquet') USING (shard, row) WHERE status = 'kept')"
    )
    with duckdb.connect() as plain:
        query = f"SELECT quantile_disc(blur, [0.1, 0.5, 0.9]) FROM {kept}"
        ((places,),) = plain.execute(query).fetchall()
        for threshold in places:
            said = view.recount("heuristics.blur", {"heuristics.blur": threshold})
            query = f"SELECT count(*) FROM {kept} WHERE blur >= {threshold}"
            ((left,),) = plain.execute(query).fetchall()
            assert said["kept"] == left < view.whatif.kept


def test_fifty_requests_at_once_all_get_their_answer(large):
    told = crowd(large)
    assert {code for code, _ in told} == {200}
    assert len(told) >= 10 * len(ASKED)
