# DESC: kernel memory (unread datagrams) takes everything: allocations of order 2 and 3, victims that hold almost nothing
# TIMEOUT: 300
# VICTIMS: svc-a | svc-b
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	proc -n svc-a -u 1000 -a 20
	proc -n svc-b -u 1001 -a 10
	proc -n leaker -a 1 -w /tmp/go -g dgram
}
provoke() {
	trigger
	await_kills 3 90
}
