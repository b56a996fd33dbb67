"""Tar archives: what we write any reader reads, and what others write or break we walk."""

import hashlib
import io
import random
import subprocess
import tarfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.io.tar import BLOCK, TarDamageError, TarMember, TarWriter, header, padding, walk

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100)
DATA = st.binary(max_size=1500)


def written(members: list[tuple[str, bytes]]) -> tuple[bytes, list[int], str]:
    """An archive by our writer, the offsets it told, and the hash it told."""
    sink = io.BytesIO()
    writer = TarWriter(sink)
    offsets = [writer.add(name, data) for name, data in members]
    sha = writer.finish()
    assert writer.bytes == len(sink.getvalue())
    return sink.getvalue(), offsets, sha


@settings(max_examples=80)
@given(st.lists(st.tuples(PLAIN, DATA), max_size=6))
def test_pythons_tarfile_reads_what_we_write(members):
    archive, offsets, sha = written(members)
    assert written(members) == (archive, offsets, sha)
    assert sha == hashlib.sha256(archive).hexdigest()
    assert len(archive) % BLOCK == 0
    with tarfile.open(fileobj=io.BytesIO(archive), errorlevel=2) as tar:
        read = [(m, tar.extractfile(m).read()) for m in tar.getmembers()]
    assert [(m.name.rstrip("/"), data) for m, data in read] == [
        (name.rstrip("/"), data) for name, data in members
    ]
    assert [m.offset_data for m, _ in read] == offsets
    facts = {(m.mtime, m.mode, m.uid, m.gid, m.uname, m.gname, m.type) for m, _ in read}
    assert facts <= {(0, 0o644, 0, 0, "", "", tarfile.REGTYPE)}


def test_gnu_tar_reads_what_we_write(tmp_path):
    members = [
        ("000000000000000.jpg", b"\xff\xd8" * 700),
        ("a" * 100, b""),
        ("x/y.txt", b"z" * 512),
    ]
    (tmp_path / "a.tar").write_bytes(written(members)[0])
    command = ["tar", "-tvf", tmp_path / "a.tar"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)
    assert listing.stderr == ""
    assert [line.split()[-1] for line in listing.stdout.splitlines()] == [n for n, _ in members]
    subprocess.run(["tar", "-xf", tmp_path / "a.tar", "-C", tmp_path], check=True)
    assert [(name, (tmp_path / name).read_bytes()) for name, _ in members] == members


def test_a_header_refuses_what_ustar_cannot_say():
    with pytest.raises(ValueError, match="over 100 bytes"):
        header("a" * 101, 0)
    with pytest.raises(ValueError, match="over 8 GiB"):
        header("a", 1 << 33)
    with pytest.raises(ValueError, match="ascii"):
        header("é", 0)
    info = tarfile.TarInfo.frombuf(header("a", (1 << 33) - 1), "ascii", "strict")
    assert info.size == (1 << 33) - 1


@given(st.integers(0, 1 << 40))
def test_padding_fills_a_block(size):
    assert 0 <= padding(size) < BLOCK
    assert (size + padding(size)) % BLOCK == 0


# --- walking archives of others ---

NAME = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE,
     tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)  # fmt: skip


def made(members: list[tuple[str, bytes, bytes]], kind: str) -> bytes:
    """An archive by Python's tarfile of (name, type, data)."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=FORMATS[kind]) as tar:
        for name, form, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = form, "elsewhere" * 20 if form in b"12" else ""
            info.mtime = 1_700_000_000
            if info.isreg() and not (form == tarfile.AREGTYPE and name.endswith("/")):
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def walked(archive: bytes) -> list[TarMember]:
    return list(walk(io.BytesIO(archive), len(archive)))


def agrees(archive: bytes) -> None:
    """Our members are those of Python's tarfile."""
    with tarfile.open(fileobj=io.BytesIO(archive), errorlevel=2) as tar:
        theirs = [
            (m.name.rstrip("/"), m.offset_data, m.size if m.isreg() else 0, m.isreg(), m.isdir())
            for m in tar
        ]
    ours = [
        (
            m.name.decode("utf-8", "surrogateescape").rstrip("/"),
            m.offset,
            m.size,
            m.regular,
            m.folder,
        )
        for m in walked(archive)
    ]
    assert ours == theirs


@example("pax", [("é\n", tarfile.REGTYPE, b"x"), ("a=b\né=\n\n", tarfile.REGTYPE, b"y")])
@settings(max_examples=150)
@given(st.sampled_from(["gnu", "pax"]), st.lists(st.tuples(NAME, KINDS, DATA), max_size=6))
def test_any_names_and_kinds_are_walked_as_tarfile_does(kind, members):
    agrees(made(members, kind))


@pytest.mark.parametrize("kind", FORMATS)
def test_long_and_foreign_names_links_and_folders(kind):
    long = "/".join(["a-folder-with-a-long-name"] * 6)
    members = [
        (f"{long}/{'x' * 90}.jpg", tarfile.REGTYPE, b"1" * 700),
        (f"{long}/", tarfile.DIRTYPE, b""),
        ("日本語/画像.jpg", tarfile.REGTYPE, b"2"),
        ("link.jpg", tarfile.SYMTYPE, b""),
        ("hard.jpg", tarfile.LNKTYPE, b""),
        ("caf\udce9.jpg", tarfile.REGTYPE, b"3" * 513),
        ("old", tarfile.AREGTYPE, b"4"),
        ("pipe", tarfile.FIFOTYPE, b""),
    ]
    if kind == "ustar":
        members = [m for m in members if m[1] not in (tarfile.SYMTYPE, tarfile.LNKTYPE)]
    archive = made(members, kind)
    agrees(archive)
    assert next(m.name for m in walked(archive)) == f"{long}/{'x' * 90}.jpg".encode()
    if kind != "ustar":
        members[0] = (f"{'y' * 3000}.jpg", tarfile.REGTYPE, b"1" * 700)
        agrees(made(members, kind))


@pytest.mark.parametrize(
    "options", [["--format=gnu"], ["--format=pax"], ["--format=ustar"], ["--format=v7"]]
)
def test_archives_of_gnu_tar(tmp_path, options):
    source = tmp_path / "source"
    (source / "folder" / ("deep" * 10)).mkdir(parents=True)
    names = ["a.jpg", "folder/b.txt", f"folder/{'deep' * 10}/c.json", "folder/ümlaut.jpg"]
    for n, name in enumerate(names):
        (source / name).write_bytes(bytes([n]) * n * 400)
    (source / "link").symlink_to("a.jpg")
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", *options, "-cf", archive, "-C", source, "."], check=True)
    agrees(archive.read_bytes())
    data = archive.read_bytes()
    found = {m.name.decode(): data[m.offset : m.offset + m.size] for m in walked(data) if m.regular}
    assert found == {f"./{name}": (source / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    "options",
    [["--format=gnu"], *([f"--sparse-version={v}", "--format=pax"] for v in ("0.0", "0.1", "1.0"))],
)
def test_sparse_files_are_passed_over_and_what_follows_is_found(tmp_path, options):
    with (tmp_path / "sparse").open("wb") as file:
        for n in range(40):  # more holes than one header can list
            file.seek(n * 100_000)
            file.write(bytes([65 + n % 26]) * 4096)
    (tmp_path / "after.txt").write_text("what follows")
    archive = tmp_path / "a.tar"
    command = ["tar", "--sparse", *options, "-cf", archive, "-C", tmp_path, "sparse", "after.txt"]
    subprocess.run(command, check=True)
    data = archive.read_bytes()
    assert len(data) < 400_000
    sparse, after = walked(data)
    assert (sparse.regular, after.regular, after.name) == (False, True, b"after.txt")
    assert data[after.offset : after.offset + after.size] == b"what follows"


def test_a_size_in_base_256(tmp_path):
    """GNU's form for more than 8 GiB: the header is taken, the data need not be there."""
    info = tarfile.TarInfo("big.bin")
    info.size = 9 << 30
    block = info.tobuf(tarfile.GNU_FORMAT)
    with (tmp_path / "big.tar").open("wb") as file:
        file.write(block)
        file.truncate(BLOCK + info.size)
        file.seek(BLOCK + info.size)
        file.write(tarfile.TarInfo("after.txt").tobuf() + bytes(1024))
        size = file.tell()
    with (tmp_path / "big.tar").open("rb") as file:
        big, after = walk(file, size)
    assert (big.name, big.size, after.name) == (b"big.bin", 9 << 30, b"after.txt")


def patched(block: bytes, at: int, field: bytes) -> bytes:
    """A header with a field replaced and its checksum made to hold again."""
    block = block[:at] + field + block[at + len(field) :]
    total = sum(block[:148]) + sum(block[156:]) + 8 * 0x20
    return block[:148] + b"%06o\x00 " % total + block[156:]


GOOD = header("good.txt", 4) + b"good" + bytes(508)


@pytest.mark.parametrize(
    "block",
    [
        b"x" * BLOCK,
        header("a", 3)[:-1] + b"x",
        patched(header("a", 3), 124, b"\xff" * 12),
        patched(header("a", 3), 124, b"\x80" + b"\xff" * 11),
        patched(header("a", 3), 124, b"0000000009\x00 "),
        patched(header("a", 3), 124, b"00000 0003\x00 "),
        patched(header("a", 3), 124, b"-0000000003\x00"),
        header("a", 3)[:148] + b"notoctal" + header("a", 3)[156:],
        patched(header("a", 2 << 20), 156, b"L"),
        patched(header("a", 2 << 20), 156, b"x"),
    ],
)
def test_a_header_that_is_not_one_ends_the_walk_at_its_place(block):
    archive = GOOD + block + bytes(2048)
    found = []
    with pytest.raises(TarDamageError) as caught:
        found.extend(walk(io.BytesIO(archive), len(archive)))
    assert not caught.value.truncated
    assert 1024 <= caught.value.offset <= 1024 + BLOCK
    assert f"at byte {caught.value.offset}" in str(caught.value)


@pytest.mark.parametrize(
    "records",
    [
        b"path=no length\n",
        b"99 path=too long\n",
        b"4 path=short\n",
        b"-1 path=x\n",
        b"0 path=x\n",
        b"8 nothing\n",
        b"13 size=1e3\n",
        b"13 size=-12\n",
        b"36 size=1111111111111111111111111\n",
        b"1111111111111111111111 path=x\n",
        b" path=x\n",
    ],
)
def test_malformed_pax_records_are_damage(records):
    extension = patched(header("pax", len(records)), 156, b"x")
    archive = GOOD + extension + records.ljust(BLOCK, b"\x00") + GOOD + bytes(1024)
    with pytest.raises(TarDamageError, match="pax") as caught:
        walked(archive)
    assert not caught.value.truncated


def test_signed_checksums_of_old_writers_are_taken():
    info = tarfile.TarInfo("caf\xe9.jpg").tobuf(tarfile.USTAR_FORMAT, "latin-1")
    signed = sum(b - 256 * (b > 127) for b in info[:148] + info[156:]) + 8 * 0x20
    block = info[:148] + b"%06o\x00 " % signed + info[156:]
    assert [m.name for m in walked(block + bytes(1024))] == [b"caf\xe9.jpg"]


LONG = "-long" * 30
MIXED = [
    (f"{n:03d}{LONG if n % 4 == 0 else ''}.{ext}", tarfile.REGTYPE, bytes([n]) * (n * 97 % 1300))
    for n in range(12)
    for ext in ("jpg", "txt")
]


@pytest.mark.parametrize("kind", ["gnu", "pax"])
def test_a_cut_anywhere_leaves_the_members_before_it(kind):
    archive = made(MIXED, kind)
    whole = walked(archive)
    rng = random.Random(kind)
    end = whole[-1].offset + whole[-1].size
    end += padding(end)
    cuts = {0, 1, BLOCK, *(m.offset for m in whole), *(rng.randrange(end) for _ in range(300))}
    for cut in sorted(cuts):
        found: list[TarMember] = []
        with pytest.raises(TarDamageError) as caught:
            for member in walk(io.BytesIO(archive[:cut]), cut):
                found.append(member)
        assert caught.value.truncated
        assert found == whole[: len(found)]
        intact = [m for m in found if m.offset + m.size <= cut]
        assert intact == [m for m in whole if m.offset + m.size <= cut]
        assert len(found) - len(intact) <= 1


def test_a_walk_can_begin_at_any_header():
    archive = made(MIXED, "gnu")
    whole = walked(archive)
    for before, rest in zip(whole, range(1, len(whole)), strict=False):
        start = before.offset + before.size
        assert list(walk(io.BytesIO(archive), len(archive), start + padding(start))) == whole[rest:]


@settings(max_examples=300, deadline=1000)
@given(st.data())
def test_damage_of_any_kind_raises_one_error(data):
    archive = bytearray(made(MIXED[2:8], data.draw(st.sampled_from(["gnu", "pax", "ustar"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(archive) - 1))
        archive[at] = data.draw(st.integers(0, 255))
    members = 0
    try:
        for _ in walk(io.BytesIO(bytes(archive)), len(archive)):
            members += 1
    except TarDamageError as fault:
        assert fault.offset <= len(archive) + 1024
    assert members <= len(archive) // BLOCK


@given(st.binary(max_size=3000))
def test_bytes_of_any_kind_raise_one_error(data):
    try:
        assert list(walk(io.BytesIO(data), len(data))) == []
    except TarDamageError as fault:
        assert fault.offset <= len(data)
