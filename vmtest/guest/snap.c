/*
 * snap - what is true in the guest, written down by a program that shares nothing with the product.
 *
 *   gcc -Os -static -o snap snap.c
 *
 *   snap once FILE      every process, memory files of the machine and of every cgroup, as JSON
 *   snap kmsg FILE      all of /dev/kmsg, record by record as read(2) returns it
 *   snap kills          the kernel's own count of OOM kills (oom_kill of /proc/vmstat)
 *   snap await N SEC    wait until that count is N; status 1 when it is not after SEC seconds
 *
 * JSON strings hold raw bytes: a byte that is not printable ASCII is \u00XX, so encoding a string as latin-1 gives
 * the bytes back.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LEN(array) (sizeof(array) / sizeof *(array))

static FILE *out;
static char buffer[1 << 18];

static const char *const machine_files[] = {
	"/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", "/proc/swaps", "/proc/uptime", "/proc/cmdline",
	"/proc/version", "/proc/pressure/memory", "/proc/sys/vm/panic_on_oom",
	"/proc/sys/vm/oom_kill_allocating_task", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/swappiness",
};
static const char *const process_files[] = {
	"comm", "stat", "statm", "status", "oom_score", "oom_score_adj", "cgroup", "cmdline",
};
static const char *const cgroup_prefixes[] = { "memory.", "pids.", "cpuset.mems", "cgroup.procs", "cgroup.events" };
/* Files whose opening or reading does something, or that are write-only. */
static const char *const cgroup_never[] = { "event_control", "force_empty", "reclaim", "pressure_level", ".kill" };

static ssize_t slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	size_t n = 0;
	ssize_t r = -1;

	if (fd < 0)
		return -1;
	while (n < sizeof buffer - 1 && (r = read(fd, buffer + n, sizeof buffer - 1 - n)) > 0)
		n += r;
	close(fd);
	buffer[n] = 0;
	return r < 0 && !n ? -1 : (ssize_t)n;
}

static void quote(const char *bytes, size_t n)
{
	putc('"', out);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = bytes[i];

		if (c == '\n')
			fputs("\\n", out);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			putc(c, out);
	}
	putc('"', out);
}

/* "key":"content of path", or nothing when it cannot be read; *count members stand before it. */
static void member(const char *key, const char *path, int *count)
{
	ssize_t n = slurp(path);

	if (n < 0)
		return;
	fputs((*count)++ ? "," : "", out);
	quote(key, strlen(key));
	putc(':', out);
	quote(buffer, n);
}

static void open_object(const char *key, int *count)
{
	fputs((*count)++ ? ",\n" : "", out);
	quote(key, strlen(key));
	fputs(":{", out);
}

static void processes(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char path[600];
	int count = 0;

	while (dir && (entry = readdir(dir))) {
		int files = 0;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		open_object(entry->d_name, &count);	/* stays empty when the process is gone by now */
		for (size_t i = 0; i < LEN(process_files); i++) {
			snprintf(path, sizeof path, "/proc/%s/%s", entry->d_name, process_files[i]);
			member(process_files[i], path, &files);
		}
		putc('}', out);
	}
	closedir(dir);
}

static int wanted(const char *file)
{
	for (size_t i = 0; i < LEN(cgroup_never); i++)
		if (strstr(file, cgroup_never[i]))
			return 0;
	for (size_t i = 0; i < LEN(cgroup_prefixes); i++)
		if (!strncmp(file, cgroup_prefixes[i], strlen(cgroup_prefixes[i])))
			return 1;
	return 0;
}

static void cgroups(const char *root, const char *relative, int *count)
{
	char path[2048];
	struct dirent *entry;
	int files = 0;
	DIR *dir;

	snprintf(path, sizeof path, "%s%s", root, relative);
	if (!(dir = opendir(path)))
		return;
	open_object(*relative ? relative : "/", count);
	while ((entry = readdir(dir)))
		if (entry->d_type != DT_DIR && wanted(entry->d_name)) {
			snprintf(path, sizeof path, "%s%s/%s", root, relative, entry->d_name);
			member(entry->d_name, path, &files);
		}
	putc('}', out);
	rewinddir(dir);
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
			snprintf(path, sizeof path, "%s/%s", relative, entry->d_name);
			cgroups(root, path, count);
		}
	closedir(dir);
}

static long kills(void)
{
	const char *line;

	if (slurp("/proc/vmstat") < 0 || !(line = strstr(buffer, "\noom_kill ")))
		return 0;
	return atol(line + strlen("\noom_kill "));
}

static void once(void)
{
	const char *root = access("/sys/fs/cgroup/memory", F_OK) ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
	int count = 0;

	fprintf(out, "{\"page_size\":%ld,\"oom_kill\":%ld,\n\"files\":{", sysconf(_SC_PAGESIZE), kills());
	for (size_t i = 0; i < LEN(machine_files); i++)
		member(machine_files[i], machine_files[i], &count);
	fputs("},\n\"processes\":{", out);
	processes();
	fputs("},\n\"cgroups\":{", out);
	count = 0;
	cgroups(root, "", &count);
	fputs("}}\n", out);
}

static void kmsg(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ssize_t n;

	/* EPIPE: records were overwritten while we read; the next read goes on with the oldest that is left. */
	while ((n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EPIPE))
		if (n > 0)
			fwrite(buffer, 1, n, out);
}

static int await(long count, long seconds)
{
	time_t end = time(NULL) + seconds;
	FILE *adj = fopen("/proc/self/oom_score_adj", "w");

	if (adj) {				/* the witness must survive */
		fputs("-1000", adj);
		fclose(adj);
	}
	while (kills() < count) {
		if (time(NULL) > end)
			return 1;
		usleep(20000);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "kills"))
		return printf("%ld\n", kills()) < 0;
	if (!strcmp(verb, "await") && argc == 4)
		return await(atol(argv[2]), atol(argv[3]));
	if (argc != 3 || (strcmp(verb, "once") && strcmp(verb, "kmsg")))
		return 2;
	if (!(out = fopen(argv[2], "w")))
		return 1;
	if (!strcmp(verb, "once"))
		once();
	else
		kmsg();
	return fclose(out) != 0;
}
