// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's init for lab/dump: maps memory of each kind in a child, fills it, tells where it lies, and waits.
 * Each 8 bytes hold the first four letters of the kind and the offset in the mapping. Packets, too, wait in a socket:
 * generic XDP copies what comes over the loopback device to pages of a page_pool.
 * "DUMP pid N", "DUMP net FD", "DUMP map KIND ADDRESS PAGE" for each, "DUMP ready"; or "GUEST SETUP FAILED: why".
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define PACKETS 8

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

static void fill(uint64_t *p, size_t size, const char *kind)
{
	uint32_t tag;

	memcpy(&tag, kind, sizeof(tag));
	for (size_t i = 0; i < size / 8; i++)
		p[i] = (uint64_t)tag << 32 | i * 8;
}

static void receive(void)
{
	struct bpf_insn pass[] = { { BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS }, { BPF_JMP | BPF_EXIT } };
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_XDP, .insns = (uintptr_t)pass, .insn_cnt = 2,
				.license = (uintptr_t)"GPL", .prog_flags = BPF_F_XDP_HAS_FRAGS };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct ifreq lo = { .ifr_name = "lo" };
	union bpf_attr link = {};
	uint64_t packet[375];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	memcpy(&lo.ifr_addr, &to, sizeof(to));
	check(fd >= 0 && !ioctl(fd, SIOCSIFADDR, &lo), "the address of lo");
	lo.ifr_flags = IFF_UP;
	check(!ioctl(fd, SIOCSIFFLAGS, &lo), "lo");
	link.link_create.prog_fd = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	link.link_create.target_ifindex = if_nametoindex("lo");
	link.link_create.attach_type = BPF_XDP;
	link.link_create.flags = XDP_FLAGS_SKB_MODE;
	check(syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link)) >= 0, "XDP on lo");
	check(!bind(fd, (struct sockaddr *)&to, sizeof(to)) && !connect(fd, (struct sockaddr *)&to, sizeof(to)), "the socket");
	fill(packet, sizeof(packet), "net");
	for (int i = 0; i < PACKETS; i++)
		check(send(fd, packet, sizeof(packet), 0) == sizeof(packet), "send");
	printf("DUMP net %d\n", fd);
}

static void map(const char *kind, char *at, size_t size, int fd, int advice)
{
	int flags = MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
	uint64_t *p = mmap(at, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	check(p == (void *)at, kind);
	check(!madvise(p, size, advice), "madvise");
	fill(p, size, kind);
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
	receive();
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
