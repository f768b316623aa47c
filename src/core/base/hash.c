/* XXH3 of bytes, compiled in rather than called, so that short keys hash in a few ns. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/base/hash.h"

uint64_t lb_hash_bytes(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}
