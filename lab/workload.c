// SPDX-License-Identifier: GPL-2.0
/*
 * workload [-x thp|swap|xdp|data] DIR: a short real load on every kind of
 * page, run by lab/workload in the guest, in the network namespace "rx".
 *
 * Maps anonymous memory in small and large folios, hugetlb pages and files
 * of DIR/{ext4,xfs,tmpfs}, forks, pages half of the anonymous memory out,
 * queues a TCP stream that came through XDP, runs $SNAPSHOT while all that
 * exists, has received pages mapped, and checks every byte again. Prints
 * "wl KEY VALUE" lines; if data changed, or a large folio, swap or page_pool
 * pages were missing, one line that says so, and fails. -x leaves one thing
 * out, or spoils a byte, to see it fail.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/kernel-page-flags.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE		4096UL
#define WORDS		(PAGE / sizeof(uint64_t))
#define MB		(1UL << 20)
#define PMD		(2 * MB)
#define MAX_ORDER	10
#define THP		"/sys/kernel/mm/transparent_hugepage/hugepages-"
#define DEV		"veth-rx"
#define ADDR		"10.77.0.1"
#define STREAM		(16 * MB)
#define RCVBUF		(64 * MB)	/* never so full that TCP copies what is queued */
#define CHUNK		MB

enum kind { ANON, FILE_MAP, HUGETLB };

static struct region {
	const char *name;
	enum kind kind;
	const char *size;	/* of the THP to enable, for ANON */
	unsigned long len;
	int large;		/* large folios are wanted */
	char *p;
} regions[] = {
	{ "anon-small", ANON, NULL, 16 * MB, 0 },
	{ "anon-64K", ANON, "64kB", 16 * MB, 1 },
	{ "anon-2M", ANON, "2048kB", 16 * MB, 1 },
	{ "hugetlb", HUGETLB, NULL, 2 * PMD, 1 },
	{ "ext4", FILE_MAP, NULL, 16 * MB, 0 },
	{ "xfs", FILE_MAP, NULL, 16 * MB, 1 },
	{ "tmpfs", FILE_MAP, NULL, 16 * MB, 1 },
};

#define NREGIONS	((int)(sizeof(regions) / sizeof(regions[0])))
#define min(a, b)	((a) < (b) ? (a) : (b))
#define for_each_region(r) for (r = regions; r < regions + NREGIONS; r++)

static const char *without = "";

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

#define die(fmt, ...) do {						\
	say("workload FAILED: " fmt, ##__VA_ARGS__);			\
	_exit(1);							\
} while (0)
#define try(call) ({							\
	long __r = (long)(call);					\
	if (__r == -1)							\
		die("%s: %s", #call, strerror(errno));			\
	__r;								\
})
#define must(cond, fmt, ...) do {					\
	if (!(cond))							\
		die(fmt, ##__VA_ARGS__);				\
} while (0)

/* Half of a page does not compress, no two pages are alike. */
static void fill(void *page, uint64_t region, uint64_t index)
{
	uint64_t *w = page, x = (region + 1) << 32 | (index + 1);
	unsigned int i;

	for (i = 0; i < WORDS; i++) {
		if (i < WORDS / 2)
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		w[i] = x;
	}
}

static int same(const void *page, uint64_t region, uint64_t index)
{
	uint64_t want[WORDS];

	fill(want, region, index);
	return !memcmp(page, want, PAGE);
}

static void check(struct region *r, const char *when)
{
	unsigned long i;

	for (i = 0; i < r->len / PAGE; i++)
		if (!same(r->p + i * PAGE, r - regions, i))
			die("page %lu of %s holds wrong data %s", i, r->name, when);
}

static void set_thp(const char *size, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), THP "%s/enabled", size);
	fd = try(open(path, O_WRONLY));
	try(write(fd, value, strlen(value)));
	close(fd);
}

static unsigned long vmstat(const char *key)
{
	FILE *f = fopen("/proc/vmstat", "r");
	unsigned long v = 0;
	char name[64];

	if (!f)
		die("/proc/vmstat: %s", strerror(errno));
	while (fscanf(f, "%63s %lu", name, &v) == 2 && strcmp(name, key))
		v = 0;
	fclose(f);
	return v;
}

/* The first number in a file of sysfs. */
static unsigned long number(const char *path)
{
	FILE *f = fopen(path, "r");
	unsigned long v;

	if (!f || fscanf(f, "%lu", &v) != 1)
		die("no number in %s", path);
	fclose(f);
	return v;
}

static void map_anon(struct region *r)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	unsigned long i;
	char *p;

	if (r->kind == HUGETLB) {
		r->p = (char *)try(mmap(NULL, r->len, PROT_READ | PROT_WRITE,
					flags | MAP_HUGETLB, -1, 0));
	} else {
		p = (char *)try(mmap(NULL, r->len + PMD, PROT_READ | PROT_WRITE,
				     flags, -1, 0));
		r->p = (char *)(((uintptr_t)p + PMD - 1) & ~(PMD - 1));
		try(madvise(r->p, r->len, r->large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE));
	}
	if (r->size && strcmp(without, "thp"))
		set_thp(r->size, "madvise");
	for (i = 0; i < r->len / PAGE; i++)
		fill(r->p + i * PAGE, r - regions, i);
	if (r->size)
		set_thp(r->size, "never");
}

/* Write, drop from the page cache where a disk has it, read back, map. */
static void map_file(struct region *r, const char *dir)
{
	unsigned char in[16 * MB / PAGE];
	unsigned long i, n = r->len / PAGE;
	char path[256], page[PAGE];
	int fd;

	snprintf(path, sizeof(path), "%s/%s/file", dir, r->name);
	fd = try(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
	for (i = 0; i < n; i++) {
		fill(page, r - regions, i);
		if (try(write(fd, page, PAGE)) != PAGE)
			die("short write to %s", path);
	}
	try(fsync(fd));
	r->p = (char *)try(mmap(NULL, r->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	if (strcmp(r->name, "tmpfs")) {
		if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
			die("cannot drop %s from the page cache", path);
		try(mincore(r->p, r->len, in));
		for (i = 0; i < n; i++)
			if (in[i] & 1)
				die("page %lu of %s stayed in the page cache", i, path);
	}
	for (i = 0; i < n; i++)
		if (try(pread(fd, page, PAGE, i * PAGE)) != PAGE || !same(page, r - regions, i))
			die("page %lu of %s reads wrong data", i, path);
	try(madvise(r->p, r->len, MADV_POPULATE_WRITE));
	close(fd);
}

static uint64_t entry(int fd, unsigned long index)
{
	uint64_t e;

	if (pread(fd, &e, sizeof(e), index * sizeof(e)) != sizeof(e))
		die("cannot read the pagemap: %s", strerror(errno));
	return e;
}

/* The order of the folio at pfn; *head is its first page. */
static int folio_order(int kpf, unsigned long pfn, unsigned long *head)
{
	unsigned long end = pfn + 1;
	int order = 0;

	*head = pfn;
	if (!(entry(kpf, pfn) & (1ULL << KPF_COMPOUND_HEAD | 1ULL << KPF_COMPOUND_TAIL)))
		return 0;
	while (!(entry(kpf, *head) & 1ULL << KPF_COMPOUND_HEAD))
		(*head)--;
	while (entry(kpf, end) & 1ULL << KPF_COMPOUND_TAIL)
		end++;
	while (*head + (1UL << order) < end)
		order++;
	return order;
}

/* Count the folios that are mapped in a region by size. */
static void count_folios(struct region *r)
{
	unsigned long n[MAX_ORDER + 1] = { 0 }, pfn, head = -1UL, last = -1UL, i;
	int pm = try(open("/proc/self/pagemap", O_RDONLY));
	int kpf = try(open("/proc/kpageflags", O_RDONLY));
	unsigned long large = 0;
	int order = 0;
	uint64_t e;

	for (i = 0; i < r->len / PAGE; i++) {
		e = entry(pm, (uintptr_t)r->p / PAGE + i);
		if (!(e >> 63))
			continue;
		pfn = e & ((1ULL << 55) - 1);
		if (pfn - head < 1UL << order)
			continue;
		order = folio_order(kpf, pfn, &head);
		if (order > MAX_ORDER)
			die("folio of order %d in %s", order, r->name);
		if (head != last)
			n[order]++;
		last = head;
	}
	for (i = 0; i <= MAX_ORDER; i++) {
		if (n[i])
			say("wl folios.%s.%luK %lu", r->name, PAGE << i >> 10, n[i]);
		if (i)
			large += n[i];
	}
	must(!r->large || large, "no large folio was mapped in %s", r->name);
	must(r->large || n[0], "no small folio was mapped in %s", r->name);
	close(pm);
	close(kpf);
}

static void fork_and_check(void)
{
	struct region *r;
	unsigned long i;
	int status;
	pid_t pid = try(fork());

	if (!pid) {
		for_each_region(r) {
			check(r, "in the child");
			if (r->kind != ANON)
				continue;
			for (i = 0; i < r->len / PAGE; i += 8)
				fill(r->p + i * PAGE, NREGIONS, i);
			for (i = 0; i < r->len / PAGE; i++)
				if (!same(r->p + i * PAGE, i % 8 ? r - regions : NREGIONS, i))
					die("page %lu of %s is wrong in the child after COW",
					    i, r->name);
		}
		_exit(0);
	}
	try(waitpid(pid, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(1);	/* it told why */
	must(!status, "the forked child died of signal %d", WTERMSIG(status));
	for_each_region(r)
		check(r, "after the child's COW");
	say("wl fork ok");
}

static unsigned long swapped(struct region *r)
{
	int pm = try(open("/proc/self/pagemap", O_RDONLY));
	unsigned long i, n = 0;

	for (i = 0; i < r->len / PAGE; i++)
		n += entry(pm, (uintptr_t)r->p / PAGE + i) >> 62 & 1;
	close(pm);
	return n;
}

static void page_out(void)
{
	unsigned long out = vmstat("pswpout"), stored, n;
	struct region *r;

	for_each_region(r) {
		if (r->kind != ANON)
			continue;
		try(madvise(r->p, r->len / 2, MADV_PAGEOUT));
		n = swapped(r);
		say("wl swap.%s %lu", r->name, n);
		must(n, "nothing of %s was swapped out", r->name);
	}
	say("wl swap.out %lu", vmstat("pswpout") - out);
	say("wl swap.64K-out %lu", number(THP "64kB/stats/swpout"));
	stored = number("/sys/block/zram0/mm_stat");
	say("wl swap.zram-bytes %lu", stored);
	must(stored, "zram stored no data");
}

static void swap_in(void)
{
	unsigned long in = vmstat("pswpin");
	struct region *r;

	for_each_region(r)
		check(r, "in the end");
	in = vmstat("pswpin") - in;
	say("wl swap.in %lu", in);
	must(in, "nothing was swapped in");
}

/* An XDP program that takes frames of many pages and passes them on. */
static void attach_xdp(void)
{
	struct bpf_insn prog[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uintptr_t)prog,
		.insn_cnt = 2,
		.license = (uintptr_t)"GPL",
		.prog_flags = BPF_F_XDP_HAS_FRAGS,
	};
	union bpf_attr link = {
		.link_create.attach_type = BPF_XDP,
		.link_create.target_ifindex = if_nametoindex(DEV),
	};

	link.link_create.prog_fd = try(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load)));
	/* the link, and with it the program, stays until we exit */
	try(syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link)));
}

/* The sum of the device's statistics whose name holds one of the words. */
static unsigned long stat(const char *const words[])
{
	unsigned long v, sum = 0;
	char line[128], name[64];
	FILE *f = popen("ethtool -S " DEV, "r");

	while (f && fgets(line, sizeof(line), f)) {
		const char *const *w;

		if (sscanf(line, " %63[^:]: %lu", name, &v) != 2)
			continue;
		for (w = words; *w; w++)
			if (strstr(name, *w))
				sum += v;
	}
	if (!f || pclose(f))
		die("ethtool -S " DEV " failed");
	return sum;
}

static unsigned long pool_allocated(void)
{
	static const char *const words[] = {
		"pp_alloc_fast", "pp_alloc_slow", "pp_alloc_refill", NULL
	};

	return stat(words);
}

static unsigned long pool_returned(void)
{
	static const char *const words[] = {
		"pp_recycle_cached", "pp_recycle_ring", "pp_recycle_released_ref", NULL
	};

	return stat(words);
}

static void send_stream(struct sockaddr_in *addr)
{
	char *data = malloc(STREAM);
	unsigned long i;
	int fd;

	try(setns(try(open("/run/netns/tx", O_RDONLY)), CLONE_NEWNET));
	fd = try(socket(AF_INET, SOCK_STREAM, 0));
	try(connect(fd, (struct sockaddr *)addr, sizeof(*addr)));
	for (i = 0; data && i < STREAM; i += PAGE)
		fill(data + i, NREGIONS + 1, i / PAGE);
	for (i = 0; data && i < STREAM; )
		i += try(write(fd, data + i, STREAM - i));
	_exit(!data);
}

/*
 * Read the stream: have the kernel map what lies in whole pages, copy the
 * rest, and check all of it. A packet begins with a head that cannot be
 * mapped; the kernel does not say how long that is, so go on byte by byte
 * until the first page could be mapped, then step over heads of that length.
 */
static void receive(int fd)
{
	char *map = (char *)try(mmap(NULL, CHUNK, PROT_READ, MAP_SHARED, fd, 0));
	unsigned long i, done = 0, mapped = 0, head = 0, n;
	char *data = malloc(STREAM);

	while (data && done < STREAM) {
		struct tcp_zerocopy_receive zc = {
			.address = (uintptr_t)map,
			.length = CHUNK,
		};
		socklen_t len = sizeof(zc);

		try(getsockopt(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len));
		if (zc.length && !mapped)
			head = done;
		memcpy(data + done, map, zc.length);
		mapped += zc.length;
		done += zc.length;
		n = zc.recv_skip_hint;
		if (!zc.length)
			n = min(n, head ? head : 1);
		n = min(n, STREAM - done);
		if (!(zc.length + n) || (n && recv(fd, data + done, n, MSG_WAITALL) != (long)n))
			die("the stream ended after %lu bytes", done);
		done += n;
	}
	for (i = 0; i < STREAM / PAGE; i++)
		if (!data || !same(data + i * PAGE, NREGIONS + 1, i))
			die("received wrong data in page %lu of the stream", i);
	free(data);
	try(munmap(map, CHUNK));
	say("wl net.bytes %lu", done);
	say("wl net.bytes-mapped %lu", mapped);
	must(mapped, "no received page was mapped (TCP_ZEROCOPY_RECEIVE)");
}

/* Let the stream queue up unread, look at it, then read it. */
static void network(void)
{
	static const char *const xdp_packets[] = { "xdp_packets", NULL };
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(7777),
		.sin_addr.s_addr = inet_addr(ADDR),
	};
	int fd, lfd, status, queued = 0, size = RCVBUF, turns = 0;
	const char *snapshot = getenv("SNAPSHOT");
	unsigned long pages;
	pid_t pid;

	if (strcmp(without, "xdp"))
		attach_xdp();
	lfd = try(socket(AF_INET, SOCK_STREAM, 0));
	try(setsockopt(lfd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)));
	try(bind(lfd, (struct sockaddr *)&addr, sizeof(addr)));
	try(listen(lfd, 1));
	pid = try(fork());
	if (!pid)
		send_stream(&addr);
	fd = try(accept(lfd, NULL, NULL));
	while (queued < (int)STREAM && turns++ < 300) {
		usleep(100000);
		try(ioctl(fd, FIONREAD, &queued));
	}
	must(queued == (int)STREAM, "only %d bytes of the stream arrived in 30 s", queued);
	pages = pool_allocated();
	must(pages, "no page_pool page was allocated");
	pages -= pool_returned();
	say("wl net.queued-bytes %d", queued);
	say("wl net.pool-allocs-queued %lu", pages);
	must(pages * PAGE >= (unsigned long)queued,
	     "received data does not lie in page_pool pages (%d bytes queued, %lu pool allocations)",
	     queued, pages);
	if (snapshot)
		must(!system(snapshot), "%s failed", snapshot);
	receive(fd);
	try(waitpid(pid, &status, 0));
	must(!status, "the sender failed (status %#x)", status);
	say("wl net.xdp-packets %lu", stat(xdp_packets));
	say("wl net.pool-allocs %lu", pool_allocated());
}

int main(int argc, char **argv)
{
	struct region *r;

	if (argc == 4 && !strcmp(argv[1], "-x")) {
		without = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc != 2)
		die("usage: workload [-x thp|swap|xdp|data] DIR");
	for_each_region(r) {
		if (r->kind == FILE_MAP)
			map_file(r, argv[1]);
		else
			map_anon(r);
		count_folios(r);
	}
	if (!strcmp(without, "data"))
		regions[1].p[5 * PAGE + 7] ^= 1;
	fork_and_check();
	page_out();
	network();
	swap_in();
	return 0;
}
