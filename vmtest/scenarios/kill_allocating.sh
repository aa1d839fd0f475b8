# DESC: vm.oom_kill_allocating_task=1: whoever asks dies, not the big one that idles
# VICTIMS: cron-job
# CONSTRAINT: CONSTRAINT_NONE
# PREDICT: no
arrange() {
	echo 1 >/proc/sys/vm/oom_kill_allocating_task
	proc -n mysqld -u 110 -a 150
	grower -n cron-job -u 1000 -a 5
}
