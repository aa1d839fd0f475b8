# DESC: two NUMA nodes; a job bound to node 1 (cpuset.mems) fills it while node 0 has room
# MEM: 512
# SMP: 2
# NUMA: 2
# VICTIMS: job
# CONSTRAINT: CONSTRAINT_CPUSET
arrange() {
	cg2
	cgmk /batch.slice/job.scope cpuset.mems=1
	proc -n node0-svc -m 0 -a 60
	proc_in /batch.slice/job.scope -n job-helper -u 1000 -a 20
	grower_in /batch.slice/job.scope -n job -u 1000 -a 90
}
