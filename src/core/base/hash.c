/* XXH3 of bytes, compiled in rather than called, so that short keys hash in a few ns. */
#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

#include "core/base/hash.h"

uint64_t lb_hash_bytes(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

void lb_running_hash_add(struct lb_running_hash *hash, const void *data, size_t size)
{
    const char *from = data;
    while (size > 0) {
        size_t used = hash->n_bytes % sizeof hash->block;
        size_t n = size < sizeof hash->block - used ? size : sizeof hash->block - used;
        memcpy(hash->block + used, from, n);
        hash->n_bytes += n;
        from += n;
        size -= n;
        if (used + n == sizeof hash->block)
            hash->folded =
                lb_hash_pair(hash->folded, lb_hash_bytes(hash->block, sizeof hash->block));
    }
}

uint64_t lb_running_hash_value(const struct lb_running_hash *hash)
{
    size_t used = hash->n_bytes % sizeof hash->block;
    return lb_hash_pair(hash->folded, lb_hash_bytes(hash->block, used) ^ hash->n_bytes);
}
