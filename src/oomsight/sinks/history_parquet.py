"""The history as Parquet, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from oomsight.sinks.history_rows import COLUMNS

if TYPE_CHECKING:
    from oomsight.sinks.history_rows import Group

ROWS_AT_ONCE: Final = 20_000  #: at least, in one part of the file


class MissingParquetError(Exception):
    """pyarrow is not installed."""


def load() -> tuple[Any, Any]:
    """pyarrow and its Parquet, which take a tenth of a second to load. Raises :class:`MissingParquetError`."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingParquetError("Parquet needs pyarrow") from None
    return pa, pq


def parquet_bytes(groups: Iterable[Group]) -> bytes:
    """Groups as a Parquet file; a limit that does not limit is infinity. Raises :class:`MissingParquetError`."""
    pa, pq = load()
    words = pa.string()
    types = (pa.timestamp("ms", tz="UTC"), words, words, pa.int64(), words, words, words, pa.float64())
    schema, out = pa.schema(list(zip(COLUMNS, types, strict=True))), BytesIO()
    columns: list[list[Any]] = [[] for _ in COLUMNS]

    def flush() -> None:
        arrays = [pa.array(values, type=kind) for values, kind in zip(columns, types, strict=True)]
        writer.write_table(pa.table(arrays, schema=schema))
        for values in columns:
            values.clear()

    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for group in groups:
            columns[0] += [int(moment * 1000) for moment in group.times]
            for column, one in zip(columns[1:-1], group.who, strict=True):
                column += [_utf8(one)] * len(group.times)  # noqa: PLW2901 - the list itself grows
            columns[-1] += group.values
            if len(columns[0]) >= ROWS_AT_ONCE:
                flush()
        if columns[0]:
            flush()
    return out.getvalue()


def _utf8(value: Any) -> Any:
    """Parquet text is UTF-8: a byte that is not becomes a visible escape."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
