# DESC: two NUMA nodes; processes bound to node 0 (MPOL_BIND) fill it while node 1 has room
# MEM: 512
# SMP: 2
# NUMA: 2
# VICTIMS: bound-grow
# CONSTRAINT: CONSTRAINT_MEMORY_POLICY
# PREDICT: no
arrange() {
	proc -n node1-big -m 1 -u 1000 -a 120
	proc -n bound-idle -m 0 -u 1001 -a 30
	grower -n bound-grow -m 0 -u 1002 -a 50
}
