"""Decompression: every kind, several members, cut, damaged; text, UTF-16 and binary told apart."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import sys
from pathlib import Path

import pytest

from oomsight.sources import decode, program
from oomsight.sources.errors import NotText, SourceError
from oomsight.sources.files import FileRef, open_blocks

_RANDOM = random.Random(7)
TEXT = b"".join(b"line %d %d Killed process\n" % (n, _RANDOM.randrange(10**9)) for n in range(60_000))  # 2.1 MB


def zstd_compress(data: bytes) -> bytes:
    """One zstd frame with a checksum."""
    zstd = pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


COMPRESS = {"gzip": gzip.compress, "xz": lambda data: lzma.compress(data, preset=0), "bzip2": bz2.compress, "zstd": zstd_compress}
kinds = pytest.mark.parametrize("kind", list(COMPRESS))


@pytest.fixture(params=["isal", "zlib"])
def gzip_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with isal and with the standard library."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    else:
        pytest.importorskip("isal")


def read(path: Path, notes: list[str] | None = None) -> bytes:
    """All that is read from a file."""
    return b"".join(open_blocks(FileRef(str(path), "file", (str(path),), path.stat().st_size), notes=notes))


@kinds
def test_plain_compressed_whole(kind, tmp_path):
    path = tmp_path / "kern.log"  # the name says nothing
    path.write_bytes(COMPRESS[kind](TEXT))
    notes: list[str] = []
    assert read(path, notes) == TEXT
    assert notes == []


@kinds
def test_plain_several_members_all_read(kind, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(COMPRESS[kind](TEXT) + COMPRESS[kind](b"second\n") + COMPRESS[kind](b"") + COMPRESS[kind](b"third\n"))
    notes: list[str] = []
    assert read(path, notes) == TEXT + b"second\nthird\n"
    assert notes == []


@pytest.mark.usefixtures("gzip_library")
def test_plain_gzip_members_with_padding_all_read(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(TEXT) + b"\0" * 1024 + gzip.compress(b"second\n") + b"\0" * 512)
    notes: list[str] = []
    assert read(path, notes) == TEXT + b"second\n"
    assert notes == []


@kinds
def test_plain_truncated_prefix_read_and_said(kind, tmp_path):
    path = tmp_path / "x"
    packed = COMPRESS[kind](TEXT)
    path.write_bytes(COMPRESS[kind](b"first\n") + packed[: len(packed) * 3 // 4])
    notes: list[str] = []
    got = read(path, notes)
    assert (b"first\n" + TEXT).startswith(got)
    assert len(got) > (len(TEXT) // 4 if kind in ("gzip", "zstd") else 5)
    assert len(notes) == 1
    assert notes[0].startswith(f"{path}: {kind} stream is cut after ")
    assert notes[0].endswith("; explained what was readable, a whole copy may hold more")


@pytest.mark.parametrize("kind", ["xz", "bzip2"])
def test_plain_cut_before_any_text_is_an_error_with_a_way_out(kind, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(COMPRESS[kind](TEXT)[:20])
    with pytest.raises(SourceError) as caught:
        read(path, [])
    assert str(caught.value) == f"{path}: {kind} stream is cut before any text; try: a whole copy of the file"


@pytest.mark.usefixtures("gzip_library")
def test_plain_gzip_wrong_checksum_everything_read_and_said(tmp_path):
    path = tmp_path / "x.gz"
    packed = bytearray(gzip.compress(TEXT))
    packed[-8] ^= 1  # CRC
    path.write_bytes(packed)
    notes: list[str] = []
    assert read(path, notes) == TEXT
    assert len(notes) == 1
    assert "gzip stream is damaged (" in notes[0]
    assert "after 2.1 MB of text" in notes[0]


@kinds
def test_plain_damaged_in_the_middle_prefix_read_and_said(kind, tmp_path):
    path = tmp_path / "x"
    first = COMPRESS[kind](TEXT)
    packed = bytearray(COMPRESS[kind](TEXT))
    packed[len(packed) // 2 : len(packed) // 2 + 200] = b"\xff" * 200
    path.write_bytes(first + packed)
    notes: list[str] = []
    got = read(path, notes)
    assert got.startswith(TEXT)  # nothing of the good member is lost
    assert len(notes) == 1
    assert f"{kind} stream is damaged" in notes[0]


def test_plain_zstd_without_library_uses_the_program(tmp_path, monkeypatch):
    packed = zstd_compress(TEXT) + zstd_compress(b"second\n")
    if program.find("zstd") is None:
        pytest.skip("zstd(1) is not installed")
    path = tmp_path / "x.zst"
    path.write_bytes(packed)
    for name in ("backports", "backports.zstd", "compression", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    notes: list[str] = []
    assert read(path, notes) == TEXT + b"second\n"
    path.write_bytes(packed[: len(packed) // 2])
    assert notes == []
    assert TEXT.startswith(read(path, notes))
    assert len(notes) == 1
    assert "zstd stream is cut or damaged (" in notes[0]


def test_plain_zstd_without_library_or_program_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "a b.zst"
    path.write_bytes(zstd_compress(TEXT))
    for name in ("backports", "backports.zstd", "compression", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(decode, "find", lambda _: None)
    with pytest.raises(SourceError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: zstd-compressed, and no library for it is installed; try: zstd -dc '{path}' | oomsight explain -"
    )


def test_plain_zip_bomb_in_small_steps(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0\n" * (32 << 20)))
    sizes = [len(block) for block in open_blocks(FileRef("bomb", "file", (str(path),), path.stat().st_size))]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= decode.OUTPUT_BYTES


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_plain_utf16_with_bom_decoded(encoding, tmp_path):
    path = tmp_path / "pasted.txt"
    text = "Out of memory: Killed process 7 (jäva)\r\n" * 20_000
    path.write_bytes(("\ufeff" + text).encode(encoding))
    assert read(path) == text.encode()


def test_plain_utf8_bom_removed(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfhello\n")
    assert read(path) == b"hello\n"


def test_plain_log_with_a_run_of_nul_is_text(tmp_path):
    path = tmp_path / "kern.log"
    data = b"good line\n" * 10 + b"\0" * 40_000 + b"good line\n" * 10
    path.write_bytes(data)
    assert read(path) == data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bytes(range(256)) * 64, "is not a text log (binary data); try: strings "),
        (b"\x7fELF\x02\x01\x01" + bytes(500), "is a binary (ELF); try: strings "),
        (b"PK\x03\x04" + bytes(26), "is a zip archive; try: unzip -p "),
        (b"\x04\x22\x4d\x18abc", "is lz4-compressed; try: lz4 -dc "),
    ],
)
def test_plain_not_text_one_clear_line(data, says, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(NotText) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {says}")
    assert "\n" not in str(caught.value)


@kinds
@pytest.mark.parametrize("behind", [b"rubbish\n", b"r", b"\xff" * 5000])
def test_what_is_no_stream_behind_one_is_left_out_and_told(kind, behind, tmp_path):
    path = tmp_path / "log.packed"
    path.write_bytes(COMPRESS[kind](TEXT) * 2 + behind)
    notes: list[str] = []
    assert read(path, notes) == TEXT * 2
    assert notes == [f"{path}: behind 4.3 MB of text stands something that is no {kind} stream; it is left out"]
