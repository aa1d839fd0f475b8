# DESC: a third of memory sits in huge pages that nobody uses: what all processes hold is far from what is gone
# MEM: 400
# VICTIMS: leaky
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	echo 80 >/proc/sys/vm/nr_hugepages
	note "nr_hugepages $(cat /proc/sys/vm/nr_hugepages)"
	proc -n svc -u 1000 -a 30
	grower -n leaky -u 1001 -a 60
}
