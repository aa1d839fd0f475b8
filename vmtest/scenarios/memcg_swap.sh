# DESC: memory.max and memory.swap.max of a service, both full, with plenty of swap left on the disk
# SWAPDISK: 128
# APPEND: swapaccount=1
# TIMEOUT: 300
# VICTIMS: mysqld
# CONSTRAINT: CONSTRAINT_MEMCG
# DOMAIN: /system.slice/db.service
arrange() {
	cg2
	swapdisk
	cgmk /system.slice/db.service memory.max=48M memory.swap.max=32M
	proc_in /system.slice/db.service -n mysqld -u 110 -a 44 -H
	grower_in /system.slice/db.service -n xtrabackup -a 4 -H -G 40 -R 10
}
provoke() {
	trigger
	await_kills 1 150
}
