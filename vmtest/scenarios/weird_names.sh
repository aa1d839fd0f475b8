# DESC: names with spaces, parentheses, UTF-8, newlines, escapes, commas, look-alikes of log lines; each one dies in turn
# APPEND: log_buf_len=4M
# TIMEOUT: 300
# CONSTRAINT: CONSTRAINT_MEMCG
# PREDICT: no
names() {
	cat <<'N'
a b  c
(sd-pam)
) R 1 (x
日本語名
x\ny
\x1b[31mred
%s%n%d
q"u'o\\te
a,task=b,pid=1
\xff\xfe bad
tab\there
 lead+trail 
[kworker/0:1]
123
foo) total-vm:9
\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9
<script>&amp;
N
}
arrange() {
	cg2
	cgmk /weird memory.max=40M
	names >/tmp/names
	while IFS= read -r name; do   # one of each that stays, for the table of tasks
		proc_in /weird -n "$name" -j -1000 -u 1000 -A 100 -H
	done </tmp/names
}
provoke() {
	i=0
	while IFS= read -r name; do
		i=$((i + 1))
		note "$i: $name"
		proc_in /weird -n "$name" -u 1000 -a 2 -g anon -H
		await_kills $i 30
		[ $((i % 8)) = 0 ] && sleep 7   # ten dumps in five seconds are the kernel's limit
	done </tmp/names
}
