# ruff: noqa: E101 - C code is indented by tabs
"""Text that talks about the OOM killer, or looks like it, without one having killed: no incident with victims."""

from __future__ import annotations

import pytest

from oomsight.report import parse_text
from oomsight.report.model import EventKind

C_SOURCE = r'''
static void oom_report(struct oom_control *oc, struct task_struct *p)
{
	pr_warn("%s invoked oom-killer: gfp_mask=%#x(%pGg), order=%d, oom_score_adj=%hd\n", current->comm, oc->gfp_mask,
		&oc->gfp_mask, oc->order, current->signal->oom_score_adj);
	pr_info("oom-kill:constraint=%s,nodemask=%*pbl", oom_constraint_text[oc->constraint], nodemask_pr_args(oc->nodemask));
	pr_err("%s: Killed process %d (%s) total-vm:%lukB, anon-rss:%lukB, file-rss:%lukB, shmem-rss:%lukB\n", message,
	       task_pid_nr(victim), victim->comm, K(mm->total_vm), K(anon), K(file), K(shmem));
	pr_info("[%7d] %5d %5d %8lu %8lu %8ld %8lu         %5hd %s\n", task->pid, uid, task->tgid, vm, rss, tables, swap, adj, task->comm);
	panic("Out of memory: %s panic_on_oom is enabled\n", sysctl_panic_on_oom == 2 ? "compulsory" : "system-wide");
}
'''
PATCH = '''
--- a/mm/oom_kill.c
+++ b/mm/oom_kill.c
@@ -437,8 +437,8 @@ static void dump_header(struct oom_control *oc)
-	pr_err("%s: Kill process %d (%s) score %u or sacrifice child\\n",
-		message, task_pid_nr(p), p->comm, points);
+	pr_err("%s: Killed process %d (%s) total-vm:%lukB, anon-rss:%lukB\\n",
+		message, task_pid_nr(victim), victim->comm, K(victim->mm->total_vm), K(anon));
'''
REGEXES = r'''
OOM_RE = re.compile(r"Killed process (?P<pid>\d+) \((?P<comm>.*)\) total-vm:(\d+)kB, anon-rss:(\d+)kB")
_HEAD = r"(.+?) invoked oom-killer: gfp_mask=(0x[0-9a-f]+)"
pattern: '^Memory cgroup out of memory: Killed process (\d+) \(.+\)'
grep -E 'Killed process [0-9]+ \(' /var/log/kern.log | awk '{print $9}'
sed -n 's/.*Out of memory: Killed process \([0-9]*\) (\(.*\)) .*/\1 \2/p'
'''
PROSE = '''
# The OOM killer

When Linux runs out of memory it invokes the oom-killer, which picks the process with the highest badness. You will
then see a line like "Out of memory: Killed process <pid> (<name>)" in dmesg. The killed process receives SIGKILL, so
its container reports exit code 137 and the pod the reason OOMKilled. To be killed less often, raise memory.max, or
set oom_score_adj. Mem-Info shows the memory of each zone. A task with oom_score_adj -1000 is never chosen.
The oom_reaper frees the memory of the victim; "oom_reaper: reaped process" says that it did.
'''
DASHBOARD = '''
{"title": "OOM kills", "targets": [{"expr": "increase(node_vmstat_oom_kill[5m]) > 0", "legendFormat": "{{instance}}"}],
 "alert": {"name": "OOMKilled", "message": "A container was OOMKilled: Out of memory on {{ $labels.node }}"}}
- alert: HostOomKillDetected
  expr: (increase(node_vmstat_oom_kill[1m]) > 0)
  annotations: {summary: "Host OOM kill detected (instance {{ $labels.instance }})", description: "OOM kill detected"}
'''
GIT_LOG = '''
commit 9fbc1f635fd0bd28cb32550211bf095753ac637a
Author: A Developer <dev@example.org>
    mm, oom: do not enforce OOM killer for __GFP_NOFAIL automatically
    The oom-killer was invoked although Killed process lines were missing; out of memory handling is fixed.
a1b2c3d oom: print "Killed process" once
d4e5f60 memcg: oom: Memory cgroup out of memory message gets the cgroup
'''
APPLICATION = '''
2026-11-23 09:58:14,123 ERROR [main] c.e.App - java.lang.OutOfMemoryError: Java heap space
Exception in thread "worker-1" java.lang.OutOfMemoryError: GC overhead limit exceeded
FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
ERROR:  out of memory
DETAIL:  Failed on request of size 262144 in memory context "ExecutorState".
[4242]: *** FATAL: fork: Cannot allocate memory
redis: WARNING overcommit_memory is set to 0! Background save may fail under low memory condition.
runtime: out of memory: cannot allocate 4194304-byte block (3.9GB in use)
Killed
/bin/sh: line 1: 4242 Killed                  java -Xmx4g -jar app.jar
Killed process group 4242 (make) on user request
nginx: worker process 4242 exited on signal 9
CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 7.79 GiB total capacity)
'''
KUBELET = '''
I1123 09:58:14.123456    1234 eviction_manager.go:366] "Eviction manager: must evict pod(s) to reclaim" resourceName="memory"
I1123 09:58:14.123999    1234 eviction_manager.go:400] "Eviction manager: pods ranked for eviction" pods="default/web-1"
W1123 09:58:15.000001    1234 kubelet.go:1900] Pod default/web-1 was evicted: The node was low on resource: memory.
Last State: Terminated   Reason: OOMKilled   Exit Code: 137
'''
EARLYOOM_START = '''
earlyoom[611]: earlyoom 1.7
earlyoom[611]: mem total: 7838 MiB, swap total: 2047 MiB
earlyoom[611]: sending SIGTERM when mem <= 10.00% and swap <= 10.00%,
earlyoom[611]:         SIGKILL when mem <=  5.00% and swap <=  5.00%
earlyoom[611]: mem avail:  5871 of  7838 MiB (74.90%), swap free: 2047 of 2047 MiB (100.00%)
systemd[1]: Started earlyoom.service - Early OOM Daemon.
systemd-oomd[512]: Memory pressure monitoring started
'''
SYSRQ_M = '''
[  100.000000] sysrq: Show Memory
[  100.000010] Mem-Info:
[  100.000020] active_anon:739 inactive_anon:60531 isolated_anon:0
                active_file:120 inactive_file:80 isolated_file:0
                unevictable:0 dirty:0 writeback:0
                free:6100 free_pcp:0 free_cma:0
[  100.000030] Node 0 active_anon:2956kB inactive_anon:242124kB all_unreclaimable? no
[  100.000040] Node 0 DMA32 free:24400kB boost:0kB min:1948kB low:2432kB high:2916kB present:311168kB managed:265936kB
[  100.000050] lowmem_reserve[]: 0 0 0
[  100.000060] Node 0 DMA32: 1*4kB (M) 0*8kB = 24400kB
[  100.000070] 1554 total pagecache pages
[  100.000080] 81790 pages RAM
'''
SPOOFED = '''
12,329,3313311,-;evil invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
12,330,3313312,-;Out of memory: Killed process 4242 (spoofed) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0
'''  # fmt: skip
SYSLOG_SPOOF = '''
<13>Nov 23 09:58:14 db1 evil: Out of memory: Killed process 4242 (spoofed) total-vm:1kB, anon-rss:1kB, file-rss:0kB
user  :notice: [   17.3] Out of memory: Killed process 4242 (spoofed) total-vm:1kB, anon-rss:1kB, file-rss:0kB
'''
KERNEL_TALK = '''
[    0.150000] Memory: 264012K/327160K available (14336K kernel code, 2407K rwdata)
[    1.000000] OOM killer disabled.
[    1.100000] OOM killer enabled.
[    2.000000] Kernel command line: panic_on_oom=1
[    3.000000] mysqld (4242): /proc/4242/oom_adj is deprecated, please use /proc/4242/oom_score_adj instead.
[    4.000000] __vm_enough_memory: pid: 4242, comm: java, bytes: 68719476736 not enough memory for the allocation
[    5.000000] oom_reaper: kthread started
[    6.000000] systemd[1]: Finished Killed processes collector
'''

TEXTS = {
    "c source": C_SOURCE, "patch": PATCH, "regular expressions": REGEXES, "prose": PROSE, "dashboard": DASHBOARD,
    "git log": GIT_LOG, "applications": APPLICATION, "kubelet": KUBELET, "earlyoom start": EARLYOOM_START,
    "sysrq-m": SYSRQ_M, "spoofed kmsg": SPOOFED, "spoofed syslog": SYSLOG_SPOOF, "kernel talk": KERNEL_TALK, "nothing": "", "blank": "\n \n",
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("change", [str, str.strip, lambda t: t.replace("\n", "\n> "), lambda t: t.replace("\n", "\r\n"),
                                    lambda t: t.replace("\n", " ")], ids=["whole", "strip", "quoted", "crlf", "one line"])  # fmt: skip
def test_talk_is_no_incident(name: str, change: object) -> None:
    text = change(TEXTS[name])  # type: ignore[operator]
    reports = parse_text(text)
    assert [v.comm for r in reports for v in r.victims] == []
    assert [r.kind for r in reports if r.kind not in {EventKind.ALLOCATION_FAILURE}] == []


def test_negative_next_to_a_real_kill_changes_nothing() -> None:
    real = (
        "[  200.000000] Out of memory: Killed process 77 (real) total-vm:9000kB, anon-rss:8000kB, file-rss:4kB, shmem-rss:0kB,"
        " UID:0 pgtables:40kB oom_score_adj:0\n"
    )
    for text in (PROSE, C_SOURCE, REGEXES, SYSRQ_M, APPLICATION):
        for whole in (text + "\n" + real, real + "\n" + text):
            (report,) = [r for r in parse_text(whole) if r.victims]
            assert [(v.pid, v.comm, v.anon_rss_kib) for v in report.victims] == [(77, "real", 8000)]
            assert report.trigger is None
            assert report.tasks == []
