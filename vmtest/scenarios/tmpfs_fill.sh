# DESC: a tmpfs without limit is filled: services die one after another, nothing frees it; may end in "deadlocked on memory"
# EXPECT: any
# VICTIMS: postgres | nginx
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	mkdir -p /t
	mount -t tmpfs -o size=100% tmpfs /t
	proc -n postgres -u 113 -a 40
	proc -n nginx -u 33 -a 15
	proc -n cron -a 3
	proc -w /tmp/go -g file=/t/big -n cp -a 1 -R 40
}
provoke() {
	trigger
	await_kills 3
	sleep 2
}
relieve() { : >/t/big; }
