// What programs ask of a kernel, with a checksum: processes that share and copy
// pages, threads, signals of every kind, faults that handlers repair, pipes,
// mappings that move and go, and files in the current folder, read, written and
// mapped.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

static uint64_t state = 88172645463325252ull, sum;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t hash(const void *p, size_t n)
{
	const unsigned char *b = p;
	uint64_t h = 0xcbf29ce484222325ull;
	while (n--)
		h = (h ^ *b++) * 0x100000001b3ull;
	return h;
}

#define need(x) do { if (!(x)) { fprintf(stderr, "line %d: %s\n", __LINE__, #x); perror("errno"); exit(2); } } while (0)

static void reap(pid_t pid)
{
	int status;
	need(waitpid(pid, &status, 0) == pid);
	need(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// Children change their copies of the parent's pages, and the parent's stay.
static void copies(void)
{
	enum { N = 4, SIZE = 24 * PAGE };
	uint64_t *mine = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t *ours = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(mine != MAP_FAILED && ours != MAP_FAILED);
	for (size_t i = 0; i < SIZE / 8; i++)
		mine[i] = next();
	uint64_t before = hash(mine, SIZE);
	pid_t pids[N];
	int ends[2];
	need(pipe(ends) == 0);
	for (int n = 0; n < N; n++) {
		need((pids[n] = fork()) >= 0);
		if (pids[n] == 0) {
			for (size_t i = (size_t)n; i < SIZE / 8; i += 97)
				mine[i] ^= (uint64_t)n * 0x9e3779b97f4a7c15ull;
			ours[n] = hash(mine, SIZE);
			need(write(ends[1], &ours[n], 8) == 8);
			_exit(0);
		}
	}
	uint64_t got = 0, v;
	for (int n = 0; n < N; n++) {
		need(read(ends[0], &v, 8) == 8);
		got += v;
	}
	for (int n = 0; n < N; n++) {
		reap(pids[n]);
		got -= ours[n];
	}
	need(got == 0 && hash(mine, SIZE) == before);
	for (int n = 0; n < N; n++)
		sum = sum * 31 + ours[n];
	close(ends[0]);
	close(ends[1]);
	munmap(mine, SIZE);
	munmap(ours, PAGE);
}

static volatile sig_atomic_t alarms;
static char *volatile guarded;
static volatile int repaired;
static sigjmp_buf back;

static void on_alarm(int n) { (void)n; alarms++; }

static void on_fault(int n, siginfo_t *info, void *context)
{
	(void)n, (void)context;
	char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
	if (page < guarded || page >= guarded + 8 * PAGE || mprotect(page, PAGE, PROT_READ | PROT_WRITE) != 0)
		_exit(3);
	repaired++;
}

static void on_trap(int n) { siglongjmp(back, n); }

static void handle(int n, void (*plain)(int), void (*full)(int, siginfo_t *, void *))
{
	struct sigaction a = {.sa_flags = full ? SA_SIGINFO : 0};
	sigemptyset(&a.sa_mask);
	if (full)
		a.sa_sigaction = full;
	else
		a.sa_handler = plain;
	need(sigaction(n, &a, NULL) == 0);
}

static void signals(void)
{
	// Timers interrupt a computation, which must not notice.
	handle(SIGALRM, on_alarm, NULL);
	struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	need(setitimer(ITIMER_REAL, &often, NULL) == 0);
	double d = 1;
	uint64_t v = 1;
	for (int i = 1; i < 60000; i++) {
		d = d * 1.0000001 + 1.0 / i;
		v = v * 6364136223846793005ull + (uint64_t)i;
	}
	need(setitimer(ITIMER_REAL, &never, NULL) == 0);
	sum = sum * 31 + hash(&d, sizeof d) + v;

	// Stores to protected pages fault, and are done again.
	guarded = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(guarded != MAP_FAILED);
	repaired = 0;
	handle(SIGSEGV, NULL, on_fault);
	for (size_t i = 0; i < 7; i++)
		memcpy(guarded + i * PAGE + PAGE - 3, "across", 6);
	need(repaired == 8);
	sum = sum * 31 + hash(guarded, 8 * PAGE);
	munmap(guarded, 8 * PAGE);
	handle(SIGSEGV, SIG_DFL, NULL);

	// Traps, left by a jump.
	handle(SIGFPE, on_trap, NULL);
	handle(SIGILL, on_trap, NULL);
	volatile int zero = 0;
	int n = sigsetjmp(back, 1);
	if (n == 0)
		sum += (uint64_t)(7 / zero);
	else if (n == SIGFPE)
		__asm__ volatile("ud2");
	need(n == SIGILL);

	// Queued signals come in order, with their values.
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	need(sigprocmask(SIG_BLOCK, &set, &old) == 0);
	pid_t parent = getpid(), child = fork();
	need(child >= 0);
	if (child == 0) {
		for (int i = 0; i < 40; i++)
			need(sigqueue(parent, SIGRTMIN, (union sigval){.sival_int = i * i}) == 0);
		_exit(0);
	}
	for (int i = 0; i < 40; i++) {
		siginfo_t info;
		need(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == i * i && info.si_pid == child);
	}
	reap(child);
	need(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t guardedSum, atomicSum;

static void *adds(void *arg)
{
	uint64_t v = (uint64_t)(uintptr_t)arg;
	for (int i = 0; i < 3000; i++) {
		v = v * 2862933555777941757ull + 3037000493ull;
		pthread_mutex_lock(&lock);
		guardedSum += v;
		pthread_mutex_unlock(&lock);
		__atomic_fetch_add(&atomicSum, v, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[3];
	guardedSum = atomicSum = 0;
	for (uintptr_t i = 0; i < 3; i++)
		need(pthread_create(&t[i], NULL, adds, (void *)(i + (next() & 0xffff))) == 0);
	for (int i = 0; i < 3; i++)
		need(pthread_join(t[i], NULL) == 0);
	need(guardedSum == atomicSum);
	sum = sum * 31 + guardedSum;
}

// A file is written, mapped, changed through the mapping and by another
// process, renamed and removed.
static void files(void)
{
	enum { SIZE = 96 * 1024, CHUNK = 3000 };
	char name[64], other[64];
	snprintf(name, sizeof name, "stress-%d", getpid());
	snprintf(other, sizeof other, "stress-%d-renamed", getpid());
	static unsigned char data[SIZE], copy[SIZE];
	for (size_t i = 0; i < SIZE; i += 8)
		memcpy(data + i, &(uint64_t){next()}, 8);
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	need(fd >= 0);
	for (size_t i = 0; i < SIZE; i += CHUNK) {
		size_t n = SIZE - i < CHUNK ? SIZE - i : CHUNK;
		need(pwrite(fd, data + i, n, (off_t)i) == (ssize_t)n);
	}
	need(fsync(fd) == 0);
	unsigned char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(map != MAP_FAILED && memcmp(map, data, SIZE) == 0);
	pid_t child = fork();
	need(child >= 0);
	if (child == 0) {
		for (size_t i = 1; i < SIZE; i += 1000)
			map[i] ^= 0x55;
		need(msync(map, SIZE, MS_SYNC) == 0);
		_exit(0);
	}
	reap(child);
	for (size_t i = 1; i < SIZE; i += 1000)
		data[i] ^= 0x55;
	for (size_t i = 0; i < SIZE; i += 7777)
		map[i] = data[i] = (unsigned char)next();
	need(rename(name, other) == 0);
	need(pread(fd, copy, SIZE, 0) == SIZE && memcmp(copy, data, SIZE) == 0);
	sum = sum * 31 + hash(copy, SIZE);
	need(munmap(map, SIZE) == 0 && ftruncate(fd, SIZE / 2) == 0 && lseek(fd, 0, SEEK_END) == SIZE / 2);
	need(close(fd) == 0 && unlink(other) == 0);
}

// Mappings grow, move, and lose what is in them.
static void mappings(void)
{
	size_t size = 8 * PAGE;
	unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(p != MAP_FAILED);
	for (int i = 0; i < 5; i++) {
		for (size_t at = 0; at < size; at += 64)
			p[at] ^= (unsigned char)next();
		p = mremap(p, size, size * 2, MREMAP_MAYMOVE);
		need(p != MAP_FAILED);
		size *= 2;
		need(madvise(p + size / 4, PAGE, MADV_DONTNEED) == 0 && p[size / 4 + 64] == 0);
	}
	sum = sum * 31 + hash(p, size);
	need(munmap(p, size) == 0);
}

// The program runs itself, and reads what that prints.
static void exec(const char *self)
{
	int ends[2];
	need(pipe(ends) == 0);
	char word[32], got[32];
	snprintf(word, sizeof word, "%016llx", (unsigned long long)next());
	pid_t child = vfork();
	need(child >= 0);
	if (child == 0) {
		dup2(ends[1], 1);
		execl(self, self, "0", word, NULL);
		_exit(4);
	}
	reap(child);
	need(read(ends[0], got, sizeof got) == 17 && memcmp(got, word, 16) == 0);
	close(ends[0]);
	close(ends[1]);
}

int main(int argc, char **argv)
{
	if (argc > 2) {
		puts(argv[2]);
		return 0;
	}
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	for (int i = 0; i < rounds; i++) {
		copies();
		signals();
		threads();
		files();
		mappings();
		exec("/proc/self/exe");
	}
	printf("%016llx\n", (unsigned long long)sum);
	return 0;
}
