"""blocklist: every kind of entry, against a plain look-up."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.blocklist import BlockFile
from curation.relational.blocklist import Blocklist
from tests.relational.sessions import dropped
from tests.relational.test_hamming import apart, flipped

SHA = [hashlib.sha256(bytes([n])).hexdigest() for n in range(4)]
UID = [f"{n:032x}" for n in range(6)]
HOSTS = ("example.org", "www.example.org", "a.b.example.org", "myexample.org", "org", "x.com")


def sample(number, **columns):
    plain = {"media_sha256": None, "source_url": None, "domain": None, "phash": None}
    place = {"shard": number // 3, "row": number % 3, "uid": f"{number + 1000:032x}"}
    return {**place, **plain, **columns}


def lists(folder, **texts):
    """Block files by list name."""
    made = []
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
        made.append(BlockFile.at(str(folder / f"{name}.txt")))
    return tuple(made)


def as_hex(value):
    return f"{value & (2**64 - 1):016x}"


def test_each_kind_of_entry_drops_what_it_names(decide, tmp_path):
    files = lists(
        tmp_path,
        abuse=f"sha256:{SHA[0]}\nphash:{as_hex(-2)}/3\n",
        optout="domain:example.org\nurl:https://x.com/a.jpg\n",
        takedown=f"uid:{UID[1]}\n# nothing\n",
    )
    rows = [
        sample(0, media_sha256=SHA[0]),
        sample(1, media_sha256=SHA[1]),
        sample(2, phash=-2),
        sample(3, phash=flipped(-2, [0, 31, 63])),
        sample(4, phash=flipped(-2, [0, 1, 31, 63])),
        sample(5, domain="example.org"),
        sample(6, domain="www.example.org"),
        sample(7, domain="myexample.org"),
        sample(8, source_url="https://x.com/a.jpg", domain="x.com"),
        sample(9, source_url="https://x.com/b.jpg", domain="x.com"),
        sample(10, uid=UID[1]),
        sample(11),
    ]
    said = decide(Blocklist(name="blocklist", lists=files), rows)
    assert said == [
        dropped(rows[0], "blocked_sha256", detail="abuse"),
        dropped(rows[2], "blocked_phash", detail="abuse", value=0, threshold=3),
        dropped(rows[3], "blocked_phash", detail="abuse", value=3, threshold=3),
        dropped(rows[5], "blocked_domain", detail="optout"),
        dropped(rows[6], "blocked_domain", detail="optout"),
        dropped(rows[8], "blocked_url", detail="optout"),
        dropped(rows[10], "blocked_uid", detail="takedown"),
    ]


def test_a_sample_on_several_lists_has_one_verdict(decide, tmp_path):
    files = lists(
        tmp_path,
        second=f"{SHA[0]}\ndomain:example.org\n",
        first=f"{SHA[0]}\nphash:{as_hex(7)}/5\nphash:{as_hex(7)}/2\n",
        third=f"phash:{as_hex(6)}/4\n",
    )
    rows = [
        sample(0, media_sha256=SHA[0], domain="example.org", phash=7),
        sample(1, phash=7),
        sample(2, phash=flipped(6, [9, 10])),
    ]
    assert decide(Blocklist(name="blocklist", lists=files), rows) == [
        dropped(rows[0], "blocked_sha256", detail="first"),
        dropped(rows[1], "blocked_phash", detail="first", value=0, threshold=2),
        dropped(rows[2], "blocked_phash", detail="third", value=2, threshold=4),
    ]


def test_without_lists_nothing_is_dropped(decide):
    rows = [sample(0, media_sha256=SHA[0], phash=1, domain="example.org")]
    assert decide(Blocklist(name="blocklist"), rows) == []


ENTRY = st.one_of(
    st.sampled_from(SHA).map("sha256:{}".format),
    st.sampled_from(UID).map("uid:{}".format),
    st.sampled_from(HOSTS).map("domain:{}".format),
    st.sampled_from(HOSTS).map("url:https://{}/".format),
    st.tuples(st.integers(-9, 9), st.integers(0, 12)).map(lambda e: f"phash:{as_hex(e[0])}/{e[1]}"),
)
ROW = st.fixed_dictionaries(
    {
        "uid": st.sampled_from(UID),
        "media_sha256": st.none() | st.sampled_from(SHA),
        "domain": st.none() | st.sampled_from(HOSTS),
        "source_url": st.none() | st.sampled_from([f"https://{host}/" for host in HOSTS]),
        "phash": st.none() | st.integers(-40, 40) | st.integers(-(1 << 63), (1 << 63) - 1),
    }
)
ORDER = ("sha256", "uid", "url", "domain", "phash")


def hits(row, name, entry):
    """(place, distance, list, allowed) of an entry that names the row."""
    kind, _, value = entry.partition(":")
    place = ORDER.index(kind)
    if kind == "phash":
        digits, _, bits = value.partition("/")
        if row["phash"] is not None:
            distance = apart(row["phash"], int(digits, 16))
            if distance <= int(bits):
                yield place, distance, name, int(bits)
    elif kind == "domain":
        host = row["domain"]
        if host is not None and (host == value or host.endswith(f".{value}")):
            yield place, None, name, None
    elif row[{"sha256": "media_sha256", "url": "source_url"}.get(kind, kind)] == value:
        yield place, None, name, None


@settings(max_examples=40)
@given(st.lists(ROW, max_size=8), st.lists(st.lists(ENTRY, max_size=4), max_size=3))
def test_any_lists_against_a_plain_look_up(decide, tmp_path_factory, rows, entries):
    folder = tmp_path_factory.mktemp("lists")
    texts = {f"list{n}": "\n".join(lines) for n, lines in enumerate(entries)}
    rows = [sample(n, **row) for n, row in enumerate(rows)]
    expected = []
    for row in rows:
        found = sorted(
            hit
            for name, text in texts.items()
            for line in text.split()
            for hit in hits(row, name, line)
        )
        if found:
            place, distance, name, allowed = found[0]
            expected.append(
                dropped(row, f"blocked_{ORDER[place]}", detail=name, value=distance,
                        threshold=allowed)
            )  # fmt: skip
    assert decide(Blocklist(name="blocklist", lists=lists(folder, **texts)), rows) == expected


@pytest.mark.parametrize("bits", [0, 12])
def test_a_distance_of_nought_and_the_largest(decide, tmp_path, bits):
    origin = 0x0123456789ABCDEF
    files = lists(tmp_path, own=f"phash:{as_hex(origin)}/{bits}\n")
    rows = [sample(n, phash=flipped(origin, range(3, 3 + n))) for n in range(14)]
    said = decide(Blocklist(name="blocklist", lists=files), rows)
    assert [v["value"] for v in said] == list(range(bits + 1))
