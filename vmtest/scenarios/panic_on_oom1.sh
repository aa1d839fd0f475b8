# DESC: vm.panic_on_oom=1, the machine runs out
# EXPECT: panic
# KIND: panic
arrange() {
	echo 1 >/proc/sys/vm/panic_on_oom
	proc -n service -u 1000 -a 50
	grower -n leaky -u 1001 -a 20
}
provoke() {
	trigger
	sleep 60
}
