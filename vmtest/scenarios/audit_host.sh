# DESC: the audit of a host on cgroup v2, with seven mistakes made on purpose and some things that are none
# MEM: 384
# SWAPDISK: 64
# TIMEOUT: 300
# EXPECT: end
# PREDICT: no
arrange() {
	cg2
	swapdisk
	sysctl -qw vm.swappiness=0 vm.oom_dump_tasks=0 vm.oom_kill_allocating_task=1
	cgmk /system.slice/pay.service memory.max=64M memory.swap.max=0 pids.max=100
	proc_in /system.slice/pay.service -n pay-main -u 998 -a 8
	cgmk /system.slice/stuck.service memory.max=48M pids.max=100   # nobody in it can be chosen
	proc_in /system.slice/stuck.service -n stuck -j -1000 -a 8
	cgmk /system.slice/shield.service
	proc_in /system.slice/shield.service -n shield -j -900 -a 48
	cgmk /user.slice/browser.scope
	proc_in /user.slice/browser.scope -n browser -u 1000 -a 120
	cgmk /system.slice/huge.service memory.max=2G pids.max=100
	proc_in /system.slice/huge.service -n huge -u 997 -a 4
}
provoke() {
	product audit audit --format json </dev/null
	product audit_text audit --width 80 --color never </dev/null
	sysctl -qw vm.swappiness=60 vm.oom_dump_tasks=1 vm.oom_kill_allocating_task=0
	echo 64M >$CG/system.slice/huge.service/memory.max
	product audit_mended audit --format json </dev/null
}
