/* Heavy hitters: which keys of a stream come most often, in little memory (the space-saving sketch of Metwally, Agrawal
 * and El Abbadi, 2005).
 *
 * CALLS  (add | merge)*; order; fini.
 * IDEA   So many counters. A key with a counter is counted there; a new one, when all are taken, takes over the one
 *        with the smallest count, which becomes its possible error. So of n rows counted every key that has
 *        more than n / LB_HEAVY_KEYS is there, its count is never too low, and count - error never too high.
 * THREADS One sketch belongs to one thread. Merging keeps the bounds, but which keys of little weight are there depends
 *        on what was counted where: a sketch is something to tell, never something to decide results by. */
#ifndef LB_ALGO_HEAVY_HITTERS_H
#define LB_ALGO_HEAVY_HITTERS_H

#include "core/base/buf.h"
#include "core/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LB_HEAVY_KEYS = 128,
    LB_HEAVY_KEY_BYTES =
        256 /* of a longer key so many are kept; two that differ behind them are two */
};

struct lb_heavy_key {
    uint64_t hash;
    uint64_t count;    /* rows, at least as many as there were */
    uint64_t error;    /* by how much count may be too high */
    uint32_t key_size; /* of the whole key */
    char *key;         /* min(key_size, LB_HEAVY_KEY_BYTES) bytes */
};

/* All zero is empty and valid. */
struct lb_heavy_hitters {
    struct lb_heavy_key *keys; /* a heap: the smallest count is keys[0]; NULL until the first key */
    uint8_t *slots;            /* hash table of numbers of keys + 1 */
    uint32_t n;
    uint64_t n_rows; /* counted */
};

void lb_heavy_fini(struct lb_heavy_hitters *heavy);
/* Counts `rows` rows of this key. */
lb_status lb_heavy_add(struct lb_heavy_hitters *heavy, const char *key, size_t size, uint64_t rows,
                       struct lb_error *err) LB_MUST_USE;
/* Takes over what `from` has counted. */
lb_status lb_heavy_merge(struct lb_heavy_hitters *heavy, const struct lb_heavy_hitters *from,
                         struct lb_error *err) LB_MUST_USE;
/* Whether surely more than a `part`-th of the rows counted had this key. */
bool lb_heavy_is(const struct lb_heavy_hitters *heavy, const char *key, size_t size, uint64_t part);
/* Orders keys by count, the greatest first, then by key; nothing may be added afterwards. */
void lb_heavy_order(struct lb_heavy_hitters *heavy);

#endif
