# DESC: a limit is hit and every task below it is at oom_score_adj -1000: nobody dies
# EXPECT: end
# KIND: no_killable
# DOMAIN: /system.slice/crit.service
arrange() {
	cg2
	cgmk /system.slice/crit.service memory.max=32M
	grower_in /system.slice/crit.service -n immune -j -1000 -a 4 -l 15
}
provoke() {
	trigger
	usleep 400000
	end_hogs
}
