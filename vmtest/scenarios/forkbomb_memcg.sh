# DESC: a fork bomb held by pids.max and memory.max: "fork rejected by pids controller" and a burst of kills
# APPEND: log_buf_len=4M
# TIMEOUT: 300
# CONSTRAINT: CONSTRAINT_MEMCG
# PREDICT: no
arrange() {
	cg2
	cgmk /user.slice/user-1000.slice/session-3.scope memory.max=24M pids.max=40
	proc_in /user.slice/user-1000.slice/session-3.scope -n bash -u 1000 -a 1
}
provoke() {
	hog -n ":(){ :|:& };:" -u 1000 -A 700 -C $CG/user.slice/user-1000.slice/session-3.scope -X 9 >/dev/null 2>&1 &
	await_kills 6
	end_hogs
}
