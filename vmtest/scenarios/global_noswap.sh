# DESC: the machine runs out, no swap: services of different size and user, the one that grows is the largest
# VICTIMS: python3
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	proc -n systemd-journal -a 3
	proc -n sshd -a 1 -j -1000
	proc -n postgres -u 113:120 -a 20 -s 16
	proc -n "nginx: worker" -u 33 -a 10
	proc -n java -u 1000 -a 50 -v 2000 -T 12
	grower -n python3 -u 1001 -a 90 -R 40
}
