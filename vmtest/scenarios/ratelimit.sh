# DESC: 25 kills within seconds on two CPUs from three cgroups: dumps left out ("callbacks suppressed"), lines interleaved
# MEM: 400
# SMP: 2
# APPEND: log_buf_len=4M
# TIMEOUT: 300
# CONSTRAINT: CONSTRAINT_MEMCG
# PREDICT: no
arrange() {
	cg2
	for group in a b c; do cgmk /burst-$group memory.max=10M; done
}
provoke() {
	for group in a b c; do
		for n in 0 1 2 3 4 5 6 7 8; do
			hog -n burst-$group$n -u 100$n -a 2 -C $CG/burst-$group -g anon -H
		done >/dev/null 2>&1 &
	done
	await_kills 25 120
	wait
}
