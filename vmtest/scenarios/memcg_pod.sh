# DESC: a Kubernetes pod: one container's limit is hit by a process in its own pid namespace, beside a pause container
# VICTIMS: node
# CONSTRAINT: CONSTRAINT_MEMCG
# DOMAIN: /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f7d0a52_9f1c_4c1e_a0cb_5f1f7e0e9c11.slice/cri-containerd-5b0b1c4f2d8e6a7f9c3b2a1d0e9f8c7b6a5d4e3f2c1b0a9d8e7f6c5b4a3d2e1f.scope
arrange() {
	pod=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f7d0a52_9f1c_4c1e_a0cb_5f1f7e0e9c11.slice
	app=$pod/cri-containerd-5b0b1c4f2d8e6a7f9c3b2a1d0e9f8c7b6a5d4e3f2c1b0a9d8e7f6c5b4a3d2e1f.scope
	pause=$pod/cri-containerd-aa17c3e1b2d4f6a8c0e2b4d6f8a0c2e4b6d8f0a2c4e6b8d0f2a4c6e8b0d2f4a6.scope
	cg2
	cgmk $pod memory.max=128M
	cgmk $app memory.max=48M
	cgmk $pause
	proc_in $pause -n pause -u 65535 -a 1 -j -998
	unshare -pf hog -n node -u 1000 -j 968 -a 20 -T 6 -C $CG$app -w /tmp/go -g anon &
	sleep 1
}
