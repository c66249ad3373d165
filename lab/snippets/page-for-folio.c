/* A page, which may be a tail, must not be passed where a folio is wanted. */
#include <linux/mm.h>

void snippet(struct page *page);
void snippet(struct page *page)
{
#ifdef WRONG
	folio_put(page);
#else
	folio_put(page_folio(page));
#endif
}
