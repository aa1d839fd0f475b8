# DESC: vm.oom_dump_tasks=0: no table of tasks in the log
# VICTIMS: leaky
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	echo 0 >/proc/sys/vm/oom_dump_tasks
	proc -n svc -u 1000 -a 50
	grower -n leaky -u 1001 -a 90
}
