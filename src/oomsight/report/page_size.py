"""Page size of a report: not printed, but told by numbers that stand in it in two units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight.report.task_rows import TaskRows

if TYPE_CHECKING:
    from oomsight.report.model import MemInfo, OomReport

_LARGE = (65536, 16384)
_MANY = {65536: 6, 16384: 12}  #: rows that make it no chance: one in 16 million


def infer_page_size(report: OomReport) -> None:
    """Page size is not printed; infer it from numbers the report gives in two units (reference: units cheat sheet)."""
    info, memcg = report.meminfo, report.memcg
    if info is not None:
        for zone in info.zones:
            if zone.buddy:
                report.page_size, report.page_size_from = zone.buddy[0][1] * 1024, "smallest block of the buddy lists"
                return
        size = _from_nodes(info)
        if size:
            report.page_size, report.page_size_from = size, "node lines in KiB against global counters in pages"
            return
    rows = TaskRows.of(report.tasks)
    for victim in report.victims:
        at = rows.find(victim.pid, "pid")
        row = None if at is None else rows[at]
        kib = (victim.anon_rss_kib or 0) + (victim.file_rss_kib or 0) + (victim.shmem_rss_kib or 0)
        if row is not None and row.total_vm_pages and victim.total_vm_kib:
            ratio = victim.total_vm_kib / row.total_vm_pages
        elif row is not None and row.rss_pages > 64 and kib:
            ratio = kib / row.rss_pages
        else:
            continue
        for size in (4096, 16384, 65536, 8192):
            if abs(ratio - size / 1024) < size / 1024 * 0.2:
                report.page_size, report.page_size_from = size, "victim's row in pages against its kill line in KiB"
                return
    pages = [size for size in rows.column("pgtables_bytes") or () if size]
    for size in _LARGE:
        # A table of 4 KiB pages is a multiple of 64 KiB once in sixteen times, of 16 KiB once in four.
        if len(pages) >= _MANY[size] and not any(b % size for b in pages):
            report.page_size = size
            report.page_size_from = f"all page-table sizes are multiples of {size // 1024} KiB"
            return
    if memcg is not None and any(b % 65536 for b in pages) and any(b % 16384 for b in pages):
        report.page_size, report.page_size_from = 4096, "page-table sizes are multiples of 4 KiB only"


def _from_nodes(info: MemInfo) -> int | None:
    for name in ("active_anon", "inactive_anon", "inactive_file"):
        pages = info.pages.get(name)
        kib = sum(n.kib.get(name, 0) for n in info.nodes)
        if pages and pages > 256 and kib and kib % 4 == 0:
            for size in (4096, 16384, 65536):
                if abs(kib / pages - size / 1024) < size / 1024 * 0.2:
                    return size
    return None
