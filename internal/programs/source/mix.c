// A little of everything that a compiler makes code of, with a checksum:
// recursion, strings, sorting, floats of all three sizes, bit fields,
// divisions, switches, calls through pointers, the heap. Of libm it takes only
// what is exact: the rest differs with the processor.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252ull, sum;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void add(const void *p, size_t n)
{
	const unsigned char *b = p;
	while (n--)
		sum = (sum ^ *b++) * 0x100000001b3ull;
}

static void say(const char *format, double v, long double w)
{
	char line[128];
	add(line, (size_t)snprintf(line, sizeof line, format, v, w));
}

static unsigned ackermann(unsigned m, unsigned n)
{
	if (m == 0)
		return n + 1;
	return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

static int compare(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

static void strings(void)
{
	enum { N = 200 };
	char *list[N];
	for (int i = 0; i < N; i++) {
		char word[64];
		snprintf(word, sizeof word, "%llx-%d", (unsigned long long)next() >> 24, i);
		list[i] = strdup(word);
	}
	qsort(list, N, sizeof *list, compare);
	for (int i = 0; i < N; i++) {
		add(list[i], strlen(list[i]));
		char *dash = strchr(list[i], '-');
		sum += strtoul(dash + 1, NULL, 10) + (uint64_t)(strstr(list[i], "7f") != NULL);
		free(list[i]);
	}
	unsigned char from[700], to[900];
	for (size_t i = 0; i < sizeof from; i++)
		from[i] = (unsigned char)next();
	memset(to, 0x5a, sizeof to);
	memcpy(to + next() % 64, from, sizeof from);
	memmove(to + 3, to, 600);
	sum += (uint64_t)(memcmp(to, from, 300) < 0);
	add(to, sizeof to);
}

static void floats(void)
{
	double d = 1.0;
	float f = 1.0f;
	long double l = 1.0L;
	for (int i = 1; i < 60; i++) {
		d = d * 1.0625 + sqrt((double)(next() >> 40)) / i;
		f = f * 0.75f + (float)(int32_t)next() / 65536.0f;
		l = l / 3.0L + (long double)(int64_t)next();
		if (d > 1e9)
			d -= floor(d / 7.0) * 6.5;
		sum += (uint64_t)(int64_t)(f * 16.0f) + (uint64_t)(d < (double)f) + (uint64_t)(l > 0);
	}
	add(&d, sizeof d);
	add(&f, sizeof f);
	say("%.17g %.18Lg", d, l);
	say("%a %.3Lf", fabs(d) / (1 + d * d), l / 7);
}

struct packet {
	unsigned kind : 5, flags : 11, length : 16;
	int16_t small;
	uint8_t bytes[5];
};

static int64_t plus(int64_t x, int64_t y) { return x + y; }
static int64_t minus(int64_t x, int64_t y) { return x - y; }
static int64_t times(int64_t x, int64_t y) { return (int64_t)((uint64_t)x * (uint64_t)y); }
static int64_t over(int64_t x, int64_t y) { return x / (y | 1); }
static int64_t rest(int64_t x, int64_t y) { return x % (y | 1); }

static void integers(void)
{
	int64_t (*const ops[])(int64_t, int64_t) = {plus, minus, times, over, rest};
	int64_t v = 12345;
	for (int i = 0; i < 400; i++) {
		v = ops[next() % 5](v, (int32_t)next());
		struct packet p = {.kind = (unsigned)v, .flags = (unsigned)(v >> 7), .length = (unsigned)(v >> 20), .small = (int16_t)v};
		p.bytes[i % 5] = (uint8_t)(p.kind ^ p.flags);
		switch ((p.length ^ p.kind) % 9) {
		case 0: v = (int64_t)__builtin_bswap64((uint64_t)v); break;
		case 1: v ^= __builtin_clzll((uint64_t)v | 1); break;
		case 2: v += __builtin_ctz((unsigned)v | 0x10000); break;
		case 3: v = (int64_t)((uint64_t)v << (v & 63) | (uint64_t)v >> (-v & 63)); break;
		case 4: v += p.small * (int8_t)p.bytes[i % 5]; break;
		case 5: v = (int64_t)(((unsigned __int128)(uint64_t)v * state) >> 64); break;
		case 6: v -= (uint16_t)v / (uint8_t)(p.kind | 1); break;
		case 7: v ^= v >> 63 & 0x7fff; break;
		default: v = ~v; break;
		}
		sum = sum * 31 + (uint64_t)v;
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	for (int i = 0; i < rounds; i++) {
		sum += ackermann(2, 30 + (unsigned)(i & 15));
		strings();
		floats();
		integers();
	}
	printf("%016llx\n", (unsigned long long)sum);
	return 0;
}
