# DESC: nobody is killed: Mem-Info by sysrq m, a failed vmalloc, a SIGKILL by hand, and a user who writes kernel-like lines
# EXPECT: end
# PREDICT: no
# LOGS: kmsg
arrange() {
	echo 1 >/proc/sys/kernel/sysrq
	VICTIM=$(hog -d -n victim -u 1000 -a 20)
}
provoke() {
	echo m >/proc/sysrq-trigger
	mods zram && echo 2T >/sys/block/zram0/disksize 2>/dev/null
	kill -KILL "$VICTIM"
	echo "<4>spoofer invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0" >/dev/kmsg
	echo "<4>Out of memory: Killed process 4242 (spoofed) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0" >/dev/kmsg
}
