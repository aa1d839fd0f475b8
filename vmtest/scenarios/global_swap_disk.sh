# DESC: the machine runs out with a swap disk full; services in systemd-like cgroups, a browser tab marked +300
# SWAPDISK: 96
# TIMEOUT: 300
# VICTIMS: Web Content
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	cg2
	swapdisk
	cgmk /system.slice/ssh.service
	cgmk /system.slice/postgresql@15-main.service
	cgmk /user.slice/user-1000.slice/session-1.scope
	proc_in /system.slice/ssh.service -n sshd -a 1 -j -1000
	proc_in /system.slice/postgresql@15-main.service -n postgres -u 113:120 -a 40 -s 24
	proc_in /system.slice/postgresql@15-main.service -n "postgres: check" -u 113:120 -a 12 -j -900
	proc_in /user.slice/user-1000.slice/session-1.scope -n firefox-esr -u 1000 -a 90 -v 3000 -T 8
	grower_in /user.slice/user-1000.slice/session-1.scope -n "Web Content" -u 1000 -j 300 -a 40 -H -R 40
}
provoke() {
	trigger
	await_kills 1 150
}
