# One `test result` a line from the guest's log: whole tests, and the subtests of TAP, userfaultfd and khugepaged.
function tell(name, result) {
	# what a test measured is not its name
	gsub(/0x[0-9a-f]+/, "0x*", name); sub(/child with [0-9]+MB/, "child with *MB", name); sub(/Extra pages [0-9].*/, "Extra pages", name); sub(/xfs_dir_[A-Za-z0-9]+/, "xfs_dir_*", name)
	gsub(/[ \t]+/, " ", name); sub(/ $/, "", name)
	if (++seen[name] > 1) name = name " (" seen[name] ")"
	print name, result
}
function tap(prefix,  name, result) {
	result = /# SKIP/ ? "skip" : /# XFAIL/ ? "xfail" : /^(# )?not ok/ ? "fail" : "pass"
	name = $0
	sub(/^(# )?(not )?ok [0-9]+ (- )?/, "", name)
	if (!sub(/^ *# (SKIP|XFAIL) */, "", name)) sub(/ *# (SKIP|XFAIL|exit=).*/, "", name)
	else if (context != "") name = ""
	tell(prefix context (context != "" && name != "" ? ": " : "") name, result)
}
function collapse() { if (step != "") tell(test ": " step, stepres); step = "" }
/^K / { next }
/^=== start / { cmd = $0; sub(/^=== start (\.\/)?/, "", cmd); suite = cmd ~ /^run_vmtests/; test = suite ? "" : cmd; next }
/^=== end / {
	collapse()
	if (!suite) tell(cmd, $3 == 0 ? "pass" : $3 == 4 ? "skip" : $3 == 124 || $3 == 137 ? "timeout" : "fail")
	else if (test != "") tell(test, $3 == 124 || $3 == 137 ? "timeout" : "died")
	cmd = test = context = ""; next
}
cmd == "" { next }
/^(# )?# \[RUN\] / { context = $0; sub(/.*\[RUN\] /, "", context); next }
suite && /^# running / { test = $0; sub(/^# running (bash )?(\.\/)?/, "", test); sub(/  \(at [0-9]+ s\)$/, "", test); next }
suite && /^(not )?ok [0-9]/ { collapse(); context = ""; tap(""); test = ""; next }
/^(# )?(not )?ok [0-9]/ { tap(test ": "); next }
/^(# )?Testing .*\.\.\. / { n = $0; sub(/^# /, "", n); r = n; sub(/\.\.\. .*/, "", n); sub(/.*\.\.\. /, "", r); sub(/ .*/, "", r); tell(test ": " n, r == "done" ? "pass" : r == "skipped" ? "skip" : "fail"); next }
/^(# )?Run test: / { collapse(); step = $0; sub(/.*Run test: /, "", step); stepres = "pass"; next }
step != "" && /Fail/ { stepres = "fail" }
step != "" && /Skip/ && stepres == "pass" { stepres = "skip" }
