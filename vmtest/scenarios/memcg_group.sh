# DESC: memory.oom.group=1 on a service of four processes in two sub-cgroups, one of them at oom_score_adj -1000
# VICTIMS: php-fpm
# CONSTRAINT: CONSTRAINT_MEMCG
# DOMAIN: /system.slice/web.service
arrange() {
	cg2
	cgmk /system.slice/web.service memory.max=64M memory.oom.group=1
	cgmk /system.slice/web.service/front
	cgmk /system.slice/web.service/back
	proc_in /system.slice/web.service/front -n nginx -u 33 -a 4
	proc_in /system.slice/web.service/back -n php-fpm -u 33 -a 12
	proc_in /system.slice/web.service/front -n keepalive -u 33 -a 2 -j -1000
	grower_in /system.slice/web.service/back -n php-fpm -u 33 -a 20 -R 10
}
provoke() {
	trigger
	await_kills 3
}
