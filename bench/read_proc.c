/*
 * The yardstick of score_bench.py: the least a program can do to read what `oomsight score` reads of every process.
 *
 *   read_proc          read stat, status, oom_score and oom_score_adj of every process, once, and parse nothing
 *   read_proc spawn N  start N sleeping processes and sleep; they end with this one
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

static int spawn(int count)
{
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();
		if (pid < 0) {
			perror("fork");
			return 1;
		}
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "spawn") == 0)
		return spawn(atoi(argv[2]));
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
			int fd = open(path, O_RDONLY | O_CLOEXEC);
			ssize_t got = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);
			if (fd >= 0)
				close(fd);
			bytes += got > 0 ? got : 0;
		}
	}
	printf("%ld processes, %ld bytes\n", processes, bytes);
	return 0;
}
