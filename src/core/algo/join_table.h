/* The table of a hash join: all rows of the build side, and an index from keys to rows.
 *
 * CALLS  new; build [one thread] with all pieces; then, when it fits, for each i < lb_join_table_n_blocks: hash [parallel]; lay_out
 *        [one thread]; for each i < lb_join_table_n_parts: insert [parallel]; then find, from any thread, with a probe each;
 *        delete.
 * KEYS   Equal as in api.md: 1 and 1.0 are one key, NaN is one. A key with a nil in it matches nothing and is not in the index.
 * ORDER  Rows are numbered in input order: by (morsel, part, position). Rows of one key are chained in that order. */
#ifndef LB_ALGO_JOIN_TABLE_H
#define LB_ALGO_JOIN_TABLE_H

#include <stdatomic.h>

#include "core/algo/join_rows.h"
#include "core/base/budget.h"

/* ORDER index kinds */
enum lb_join_index {
    LB_JOIN_DENSE,   /* integers of a small range: heads[key - least] is the first row */
    LB_JOIN_INTEGER, /* integers: slots hold key and row */
    LB_JOIN_BYTES    /* else: slots hold the hash of key bytes and row; keys[row] are the bytes */
};

struct lb_join_slot {
    uint64_t key;  /* the integer, or the hash */
    uint32_t head; /* first row + 1; 0: free */
    uint32_t tail; /* last row + 1 */
};

struct lb_join_table {
    /* configuration */
    uint32_t n_columns;
    const uint32_t *keys; /* 0-based columns; borrowed */
    uint32_t n_keys;
    struct lb_budget *budget;
    /* rows */
    uint32_t n_rows;
    struct lb_join_column *columns;
    struct lb_join_rows **pieces; /* emptied as the columns are made */
    size_t n_pieces;
    /* index */
    enum lb_join_index kind;
    int64_t least;               /* dense */
    uint64_t range;              /* dense: keys least..least + range - 1 */
    uint32_t *heads;             /* dense */
    struct lb_join_slot *slots;  /* of all parts side by side */
    size_t n_slots;              /* room */
    size_t *part_slots;          /* n_parts + 1: where each part's begin */
    _Atomic uint32_t *part_rows; /* per part: rows with a key in it, counted while hashing */
    uint32_t n_parts;
    uint32_t *next;             /* per row: the next of its key + 1, or 0 */
    struct lb_view *key_views;  /* bytes: per row; size UINT32_MAX: the key has a nil */
    uint64_t *hashes;           /* bytes: per row */
    struct lb_arena *key_bytes; /* bytes: one arena per block */
    _Atomic bool has_duplicates;
    size_t reserved_bytes; /* in the budget, the pieces' included */
};

/* n_columns: of the rows; keys: borrowed. */
lb_status lb_join_table_new(uint32_t n_columns, const uint32_t *keys, uint32_t n_keys,
                            struct lb_budget *budget, struct lb_join_table **table,
                            struct lb_error *err) LB_MUST_USE;
void lb_join_table_delete(struct lb_join_table *table); /* NULL allowed */
/* Orders the pieces and puts their columns together. Takes the list of pieces and the pieces_bytes that were reserved for
 * them, unless *fits becomes false: then the index has no room in the budget, and nothing has changed but the pieces' order. */
lb_status lb_join_table_build(struct lb_join_table *table, struct lb_join_rows **pieces,
                              size_t n_pieces, size_t pieces_bytes, bool *fits,
                              struct lb_error *err) LB_MUST_USE;
uint32_t lb_join_table_n_blocks(const struct lb_join_table *table);
lb_status lb_join_table_hash(struct lb_join_table *table, uint32_t block,
                             struct lb_error *err) LB_MUST_USE;
void lb_join_table_lay_out(struct lb_join_table *table);
uint32_t lb_join_table_n_parts(const struct lb_join_table *table);
void lb_join_table_insert(struct lb_join_table *table, uint32_t part);

/* What one thread needs for looking up. */
struct lb_join_probe {
    uint64_t hashes[LB_BATCH_ROWS]; /* or keys */
    uint64_t places[LB_BATCH_ROWS]; /* where to look: a slot or a head; UINT64_MAX: nowhere */
    struct lb_view views[LB_BATCH_ROWS];
    uint64_t ends[LB_BATCH_ROWS + 1]; /* of keys made in bytes */
    struct lb_buf bytes;
};
void lb_join_probe_fini(struct lb_join_probe *probe);
/* For the i-th selected row, whose key is in these columns of the batch: first[i] = the first row of its key + 1, or 0. */
lb_status lb_join_table_find(const struct lb_join_table *table, struct lb_join_probe *probe,
                             const struct lb_batch *batch, const uint32_t *columns, uint32_t *first,
                             struct lb_error *err) LB_MUST_USE;

#endif
