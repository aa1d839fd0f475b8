# DESC: shared memory of a process that may not die: killing its clients frees little
# EXPECT: any
# VICTIMS: client-b
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	proc -n shm-owner -j -1000 -s 120
	proc -n client-a -u 1000 -a 20
	proc -n client-b -u 1000 -a 40 -w /tmp/go -g shm
}
