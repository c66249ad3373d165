# shellcheck shell=bash
# Sourced by every tool: where things lie, how a step is told, how an error is told.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
B=${BUILD:-$top/build}
tree=$B/linux
jobs=${JOBS:-$(nproc)}
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH # the Debian tools, whatever else lies about
export LC_ALL=C TZ=UTC KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab
# Not in depend mode: it does not see .incbin, and takes another kernel for this one.
export CCACHE_DIR=${CCACHE_DIR:-$B/ccache} CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=$B CCACHE_MAXSIZE=20G
log=${LAB_LOG:-/dev/null}

# die MESSAGE [NEXT COMMAND]: one clear message, the next thing to do, a false exit.
die() {
	printf 'error: %s\n' "$1" >&2
	[ $# -lt 2 ] || printf '  next: %s\n' "$2" >&2
	exit 1
}

# verb NAME: this script is `make NAME`; its log is build/log/NAME.log.
verb() {
	mkdir -p "$B/log" 2>/dev/null || die "cannot write $B/log (disk full or read-only?)" "df -h $top"
	log=$B/log/$1.log
	{ : >"$log"; } 2>/dev/null || die "cannot write $log (disk full or read-only?)" "df -h $B"
	export LAB_LOG=$log
}

step() { printf '[%02d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; echo "== $*" 2>/dev/null >>"$log" || true; }

# quiet COMMAND...: print it, keep what it says in the log, show the end of that if it fails.
quiet() {
	printf '  $ %s\n' "${*/#$top\//}" | cut -c 1-200
	echo "\$ $*" >>"$log"
	"$@" >>"$log" 2>&1 && return
	local rc=$? avail
	tail -n 15 "$log" | sed 's/^/  | /' >&2
	avail=$(df -Pk "$B" | awk 'NR==2 { print $4 }')
	[ "$avail" -gt 65536 ] || die "the disk below $B is full ($avail KiB left)" "df -h $B; make clean"
	[ "$log" = /dev/null ] || printf '  log: %s\n' "$log" >&2
	return $rc
}

# series_patches [CHAPTER]: the paths below patches/, in order.
series_patches() { grep -E "^${1:-[a-z]+}/[^ ]+\.patch$" "$top/patches/series" || true; }

# built COMMIT: what a kernel is built from; documentation and the tests of user space are not.
built() {
	git -C "$tree" ls-tree "$1" | grep -vP '\t(Documentation|MAINTAINERS|tools)$'
	git -C "$tree" ls-tree "$1" tools/ | grep -vP '\ttools/testing$'
}

# judges: who says that a kernel is good, and by what: a verdict is theirs.
judges() {
	gcc -dumpfullversion
	cat "$top"/lab/{splats,kunit-judge} "$top"/lab/expected/{splats,warnings}.txt
}

# code OBJECT: its bytes of code that stay after boot.
code() { size -A "$@" | awk '$1 ~ /text/ && $1 !~ /init|exit/ { n += $2 } END { print n }'; }

# fragments FLAVOUR: its files below configs/.
fragments() { awk -v f="$1" '$1 == f { $1 = ""; print }' "$top/configs/flavours"; }

# What the guest of the selftests has, whoever starts it. Two network cards that see each other, and whatever they map for
# DMA is bounced: net/netmem wants both. On a busy machine a virtual CPU may have to wait for longer than the 20 s after
# which it is taken for stuck.
selftests_append='log_buf_len=4M bdev_allow_write_mounted=1 kunit.enable=0 swiotlb=force watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=60'
selftests_nics=(-q -netdev -q 'hubport,id=h0,hubid=0' -q -device -q 'vmxnet3,netdev=h0,mac=52:54:00:00:00:01'
	-q -netdev -q 'hubport,id=h1,hubid=0' -q -device -q 'vmxnet3,netdev=h1,mac=52:54:00:00:00:02')
