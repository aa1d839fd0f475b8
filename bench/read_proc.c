/*
 * The yardstick of score_bench.py: the least a program can do to read what `oomsight score` reads of every process.
 *
 *   read_proc             read stat, status, oom_score and oom_score_adj of every process, once, and parse nothing
 *   read_proc list FILE   read the files named in FILE, one a line
 *   read_proc spawn N alike|node
 *                         start N sleeping processes and sleep; they end with this one. "alike" are all the same;
 *                         "node" have memory and oom_score_adj as on a Kubernetes node: of 20, one is best effort
 *                         (1000), twelve are burstable (3 to 999), three guaranteed (-997), four the host's (0 or
 *                         -999); one of 100 has 16 to 48 MiB, all others less than 256 KiB of their own
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char *const files[] = {"stat", "status", "oom_score", "oom_score_adj"};
static char buffer[16384];

static void settle(int number)
{
	unsigned seed = 12345u + number;
	int kind = number % 20, size = 1 + rand_r(&seed) % 64;
	if (number % 100 == 0)
		size = 4096 + rand_r(&seed) % 8192;
	int adj = kind == 0 ? 1000 : kind <= 12 ? 3 + rand_r(&seed) % 997 : kind <= 15 ? -997 : kind <= 18 ? 0 : -999;
	FILE *file = fopen("/proc/self/oom_score_adj", "w");
	if (file) {
		fprintf(file, "%d", adj);
		fclose(file);
	}
	volatile char *memory = malloc(size * 4096);
	for (int page = 0; memory && page < size; page++)
		memory[page * 4096] = 1;
}

static int spawn(int count, int node)
{
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();
		if (pid < 0) {
			perror("fork");
			return 1;
		}
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (node)
				settle(i);
			for (;;)
				pause();
		}
	}
	sleep(1); /* until the last of them has settled */
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static long take(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);
	if (fd >= 0)
		close(fd);
	return got > 0 ? got : 0;
}

static int list(const char *name)
{
	char path[300];
	long bytes = 0;
	FILE *names = fopen(name, "r");
	while (names && fgets(path, sizeof path, names)) {
		path[strcspn(path, "\n")] = 0;
		bytes += take(path);
	}
	printf("%ld bytes\n", bytes);
	return !names;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "spawn") == 0)
		return spawn(atoi(argv[2]), strcmp(argv[3], "node") == 0);
	if (argc == 3 && strcmp(argv[1], "list") == 0)
		return list(argv[2]);
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	long bytes = 0, processes = 0;
	while (proc && (entry = readdir(proc))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		processes++;
		for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
			char path[300];
			snprintf(path, sizeof path, "/proc/%s/%s", entry->d_name, files[i]);
			bytes += take(path);
		}
	}
	printf("%ld processes, %ld bytes\n", processes, bytes);
	return 0;
}
