"""
Turning the bytes of a file into plain log bytes: decompression, UTF-16, and telling binary from text.

What a file is, its first bytes say, not its name. A damaged archive gives everything that can be decompressed, to
the last byte before the damage, and then one note.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from itertools import chain
from shlex import quote
from typing import Final, Protocol

from oomsight._named import NamedTuple
from oomsight.sources.errors import NotText, SourceError
from oomsight.sources.program import Program, find

OUTPUT_BYTES: Final = 1 << 20  #: most that one step of decompression may give: bounds the memory of a zip bomb
_XZ_MEMORY_BYTES: Final = 256 << 20
_SNIFF_BYTES: Final = 64 << 10
_MAGIC_BYTES: Final = 8

Again = Callable[[], Iterator[bytes]]
"""Opens the raw bytes of a source once more, from their begin."""


class Decompressor(Protocol):
    """What bz2, lzma, isal and zstd agree on."""

    @property
    def eof(self) -> bool:
        """The end of one compressed stream was reached."""

    @property
    def needs_input(self) -> bool:
        """False while output of the input given so far is still to be had."""

    @property
    def unused_data(self) -> bytes:
        """Input behind the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        """Return at most *max_length* bytes of output."""


class _Zlib:
    """The standard library's gzip reader in the shape of the others."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(31)  # gzip header and checksum

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail and not self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _gzip() -> Callable[[], Decompressor]:
    try:
        from isal import igzip_lib
    except ImportError:
        return _Zlib
    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _bz2() -> Callable[[], Decompressor]:
    import bz2

    return bz2.BZ2Decompressor


def _xz() -> Callable[[], Decompressor]:
    import lzma

    return lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)


def _zstd() -> Callable[[], Decompressor] | None:
    try:
        from compression.zstd import ZstdDecompressor  # type: ignore[import-not-found,unused-ignore]  # 3.14
    except ImportError:
        try:
            from backports.zstd import ZstdDecompressor
        except ImportError:
            return None
    return ZstdDecompressor  # type: ignore[no-any-return,unused-ignore]


class Codec(NamedTuple):
    """One kind of compression; ``load`` gives a factory of decompressors, or ``None`` when no library has one."""

    name: str
    magic: bytes
    load: Callable[[], Callable[[], Decompressor] | None]
    program: str | None = None  #: program that decompresses to stdout with ``-dc``, when there is no library


CODECS: Final = (
    Codec("gzip", b"\x1f\x8b\x08", _gzip),
    Codec("xz", b"\xfd7zXZ\x00", _xz),
    Codec("zstd", b"\x28\xb5\x2f\xfd", _zstd, "zstd"),
    Codec("bzip2", b"BZh", _bz2),
)

JOURNAL_MAGIC: Final = b"LPKSHHRH"

# First bytes of what we do not unpack, and the command that does.
_PACKED: Final = (
    (b"PK\x03\x04", "a zip archive", "unzip -p {} | oomsight explain -"),
    (b"\x04\x22\x4d\x18", "lz4-compressed", "lz4 -dc {} | oomsight explain -"),
    (b"\x1f\x9d", "compressed with compress(1)", "zcat {} | oomsight explain -"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x -so {} | oomsight explain -"),
    (b"LZIP", "lzip-compressed", "lzip -dc {} | oomsight explain -"),
    (b"\x7fELF", "a binary (ELF)", "strings {} | oomsight explain -"),
    (b"KDUMP   ", "a kernel crash dump", "makedumpfile --dump-dmesg, or crash(8) log"),
    (JOURNAL_MAGIC, "a journal file", "journalctl -k -o export | oomsight explain -"),
)

_BOMS: Final = (
    (codecs.BOM_UTF8, None),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Bytes that text has none of; NUL is judged apart, because a crash leaves blocks of them in good logs.
_CONTROL: Final = bytes(byte for byte in range(1, 32) if byte not in b"\t\n\v\f\r\x1b\x08") + b"\x7f"


def codec_of(head: bytes) -> Codec | None:
    """The compression that data beginning with *head* has, ``None`` when it has none we know."""
    return next((codec for codec in CODECS if head.startswith(codec.magic)), None)


def is_packed(head: bytes) -> bool:
    """Whether *head* is the begin of something we do not unpack."""
    return any(head.startswith(magic) for magic, _, _ in _PACKED)


def is_binary(head: bytes) -> bool:
    """Whether *head*, the begin of some data, is not the begin of a text."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    text = head[:_SNIFF_BYTES].replace(b"\0", b"")
    control = len(text) - len(text.translate(None, _CONTROL))
    nul = len(head[:_SNIFF_BYTES]) - len(text)
    # wtmp and its kind are records padded with NULs; a crashed log is NULs in a row between good lines.
    return control * 50 > len(text) if nul else control * 4 > len(text)


def is_plain(head: bytes) -> bool:
    """Whether data beginning with *head* is text as it stands: nothing to unpack or decode, no binary data."""
    begins = any(head.startswith(bom) for bom, _ in _BOMS)
    return not (begins or codec_of(head) or is_packed(head) or is_binary(head))


def plain(
    name: str,
    blocks: Iterator[bytes],
    notes: list[str],
    again: Again | None = None,
    path: str | None = None,
) -> Iterator[bytes]:
    """
    Yield the text in *blocks*, the raw bytes of source *name*, decompressed and as UTF-8.

    *again* opens the raw blocks a second time (``None`` where that cannot be done, as for a pipe); with it nothing
    before the damage in an archive is lost. *path* is the file, for a program where no library is installed.
    Raises :class:`SourceError` for what is not text at all.
    """
    head = b""
    while len(head) < _MAGIC_BYTES and (block := next(blocks, b"")):
        head += block
    codec = codec_of(head)
    if codec is None:
        yield from _text(name, chain([head], blocks))
        return
    factory, program = codec.load(), codec.program and find(codec.program)
    if factory:
        text = _decompress(name, codec, factory, chain([head], blocks), notes=notes, again=again)
    elif program and path:
        text = _by_program(name, codec.name, [program, "-dcq", "--", path], notes)
    else:
        command = f"{codec.program or codec.name} -dc {quote(name)} | oomsight explain -"
        raise SourceError(name, f"{codec.name}-compressed, and no library for it is installed", command)
    yield from _text(name, text)


def _text(name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield *blocks* as they are, or as UTF-8 when they are UTF-16."""
    head = next(blocks, b"")
    for magic, what, how in _PACKED:
        if head.startswith(magic):
            raise NotText(name, f"is {what}", how.format(quote(name)))
    if is_binary(head):
        raise NotText(name, "is not a text log (binary data)", f"strings {quote(name)} | oomsight explain -")
    bom, encoding = next((row for row in _BOMS if head.startswith(row[0])), (b"", None))
    blocks = chain([head[len(bom) :]], blocks)
    if encoding is None:
        yield from blocks
        return
    decode = codecs.getincrementaldecoder(encoding)(errors="replace").decode
    for block in blocks:
        yield decode(block).encode("utf-8", "replace")
    yield decode(b"", True).encode("utf-8", "replace")


class _Members:
    """Decompression of a file that may hold several streams one behind the other (logrotate appends)."""

    def __init__(self, factory: Callable[[], Decompressor], magic: bytes) -> None:
        self._factory, self._magic = factory, magic
        self._stream: Decompressor | None = None  # None between two streams
        self._streams = 0
        self.trailing = False  #: something that is no stream stands behind the last one, and is left out

    @property
    def unfinished(self) -> bool:
        """The stream in hand has not come to its end."""
        return self._stream is not None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the output of *data*; raises whatever the library raises on damage."""
        while True:
            if self._stream is None:
                data = data.lstrip(b"\0")  # padding between streams
                self.trailing = self.trailing or (self._streams > 0 and not self._begins(data))
                if not data or self.trailing:
                    return
                self._stream = self._factory()
                self._streams += 1
            output = self._stream.decompress(data, OUTPUT_BYTES)
            data = b""
            if output:
                yield output
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = None
            elif self._stream.needs_input or not output:
                return

    def _begins(self, data: bytes) -> bool:
        """Whether *data* could be the begin of one more stream; the frames zstd lets one skip count as such."""
        magic = self._magic
        return data[: len(magic)] == magic[: len(data)] or data[1:4] == b"\x2a\x4d\x18"


def _decompress(
    name: str,
    codec: Codec,
    factory: Callable[[], Decompressor],
    blocks: Iterator[bytes],
    *,
    notes: list[str],
    again: Again | None,
) -> Iterator[bytes]:
    """Yield what the archive in *blocks* holds: every member or frame, and up to the damage when it is damaged."""
    members, fault = _Members(factory, codec.magic), ""
    read_bytes = text_bytes = 0
    for block in blocks:
        try:
            for output in members.feed(block):
                text_bytes += len(output)
                yield output
        except Exception as error:
            fault = f"is damaged ({error or type(error).__name__})"
            break
        read_bytes += len(block)
    if fault and again:
        # The call that failed kept its output to itself: go there once more and take the last steps byte by byte.
        known = text_bytes
        for output in _carefully(_Members(factory, codec.magic), again(), read_bytes):
            if len(output) > known:
                text_bytes += len(output) - known
                yield output[known:]
            known = max(0, known - len(output))
    if not fault and members.unfinished:
        fault = "is cut"
    if fault:
        _told(name, codec.name, fault, text_bytes, notes)
    elif members.trailing:
        left_out = f"{_size(text_bytes)} of text stands something that is no {codec.name} stream; it is left out"
        notes.append(f"{name}: behind {left_out}")


def _carefully(members: _Members, blocks: Iterator[bytes], good_bytes: int) -> Iterator[bytes]:
    """Decompress *good_bytes* of *blocks*, which are known to be good, and then byte by byte up to the damage."""
    for block in blocks:
        good, rest = block[:good_bytes], block[good_bytes:]
        good_bytes -= len(good)
        try:
            yield from members.feed(good)
            for at in range(len(rest)):
                yield from members.feed(rest[at : at + 1])
        except Exception:
            return


def _by_program(name: str, codec: str, argv: list[str], notes: list[str]) -> Iterator[bytes]:
    """Yield what the program prints; a failure is a note, because it is found only at the end."""
    run, text_bytes = Program(argv), 0
    for block in run:
        text_bytes += len(block)
        yield block
    if run.status:
        _told(name, codec, f"is cut or damaged ({run.complaint})", text_bytes, notes)


def _told(name: str, codec: str, fault: str, text_bytes: int, notes: list[str]) -> None:
    """Say that an archive is not whole: a note, or :class:`SourceError` where nothing of it could be read."""
    if not text_bytes:
        raise SourceError(name, f"{codec} stream {fault} before any text", "a whole copy of the file")
    readable = f"{_size(text_bytes)} of text; explained what was readable, a whole copy may hold more"
    notes.append(f"{name}: {codec} stream {fault} after {readable}")


def _size(size_bytes: int) -> str:
    """*size_bytes* for people."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"
