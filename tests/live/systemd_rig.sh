#!/bin/sh
# systemd as PID 1 in namespaces of its own, over a copy-on-write view of this host: systemd_rig.sh WORK UNITS CGROUP
# Everything mounted is in a mount namespace, so it goes when systemd does.
set -e
work=$1 units=$2 cgroup=$3
for tree in memory pids systemd cpu devices; do
	mkdir -p "/sys/fs/cgroup/$tree/$cgroup"
	echo $$ >"/sys/fs/cgroup/$tree/$cgroup/cgroup.procs"
done
echo 768M >"/sys/fs/cgroup/memory/$cgroup/memory.limit_in_bytes"
exec unshare -C -m -p -f -u -i --propagation private --kill-child sh -es "$work" "$units" <<'END'
work=$1 units=$2
mount -t tmpfs tmpfs "$work"
mkdir "$work/up" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/up,workdir=$work/work" "$work/root"
root=$work/root
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
for tree in memory pids cpu devices; do
	mkdir "$root/sys/fs/cgroup/$tree"
	mount -t cgroup -o "$tree" cgroup "$root/sys/fs/cgroup/$tree"
done
mkdir "$root/sys/fs/cgroup/systemd"
mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/"; done
cp "$units"/* "$root/etc/systemd/system/"
exec chroot "$root" env -i container=oomsight PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --unit=oomsight-test.target --log-target=null --show-status=0
END
