#!/usr/bin/python3
"""dump.py MODE VMLINUX DUMP ...: read a dump of lab/dump with drgn. Each check prints `ok` or `FAIL`.

walk CONSOLE [filtered]: from the pid and the addresses that the guest told to slab objects, page tables and folios, by the
    kernel's own debug information; then a census of all pages against the kernel's own counters.
filter FILTERED REPORT: which pages of DUMP makedumpfile left out of FILTERED and what it said, by what the pages are.
crash CONSOLE CRASH: let CRASH walk the same things, compare what it says.
plant CONSOLE: damage DUMP in many ways, one after the other; exactly the checks that look there must fail.
header: put DUMP's program headers where makedumpfile 1.7.2 wants them (see there).
What is demanded of page tables, makedumpfile and the planted damage lies in lab/expected/dump.txt.
"""
import collections, contextlib, io, os, re, struct, subprocess, sys
from drgn import FaultError, Object, Program, container_of, sizeof
from drgn.helpers.linux import (find_task, for_each_online_cpu, for_each_online_node, for_each_slab_cache, page_to_pfn,
    page_to_virt, per_cpu_ptr, pfn_to_page, phys_to_virt, rbtree_inorder_for_each_entry, virt_to_page, xa_load)

PFN_MASK = 0xffffffffff000
MAPPED = {"anon": 0, "file": 0, "large": 4, "huge": 9} # what the guest maps, and the order of the folios
results = {}

def check(good, name, detail=""):
    results[name] = bool(good) and results.get(name, True)
    print("%-4s %s%s" % ("ok" if good else "FAIL", name, detail and ": " + str(detail)))

def section(name, function, *args):
    """What cannot be followed any further is one failure, and the rest is still looked at."""
    try:
        return function(*args)
    except (FaultError, LookupError, AttributeError, TypeError, ValueError) as e:
        gone = filtered and isinstance(e, FaultError) and misfiltered(e.address)
        check(gone, name, "not in the dump, as lab/expected/dump.txt says of slab-odd" if gone else "%s: %s" % (type(e).__name__, e))

def open_dump(vmlinux, core):
    prog = Program()
    try:
        prog.set_core_dump(core)
        # QEMU gives no virtual addresses, and drgn 0.0.22 wants one to begin: the kernel's image, not relocated.
        prog.add_memory_segment(0xffffffff80000000, 1 << 29, lambda _, n, at, physical: prog.read(at, n, True))
        prog.load_debug_info([vmlinux])
        prog["init_uts_ns"].name.release.string_()
    except Exception as e:
        sys.exit("error: drgn cannot read %s: %s\n  next: readelf -lnW %s" % (core, e, core))
    return prog

# What a page is. The chapters that give a kind of memory its own descriptor change these few functions.

def flag(page, name):
    return bool(page.flags.value_() >> prog["PG_" + name].value_() & 1)

def head_of(page):
    word = page.compound_head.value_()
    return Object(prog, "struct page *", word - 1) if word & 1 else page

def order_of(head):
    return Object(prog, "struct folio *", head)._flags_1.value_() & 0xff if flag(head, "head") else 0

def page_type_of(page):
    """The type's name, such as "slab"; "" when the field is a mapcount."""
    return types.get(page.page_type.value_() >> 24, "")

def descriptor_of(page, type, struct):
    head = head_of(page)
    if page_type_of(head) != type:
        raise ValueError("pfn %#x has the type '%s', not '%s'" % (page_to_pfn(page), page_type_of(head), type))
    return Object(prog, struct, head)

def slab_of(page):
    return descriptor_of(page, "slab", "struct slab *")

def ptdesc_of(page):
    return descriptor_of(page, "table", "struct ptdesc *")

def folio_of(page):
    return descriptor_of(page, "", "struct folio *")

def kind_of(page):
    """What a page is, but for the free pages behind a "buddy" one."""
    head = head_of(page)
    type, word, tail = page_type_of(head), head.mapping.value_() & 3, "" if page == head_of(page) else ", tail"
    if type:
        return "slab, odd" if type == "slab" and word & 1 and not tail else type
    if flag(head, "reserved") or not head._refcount.counter.value_():
        return "kernel"
    return "anon" + tail if word == 1 else "cache" + tail if flag(head, "lru") else "kernel"

def misfiltered(address):
    with contextlib.suppress(FaultError):
        return kind_of(virt_to_page(prog, address)) == "slab, odd"

def kinds():
    """Yield (pfn, what it is, its head) for each page of memory."""
    left = 0
    for pfn in range(prog["max_pfn"].value_()):
        page = pfn_to_page(prog, pfn)
        try:
            kind = kind_of(page)
        except FaultError:
            continue # a hole: no struct page
        if kind == "buddy":
            left = 1 << page.private.value_()
        if left:
            left, kind = left - 1, "free"
        yield pfn, kind, head_of(page)

# The walks.

def slab(name, obj, kind=""):
    head = head_of(virt_to_page(obj))
    s = slab_of(head)
    cache = s.slab_cache
    index, rest = divmod(obj.value_() - page_to_virt(head).value_(), cache.size.value_())
    got = cache.name.string_().decode()
    check(got == name and not rest and index < s.objects and 0 < s.inuse <= s.objects, ("slab %s %s" % (name, kind)).strip(),
          "%#x is object %d (+%d) of %d in a slab of %s" % (obj, index, rest, s.objects, got))

def walk(mm, addr):
    """Yield (level, the table's page, entry, bytes an entry maps) down to the leaf."""
    levels = [("pgd", 48), ("p4d", 39), ("pud", 30), ("pmd", 21), ("pte", 12)]
    if not prog["__pgtable_l5_enabled"]:
        levels[:2] = [("pgd", 39)]
    table = mm.pgd.value_()
    for level, shift in levels:
        entry = prog.read_u64(table + (addr >> shift & 511) * 8)
        yield level, virt_to_page(prog, table), entry, 1 << shift
        if not entry & 1:
            raise ValueError("the %s entry for %#x is %#x" % (level, addr, entry))
        if entry & 0x80 or level == "pte":
            return
        table = phys_to_virt(prog, entry & PFN_MASK).value_()

def phys_of(mm, addr):
    *_, (_, _, entry, size) = walk(mm, addr)
    return entry & PFN_MASK & ~(size - 1) | addr & size - 1

def tables(kind, task, addr):
    """Check each table down to addr."""
    steps = list(walk(task.mm, addr))
    got = [(level, page_type_of(head_of(page)) or "-") for level, page, _, _ in steps]
    check(all(rules["table"][level][0] == t for level, t in got), "table " + kind, "the types are " + ", ".join("%s %s" % g for g in got))
    owner = Object(prog, "struct ptdesc *", steps[0][1]).pt_mm
    check(owner == task.mm, "pgd " + kind, "belongs to mm %#x" % owner)
    check(steps[-1][0] == ("pmd" if kind == "huge" else "pte"), "leaf " + kind, "%s %#x" % (steps[-1][0], steps[-1][2]))
    if kind == "huge":
        spare = ptdesc_of(ptdesc_of(steps[-1][1]).pmd_huge_pte)
        check(spare, "deposited table " + kind, "pfn %#x" % page_to_pfn(Object(prog, "struct page *", spare)))

def content(kind, pfn, offset):
    tag = int.from_bytes(kind[:4].encode(), "little") << 32
    want = struct.pack("<512Q", *(tag | o for o in range(offset, offset + 4096, 8)))
    got = prog.read(pfn << 12, 4096, True)
    check(got == want, "content " + kind, "pfn %#x begins with %s" % (pfn, got[:12].hex()))

def folio(kind, task, addr, pfn):
    page, order = pfn_to_page(prog, pfn), MAPPED[kind]
    f, head = folio_of(page), head_of(page)
    nr = (page_to_pfn(page) - page_to_pfn(head)).value_()
    check(order_of(head) == order and nr == addr >> 12 & (1 << order) - 1, "folio " + kind,
          "pfn %#x is page %d of order %d" % (pfn, nr, order_of(head)))

    # Mapped once: by the PMD, or each page by its PTE. One reference for each, one for each page in the page cache, and
    # perhaps one of a batch on its way to the LRU lists.
    count = {"huge": "_entire_mapcount", "large": "_large_mapcount"}.get(kind, "_mapcount")
    maps, refs = getattr(f, count).counter.value_() + 1, f._refcount.counter.value_()
    want = 1 << order if kind == "large" else 1
    check(maps == want and refs - want - (kind == "file") in (0, 1), "counts " + kind, "%d mappings, %d references" % (maps, refs))

    # The reverse map leads back to the task's address.
    word = f.mapping.value_()
    if kind != "file":
        root = Object(prog, "struct anon_vma *", word & ~3).rb_root.rb_root
        vmas = [c.vma for c in rbtree_inorder_for_each_entry("struct anon_vma_chain", root.address_of_(), "rb")]
    else:
        m = Object(prog, "struct address_space *", word & ~3)
        vmas = list(rbtree_inorder_for_each_entry("struct vm_area_struct", m.i_mmap.rb_root.address_of_(), "shared.rb"))
        check(xa_load(m.i_pages.address_of_(), f.index) == f, "cache " + kind, "i_pages[%d] is the folio" % f.index)
        slab("shmem_inode_cache", container_of(m.host, "struct shmem_inode_info", "vfs_inode"))
    back = [(v.vm_start + ((f.index - v.vm_pgoff) + nr) * 4096).value_() for v in vmas if v.vm_mm == task.mm]
    check(word & 3 == (kind != "file") and addr in back, "rmap " + kind, "mapped at " + " ".join(map(hex, back)))
    slab("vm_area_struct", vmas[0], kind)

def census():
    """The pages of each type against what the kernel counts."""
    found = collections.Counter()
    slabs = collections.Counter()
    for pfn, kind, head in kinds():
        found[kind] += 1
        if kind.startswith("slab") and page_to_pfn(head) == pfn:
            slabs[Object(prog, "struct slab *", head).slab_cache.value_()] += 1
    ids = list(for_each_online_node(prog))
    nodes = [prog["node_data"][n] for n in ids]
    want = sum(area.nr_free.value_() << o for n in nodes for z in n.node_zones for o, area in enumerate(z.free_area))
    check(found["free"] == want > 0, "census free", "%d pages, the zones count %d" % (found["free"], want))
    nr = prog["NR_PAGETABLE"].value_()
    want = sum(n.vm_stat[nr].counter.value_() + sum(per_cpu_ptr(n.per_cpu_nodestats, c).vm_node_stat_diff[nr].value_()
               for c in for_each_online_cpu(prog)) for n in nodes)
    check(found["table"] == want > 0, "census table", "%d pages, NR_PAGETABLE is %d" % (found["table"], want))
    counted = {c.value_(): sum(c.node[i].nr_slabs.counter.value_() for i in ids) for c in for_each_slab_cache(prog)}
    wrong = ["%#x: %d slabs, counted %d" % (c, slabs[c], counted.get(c, 0)) for c in sorted({*slabs, *counted})
             if slabs[c] != counted.get(c, 0)]
    check(slabs and not wrong, "census slab",
          "; ".join(wrong[:5]) or "%d slabs of %d caches, as they count them" % (sum(slabs.values()), len(counted)))

def guest(console):
    """The task, and (kind, address, offset in the mapping) of a page of each mapping, some way into it."""
    told = open(console, errors="replace").read()
    task = find_task(prog, int(re.search(r"^DUMP pid (\d+)", told, re.M).group(1)))
    maps = {k: (int(a, 16), int(s)) for k, a, s in re.findall(r"^DUMP map (\w+) (\w+) (\d+)", told, re.M)}
    offset = {k: maps[k][1] // 2 + 5 * 4096 for k in MAPPED}
    return task, [(k, maps[k][0] + offset[k], offset[k]) for k in MAPPED]

def walks(console, _=None):
    task, pages = guest(console)
    section("slab task_struct", slab, "task_struct", task)
    section("slab mm_struct", slab, "mm_struct", task.mm)
    for kind, addr, offset in pages:
        section("table " + kind, tables, kind, task, addr)
        pfn = section("leaf " + kind, phys_of, task.mm, addr)
        if pfn:
            if not filtered:
                section("content " + kind, content, kind, pfn >> 12, offset)
            section("folio " + kind, folio, kind, task, addr, pfn >> 12)
    section("census", census)

def filters(left, report):
    count = collections.Counter()
    zero = bytes(4096)
    for pfn, kind, _ in kinds():
        try:
            want = prog.read(pfn << 12, 4096, True)
        except FaultError:
            continue # a hole
        try:
            got = left.read(pfn << 12, 4096, True)
        except FaultError:
            got = zero
        if want != zero:
            count[kind, "kept" if got == want else "gone" if got == zero else "changed"] += 1
        count[kind, "all"] += 1
    for kind in sorted({k for k, _ in count}):
        want, *why = rules["filter"].get(kind.replace(", ", "-"), ["no rule"])
        n = {s: count[kind, s] for s in ("kept", "gone", "changed")}
        check(n.get(want) == sum(n.values()), "filter " + kind, "%d pages, %d of them not zero: %d kept, %d gone, %d changed; must be %s%s"
              % (count[kind, "all"], sum(n.values()), *n.values(), want, " (%s)" % " ".join(why) if why else ""))
    for kind in "slab", "table", "kernel", "anon", "cache", "free":
        check(count[kind, "all"], "there are pages: " + kind)
    said = dict(re.findall(r"^\s*(\w[-\w ]*?)\s*:\s*0x(\w+)$", open(report, errors="replace").read(), re.M))
    for name, parts in rules["report"].items():
        want = sum(count[k.replace("-", ", "), "all"] for k in parts)
        got = int(said.get(name.replace("_", " "), "-1"), 16)
        check(got == want, "report " + name, "makedumpfile says %d, there are %d" % (got, want))

def plants(task, pages):
    """Yield (what is damaged, where, its value then, the checks that must fail)."""
    addr = {kind: a for kind, a, _ in pages}
    page = {kind: pfn_to_page(prog, phys_of(task.mm, a) >> 12) for kind, a in addr.items()}
    table = {kind: Object(prog, "struct ptdesc *", list(walk(task.mm, a))[-1][1]) for kind, a in addr.items()}
    pgd = Object(prog, "struct ptdesc *", virt_to_page(task.mm.pgd))
    s = slab_of(virt_to_page(task))
    folios = {kind: Object(prog, "struct folio *", head_of(p)) for kind, p in page.items()}
    area = prog["node_data"][0].node_zones[prog["ZONE_DMA32"]].free_area[0]
    free = next(pfn_to_page(prog, pfn) for pfn, kind, _ in kinds() if kind == "free")
    pte = page_to_virt(Object(prog, "struct page *", table["large"])).value_() + (addr["large"] >> 12 & 511) * 8
    yield "the type of a slab's page", s.__page_type, 0xffffffff, ["slab task_struct", "census slab"]
    yield "the cache of a slab", s.slab_cache, slab_of(virt_to_page(task.mm)).slab_cache.value_(), ["slab task_struct", "census slab"]
    yield "the type of a page table", table["anon"].__page_type, 0xffffffff, ["table anon", "census table"]
    yield "the owner of the pgd", pgd.pt_mm, 0, ["pgd " + kind for kind in MAPPED]
    yield "the deposited page table", table["huge"].pmd_huge_pte, page["anon"].value_(), ["table huge"]
    yield "a PTE", Object(prog, "unsigned long", address=pte), prog.read_u64(pte) + 4096, ["content large", "folio large", "rmap large"]
    yield "a byte of the huge page", Object(prog, "char", address=page_to_virt(page["huge"])), 88, ["content huge"]
    yield "the head of a tail page", page["large"].compound_head, 0, ["folio large", "counts large"]
    yield "the order of a folio", folios["huge"]._flags_1, 8, ["folio huge"]
    yield "a mapcount", folios["anon"]._mapcount.counter, 1, ["counts anon"]
    yield "a reference count", folios["file"]._refcount.counter, 9, ["counts file"]
    yield "the mapping of a folio", folios["file"].mapping, folios["file"].mapping.value_() | 1, ["rmap file"]
    yield "the index of a folio", folios["anon"].index, folios["anon"].index.value_() + 1, ["rmap anon"]
    yield "the count of free pages", area.nr_free, area.nr_free.value_() + 1, ["census free"]
    yield "the type of a free page", free.page_type, 0xffffffff, ["census free"]

def plant(console):
    verdicts = {}
    for what, where, value, red in list(plants(*guest(console))):
        at, size = file_offset(phys_of(prog["init_mm"], where.address_)), sizeof(where)
        with open(core, "r+b") as f:
            f.seek(at)
            old = f.read(size)
            f.seek(at)
            f.write(value.to_bytes(size, "little"))
            f.flush()
            results.clear()
            with contextlib.redirect_stdout(io.StringIO()):
                section("walk", walks, console)
            f.seek(at)
            f.write(old)
        got = sorted(k for k, good in results.items() if not good)
        verdicts["planted: " + what] = got == sorted(red), "red is " + (", ".join(got) or "nothing")
    results.clear()
    for name, verdict in verdicts.items():
        check(verdict[0], name, verdict[1])

def elf(f):
    """The ELF header, the program headers' bytes."""
    f.seek(0)
    e = bytearray(f.read(64))
    f.seek(*struct.unpack_from("<Q", e, 32))
    return e, f.read(56 * struct.unpack_from("<H", e, 56)[0])

def header():
    """QEMU 7.2 writes the section headers first; makedumpfile takes the program headers to follow the ELF header."""
    with open(core, "r+b") as f:
        e, programs = elf(f)
        struct.pack_into("<QQ", e, 32, 64, 0)
        struct.pack_into("<HH", e, 60, 0, 0)
        f.seek(0)
        f.write(e + programs)

def file_offset(phys):
    with open(core, "rb") as f:
        for type, _, offset, _, start, size, _, _ in struct.iter_unpack("<IIQQQQQQ", elf(f)[1]):
            if type == 1 and start <= phys < start + size:
                return offset + phys - start

mode, vmlinux, core, *rest = sys.argv[1:]
filtered = mode == "walk" and len(rest) > 1
if mode == "header":
    sys.exit(header())
rules = collections.defaultdict(dict)
for line in open(os.path.dirname(os.path.abspath(__file__)) + "/expected/dump.txt"):
    if not line.startswith("#") and line.strip():
        what, name, *value = line.split()
        rules[what][name] = value
prog = open_dump(vmlinux, core)
types = {n: t[5:] for t, n in prog.type("enum pagetype").enumerators if t != "PGTY_mapcount_underflow"}
if mode == "filter":
    rest[0] = open_dump(vmlinux, rest[0])
section(mode, {"walk": walks, "filter": filters, "plant": plant}[mode], *rest)
print("%d passed, %d failed" % (sum(results.values()), len(results) - sum(results.values())))
sys.exit(not all(results.values()))
