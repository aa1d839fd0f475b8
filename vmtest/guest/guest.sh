# Functions of the guest, sourced by /init; a scenario says with them what is arranged and what provokes the OOM.
#
# A scenario defines arrange() (cgroups and processes, all idle at its end) and, where the default does not do,
# provoke() (what makes memory run out), relieve() (what must go before the product gets memory to run in).
# It is plain sh for busybox; -e is not set: a half-working guest that sends its log home is worth more than a dead one.

CG=/sys/fs/cgroup
PRODUCT=                                   # set to "yes" once the userland disk with Python is mounted

# ---- talking to the host -------------------------------------------------------------------------------------------

say() { echo "VMTEST $*"; }                # on the console: read by the host
mark() { echo "<5>vmtest: $*" >/dev/kmsg; } # in the kernel's log, as user-space text
note() { echo "$*" >>/out/notes.txt; say "NOTE $*"; }
die() { say "DIE $*"; send; poweroff -f; }
unsupported() { say "UNSUPPORTED $*"; send; poweroff -f; }

argument() { # NAME: value of vmtest.NAME= on the kernel command line
	for word in $(cat /proc/cmdline); do
		case $word in vmtest."$1"=*) echo "${word#*=}" ;; esac
	done
}

await_port() { # the virtio port appears a moment after its driver
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		PORT=$(ls /dev/vport*p1 2>/dev/null | head -n 1)
		[ -n "$PORT" ] && return
		usleep 100000
	done
	say "NOTE no virtio port: only the console will tell"
}

send() { # everything in /out to the host, as one more tar on the port; then forget it here, it takes memory
	[ -n "${PORT:-}" ] && (cd /out && tar cf - .) >"$PORT"
	sync
	rm -rf /out/*
}

# ---- what scenarios arrange ----------------------------------------------------------------------------------------

mods() { # GROUP: load its modules; fails when this kernel comes without them
	[ -e "/mods/$1.list" ] || return 1
	while read -r module; do insmod "/mods/$module" 2>/dev/null || note "insmod $module failed"; done <"/mods/$1.list"
}

cg2() { # the cgroup v2 tree, with ourselves in a leaf as under systemd
	mount -t cgroup2 cgroup2 $CG || unsupported "no cgroup2"
	controllers $CG
	mkdir -p $CG/init.scope && echo $$ >$CG/init.scope/cgroup.procs
}

controllers() { for c in memory pids cpuset; do echo +$c >"$1/cgroup.subtree_control" 2>/dev/null; done; }

cgmk() { # PATH [FILE=VALUE...]: a cgroup with controllers on all the way down
	path=$CG
	for part in $(echo "${1#/}" | tr / ' '); do
		controllers $path
		path=$path/$part
		mkdir -p "$path"
	done
	shift
	for setting in "$@"; do
		echo "${setting#*=}" >"$path/${setting%%=*}" || note "cannot set $setting in $path"
	done
}

proc() { hog -d "$@" >/dev/null; }          # a process that holds memory and idles: options of hog
proc_in() { group=$1; shift; proc -C "$CG$group" "$@"; }   # CGROUP OPTION...
grower() { proc -w /tmp/go -g anon "$@"; }  # one that grows without end once triggered
grower_in() { group=$1; shift; grower -C "$CG$group" "$@"; }
immune_grower() { # grows slowly and is never a victim, so all the others stay idle; provoke: kill_slowly
	GROWER=$(hog -d -n grower -j -1000 -H -R 30 -w /tmp/go -g anon)
}
kill_slowly() { # N: let the immune grower go on until so many have died
	trigger
	await_kills "$1"
	kill -KILL "$GROWER"
}

disk() { # SERIAL: its device; drivers probe in parallel, so the number says nothing
	for dir in /sys/block/nvme*; do
		[ "$(tr -d ' ' <"$dir/device/serial")" = "$1" ] && echo "/dev/${dir##*/}"
	done
}

swapdisk() {
	device=$(disk swap)
	mkswap "$device" >/dev/null && swapon "$device" || die "no swap"
}

# ---- what provokes the OOM -----------------------------------------------------------------------------------------

trigger() { mark "trigger"; : >/tmp/go; }
await_kills() { # N [SECONDS]: until the kernel has killed so many
	snap await $((KILLS_BEFORE + $1)) "${2:-60}" || note "fewer than $1 kills after ${2:-60} s"
}
provoke() { trigger; await_kills 1; }
relieve() { :; }

# ---- the product ---------------------------------------------------------------------------------------------------

userland() { # the disk with Python and util-linux becomes /mnt, with this guest's /proc and friends in it
	mount -t ext4 -o ro,noload "$(disk userland)" /mnt || return 1
	for dir in dev proc sys tmp product; do mount -o rbind /$dir /mnt/$dir; done
	PRODUCT=yes
}

product() { # NAME ARGUMENT...: run oomsight; NAME.json, NAME.err and NAME.status (status, uptime before, after) go home
	name=$1
	shift
	read -r began _ </proc/uptime
	PYTHONPATH=/product PYTHONDONTWRITEBYTECODE=1 HOME=/tmp chroot /mnt /usr/bin/python3 -m oomsight.cli.main "$@" \
		>"/out/$name.json" 2>"/out/$name.err"
	echo "$? $began $(cut -d' ' -f1 /proc/uptime)" >"/out/$name.status"
}

predict() { # who would die? asked while everybody is still idle
	domain=$(argument domain)
	product score score ${domain:+--cgroup "$domain"} --format json </dev/null
}

explain() { # what happened? from the live kernel log, and from what dmesg prints
	product explain_kmsg explain --format json </dev/null
	chroot /mnt /usr/bin/dmesg | product explain_dmesg explain --format json -
}

agent_start() { # [ALARM=PERCENT...]: the agent as a service would run it; what it tells goes to /tmp/told, with the uptime
	[ -n "$PRODUCT" ] || return
	{
		printf '[store]\npath = "/tmp/agent/incidents.db"\n'
		for alarm in "$@"; do
			printf '[alerts.memory.%s]\nraise = %s\nfor_seconds = 5\n' "${alarm%=*}" "${alarm#*=}"
		done
		printf '[[alerts.channel]]\nname = "told"\ntype = "exec"\n'
		printf 'command = ["/usr/bin/python3", "-S", "/tmp/told.py"]\n'
		printf '[[alerts.rule]]\nname = "everything"\nrepeat_seconds = 1\n'
	} >/tmp/agent.toml
	cat >/tmp/told.py <<-'TOLD'
		import sys
		line = sys.stdin.read().strip()
		with open("/proc/uptime") as clock, open("/tmp/told", "a") as told:
		    told.write(clock.read().split()[0] + " " + line + "\n")
	TOLD
	mkdir -p /tmp/agent
	: >/tmp/told
	PYTHONPATH=/product PYTHONDONTWRITEBYTECODE=1 HOME=/tmp chroot /mnt /usr/bin/python3 -m oomsight.cli.main agent \
		--config /tmp/agent.toml >/tmp/agent/log 2>&1 &
	AGENT=$!
	for _ in $(seq 100); do                    # it is up when it has made its store
		[ -e /tmp/agent/incidents.db ] && break
		usleep 200000
	done
	sleep 5
}

thrash() { # CGROUP KIND MIB SECONDS [FILE...]: go through so much of files, or of memory of its own, round and round
	group=$1
	shift
	cat >/tmp/thrash.py <<-'END'
		import mmap, os, sys, time
		kind, mib, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
		end = time.monotonic() + seconds
		def stream(path):
		    with open(path, "rb", buffering=0) as file:
		        while time.monotonic() < end and file.read(1 << 20):
		            pass
		def touch(area, write):
		    for at in range(0, mib << 20, 4096):
		        if write:
		            area[at] = 1
		        elif area[at] and time.monotonic() > end:
		            return
		if kind == "memory":
		    area = mmap.mmap(-1, mib << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		elif kind == "file":
		    area = mmap.mmap(os.open(sys.argv[4], os.O_RDONLY), mib << 20, prot=mmap.PROT_READ)
		while time.monotonic() < end:
		    if kind == "stream":
		        for path in sys.argv[4:]:
		            stream(path)
		    else:
		        touch(area, kind == "memory")
	END
	sh -c 'echo $$ >"$0/cgroup.procs"; exec chroot /mnt /usr/bin/python3 -S /tmp/thrash.py "$@"' "$CG$group" "$@"
}

asked() { # NAME ARGUMENT...: what oomsight says to people of the agent's store goes home as NAME.txt
	name=$1
	shift
	PYTHONPATH=/product PYTHONDONTWRITEBYTECODE=1 HOME=/tmp OOMSIGHT_STORE=/tmp/agent/incidents.db \
		OOMSIGHT_HISTORY=/tmp/agent/history COLUMNS=80 chroot /mnt /usr/bin/python3 -m oomsight.cli.main "$@" \
		>"/out/$name.txt" 2>&1
}

agent_stop() { # what it told and said go home
	[ -n "${AGENT:-}" ] || return
	sleep 8                                   # the last kill is told, too
	asked agent_incidents incidents
	asked agent_incident incidents show last
	asked agent_around history --around last
	asked agent_status status --store /tmp/agent/incidents.db
	asked agent_history history --by process
	kill -TERM "$AGENT"
	wait "$AGENT"
	echo "$?" >/out/agent.exit
	cp /tmp/told /out/agent_told.txt
	cp /tmp/agent/log /out/agent_log.txt
}

# ---- the frame of a run, called by /init ---------------------------------------------------------------------------

before() {
	uname -r >/out/release.txt
	snap once /out/before.json
	if [ -d /product ]; then
		userland || die "no userland disk"
		[ "$(argument predict)" = no ] || predict
		echo 3 >/proc/sys/vm/drop_caches       # as if nobody had looked
	fi
	send
	KILLS_BEFORE=$(snap kills)
}

after() {
	sleep 1                                   # the reaper and exits take their time
	mark "scenario $SCENARIO end"
	echo "$(($(snap kills) - KILLS_BEFORE))" >/out/kills.txt
	snap kmsg /out/kmsg.txt
	snap once /out/after.json
	send
	if [ -n "$PRODUCT" ]; then
		relieve
		end_hogs
		explain
	fi
	send
	say "END"
	poweroff -f
}

end_hogs() { # they may hold all memory; the log stays
	for dir in /proc/[0-9]*; do
		[ "$(readlink "$dir/exe")" = /bin/hog ] && kill -KILL "${dir#/proc/}"
	done
	sleep 1
}
