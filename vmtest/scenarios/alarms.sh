# DESC: the agent is there: a leak in a limited service, then one that takes the machine; each is alerted before its kill
# MEM: 384
# SWAPDISK: 128
# TIMEOUT: 420
# VICTIMS: leaky
# CONSTRAINT: CONSTRAINT_MEMCG
# DOMAIN: /system.slice/pay.service
# ALARMS: cgroup_growth /system.slice/pay.service leaky | memory_high host browser | swap_high host browser
arrange() {
	cg2
	swapdisk
	cgmk /system.slice/pay.service memory.max=96M memory.swap.max=0
	cgmk /user.slice/user-1000.slice/session-1.scope
	proc_in /system.slice/pay.service -n pay-main -u 998 -a 8
	grower_in /system.slice/pay.service -n leaky -u 998 -a 12 -R 1
	proc_in /user.slice/user-1000.slice/session-1.scope -n browser -u 1000 -a 20 -w /tmp/go2 -g anon -H -R 6
}
provoke() {
	agent_start memory_high=80 swap_high=30
	trigger
	await_kills 1 200
	: >/tmp/go2
	await_kills 2 150
	agent_stop
}
