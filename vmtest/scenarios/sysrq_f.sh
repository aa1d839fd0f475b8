# DESC: two OOM kills by hand (sysrq f) without any pressure, then one with nobody left to kill
# VICTIMS: browser | editor
# CONSTRAINT: CONSTRAINT_NONE
# KIND: sysrq
arrange() {
	echo 1 >/proc/sys/kernel/sysrq
	echo -1000 >/proc/self/oom_score_adj
	proc -n editor -j 0 -u 1000 -a 30
	proc -n browser -j 0 -u 1000 -a 60
}
provoke() {
	for n in 1 2; do
		echo f >/proc/sysrq-trigger
		await_kills $n 20
		sleep 1
	done
	echo f >/proc/sysrq-trigger
}
