// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's init for lab/dump: maps memory of each kind in a child, fills it, tells where it lies, and waits.
 * Each 8 bytes hold the first four letters of the kind and the offset in the mapping.
 * "DUMP pid N", "DUMP map KIND ADDRESS PAGE" for each, "DUMP ready"; or "GUEST SETUP FAILED: why".
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"

static void check(int ok, const char *what)
{
	if (ok)
		return;
	printf("GUEST SETUP FAILED: %s: %m\n", what);
	reboot(RB_AUTOBOOT);
}

static void say(const char *file, const char *s)
{
	int fd = open(file, O_WRONLY);

	check(fd >= 0 && write(fd, s, strlen(s)) == (ssize_t)strlen(s), file);
	close(fd);
}

static void map(const char *kind, char *at, size_t size, int fd, int advice)
{
	int flags = MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
	uint64_t *p = mmap(at, size, PROT_READ | PROT_WRITE, flags, fd, 0);
	uint32_t tag;

	check(p == (void *)at, kind);
	check(!madvise(p, size, advice), "madvise");
	memcpy(&tag, kind, sizeof(tag));
	for (size_t i = 0; i < size / 8; i++)
		p[i] = (uint64_t)tag << 32 | i * 8;
	printf("DUMP map %s %p %p\n", kind, at, at + size / 2 + 5 * 4096);
}

static void workload(void)
{
	int fd = open("/tmp/dump", O_RDWR | O_CREAT, 0600);

	check(fd >= 0 && !ftruncate(fd, 64 << 10), "/tmp/dump");
	printf("DUMP pid %d\n", getpid());
	map("anon", (char *)0x10000000, 64 << 10, -1, MADV_NOHUGEPAGE);
	map("file", (char *)0x20000000, 64 << 10, fd, MADV_NORMAL);
	map("large", (char *)0x30000000, 64 << 10, -1, MADV_HUGEPAGE);
	map("huge", (char *)0x40000000, 2 << 20, -1, MADV_HUGEPAGE);
	printf("DUMP ready\n");
	for (;;)
		pause();
}

int main(void)
{
	mkdir("/sys", 0700);
	mkdir("/tmp", 0700);
	check(!mount("none", "/sys", "sysfs", 0, NULL), "sysfs");
	check(!mount("none", "/tmp", "tmpfs", 0, NULL), "tmpfs");
	say(THP "enabled", "madvise"); /* off with less than 512 MB of memory */
	say(THP "hugepages-64kB/enabled", "madvise");
	if (!fork())
		workload();
	wait(NULL);
	check(0, "the workload ended");
}
