# Typed memory descriptors for Linux 6.12: one target a verb, `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export ACCEL CPUS FULL SUITE QUICK JOBS FROM CHAPTER
.PHONY: help run test tree export check map gates kunit selftests mutants bisect layout bench shell clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: ## fetch, patch, build and boot the lab kernel, run KUnit and a workload, print the report
	@lab/run
test: ## everything that must pass: check, gates, KUnit, the quick selftests; last line `N passed, N failed`
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
	@lab/deps && lab/tree && lab/gates $(if $(PLANT),--plant)
kunit: ## the KUnit suites in the guest (SUITE=glob narrows it, DEBUG=1 takes the debug kernel)
	@lab/deps && lab/tree && lab/build $(if $(DEBUG),debug,lab) && lab/kunit -o $(if $(DEBUG),debug,lab)
selftests: ## the quick selftests (FULL=1: all of selftests/mm; CPUS=n; DEBUG=1 takes the debug kernel)
	@lab/deps && lab/tree && lab/build $(if $(DEBUG),debug,lab) && lab/selftests -o $(if $(DEBUG),debug,lab)
mutants: ## each break in lab/mutants/ must turn exactly the tests it names red (NAMES="..." narrows it)
	@lab/mutate $(NAMES)
bisect: ## every patch builds, boots and passes KUnit; each chapter's end in the lab configuration too (CHAPTER=, FROM=)
	@lab/deps && lab/tree && lab/bisect
layout: ## the members of struct page and the descriptors against a list; code that must not compile (RECORD=1: a new list)
	@lab/deps && lab/tree && lab/layout $(if $(RECORD),-r $$(sed -n 's/^# flavour //p' lab/expected/layout.txt))
bench: ## instruction counts of base, each chapter's end and the whole series, side by side
	@lab/deps && lab/tree && lab/bench
shell: ## a shell in the booted guest
	@lab/deps && lab/tree && lab/build lab && lab/boot -i -t 86400 -a kunit.enable=0 setsid busybox cttyhack bash -i
clean: ## remove build/ (refuses while build/linux holds commits that are not exported)
	@lab/clean
