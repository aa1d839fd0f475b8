# DESC: a limit is hit and every task below it is at oom_score_adj -1000: nobody dies
# EXPECT: end
# KIND: no_killable
# DOMAIN: /system.slice/crit.service
arrange() {
	cg2
	cgmk /system.slice/crit.service memory.max=32M
	grower_in /system.slice/crit.service -n immune -j -1000 -a 4
}
provoke() {
	trigger
	for _ in $(seq 100); do   # the counter of kills will not move: the cgroup's own of OOMs does
		grep -q '^oom [1-9]' $CG/system.slice/crit.service/memory.events && break
		usleep 100000
	done
	end_hogs
}
