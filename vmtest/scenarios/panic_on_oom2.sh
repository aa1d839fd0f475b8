# DESC: vm.panic_on_oom=2, even the limit of a cgroup brings the machine down
# EXPECT: panic
# KIND: panic
arrange() {
	echo 2 >/proc/sys/vm/panic_on_oom
	cg2
	cgmk /system.slice/app.service memory.max=32M
	grower_in /system.slice/app.service -n leaky -u 1001 -a 4
}
provoke() {
	trigger
	sleep 60
}
