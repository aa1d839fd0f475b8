# DESC: the machine runs out and the victim sits in a cgroup with memory.oom.group=1: all of the cgroup goes
# VICTIMS: batch-main
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	cg2
	cgmk /system.slice/batch.service memory.oom.group=1
	cgmk /system.slice/other.service
	proc_in /system.slice/other.service -n other -a 40
	proc_in /system.slice/batch.service -n batch-helper -u 1002 -a 5
	proc_in /system.slice/batch.service -n batch-helper -u 1002 -a 9
	grower_in /system.slice/batch.service -n batch-main -u 1002 -a 90
}
provoke() {
	trigger
	await_kills 3
}
