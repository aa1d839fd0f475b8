# DESC: tasks wait for memory: streams of files and files that thrash raise no alarm but are sampled densely, memory is told
# MEM: 256
# SMP: 2
# SWAPDISK: 512
# EXPECT: end
# PREDICT: no
# TIMEOUT: 600
# ALARMS: memory_pressure host python3
arrange() {
	cg2
	swapdisk
	cgmk /files.slice memory.high=24M
	cgmk /work.slice
}
quiet() { # PHASE: nothing was told so far, and the recorder was dense for no reason but pressure
	note "$1: $(tr '\n' ' ' </proc/pressure/memory)"
	[ -s /tmp/told ] && die "told while $1: $(head -c 300 /tmp/told)"
	: >>/tmp/paces
	grep -q 'tasks wait for memory' /tmp/paces || die "not sampled densely while $1"
	: >/tmp/paces
}
provoke() {
	[ -n "$PRODUCT" ] || return
	cat >/tmp/listen.py <<-'END'
		import socket
		sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		sock.bind("/tmp/notify")
		while True:
		    text = sock.recv(4096).decode()
		    if "STATUS" in text:
		        with open("/proc/uptime") as clock, open("/tmp/paces", "a") as out:
		            print(clock.read().split()[0], text, file=out)
	END
	chroot /mnt /usr/bin/python3 -S /tmp/listen.py &
	LISTENER=$!
	agent_start memory_pressure=10
	NOTIFY_SOCKET=/tmp/notify PYTHONPATH=/product PYTHONDONTWRITEBYTECODE=1 HOME=/tmp chroot /mnt \
		/usr/bin/python3 -m oomsight.cli.main record --store /tmp/history >/tmp/record.log 2>&1 &
	RECORDER=$!
	sleep 60
	thrash /work.slice stream 0 40 "$(disk swap)" "$(disk userland)"
	quiet "files were streamed"
	sleep 75
	echo 3 >/proc/sys/vm/drop_caches           # or they stay charged to who streamed them
	thrash /files.slice file 120 40 "$(disk userland)"
	quiet "files thrashed below memory.high"
	sleep 60
	thrash /work.slice memory 480 60
	note "memory thrashed: $(tr '\n' ' ' </proc/pressure/memory)"
	kill -TERM $RECORDER
	wait $RECORDER
	kill -TERM $LISTENER
	agent_stop
}
