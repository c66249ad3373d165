#!/usr/bin/env python3
"""callgraph.py RULES NAME=VMLINUX...: no indirect call or jump in the free path.

Walks the direct calls and jumps in the disassembly of each vmlinux from the entry points of RULES, whose head says
how its lines read (lab/expected/gates.txt), and tells every indirect call, indirect jump and static call it meets:
the allowed ones with their reason, the others with the chain that leads there. What alternatives may patch into a
function counts as its code. False exit: a site no rule allows, an entry point that is missing, a rule nothing used.
"""
import bisect
import fnmatch
import re
import struct
import subprocess
import sys

LABEL = re.compile(r"([0-9a-f]+) <(.+)>:$")
INSN = re.compile(r"([0-9a-f]+):\t(?:(?:notrack|bnd|cs|ds|es|data16|addr32|lock|rep[nz]*|rex\S*) +)*"
                  r"(\S+) *([^#<]*?) *(?:[#<].*?([\w.]+(?:\+0x[0-9a-f]+)?)>)?$")
PADDING = re.compile(r"\t(int3|(data16 |cs )*nop|xchg +%ax,%ax)")
THUNK = re.compile(r"__x86_indirect_(?:\w+_)?thunk_(\w+)")
PIECE = re.compile(r"\.(cold|part|isra|constprop|lto_priv)\b.*")
# Behind these control does not run on into the next label; a call that ends a function does not return.
ENDS = ("ret", "jmp", "call", "ud", "hlt", "iret", "sysret", "lret", "ljmp")
MOST = 20


def die(message):
	sys.exit(f"error: {message}\n  next: objdump -dw VMLINUX, lab/callgraph.py")


def pointer(operand, symbol, loads):
	"""What an indirect call reads its pointer from: a variable, +OFFSET in a structure, a table, a register."""
	operand, symbol = loads.get(operand.lstrip("*"), (operand.lstrip("*"), symbol))
	if "(%rip)" in operand:
		return symbol or operand
	field = re.fullmatch(r"(-?0x[0-9a-f]+)?\(%\w+\)", operand)
	if field:
		return f"+{int(field[1] or '0', 16):#x}".replace("+-", "-")
	return "table" if re.search(r"\(.*,.*\)", operand) else operand


class Image:
	"""The functions of a vmlinux by address: their names, what they call or jump to, their indirect sites."""

	def __init__(self, path):
		self.path = path
		self.starts, self.names, self.calls, self.sites = [], {}, {}, {}
		patched = self.alternatives()
		pending = []
		section = last = ""
		function, loads = 0, {}
		with subprocess.Popen(["objdump", "-dw", "--no-show-raw-insn", path], stdout=subprocess.PIPE, text=True) as dump:
			for line in dump.stdout:
				if line.startswith("Disassembly of section"):
					section, last = line.split()[-1].rstrip(":"), ENDS[0]
				elif "\t" not in line:
					label = LABEL.match(line)
					if not label:
						continue
					if not last.startswith(ENDS):
						self.calls[function].append(int(label[1], 16))
					function, loads = int(label[1], 16), {}
					self.starts.append(function)
					self.names[function], self.calls[function], self.sites[function] = label[2], [], []
				elif section != ".altinstr_aux" and not PADDING.search(line):	# it tests a CPU feature and jumps back
					insn = INSN.match(line)
					if not insn:
						die(f"{path}: a line of its disassembly does not read: {line.strip()}")
					at, last = int(insn[1], 16), insn[2]
					calls, sites = self.calls[function], self.sites[function]
					if section == ".altinstr_replacement":
						calls, sites, last = [], [], ENDS[0]
						pending.append((patched.get(at), calls, sites))
					self.insn(at, insn[2], insn[3], insn[4] or "", loads, calls, sites)
		if dump.returncode:
			die(f"objdump cannot read {path}")
		self.starts.sort()
		for at, calls, sites in pending:
			if calls or sites:
				self.calls[self.function_at(at)] += calls
				self.sites[self.function_at(at)] += sites

	@staticmethod
	def insn(at, op, operand, symbol, loads, calls, sites):
		if op.startswith(("call", "j", "lcall", "ljmp", "loop", "xbegin")):
			thunk = THUNK.match(symbol)
			if thunk:	# the array of thunks begins with that of %rax
				sites.append((at, op, pointer("%" + ("rax" if thunk[1] == "array" else thunk[1]), "", loads)))
			elif operand.startswith("*"):
				sites.append((at, op, pointer(operand, symbol, loads)))
			else:
				calls.append(int(operand, 16))
				if symbol.startswith("__SCT__"):
					sites.append((at, op, symbol))
			loads.clear()	# behind a branch or a call the look-back ends
		else:
			source, _, target = operand.rpartition(",")
			loads.pop(target, None)
			if op.startswith("mov") and re.fullmatch(r"%r\w+", target):
				loads[target] = (source, symbol)

	def alternatives(self):
		"""Map the bytes of .altinstr_replacement to where they are patched in."""
		out = subprocess.run(["objdump", "-hw", self.path], capture_output=True, text=True, check=False).stdout
		row = next((x.split() for x in out.splitlines() if " .altinstructions " in x), None)
		if not row:
			die(f"{self.path} is no x86 vmlinux")
		size, base, offset = int(row[2], 16), int(row[3], 16), int(row[5], 16)
		with open(self.path, "rb") as f:
			f.seek(offset)
			table = f.read(size)
		where = {}
		for i in range(0, size, 14):	# struct alt_instr
			original, patch, _, _, length = struct.unpack_from("<iiIBB", table, i)
			for at in range(base + i + 4 + patch, base + i + 4 + patch + length):
				where[at] = base + i + original
		return where

	def function_at(self, at):
		i = bisect.bisect_right(self.starts, at or 0)
		return self.starts[i - 1] if i else die(f"{self.path}: code outside all functions")

	def base(self, function):
		return PIECE.sub("", self.names[function])


def match(rules, *names):
	return next((r for r in rules if all(fnmatch.fnmatchcase(n, p) for n, p in zip(names, r))), None)


def walk(name, image, rules, used):
	"""Walk one image, print what was met; return the number of complaints."""
	parent, bad = {}, 0
	by_name = {}
	for f in image.starts:
		by_name.setdefault(image.base(f), []).append(f)
	for rule in rules["entry"]:
		for f in by_name.get(rule[0], []):
			parent[f] = None
		if rule[0] not in by_name and rule[1:2] != ("optional",):
			print(f"  {name}: the entry point {rule[0]} is not in {image.path}")
			bad += 1
		used.add(("entry", rule))
	queue = list(parent)
	entries, stopped, sites, wrong = len(queue), set(), 0, 0
	for f in queue:
		for g in map(image.function_at, image.calls[f]):
			stop = match(rules["stop"], image.base(g))
			if stop:
				used.add(("stop", stop))
				stopped.add(g)
			elif g not in parent:
				parent[g] = f
				queue.append(g)
		for at, op, target in image.sites[f]:
			sites += 1
			what = f"{image.base(f)}: {op} through {target} at {at:x}"
			allow = match(rules["allow"], image.base(f), target)
			if allow:
				used.add(("allow", allow))
				print(f"  {name}: allowed: {what}: {' '.join(allow[2:])}")
				continue
			wrong += 1
			chain, up = [], f
			while up is not None:
				chain.insert(0, image.names[up])
				up = parent[up]
			if wrong <= MOST:
				print(f"  {name}: NOT ALLOWED: {what}\n    {' > '.join(chain)}")
	if wrong > MOST:
		print(f"  {name}: and {wrong - MOST} more")
	print(f"{name}: {len(queue)} functions from {entries} entry points, the walk stops at {len(stopped)} more; "
	      f"{sites} indirect calls and jumps, {sites - wrong} allowed, {wrong} not")
	return bad + wrong


def main():
	if len(sys.argv) < 3 or not all("=" in a for a in sys.argv[2:]):
		sys.exit(__doc__)
	rules = {"entry": [], "allow": [], "stop": []}
	need = {"entry": 1, "allow": 3, "stop": 2}
	with open(sys.argv[1], encoding="ascii") as f:
		for n, line in enumerate(f, 1):
			kind, *rule = line.partition("#")[0].split() or ["#"]
			if kind == "#":
				continue
			if kind not in need or len(rule) < need[kind]:
				sys.exit(f"error: {sys.argv[1]}:{n}: not a rule: {line.strip()}\n  next: head {sys.argv[1]}")
			rules[kind].append(tuple(rule))
	used, bad = set(), 0
	for name, path in (a.split("=", 1) for a in sys.argv[2:]):
		bad += walk(name, Image(path), rules, used)
	for kind, group in rules.items():
		for rule in (r for r in group if (kind, r) not in used):
			print(f"  no kernel needs the rule any more: {kind} {' '.join(rule)}")
			bad += 1
	sys.exit(bad > 0)


if __name__ == "__main__":
	main()
