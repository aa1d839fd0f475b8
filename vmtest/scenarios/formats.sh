# DESC: one kill, read from everything that dmesg can print: raw, decoded, human, absolute, relative and no times
# MEM: 320
# TIMEOUT: 400
# VICTIMS: borg (backup)
# CONSTRAINT: CONSTRAINT_NONE
# LOGS: kmsg dmesg dmesg_r dmesg_x dmesg_T dmesg_iso dmesg_reltime dmesg_delta dmesg_notime dmesg_busybox
arrange() {
	proc -n sshd -a 1 -j -1000
	proc -n postgres -u 113 -a 60 -s 30
	grower -n "borg (backup)" -u 1000 -a 100 -R 60
}
explain() {
	product explain_kmsg explain --format json </dev/null
	for option in "" -r -x -T iso reltime delta notime; do
		case $option in
		"") words= name= ;;
		-*) words=$option name=_${option#-} ;;
		*) words=--time-format=$option name=_$option ;;
		esac
		chroot /mnt /usr/bin/dmesg $words >"/tmp/dmesg$name"
		cp "/tmp/dmesg$name" /out
		product "explain_dmesg$name" explain --format json - <"/tmp/dmesg$name"
	done
	busybox dmesg | product explain_dmesg_busybox explain --format json -
}
