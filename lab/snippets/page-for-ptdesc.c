/* A page must not be passed where a page table's descriptor is wanted. */
#include <linux/mm.h>

void snippet(struct page *page);
void snippet(struct page *page)
{
#ifdef WRONG
	pagetable_free(page);
#else
	pagetable_free(page_ptdesc(page));
#endif
}
