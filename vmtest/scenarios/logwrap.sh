# DESC: many kills and a small ring buffer: what is left of the log begins in the middle of a task table
# MEM: 640
# APPEND: log_buf_len=128K
# TIMEOUT: 300
# CONSTRAINT: CONSTRAINT_NONE
# PREDICT: no
# LOST: yes
arrange() {
	i=0
	for name in apache2 php-fpm8.2 postgres redis-server sidekiq puma gunicorn node sshd kdmflush/253:0; do
		adj=0
		case $name in
		sshd) adj=-1000 ;;
		puma) adj=50 ;;
		node) adj=-100 ;;
		esac
		proc -n "$name" -u $((1000 + i)) -j $adj -F 30 -a 0,1,0,2,1,0,$((i % 5)),0,1,3 -A $((64 + i * 13))
		i=$((i + 1))
	done
	immune_grower
}
provoke() { kill_slowly 6; }
