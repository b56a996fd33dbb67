"""Pairs of 64-bit hashes within a Hamming distance, exactly, by block-permutation tables.

Manku, Jain and Das Sarma, "Detecting Near-Duplicates for Web Crawling" (WWW 2007): cut 64 bits
into d + m blocks; two hashes within d differ in at most d of them, so they agree on some m. One
equality join for each choice of m blocks finds every pair.
"""

from itertools import combinations, pairwise

import pyarrow as pa

from curation.core.step import Session

MANY_HASHES = 100_000_000
"""Distinct hashes above which keys take one block more, to keep candidates few."""

MAX_DISTANCE = 12

_MASKS = pa.schema([("nth", pa.int32()), ("mask", pa.int64())])


def block_masks(distance: int, hashes: int) -> list[int]:
    """Masks (as signed 64-bit) such that hashes within `distance` agree under at least one.

    At distance 3: 10 tables of 5 blocks choose 2; above 100 million hashes 20 of 6 choose 3.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance must be 0 to {MAX_DISTANCE}, got {distance}")
    if distance == 0:
        return [-1]
    chosen = 2 if hashes <= MANY_HASHES else 3
    blocks = distance + chosen
    edges = [round(64 * n / blocks) for n in range(blocks + 1)]
    parts = [((1 << high) - 1) ^ ((1 << low) - 1) for low, high in pairwise(edges)]
    return [_signed(sum(choice)) for choice in combinations(parts, chosen)]


def _signed(mask: int) -> int:
    return mask - (1 << 64) if mask >> 63 else mask


def near_pairs(session: Session, table: str, hashes: str, distance: int) -> None:
    """Makes `table(a, b, distance)`, a < b, of every pair in `hashes(phash)` within `distance`."""
    count = int(session.scalar(f"SELECT count(*) FROM {hashes}"))
    masks = block_masks(distance, count)
    for number, mask in enumerate(masks):
        # A pair found under several masks is reported by the first one only.
        earlier = "".join(f" AND x.phash & {m} <> y.phash & {m}" for m in masks[:number])
        session.create(
            f"{table}_{number}",
            f"""
            SELECT x.phash AS a, y.phash AS b, bit_count(xor(x.phash, y.phash)) AS distance
            FROM {hashes} AS x JOIN {hashes} AS y ON x.phash & {mask} = y.phash & {mask}
            WHERE x.phash < y.phash AND bit_count(xor(x.phash, y.phash)) <= {distance}{earlier}
            """,
        )
    parts = [f"{table}_{number}" for number in range(len(masks))]
    session.create(table, " UNION ALL ".join(f"SELECT a, b, distance FROM {p}" for p in parts))
    session.drop(*parts)


def near_matches(session: Session, table: str, hashes: str, wanted: str, distance: int) -> None:
    """Makes `table(phash, wanted, distance)`: hashes near one of `wanted(phash, distance)`.

    Each wanted hash has its own distance; `distance` is the largest of them.
    """
    masks = block_masks(distance, 0)
    session.load(
        f"{table}_masks", pa.table({"nth": range(len(masks)), "mask": masks}, schema=_MASKS)
    )

    # One join over (mask, key), however many masks: Spark plans a union of 45 joins for minutes.
    def keyed(rows: str, *columns: str) -> str:
        named = "".join(f"h.{column}, " for column in columns)
        both = f"{rows} AS h CROSS JOIN {table}_masks AS m"
        return f"(SELECT {named}m.nth, h.phash & m.mask AS key FROM {both})"

    session.create(
        table,
        f"""
        SELECT DISTINCT x.phash AS phash, y.phash AS wanted,
               bit_count(xor(x.phash, y.phash)) AS distance, y.distance AS allowed
        FROM {keyed(hashes, "phash")} AS x
        JOIN {keyed(wanted, "phash", "distance")} AS y ON x.nth = y.nth AND x.key = y.key
        WHERE bit_count(xor(x.phash, y.phash)) <= y.distance
        """,
    )
    session.drop(f"{table}_masks")
