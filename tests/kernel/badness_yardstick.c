/*
 * The arithmetic of badness in C, to hold oomsight's integers against: the facts are those of mm/oom_kill.c and
 * fs/proc/base.c, the code is ours. LONG is 32 or 64; the kernel is built with -fno-strict-overflow, so signed numbers
 * wrap.
 *
 * Each line of standard input: rule rss swap tables pmds adj root T page_size children_vm cpu_jiffies run_seconds nice
 * rawio shift_hz. "tables" are tables, or bytes from 4.15 on; with the oldest rules "adj" is oom_adj, "rss" is total_vm,
 * and "children_vm" is one child's. Each line of output: points, oom_score and the score of the kill line ("-": none).
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if LONG == 32
typedef uint32_t ulong_t;
typedef int32_t long_t;
#else
typedef uint64_t ulong_t;
typedef int64_t long_t;
#endif

static ulong_t root_of(ulong_t number) /* the greatest whose square is not more */
{
	ulong_t found = 0;
	for (ulong_t bit = (ulong_t)1 << (LONG / 2 - 1); bit; bit >>= 1)
		if ((found | bit) <= number / (found | bit))
			found |= bit;
	return found;
}

int main(void)
{
	char rule[16];
	int64_t in[14];

	while (scanf("%15s", rule) == 1) {
		for (int i = 0; i < 14; i++)
			if (scanf("%" SCNd64, &in[i]) != 1)
				return 1;
		ulong_t rss = in[0], swap = in[1], tables = in[2], pmds = in[3], total = in[6], page_size = in[7];
		long_t adj = in[4];
		int root = in[5] != 0;
		if (strncmp(rule, "2.6.1", 5) == 0 || strncmp(rule, "2.6.2", 5) == 0 || strcmp(rule, "2.6.32") == 0) {
			ulong_t points = rss, child = in[8], root2;
			if (child)
				points += strcmp(rule, "2.6.11") == 0 ? child : child / 2 + 1;
			root2 = root_of((ulong_t)in[9] >> (in[13] + 3));
			if (root2)
				points /= root2;
			root2 = root_of(root_of((ulong_t)in[10] >> 10));
			if (root2)
				points /= root2;
			if (in[11] > 0)
				points *= 2;
			if (root)
				points /= 4;
			if (in[12])
				points /= 4;
			if (adj > 0) {
				if (!points && (strcmp(rule, "2.6.24") == 0 || strcmp(rule, "2.6.32") == 0))
					points = 1;
				points <<= adj;
			} else
				points >>= -adj;
			printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (uint64_t)points, (uint64_t)points, (uint64_t)points);
		} else if (strcmp(rule, "2.6.36") == 0 || strcmp(rule, "3.2") == 0 || strcmp(rule, "2.6.39") == 0) {
			long_t points;
			if (strcmp(rule, "2.6.39") == 0) {
				int32_t narrow = rss + tables;
				narrow += swap;
				narrow = (int32_t)((uint32_t)narrow * 1000u);
				narrow = (int32_t)((ulong_t)(long_t)narrow / total);
				points = narrow;
			} else
				points = (rss + swap + (strcmp(rule, "3.2") == 0 ? tables : 0)) * 1000 / total;
			if (root)
				points -= 30;
			points += adj;
			if (strcmp(rule, "2.6.39") == 0)
				points = (int32_t)points;
			points = points <= 0 ? 1 : points < 1000 ? points : 1000;
			printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", (int64_t)points, (int64_t)points, (int64_t)points);
		} else {
			int major, minor, bytes, floor;
			sscanf(rule, "%d.%d", &major, &minor);
			bytes = major > 4 || (major == 4 && minor >= 15);
			floor = major < 5 || minor < 9;
			long_t points = rss + swap + (bytes ? tables / page_size : tables);
			if (major == 4 && minor == 0)
				points += pmds;
			if (root && major == 3 && minor == 5)
				adj -= 30;
			else if (root && !(major > 4 || (major == 4 && minor >= 17)))
				points -= points * 3 / 100;
			adj *= total / 1000;
			points += adj;
			if (floor) {
				ulong_t shown = points > 0 ? points : 1;
				ulong_t share = shown * 1000 / total;
				printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (uint64_t)shown, (uint64_t)share, (uint64_t)share);
			} else {
				long_t thousand = (long_t)((ulong_t)points * 1000u);
				ulong_t score = (long_t)((ulong_t)(1000 + thousand / (long_t)total) * 2u) / 3;
				printf("%" PRId64 " %" PRIu64 " -\n", (int64_t)points, (uint64_t)score);
			}
		}
	}
	return 0;
}
