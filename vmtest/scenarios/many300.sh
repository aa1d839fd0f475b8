# DESC: 300 processes in 10 groups of names, users, sizes and oom_score_adj; three kills by a slow immune grower
# MEM: 640
# APPEND: log_buf_len=4M
# TIMEOUT: 300
# VICTIMS: puma | puma | puma
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	i=0
	for name in apache2 php-fpm8.2 postgres redis-server sidekiq gunicorn sshd kdmflush/253:0 node puma; do
		adj=0
		sizes=0,1,0,2,1,0,$((i % 5)),0,1,3
		case $name in
		sshd) adj=-1000 ;;
		node) adj=-100 ;;
		puma)	# three of different size, or page counts within the counters' error would decide
			adj=50
			sizes=0,1,0,2,1,0,1,0,1,4,0,1,0,2,1,0,1,0,1,6,0,1,0,2,1,0,1,0,1,8 ;;
		esac
		proc -n "$name" -u $((1000 + i)) -j $adj -F 30 -a $sizes -A $((64 + i * 13))
		i=$((i + 1))
	done
	immune_grower
}
provoke() { kill_slowly 3; }
