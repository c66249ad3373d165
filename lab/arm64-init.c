// init of the arm64 guest, static: sets up what the selftests need, runs each line of /list ("SECONDS PROGRAM ARGUMENT...")
// in /xfs and prints "=== start" and "=== end STATUS" around what it says, then the kernel's messages. STATUS is 124 for
// one that ran out of time. /dev/vda has an ext4, /dev/vdb an XFS; /swap is the first page of a swap device.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READ_CLEAR = 4, CONSOLE_OFF = 6 }; /* syslog(2) */

static void end(void)
{
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
}

static void need(int ok, const char *what)
{
	if (ok)
		return;
	printf("GUEST SETUP FAILED: %s: %s\n", what, strerror(errno));
	end();
}

static void put_on(const char *what, const char *where, const char *type)
{
	mkdir(where, 0755);
	need(!mount(what, where, type, 0, NULL), where);
}

static void set(const char *path, const void *value, size_t len)
{
	int fd = open(path, O_WRONLY);

	need(fd >= 0 && write(fd, value, len) == (ssize_t)len, path);
	need(!fsync(fd) || errno == EINVAL, path);
	close(fd);
}

static void kernel_log(int show)
{
	static char buf[4 << 20];
	int len = klogctl(READ_CLEAR, buf, sizeof(buf));

	if (show && len > 0)
		fwrite(buf, 1, len, stdout);
}

static int run(char **argv, unsigned int seconds)
{
	int status;
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (!pid) {
		setpgid(0, 0);
		alarm(seconds);
		execv(argv[0], argv);
		printf("%s: %s\n", argv[0], strerror(errno));
		fflush(stdout);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGALRM ? 124 : 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

int main(void)
{
	char line[4096], copy[4096], swap[4096];
	FILE *list;
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	put_on("proc", "/proc", "proc");
	put_on("sysfs", "/sys", "sysfs");
	put_on("debugfs", "/sys/kernel/debug", "debugfs");
	put_on("cgroup2", "/sys/fs/cgroup", "cgroup2");
	put_on("devtmpfs", "/dev", "devtmpfs");
	put_on("tmpfs", "/tmp", "tmpfs");
	put_on("/dev/vda", "/ext4", "ext4");
	put_on("/dev/vdb", "/xfs", "xfs");
	fd = open("/swap", O_RDONLY);
	need(read(fd, swap, sizeof(swap)) == sizeof(swap), "/swap");
	close(fd);
	set("/sys/block/zram0/disksize", "256M", 4);
	set("/dev/zram0", swap, sizeof(swap));
	need(!swapon("/dev/zram0", 0), "swap");
	set("/sys/fs/cgroup/cgroup.subtree_control", "+memory", 7);
	set("/proc/sys/vm/nr_hugepages", "64", 2);
	need(!chdir("/xfs"), "/xfs");

	/* What the kernel says must not come between what the tests say. */
	klogctl(CONSOLE_OFF, NULL, 0);
	kernel_log(0);
	list = fopen("/list", "r");
	need(!!list, "/list");
	while (fgets(line, sizeof(line), list)) {
		char *argv[64] = {}, *p;
		unsigned int seconds;
		int n = 0;

		line[strcspn(line, "\n")] = 0;
		strcpy(copy, line);
		seconds = atoi(strtok(line, " "));
		while (n < 63 && (p = strtok(NULL, " ")))
			argv[n++] = p;
		printf("=== start %s\n", copy);
		n = run(argv, seconds);
		printf("=== end %d %s\n", n, copy);
		kernel_log(1);
	}
	printf("=== done\n");
	end();
}
