# Typed memory descriptors for Linux 6.12: one target a verb, `make help` lists them.
SHELL := $(CURDIR)/lab/lock
.SHELLFLAGS = $(or $@,help)
.DEFAULT_GOAL := help
export ACCEL CPUS FULL SUITE QUICK JOBS FROM CHAPTER PLANT SECS KSRC
.PHONY: help run test tree export check map gates kunit boots selftests mutants bisect lint layout bench hotremove stress um arm64 dump audit \
	mail bump deb shell clean

help: ## this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: ## fetch, patch, build and boot the lab kernel, run KUnit and a workload, print the report
	@lab/run
test: ## everything that must pass: check, gates, KUnit natively and in the guest, the quick selftests; last line `N passed, N failed`
	@lab/test
tree: ## a git tree of the base plus one commit a patch in build/linux
	@lab/deps && lab/tree
export: ## the commits of build/linux back to patches/ (CHAPTER=name: where new ones go)
	@lab/export $(CHAPTER) && lab/map
check: ## patches: fuzz, round trip, checkpatch, messages; scripts: shellcheck; README's map
	@lab/check
map: ## write README's map of the series anew
	@lab/map
gates: ## no indirect call in the free path, retpolines off and on (PLANT=1: show that it can fail)
	@lab/deps && lab/tree && lab/gates
kunit: ## the KUnit suites in the guest (SUITE=glob narrows it, DEBUG=1 takes the debug kernel)
	@lab/deps && lab/tree && lab/build $(if $(DEBUG),debug,lab) && lab/kunit -o $(if $(DEBUG),debug,lab)
boots: ## the KUnit suites under slab debugging, KASAN, KFENCE, DEBUG_PAGEALLOC and the like (NAMES="..." narrows it)
	@lab/deps && lab/tree && lab/boots $(NAMES)
selftests: ## the quick selftests (FULL=1: all of selftests/mm; CPUS=n; DEBUG=1 takes the debug kernel)
	@lab/deps && lab/tree && lab/build $(if $(DEBUG),debug,lab) && lab/selftests -o $(if $(DEBUG),debug,lab)
mutants: ## each break in lab/mutants/ must turn exactly the tests it names red (NAMES="..." narrows it)
	@lab/mutate $(NAMES)
bisect: ## every patch builds, boots and passes KUnit; each chapter's end in the lab configuration too (CHAPTER=, FROM=)
	@lab/deps && lab/tree && lab/bisect
lint: ## nothing new of sparse, W=1, kernel-doc, codespell, coccicheck; clang and other configurations build (PLANT=1)
	@lab/deps lint && lab/lint
layout: ## the members of struct page and the descriptors against a list; code that must not compile (RECORD=1: a new list)
	@lab/deps && lab/tree && lab/layout $(if $(RECORD),-r $$(sed -n 's/^# flavour //p' lab/expected/layout.txt))
bench: ## instruction counts of base, each chapter's end and the whole series, side by side
	@lab/deps && lab/tree && lab/bench
hotremove: ## a DIMM with huge pages is taken away from the debug kernel: their page tables go with it (PLANT=1: show that it can fail)
	@lab/deps && lab/tree && lab/build debug && lab/hotremove $(if $(PLANT),--plant)
stress: ## stress-ng's memory class for SECS=600 on CPUS=4 with little memory, debug kernel: no splat, no leak (PLANT=1: show that it can fail)
	@lab/deps stress && lab/tree && lab/build debug && lab/stress
um: ## the KUnit suites in a user mode kernel, natively (BENCH=1: nanoseconds of base and series, too)
	@lab/deps && lab/tree && lab/um $(if $(BENCH),-b)
arm64: ## the KUnit suites and the series' own selftests on arm64, under QEMU
	@lab/deps arm64 && lab/tree && lab/arm64
dump: ## a crash dump of the series' kernel, read with drgn, crash and makedumpfile (PLANT=1: show that it can fail)
	@lab/deps dump && lab/tree && lab/dump $(if $(PLANT),--plant)
audit: ## who knows of tail pages, who reaches into struct page: results/audit.txt and a plot (NEW=1: is it current?)
	@lab/deps audit && lab/tree && lab/audit $(if $(NEW),-n)
mail: ## build/mail: the chapters, or CHAPTER=name, as mail ready for git send-email, checked with git am and b4
	@lab/deps mail && lab/tree && lab/mail $(CHAPTER)
bump: ## try the series on another VERSION=6.12.y-... of the base (DRY=1: write nothing in any case)
	@lab/deps && lab/bump $(if $(DRY),-n) "$(VERSION)"
deb: ## installable packages from Debian's cloud configuration, booted with a Debian system; takes hours
	@lab/deps deb && lab/tree && lab/deb
shell: ## a shell in the booted guest
	@lab/deps && lab/tree && lab/build lab && lab/boot -i -t 86400 -a kunit.enable=0 setsid busybox cttyhack bash -i
clean: ## remove build/ (refuses while build/linux holds commits that are not exported)
	@lab/clean
