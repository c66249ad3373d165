#!/usr/bin/python3
"""dump.py [--plant] DIR VMLINUX: judge what lab/dump left in DIR; each check prints `ok` or `FAIL`.

vmcore: drgn walks from the pid and the addresses on the guest's console to slab objects, page tables, folios and the network
pages below a socket's packets by the kernel's own debug information, and counts all pages against the kernel's counters. crash.txt: what crash said of the same.
filtered: which pages makedumpfile left out, by what they are; then the walk without them. lab/expected/dump.txt has the rules.
--plant damages what drgn reads, in one place after the other: exactly the checks that look there must fail.
"""
import collections, contextlib, io, os, re, struct, sys
from drgn import FaultError, Object, Program, cast, sizeof
from drgn.helpers.linux import *
each = rbtree_inorder_for_each_entry
PFN_MASK = 0xffffffffff000
MAPPED = {"anon": 0, "file": 0, "large": 4, "huge": 9} # what the guest maps, and the order of the folios
results, lost = {}, set()
prefix = "" # of the checks' names: set while the filtered dump is read

def check(good, name, detail):
    results[prefix + name] = bool(good) and results.get(prefix + name, True)
    print("%-4s %s: %s" % ("ok" if good else "FAIL", prefix + name, detail))

def section(name, function, *args):
    """What cannot be followed any further is one failure, and the rest is still looked at."""
    try:
        function(*args)
    except (FaultError, LookupError, AttributeError, TypeError, ValueError) as e:
        gone = prefix and isinstance(e, FaultError) and virt_to_pfn(prog, e.address).value_() in lost
        check(gone, name, "%s: %s%s" % (type(e).__name__, e, ", as the rule for slab-odd says" if gone else ""))

# What a page is. The chapters that give a kind of memory its own descriptor change these few functions.
def memdesc_of(page):
    word = page.memdesc.v.value_() if memdescs else 0
    return word if word & 15 in memdescs else 0 # what leads to no descriptor is nothing here

def page_type_of(page):
    """The type's name, such as "slab"; "-" when there is neither a descriptor nor a page type."""
    if memdesc_of(page):
        return memdescs[memdesc_of(page) & 15]
    type = types.get(page.page_type.value_() >> 24, "-")
    return "-" if type in memdescs.values() else type # a page table says it twice, and once is not enough

def descriptor_of(page, type, struct):
    head = compound_head(page)
    if page_type_of(head) != type:
        raise ValueError("pfn %#x has the type '%s', not '%s'" % (page_to_pfn(page), page_type_of(head), type))
    return Object(prog, struct, memdesc_of(head) & ~15 or head)

def slab_of(page): return descriptor_of(page, "slab", "struct slab *")
def slab_start(s):
    """The address of its first object; slabs have it where they are no overlay of struct page."""
    return s.addr.value_() if hasattr(s, "addr") else page_to_virt(Object(prog, "struct page *", s)).value_()
def is_net(page):
    """Network pages of the base have no type, but what the pool writes where the word is now."""
    return page_type_of(page) == "net" if "net" in memdescs.values() else page.pp_magic.value_() & ~3 == 0xdead000000000040
def net_of(page):
    """The (first) page by what it says itself, and its page_pool."""
    head = compound_head(page)
    if not is_net(head):
        raise ValueError("pfn %#x is no network page" % page_to_pfn(page))
    if not memdesc_of(head):
        return head, head.pp
    pp = descriptor_of(head, "net", "struct netmem_desc *").pp
    return Object(prog, "struct page *", pp.netmem), pp.pp
def ptdesc_of(page, level): return descriptor_of(page, rules[tables_have, level], "struct ptdesc *")
def folio_of(page): return descriptor_of(page, "-", "struct folio *")

def kind_of(page):
    head = compound_head(page)
    type, word, tail = page_type_of(head), head.mapping.value_() & 3, "" if page == head else "-tail"
    if type != "-":
        return "slab-odd" if overlay and type == "slab" and word & 1 and not tail else type
    if is_net(head):
        return "net"
    if PageReserved(head) or not head._refcount.counter.value_():
        return "kernel"
    return "anon" + tail if word == 1 else "cache" + tail if PageLRU(head) else "kernel"

def kinds():
    left = 0 # of a free block
    for page in for_each_page(prog):
        with contextlib.suppress(FaultError): # a hole: no struct page
            kind = kind_of(page)
            left = 1 << page.private.value_() if kind == "buddy" else left - 1
            yield page, "free" if left > 0 else kind

def slab(name, obj):
    s = slab_of(virt_to_page(obj))
    index, rest = divmod(obj.value_() - slab_start(s), s.slab_cache.size.value_())
    cache = s.slab_cache.name.string_().decode()
    check(cache == name and not rest and index < s.objects and 0 < s.inuse <= s.objects, "slab " + name,
          "%#x is object %d (+%d) of %d in a slab of %s" % (obj, index, rest, s.objects, cache))

def walk(mm, addr):
    """Yield (level, the table's page, entry, bytes an entry maps) down to the leaf."""
    table = mm.pgd.value_()
    top = [("pgd", 48), ("p4d", 39)] if prog["__pgtable_l5_enabled"] else [("pgd", 39)]
    for level, shift in *top, ("pud", 30), ("pmd", 21), ("pte", 12):
        entry = prog.read_u64(table + (addr >> shift & 511) * 8)
        yield level, virt_to_page(prog, table), entry, 1 << shift
        if entry & 0x80 or not entry & 1:
            return
        table = phys_to_virt(prog, entry & PFN_MASK).value_()

def phys_of(mm, addr):
    *_, (_, _, entry, size) = walk(mm, addr)
    return entry & PFN_MASK & ~(size - 1) | addr & size - 1

def tables(kind, mm, addr):
    steps = list(walk(mm, addr))
    got = [(level, page_type_of(compound_head(page))) for level, page, _, _ in steps]
    check(all(rules[tables_have, level] == type for level, type in got) and got[-1][0] == ("pmd" if kind == "huge" else "pte"),
          "table " + kind, "the types are " + ", ".join("%s %s" % g for g in got))
    check(ptdesc_of(steps[0][1], "pgd").pt_mm == mm, "pgd " + kind, "its owner must be mm %#x" % mm)
    if kind == "huge":
        spare = ptdesc_of(Object(prog, "struct page *", ptdesc_of(steps[-1][1], "pmd").pmd_huge_pte), "pte")
        check(spare, "deposited table", "%#x" % spare)

def folio(kind, mm, addr, offset):
    page = phys_to_page(prog, phys_of(mm, addr))
    if not prefix: # makedumpfile takes the content
        got = prog.read(phys_of(mm, addr), 4096, True)
        want = b"".join(struct.pack("<I4s", o, kind.encode()) for o in range(offset, offset + 4096, 8))
        check(got == want, "content " + kind, "pfn %#x begins with %s" % (page_to_pfn(page), got[:12].hex()))
    f, head, pages = folio_of(page), compound_head(page), 1 << MAPPED[kind]
    nr = (page_to_pfn(page) - page_to_pfn(head)).value_()
    order = f._flags_1.value_() & 0xff if PageHead(head) else 0
    check(1 << order == pages and nr == addr >> 12 & pages - 1, "folio " + kind, "pfn %#x is page %d of order %d" % (page_to_pfn(page), nr, order))
    # Mapped once: by the PMD, or each page by its PTE. A reference for each, one of the page cache, perhaps one of an LRU batch.
    count = {"huge": "_entire_mapcount", "large": "_large_mapcount"}.get(kind, "_mapcount")
    maps, refs, want = getattr(f, count).counter.value_() + 1, f._refcount.counter.value_(), pages if kind == "large" else 1
    check(maps == want and refs - want - (kind == "file") in (0, 1), "counts " + kind, "%d mappings, %d references" % (maps, refs))
    # The reverse map leads back to the task's address.
    word = f.mapping.value_()
    if kind == "file":
        vmas = each("struct vm_area_struct", Object(prog, "struct address_space *", word & ~3).i_mmap.rb_root.address_of_(), "shared.rb")
    else:
        vmas = [c.vma for c in each("struct anon_vma_chain", Object(prog, "struct anon_vma *", word & ~3).rb_root.rb_root.address_of_(), "rb")]
    back = [(v.vm_start + ((f.index - v.vm_pgoff) + nr) * 4096).value_() for v in vmas if v.vm_mm == mm]
    check(word & 3 == (kind != "file") and addr in back, "rmap " + kind, "mapped at " + " ".join(map(hex, back)))

def socket():
    """The packets that wait in the socket, each in a page of one CPU's system_page_pool."""
    sk = cast("struct socket *", fget(task, netfd).private_data).sk
    pools = [per_cpu(prog["system_page_pool"], c) for c in for_each_online_cpu(prog)]
    head = sk.sk_receive_queue.address_of_()
    skb, nr, wrong = head.next, 0, []
    while skb != cast("struct sk_buff *", head):
        page = virt_to_page(skb.head)
        said, pool = net_of(page)
        data, start = skb.head.value_() + skb.transport_header.value_() + 8, struct.pack("<I4s", 0, b"net")
        if said != compound_head(page) or pool not in pools or not skb.pp_recycle or prog.read(data, 8) != start:
            wrong.append("%#x in pfn %#x, which says %#x and pool %#x" % (skb, page_to_pfn(page), said, pool))
        skb, nr = skb.next, nr + 1
    check(nr == 8 == sk.sk_receive_queue.qlen and not wrong, "packets", "%d; wrong: %s" % (nr, ", ".join(wrong) or "none"))

def census():
    """The pages of each type against what the kernel counts."""
    found, slabs, nr = collections.Counter(), collections.Counter(), prog["NR_PAGETABLE"].value_()
    nets = collections.Counter()
    for page, kind in kinds():
        found[kind] += 1
        if kind.startswith("slab") and slab_start(s := slab_of(page)) == page_to_virt(page).value_():
            slabs[s.slab_cache.value_()] += 1
        if kind == "net":
            nets[net_of(page)[1].value_()] += 1
    nodes = {i: prog["node_data"][i] for i in for_each_online_node(prog)}
    want = sum(area.nr_free.value_() << o for n in nodes.values() for z in n.node_zones for o, area in enumerate(z.free_area))
    check(found["free"] == want > 0, "census free", "%d pages, the zones count %d" % (found["free"], want))
    want = sum(n.vm_stat[nr].counter.value_() + sum(per_cpu_ptr(n.per_cpu_nodestats, c).vm_node_stat_diff[nr].value_()
               for c in for_each_online_cpu(prog)) for n in nodes.values())
    check(found["table"] == want > 0, "census table", "%d pages, NR_PAGETABLE is %d" % (found["table"], want))
    want = {c.value_(): sum(c.node[i].nr_slabs.counter.value_() for i in nodes) for c in for_each_slab_cache(prog)}
    wrong = ["%#x: %d, counted %d" % (c, slabs[c], want.get(c, 0)) for c in {*slabs, *want} if slabs[c] != want.get(c, 0)]
    check(slabs and not wrong, "census slab", "%d slabs of %d caches; wrong: %s" % (sum(slabs.values()), len(want), ", ".join(wrong) or "none"))

    want = {p.value_(): (p.pages_state_hold_cnt - p.pages_state_release_cnt.counter).value_()
            for p in (per_cpu(prog["system_page_pool"], c) for c in for_each_online_cpu(prog))}
    wrong = ["%#x: %d, counted %d" % (p, nets[p], want.get(p, 0)) for p in {*nets, *want} if nets[p] != want.get(p, 0)]
    check(found["net"] >= 8 and not wrong, "census net", "%d pages of %d pools; wrong: %s" % (found["net"], len(want), ", ".join(wrong) or "none"))

def walks():
    section("slab task_struct", slab, "task_struct", task)
    section("slab mm_struct", slab, "mm_struct", task.mm)
    for kind, (addr, offset) in looked_at.items():
        section("table " + kind, tables, kind, task.mm, addr)
        section("folio " + kind, folio, kind, task.mm, addr, offset)
    section("packets", socket)
    section("census", census)

def crash():
    said = open(where + "/crash.txt", errors="replace").read()
    def seen(name, lines):
        no = [line for line in lines() if not re.search(line, said, re.M)]
        check(not no, name, "does not say " + " nor ".join(no) if no else "says the same")
    mm = task.mm
    def slab_lines():
        s, page, end = slab_of(virt_to_page(mm)), virt_to_page(mm), "^task %x %x$" % (task, mm)
        if hasattr(s, "addr"):
            return ["^slab %x %x %x %x %d mm_struct$" % (page, s, s.addr, s.slab_cache, s.objects), end]
        return ["^%x .* mm_struct$" % s.slab_cache, r"^ *\[%x\]" % mm, "^ *%x  %x +0 +%d " % (s, slab_start(s), s.objects), end]
    def table_lines(addr):
        return ["^entry %x %d %x$" % (addr, size.bit_length() - 1, entry) for _, _, entry, size in walk(mm, addr)]
    def folio_lines(kind, addr, offset):
        head = compound_head(phys_to_page(prog, phys_of(mm, addr)))
        f = folio_of(head)
        return ["^word %x %s%08x$" % (addr, kind.encode()[3::-1].hex(), offset),
                "^folio %x %x %x %x %d %x$" % (addr, head, f.mapping, f.index, f._refcount.counter, f.flags)]
    def net_lines():
        skb = cast("struct socket *", fget(task, netfd).private_data).sk.sk_receive_queue.next
        page = virt_to_page(skb.head)
        said, pool = net_of(page)
        return ["^net %x %x %x$" % (page, said, pool)]
    section("crash slab", seen, "crash slab", slab_lines)
    section("crash net", seen, "crash net", net_lines)
    for kind, (addr, offset) in looked_at.items():
        section("crash table " + kind, seen, "crash table " + kind, lambda: table_lines(addr))
        section("crash folio " + kind, seen, "crash folio " + kind, lambda: folio_lines(kind, addr, offset))

def filters():
    """What makedumpfile keeps of each kind of page; it takes those that are all zero, too."""
    count, pages = collections.defaultdict(collections.Counter), collections.Counter()
    def read(program, page):
        with contextlib.suppress(FaultError):
            return program.read(page_to_phys(page).value_(), 4096, True)
        return bytes(4096)
    for page, kind in kinds():
        want, got = read(prog, page), read(left, page)
        pages[kind] += 1
        count[kind]["kept" if got == want else "gone" if not any(got) else "changed"] += any(want)
        lost.update([page_to_pfn(page).value_()] if kind == "slab-odd" else [])
    for kind in sorted({*pages, *(k for what, k in rules if what == "filter")}):
        n, must = count[kind], rules.get(("filter", kind), "in the rules")
        check(n[must] == sum(n.values()) and (pages[kind] or kind in may_lack), "filter " + kind, "%d pages, those not zero: %s; must be %s"
              % (pages[kind], ", ".join("%d %s" % (i, s) for s, i in sorted(n.items()) if i) or "none", must))

def plants():
    """Yield (what is damaged, where, its value then, the checks that must fail)."""
    page = {kind: phys_to_page(prog, phys_of(task.mm, addr)) for kind, (addr, _) in looked_at.items()}
    table = {kind: list(walk(task.mm, addr))[-1][1] for kind, (addr, _) in looked_at.items()}
    ptes = {kind: Object(prog, "unsigned long *", page_to_virt(t)) for kind, t in table.items()}
    f, pte = {kind: folio_of(p) for kind, p in page.items()}, ptes["large"][looked_at["large"][0] >> 12 & 511]
    area = prog["node_data"][0].node_zones[prog["ZONE_DMA32"]].free_area[0]
    s = slab_of(virt_to_page(task.mm))
    net = virt_to_page(cast("struct socket *", fget(task, netfd).private_data).sk.sk_receive_queue.next.head)
    marked = virt_to_page(task.mm) if hasattr(s, "addr") else compound_head(virt_to_page(task.mm))
    def mark(page): return (page.memdesc.v, 0) if memdesc_of(page) else (page.page_type, 0xffffffff)
    yield "the type of a slab", *mark(marked), ["slab mm_struct", "census slab", "crash slab"]
    yield "the type of a page table", *mark(table["anon"]), ["table anon", "census table"]
    if memdesc_of(net):
        desc = descriptor_of(net, "net", "struct netmem_desc *").pp
        yield "the type of a network page", *mark(net), ["packets", "census net", "crash net"]
        yield "the page of a network page", desc.netmem, net + 1, ["packets", "crash net"]
        yield "the pool of a network page", desc.pp, 64, ["packets", "census net", "crash net"]
    else:
        yield "the mark of a network page", net.pp_magic, 0, ["packets", "census net", "crash net"]
    yield "the owner of the pgd", ptdesc_of(virt_to_page(task.mm.pgd), "pgd").pt_mm, 0, ["pgd " + kind for kind in MAPPED]
    yield "the deposited page table", ptdesc_of(table["huge"], "pmd").pmd_huge_pte, page["anon"], ["table huge"]
    yield "a PTE", pte, pte + 4096, ["content large", "folio large", "rmap large", "crash table large"]
    yield "a byte of the huge page", Object(prog, "char", address=page_to_virt(page["huge"])), 88, ["content huge"]
    yield "the head of a tail page", page["large"].compound_head, 0, ["folio large", "counts large", "crash folio large"]
    yield "the order of a folio", f["huge"]._flags_1, 8, ["folio huge"]
    yield "a mapcount", f["anon"]._mapcount.counter, 1, ["counts anon"]
    yield "a reference count", f["file"]._refcount.counter, 9, ["counts file", "crash folio file"]
    yield "the mapping of a folio", f["file"].mapping, f["file"].mapping.value_() | 1, ["rmap file", "crash folio file"]
    yield "the index of a folio", f["anon"].index, f["anon"].index + 1, ["rmap anon", "crash folio anon"]
    yield "the count of free pages", area.nr_free, area.nr_free + 1, ["census free"]
    if filtered: yield "an unused entry of a page table", ptes["anon"][511], 2, ["filter table"]

def poke(at, value):
    data = value.to_bytes(sizeof(at), "little") # drgn's view only; the file stays as it is
    for address, physical in (at.address_, False), (phys_of(prog["init_mm"], at.address_), True):
        prog.add_memory_segment(address, len(data), lambda _, n, offset, __: data[offset:offset + n], physical)

def plant():
    verdicts = {}
    for what, at, value, red in list(plants()):
        old = at.value_()
        poke(at, int(value))
        with contextlib.redirect_stdout(io.StringIO()):
            for look in [filters] if red == ["filter table"] else [walks, crash]:
                section(look.__name__, look)
        poke(at, old)
        verdicts[what] = sorted(red), sorted(name for name, good in results.items() if not good)
        results.clear()
    for what, (want, got) in verdicts.items():
        check(got == want, "planted " + what, "red is " + (", ".join(got) or "nothing"))

*planting, where, vmlinux = sys.argv[1:]
with open(os.path.dirname(os.path.abspath(__file__)) + "/expected/dump.txt") as f:
    rules = {(what, name): value for what, name, value, *_ in (line.split() for line in f if line[0] != "#")}
told = open(where + "/console", errors="replace").read()
netfd = int(re.search(r"^DUMP net (\d+)", told, re.M).group(1))
looked_at = {k: (int(a, 16), int(a, 16) - int(s, 16)) for k, s, a in re.findall(r"^DUMP map (\w+) (\w+) (\w+)", told, re.M)}
prog, left, filtered = Program(), Program(), os.path.exists(where + "/filtered")
try:
    for program, core in [(prog, where + "/vmcore"), (left, where + "/filtered")][:1 + filtered]:
        program.set_core_dump(core)
        program.load_debug_info([vmlinux])
    task = find_task(prog, int(re.search(r"^DUMP pid (\d+)", told, re.M).group(1)))
except Exception as e:
    sys.exit("error: drgn cannot read %s: %s\n  next: drgn -c %s -s %s; less %s/console" % (core, e, core, vmlinux, where))
memdescs = {n: t[8:].lower() for t, n in prog.type("enum memdesc_type").enumerators if n} if prog.type("struct page").has_member("memdesc") else {}
overlay = not prog.type("struct slab").has_member("addr") # of struct page
tables_have = "ptdesc" if prog.type("struct ptdesc").has_member("pt_page") else "table" # descriptors of their own, or page types
types = {n: t[5:] for t, n in prog.type("enum pagetype").enumerators if t != "PGTY_mapcount_underflow"}
may_lack = {"slab-odd", *{"large_kmalloc"}.difference(types.values())} # pages of this kind: by chance, or because there is no such type
for look in [plant] if planting else [walks, crash]:
    section(look.__name__, look)
if not planting:
    check(filtered == (rules["makedumpfile", "-d"] == "filters"), "makedumpfile", "filters" if filtered else "refuses")
if filtered and not planting:
    section("filters", filters)
    prog, prefix, task = left, "filtered: ", Object(left, "struct task_struct *", task)
    walks()
print("%d passed, %d failed" % (sum(results.values()), len(results) - sum(results.values())))
sys.exit(not all(results.values()))
