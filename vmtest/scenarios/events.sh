# DESC: cgroups run into memory.high and memory.max without a kill: each is told; one full of page cache is not
# MEM: 320
# SMP: 2
# SWAPDISK: 512
# EXPECT: end
# PREDICT: no
# TIMEOUT: 420
# ALARMS: cgroup_throttled /system.slice/api.service python3 | cgroup_pressure /system.slice/api.service python3 | cgroup_at_limit /ci.slice python3 | cgroup_near_limit /ci.slice python3
arrange() {
	cg2
	swapdisk
	cgmk /system.slice/api.service memory.high=48M
	cgmk /ci.slice memory.max=48M
	cgmk /files.slice memory.max=32M
}
provoke() {
	[ -n "$PRODUCT" ] || return
	agent_start cgroup_near_limit=90 cgroup_pressure=5
	thrash /files.slice stream 0 40 "$(disk swap)" "$(disk userland)"
	note "files: $(tr '\n' ' ' <"$CG/files.slice/memory.events")"
	[ -s /tmp/told ] && die "told of page cache: $(head -c 300 /tmp/told)"
	thrash /system.slice/api.service memory 96 60
	note "high: $(tr '\n' ' ' <"$CG/system.slice/api.service/memory.events")"
	thrash /ci.slice memory 96 60
	note "max: $(tr '\n' ' ' <"$CG/ci.slice/memory.events")"
	agent_stop
}
