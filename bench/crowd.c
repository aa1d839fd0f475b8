/*
 * A machine full of processes, for record_bench.py: what a recorder, top and psutil look at.
 *
 *   crowd N ACTIVE CGROUPS DIRECTORY
 *
 * Starts N processes, spread over the CGROUPS existing cgroups DIRECTORY/0, DIRECTORY/1, …; the first ACTIVE of them
 * grow or shrink by up to 64 pages once a second, each at its own moment, the others sleep. They end with this one.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MOST = 64 };

static void work(int number)
{
	struct timespec second = {1, 0}, begin = {0, (long)(number * 7919L % 1000) * 1000000L};
	unsigned seed = 1 + (unsigned)number;
	char *room = mmap(NULL, MOST * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	nanosleep(&begin, NULL);
	for (;;) {
		size_t used = (size_t)(rand_r(&seed) % MOST) * PAGE;
		madvise(room, MOST * PAGE, MADV_DONTNEED);
		memset(room, 1, used);
		nanosleep(&second, NULL);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fputs("usage: crowd N ACTIVE CGROUPS DIRECTORY\n", stderr);
		return 2;
	}
	int count = atoi(argv[1]), active = atoi(argv[2]), cgroups = atoi(argv[3]);
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();
		if (pid < 0) {
			perror("fork");
			return 1;
		}
		if (pid == 0) {
			char path[300];
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			snprintf(path, sizeof path, "%s/%d/cgroup.procs", argv[4], i % (cgroups ? cgroups : 1));
			int fd = cgroups ? open(path, O_WRONLY) : -1;
			if (cgroups && (fd < 0 || write(fd, "0", 1) != 1)) {
				perror(path);
				_exit(1);
			}
			if (fd >= 0)
				close(fd);
			if (i < active)
				work(i);
			for (;;)
				pause();
		}
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
