# DESC: printk.time=0: no time stamps on the console
# APPEND: printk.time=0
# VICTIMS: leaky
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	proc -n svc -u 1000 -a 50
	grower -n leaky -u 1001 -a 90 -R 40
}
