/* The pool of a page is not to be had from struct page. */
#include <linux/mm.h>
#include <net/page_pool/helpers.h>

struct page_pool *snippet(struct page *page);
struct page_pool *snippet(struct page *page)
{
#ifdef WRONG
	return page->pp;
#else
	return page_pool_of(page);
#endif
}
