/* A folio must not be passed where a slab is wanted. */
#include <linux/mm.h>
#include "mm/slab.h"

int snippet(struct folio *folio, struct slab *slab);
int snippet(struct folio *folio, struct slab *slab)
{
#ifdef WRONG
	return slab_nid(folio);
#else
	return slab_nid(slab);
#endif
}
