# DESC: a parent's limit is hit by two children that are each below their own
# VICTIMS: a-idle
# CONSTRAINT: CONSTRAINT_MEMCG
# DOMAIN: /app.slice
arrange() {
	cg2
	cgmk /app.slice memory.max=96M
	cgmk /app.slice/a.service memory.max=64M
	cgmk /app.slice/b.service memory.max=64M memory.low=16M
	proc_in /app.slice/a.service -n a-idle -u 1000 -a 54
	grower_in /app.slice/b.service -n b-grow -u 1000 -a 10 -G 40 -R 10
}
