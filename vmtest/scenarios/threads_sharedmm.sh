# DESC: a victim with 30 threads and a process that shares its address space: both die, only the younger is named
# VICTIMS: java-vfork
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	proc -n other -u 1001 -a 40
	grower -n java -u 1000 -a 90 -T 30 -S java-vfork
}
