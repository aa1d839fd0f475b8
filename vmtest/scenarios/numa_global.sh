# DESC: two NUMA nodes and no constraint: the whole machine runs out, the report has a block for each node
# MEM: 512
# SMP: 2
# NUMA: 2
# TIMEOUT: 400
# VICTIMS: svc-b
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	proc -n svc-a -u 1000 -a 40
	grower -n svc-b -u 1001 -a 120 -R 60
}
