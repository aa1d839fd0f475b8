# DESC: oom_score_adj decides: tiny at +1000, then small at +300, then middling at 0; big at -500 and biggest at -1000 live
# MEM: 400
# VICTIMS: tiny-plus1000 | small-plus300 | mid-zero
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	proc -n biggest-immune -j -1000 -a 120
	proc -n big-minus500 -j -500 -a 80
	proc -n mid-zero -u 1000 -a 40
	proc -n small-plus300 -u 1001 -j 300 -a 8
	proc -n tiny-plus1000 -u 1002 -j 1000 -a 1
	proc -n tiny-minus999 -u 1003 -j -999 -a 1
	immune_grower
}
provoke() { kill_slowly 3; }
