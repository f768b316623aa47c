/* The sink "window" and what scan.window needs of it; how window_top.c keeps the first rows of each partition.
 *
 * FORMAT  of a row: key = the partition columns' sort keys, closed, side by side (group_size bytes), then the order
 *         columns' ones, inverted where descending. payload = the kept columns' values, by column/codec.h; but a number
 *         that is a key, and has only such keys before it, is the tag LB_KEYED_INT or LB_KEYED_FLOAT alone: it is read from
 *         the key, where the i-th key then takes the bytes from LB_NUMBER_KEY_BYTES * i on. */
#ifndef LB_OPS_WINDOW_H
#define LB_OPS_WINDOW_H

#include "core/algo/sorter.h"
#include "core/ops/op.h"

struct lb_window_key {
    uint32_t column; /* 0-based */
    bool descending;
};

enum { LB_KEYED_INT = 'I', LB_KEYED_FLOAT = 'D', LB_NUMBER_KEY_BYTES = 9 };

struct lb_window_shared {
    /* configuration */
    struct lb_window_key *keys; /* partition columns, then order columns */
    uint32_t n_keys;
    uint32_t n_partition; /* of them */
    uint32_t *partition;  /* their numbers */
    uint32_t *kept;       /* 0-based columns of the input that rows have */
    uint32_t n_kept;
    uint32_t *kept_key;    /* of each: the number of the key that is the same column, or n_keys */
    uint32_t n_partitions; /* of the sorter */
    uint64_t top;     /* only rows among the first so many of their partition are wanted; 0: all */
    bool ties;        /* and those equal in order to the last of them */
    size_t top_bytes; /* that a worker may hold for that */
    /* resources */
    struct lb_sorter *sorter;
};

/* Of an open window sink; NULL when op is none. */
const struct lb_window_shared *lb_window_op_shared(const struct lb_op *op);

/* ---- the sink's parts ---- */

/* A row about to be added; key and payload are borrowed. */
struct lb_window_row {
    const char *key;
    const char *payload;
    uint32_t key_size;
    uint32_t group_size;
    uint32_t payload_size;
    uint32_t partition;
    uint64_t sequence;
};

/* The bits of a number in a key so long, as a double. */
static inline double lb_window_keyed(const char *key, uint32_t i, bool descending)
{
    uint64_t bits;
    double value;
    memcpy(&bits, key + (size_t)LB_NUMBER_KEY_BYTES * i + 1, sizeof bits);
    bits = __builtin_bswap64(bits);
    bits = descending ? ~bits : bits;
    bits = bits >> 63 ? bits ^ (uint64_t)1 << 63 : ~bits;
    memcpy(&value, &bits, sizeof value);
    return value;
}

lb_status lb_window_write(struct lb_sort_writer *writer, const struct lb_window_row *row,
                          struct lb_error *err) LB_MUST_USE;

/* One worker's rows that may be among the first of their partitions. */
struct lb_window_top;

lb_status lb_window_top_new(const struct lb_window_shared *shared, struct lb_budget *budget,
                            struct lb_window_top **top, struct lb_error *err) LB_MUST_USE;
void lb_window_top_delete(struct lb_window_top *top); /* NULL allowed */
/* Chooses the rows of a batch that may count: *wanted are their places among the selected rows, *n of them. Gives rows
 * to the writer first when memory is short. */
lb_status lb_window_top_choose(struct lb_window_top *top, const struct lb_batch *batch,
                               struct lb_sort_writer *writer, const uint32_t **wanted, uint32_t *n,
                               struct lb_error *err) LB_MUST_USE;
/* Calls into the cache what keeping that row will need. */
void lb_window_top_call(const struct lb_window_top *top, uint32_t place);
/* Keeps the row of the batch chosen from (its place among the selected ones), unless others are before it by now. */
lb_status lb_window_top_keep(struct lb_window_top *top, uint32_t place,
                             const struct lb_window_row *row, struct lb_error *err) LB_MUST_USE;
/* Gives all rows held to the writer. */
lb_status lb_window_top_flush(struct lb_window_top *top, struct lb_sort_writer *writer,
                              struct lb_error *err) LB_MUST_USE;

#endif
