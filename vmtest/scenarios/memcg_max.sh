# DESC: memory.max of a systemd-like service is hit; the rest of the machine has plenty
# VICTIMS: app-worker
# CONSTRAINT: CONSTRAINT_MEMCG
# DOMAIN: /system.slice/app.service
arrange() {
	cg2
	cgmk /system.slice/app.service memory.max=64M
	proc -n bystander -a 100
	proc_in /system.slice/app.service -n app-master -u 998 -a 6
	proc_in /system.slice/app.service -n app-worker -u 998 -a 12 -s 8
	grower_in /system.slice/app.service -n app-worker -u 998 -a 28 -R 10
}
