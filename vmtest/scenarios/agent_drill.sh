# DESC: the agent on cgroup v2: a drill arrives at its store and its channel, then a service is killed as a whole for its limit
# MEM: 384
# TIMEOUT: 600
# VICTIMS: oomsight-drill | pay-main
# CONSTRAINT: CONSTRAINT_MEMCG
# PREDICT: no
arrange() {
	cg2
	cgmk /system.slice/pay.service memory.max=48M memory.oom.group=1
	proc_in /system.slice/pay.service -n pay-main -u 998 -a 24
	grower_in /system.slice/pay.service -n leaky -u 998 -a 8
}
provoke() {
	agent_start
	product drill drill --config /tmp/agent.toml --wait 60 --format json </dev/null
	trigger
	await_kills 3
	sleep 12                              # the group is complete, and counted
	for name in list stats; do
		product "incidents_$name" incidents --store /tmp/agent/incidents.db $name --format json </dev/null
	done
	product incidents_export incidents --store /tmp/agent/incidents.db export </dev/null
	cp $CG/system.slice/pay.service/memory.events /out/memory.events.txt
	agent_stop
}
