/* Where keys lie in the index of a join_table: for join_table.c, which puts them there, and join_probe.c, which looks. */
#ifndef LB_ALGO_JOIN_INDEX_H
#define LB_ALGO_JOIN_INDEX_H

#include <string.h>

#include "core/algo/join_table.h"
#include "core/base/hash.h"

static const uint32_t LB_JOIN_NIL_KEY = UINT32_MAX; /* size of a view that is no key */

static inline uint64_t lb_join_hash_int(int64_t key)
{
    return lb_hash_pair((uint64_t)key, 0x9e3779b97f4a7c15ULL);
}

static inline uint64_t lb_join_hash_view(const struct lb_view *view)
{
    uint64_t words[2];
    if (view->size > LB_VIEW_INLINE)
        return lb_hash_bytes(view->data, view->size);
    memcpy(words, view, sizeof words);
    return lb_hash_pair(words[0], words[1]);
}

/* The part of a hash, and the place in it where to begin. */
static inline uint32_t lb_join_part(const struct lb_join_table *table, uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * table->n_parts) >> 32);
}

static inline size_t lb_join_slot_of(const struct lb_join_table *table, uint64_t hash,
                                     uint32_t part)
{
    size_t first = table->part_slots[part];
    uint64_t n = table->part_slots[part + 1] - first;
    return first + (size_t)(((hash & UINT32_MAX) * n) >> 32);
}

/* Whether the string column itself serves as the keys. */
static inline bool lb_join_has_string_keys(const struct lb_join_table *table)
{
    return table->n_keys == 1 && table->columns[table->keys[0]].type == LB_STRING;
}

/* Appends the sort keys of a row, closed; *is_nil: one of them is nil, and nothing is appended. */
lb_status lb_join_put_key(struct lb_buf *out, const struct lb_column *const *columns, uint32_t n,
                          uint32_t row, bool *is_nil, struct lb_error *err) LB_MUST_USE;

#endif
