/* There is no way from a folio to a slab but by its address: a slab is no folio. */
#include <linux/mm.h>
#include "mm/slab.h"

int snippet(struct folio *folio);
int snippet(struct folio *folio)
{
#ifdef WRONG
	return slab_nid(folio_slab(folio));
#else
	return slab_nid(virt_to_slab(folio_address(folio)));
#endif
}
