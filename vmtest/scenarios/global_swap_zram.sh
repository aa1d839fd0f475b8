# DESC: the machine runs out with swap on zram, of pages that compress badly
# TIMEOUT: 300
# VICTIMS: cc1plus
# CONSTRAINT: CONSTRAINT_NONE
arrange() {
	mods zram || unsupported "no zram module"
	[ -e /sys/block/zram0/disksize ] || unsupported "no zram device"
	echo 96M >/sys/block/zram0/disksize
	mkswap /dev/zram0 >/dev/null && swapon /dev/zram0 || unsupported "no swap on zram"
	proc -n Xorg -a 30 -s 20
	proc -n gnome-shell -u 1000 -a 60
	proc -n chromium -u 1000 -j 50 -a 20
	grower -n cc1plus -u 1000 -a 90 -H
}
provoke() {
	trigger
	await_kills 1 150
}
