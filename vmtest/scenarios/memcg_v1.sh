# DESC: cgroup v1: limit_in_bytes of a Docker container is hit
# VICTIMS: redis-server
# CONSTRAINT: CONSTRAINT_MEMCG
# DOMAIN: /docker/9d3f0c1b2a4e5d6c7b8a9f0e1d2c3b4a5f6e7d8c9b0a1f2e3d4c5b6a7f8e9d0c
arrange() {
	container=/docker/9d3f0c1b2a4e5d6c7b8a9f0e1d2c3b4a5f6e7d8c9b0a1f2e3d4c5b6a7f8e9d0c
	mount -t tmpfs cgroup $CG
	CG=$CG/memory
	mkdir $CG
	mount -t cgroup -o memory memory $CG || unsupported "no cgroup v1 memory controller"
	[ -e $CG/memory.limit_in_bytes ] || unsupported "no cgroup v1 memory controller"
	echo 1 >$CG/memory.use_hierarchy 2>/dev/null
	mkdir -p $CG$container
	echo 48M >$CG$container/memory.limit_in_bytes
	proc -n bystander -a 60
	proc_in $container -n redis-server -u 999 -a 30
	grower_in $container -n node -u 1000 -a 4 -G 20
}
