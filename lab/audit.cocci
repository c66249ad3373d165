// The matches of `make audit`: BLOB<TAB>LINE<TAB>COLUMN<TAB>FUNCTION<TAB>WHAT<TAB>NAME[<TAB>TEXT] for each.
// FUNCTIONS and MEMBERS come from lab/audit.columns. No include is read: what is declared in the file itself is known to be
// a struct page; what is not (`guess`) is judged by its text in lab/audit-report, unless its type is known to be another.
@initialize:python@
@@
import os, re

def macro(file, line):
    """The name of the macro around a line, if there is one."""
    lines = open(file, errors="replace").read().split("\n")
    for i in range(line - 1, -1, -1):
        if m := re.match(r"\s*#\s*define\s+(\w+)", lines[i]):
            return m[1]
        if not (i and lines[i - 1][-1:] == chr(92)):
            return "-"

def out(places, *what):
    for p in places:
        f = p.current_element
        if f == "something_else":
            f = macro(p.file, int(p.line))
        print("\t".join([os.path.basename(p.file)[:-2], p.line, p.column, f] + [re.sub(r"\s+", "", w) if i > 1 else w for i, w in enumerate(what)]))

@call@
identifier f =~ "^(FUNCTIONS)$";
position p;
@@
 f@p(...)

@script:python@
f << call.f;
p << call.p;
@@
out(p, "call", f)

@member@
struct page x;
identifier m;
position p;
@@
 x.m@p

@script:python@
m << member.m;
p << member.p;
@@
out(p, "member", m)

@each@
struct page *x;
iterator i;
expression list es;
identifier m;
statement S;
position p;
@@
 i(x,es,m@p) S

@script:python@
m << each.m;
p << each.p;
@@
out(p, "member", m)

@typed@
identifier f;
identifier m =~ "^(MEMBERS)$";
position p;
@@
 f(...,struct page,m@p)

@script:python@
m << typed.m;
p << typed.p;
@@
out(p, "member", m)

@next@
struct page *x;
identifier f =~ "^list_(next|prev)_entry";
identifier m;
position p;
@@
 f(x,m@p)

@script:python@
m << next.m;
p << next.p;
@@
out(p, "member", m)

@known@
type T;
T x;
identifier m =~ "^(MEMBERS)$";
position p;
@@
 x.m@p

@pointer@
type T;
T *x;
identifier m =~ "^(MEMBERS)$";
position p;
@@
 x->m@p

@script:python@
t << pointer.T;
m << pointer.m;
x << pointer.x;
p << pointer.p;
@@
if re.search(r"page\)*$", x) and not re.match(r"(const )?struct page$", t):
    out(p, "known", m)

@guess@
expression x;
identifier m =~ "^(MEMBERS)$";
position p != known.p;
@@
(
 x->m@p
|
 x.m@p
)

@script:python@
m << guess.m;
x << guess.x;
p << guess.p;
@@
out(p, "guess", m, x)

@cast@
struct page *x;
type T;
position p;
@@
 (T@p)x

@script:python@
t << cast.T;
p << cast.p;
@@
out(p, "cast", t, "")

@other@
type T;
expression x;
position p != cast.p;
@@
 (T@p)x

@script:python@
t << other.T;
x << other.x;
p << other.p;
@@
if re.search(r"\b(page|folio|slab|ptdesc|zpdesc) \*", t):
    out(p, "cast", t, x)

@folio@
expression x;
position p;
@@
 &x->page@p

@script:python@
x << folio.x;
p << folio.p;
@@
out(p, "folio", "&folio->page", x)

@head@
expression x, y;
position p;
@@
(
 x ==@p &y->page
|
 x !=@p &y->page
)

@script:python@
y << head.y;
p << head.p;
@@
out(p, "head", "&folio->page", y)
