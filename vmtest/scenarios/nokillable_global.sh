# DESC: the machine runs out and every task is at oom_score_adj -1000: panic
# EXPECT: panic
# KIND: no_killable
# PREDICT: no
arrange() {
	echo -1000 >/proc/self/oom_score_adj
	proc -n immune-a -a 30
	grower -n immune-b -a 20
}
provoke() {
	trigger
	sleep 60
}
