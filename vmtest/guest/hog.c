/*
 * hog - a process that holds memory, or grows until somebody dies.  Static, no dependencies.
 *
 *   gcc -Os -static -pthread -o hog hog.c
 *
 * Identity
 *   -n NAME      its name (comm, up to 15 bytes), with C escapes: \n \t \\ \xHH
 *   -j ADJ       oom_score_adj
 *   -u UID[:GID] user and group
 *   -C DIR       cgroup to join first (DIR/cgroup.procs)
 * Memory, all of it touched unless said otherwise
 *   -a MiB[,..]  private anonymous; with -F the i-th child takes the i-th number, round and round
 *   -A KiB       more of it
 *   -s MiB       shared anonymous (shmem)
 *   -v MiB       mapped and never touched
 *   -m NODE      all of it from this NUMA node (MPOL_BIND)
 *   -H           no huge pages
 * Company
 *   -T N         N threads more
 *   -S NAME      a child that shares the address space but is another process (CLONE_VM), of this name
 *   -F N         N children that each do all of the above
 *   -X N         fork bomb: N generations, each twice the one before
 * Growth, after everything else
 *   -w FILE      only once FILE exists
 *   -g KIND      anon, shm, file=PATH (write without end), dgram (unread datagrams: kernel memory)
 *   -G MiB       no further than that             -R MiB/s     no faster than that
 * Control
 *   -d           go to the background, return when everything is in place, print the pid
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024UL * 1024)
#define PAGE 4096UL
#define COMM_LEN 16		/* TASK_COMM_LEN */
#define MAX_SIZES 64

static struct {
	char name[COMM_LEN];
	int named;
	const char *adj, *user, *cgroup, *wait_file, *growth, *sharer;
	long anon_mib[MAX_SIZES], anon_count, anon_kib, shmem_mib, virtual_mib;
	long node, threads, children, generations;
	long growth_mib, rate_mib_s;
	int no_huge, daemon;
} opt = { .node = -1, .growth_mib = -1 };

static void die(const char *what)
{
	fprintf(stderr, "hog: %s: %s\n", what, strerror(errno));
	_exit(3);
}

static void unescape(char *to, const char *from, size_t size)
{
	size_t n = 0;

	while (*from && n < size - 1) {
		if (*from != '\\' || !from[1]) {
			to[n++] = *from++;
			continue;
		}
		switch (*++from) {
		case 'n': to[n++] = '\n'; break;
		case 't': to[n++] = '\t'; break;
		case 'x': {
			char hex[3] = { from[1], from[1] ? from[2] : 0, 0 };

			to[n++] = strtol(hex, NULL, 16);
			from += strlen(hex);
			break;
		}
		default: to[n++] = *from;
		}
		from++;
	}
	to[n] = 0;
}

static void put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		die(path);
	close(fd);
}

static void nap(double seconds)
{
	struct timespec t = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };

	nanosleep(&t, NULL);
}

/* A quarter of each page is noise, so that neither zswap nor zram gets the rest of the machine for nothing. */
static void touch(char *memory, size_t bytes)
{
	static uint32_t noise;

	if (!noise)
		noise = getpid() * 2654435761u | 1;
	for (size_t at = 0; at < bytes; at += PAGE) {
		uint32_t *word = (uint32_t *)(memory + at);

		for (size_t i = 0; i < PAGE / 4 / sizeof *word; i++) {	/* xorshift32 */
			noise ^= noise << 13;
			noise ^= noise >> 17;
			noise ^= noise << 5;
			word[i] = noise;
		}
	}
}

static void *map(size_t bytes, int flags)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	if (opt.no_huge)
		madvise(memory, bytes, MADV_NOHUGEPAGE);
	return memory;
}

static void hold(size_t bytes, int flags)
{
	if (bytes)
		touch(map(bytes, flags), bytes);
}

_Noreturn static void idle(void)
{
	for (;;)
		pause();
}

static void *idle_thread(void *number)
{
	char name[COMM_LEN];

	snprintf(name, sizeof name, "%.10s#%ld", opt.name, (long)number);
	prctl(PR_SET_NAME, name);
	idle();
	return NULL;
}

static int idle_sharer(void *name)
{
	prctl(PR_SET_NAME, name);
	idle();
	return 0;
}

/* Datagrams that nobody reads: slab that no process is charged with, from blocks of order 2 and 3. */
static void grow_datagrams(void)
{
	static char message[14000];
	struct rlimit files = { 65536, 65536 };
	int sndbuf = 64 << 20;
	long left = opt.growth_mib < 0 ? 0 : opt.growth_mib * (long)MIB;

	setrlimit(RLIMIT_NOFILE, &files);
	for (;;) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) {
			nap(1);
			continue;
		}
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof sndbuf);
		for (;;) {
			ssize_t sent = send(pair[0], message, sizeof message, MSG_DONTWAIT);

			if (sent < 0 && (errno == ENOBUFS || errno == ENOMEM))
				nap(.01);
			else if (sent < 0)
				break;		/* this queue is full: the next pair */
			else if (opt.growth_mib >= 0 && (left -= sent) <= 0)
				return;
		}
	}
}

/* Sleeps until growing so far may have taken so long: a slow machine catches up, it does not fall behind for good. */
static void pace(size_t grown)
{
	static double began;
	struct timespec t;
	double now, due;

	if (opt.rate_mib_s <= 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	now = t.tv_sec + t.tv_nsec / 1e9;
	if (!began)
		began = now;
	due = began + (double)grown / MIB / opt.rate_mib_s;
	if (due > now)
		nap(due - now);
}

static void grow_file(const char *path)
{
	static char block[65536];
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (fd < 0)
		die(path);
	touch(block, sizeof block);
	for (size_t done = 0; opt.growth_mib < 0 || done < opt.growth_mib * MIB; done += sizeof block) {
		if (write(fd, block, sizeof block) < 0)
			break;			/* the file system is full: that is the scenario */
		pace(done);
	}
}

static void grow(void)
{
	if (!strcmp(opt.growth, "dgram")) {
		grow_datagrams();
	} else if (!strncmp(opt.growth, "file=", 5)) {
		grow_file(opt.growth + 5);
	} else {
		int flags = strcmp(opt.growth, "shm") ? MAP_PRIVATE : MAP_SHARED;

		for (long mib = 0; opt.growth_mib < 0 || mib < opt.growth_mib; mib++) {
			pace(mib * MIB);
			hold(MIB, flags);
		}
	}
}

static void fork_bomb(void)
{
	for (long generation = 0; generation < opt.generations; ) {
		pid_t pid = fork();

		if (pid < 0) {			/* pids.max: wait for the killer to make room */
			nap(.05);
			continue;
		}
		if (pid == 0)
			hold(opt.anon_kib * 1024, MAP_PRIVATE);
		generation++;
	}
}

static void become(void)
{
	char path[600];

	if (opt.cgroup) {
		snprintf(path, sizeof path, "%s/cgroup.procs", opt.cgroup);
		put(path, "0");
	}
	if (opt.adj)
		put("/proc/self/oom_score_adj", opt.adj);
	if (opt.user) {				/* after adj: lowering it takes CAP_SYS_RESOURCE */
		const char *colon = strchr(opt.user, ':');
		gid_t gid = atoi(colon ? colon + 1 : opt.user);

		if (setgroups(0, NULL) || setgid(gid) || setuid(atoi(opt.user)))
			die("-u");
	}
	if (opt.no_huge)
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (opt.node >= 0) {
		unsigned long mask = 1UL << opt.node;

		if (syscall(SYS_set_mempolicy, 2 /* MPOL_BIND */, &mask, 64))
			die("-m");
	}
	if (opt.named)
		prctl(PR_SET_NAME, opt.name);
}

static void live(int index, int ready_fd)
{
	become();
	if (opt.virtual_mib)
		mmap(NULL, opt.virtual_mib * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (opt.anon_count)
		hold(opt.anon_mib[index % opt.anon_count] * MIB, MAP_PRIVATE);
	hold(opt.anon_kib * 1024, MAP_PRIVATE);
	hold(opt.shmem_mib * MIB, MAP_SHARED);
	for (long i = 0; i < opt.threads; i++) {
		pthread_t thread;
		pthread_attr_t attr;

		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 65536);
		if ((errno = pthread_create(&thread, &attr, idle_thread, (void *)i)))
			die("-T");
	}
	if (opt.sharer) {
		static char name[COMM_LEN];
		char *stack = map(65536, MAP_PRIVATE);

		unescape(name, opt.sharer, sizeof name);
		if (clone(idle_sharer, stack + 65536, CLONE_VM | SIGCHLD, name) < 0)
			die("-S");
	}
	if (ready_fd >= 0) {
		if (write(ready_fd, "", 1) != 1)
			die("ready");
		close(ready_fd);
	}
	if (opt.wait_file)
		while (access(opt.wait_file, F_OK))
			nap(.03);
	if (opt.generations)
		fork_bomb();
	if (opt.growth)
		grow();
	idle();
}

/* Starts one process and waits until its memory is in place. */
static void start(int index)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready) || (pid = fork()) < 0)
		die("start");
	if (pid == 0) {
		close(ready[0]);
		if (opt.daemon) {
			int null = open("/dev/null", O_RDWR);

			setsid();
			dup2(null, 0);
			dup2(null, 1);
			close(null);
		}
		live(index, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		fprintf(stderr, "hog: process %d died before it was ready\n", pid);
	close(ready[0]);
	printf("%d\n", pid);
	fflush(stdout);
}

static void sizes(char *list)
{
	for (char *part = strtok(list, ","); part && opt.anon_count < MAX_SIZES; part = strtok(NULL, ","))
		opt.anon_mib[opt.anon_count++] = atol(part);
}

int main(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "n:j:u:C:a:A:s:v:m:HT:S:F:X:w:g:G:R:d")) != -1)
		switch (o) {
		case 'n': unescape(opt.name, optarg, sizeof opt.name); opt.named = 1; break;
		case 'j': opt.adj = optarg; break;
		case 'u': opt.user = optarg; break;
		case 'C': opt.cgroup = optarg; break;
		case 'a': sizes(optarg); break;
		case 'A': opt.anon_kib = atol(optarg); break;
		case 's': opt.shmem_mib = atol(optarg); break;
		case 'v': opt.virtual_mib = atol(optarg); break;
		case 'm': opt.node = atol(optarg); break;
		case 'H': opt.no_huge = 1; break;
		case 'T': opt.threads = atol(optarg); break;
		case 'S': opt.sharer = optarg; break;
		case 'F': opt.children = atol(optarg); break;
		case 'X': opt.generations = atol(optarg); break;
		case 'w': opt.wait_file = optarg; break;
		case 'g': opt.growth = optarg; break;
		case 'G': opt.growth_mib = atol(optarg); break;
		case 'R': opt.rate_mib_s = atol(optarg); break;
		case 'd': opt.daemon = 1; break;
		default: return 2;
		}
	if (!opt.daemon && !opt.children)
		live(0, -1);
	for (int i = 0; i < (opt.children ? opt.children : 1); i++)
		start(i);
	if (!opt.daemon)
		while (wait(NULL) > 0 || errno == EINTR)
			;
	return 0;
}
