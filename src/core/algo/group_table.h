/* The pre-aggregation hash table of one worker: finds or makes the entry of each key of a batch.
 *
 * IDEA   Open addressing over 32-byte entries with the key inline when it is at most 12 bytes (or a
 *        number). A whole batch is hashed first, then prefetched, then probed (design.md section
 *        1).
 * KEYS   Keys are equal as in api.md: 1 and 1.0 are one. Of equal keys the one with the greatest encoding (an
 *        integer before a float) stands for all, so that the order of rows does not matter.
 * THREADS none: one table belongs to one worker. */
#ifndef LB_ALGO_GROUP_TABLE_H
#define LB_ALGO_GROUP_TABLE_H

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/column/batch.h"

/* ORDER key kinds */
enum lb_key_kind {
    LB_KIND_EMPTY = 0, /* free slot */
    LB_KIND_STRING,    /* a is size and prefix, b the rest or a pointer: a struct lb_view */
    LB_KIND_INT,       /* a is the integer, given as integer first */
    LB_KIND_INT_FLOAT, /* a is the integer, given as a float first: b has its bits (-0.0 stays so)
                          */
    LB_KIND_VALUE      /* a, b: view of [uint32 key size][sort key][encoded value]; other types */
};

struct lb_group_entry {
    uint64_t a;
    uint64_t b;
    uint32_t hash;      /* upper half of the hash; compares before the key does */
    uint8_t kind;       /* enum lb_key_kind */
    uint8_t state_kind; /* the aggregate's own; 0 in a new entry */
    uint16_t spare;
    int64_t state; /* the aggregate's own: the state itself, or the number of its slot */
};

struct lb_group_table {
    struct lb_group_entry *entries;
    size_t n_slots; /* a power of two */
    size_t n_entries;
    struct lb_arena keys;      /* long keys */
    struct lb_buf scratch;     /* key being looked for, as LB_KIND_VALUE has it */
    struct lb_buf key_scratch; /* its sort key */
    uint64_t *hashes;          /* LB_BATCH_ROWS */
};

lb_status lb_group_table_init(struct lb_group_table *table, struct lb_error *err) LB_MUST_USE;
void lb_group_table_fini(struct lb_group_table *table);
/* Forgets all entries; keeps at most keep_bytes of memory. */
void lb_group_table_reset(struct lb_group_table *table, size_t keep_bytes);
size_t lb_group_table_bytes(const struct lb_group_table *table);
/* Bytes it would hold after growing for one more batch. */
size_t lb_group_table_next_bytes(const struct lb_group_table *table);

/* For each selected row i of the batch, found[i] becomes the entry of its key: column 0, or when
 * whole_record and the batch is wider, the list of all columns. Pointers hold until the next call.
 * */
lb_status lb_group_table_find(struct lb_group_table *table, const struct lb_batch *batch,
                              bool whole_record, struct lb_group_entry **found,
                              struct lb_error *err) LB_MUST_USE;

/* The key's sort key (column/key.h) and encoded value (column/codec.h), appended to each buffer. */
lb_status lb_group_entry_key(const struct lb_group_entry *entry, struct lb_buf *sort_key,
                             struct lb_buf *encoded, struct lb_error *err) LB_MUST_USE;

#endif
