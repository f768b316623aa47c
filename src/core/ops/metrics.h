/* What operators tell of their run, for --stats.
 *
 * FORMAT  op->facts is empty or an encoded map. Of a sink that shuffles: { bytes, hot, partitions, rows, rows_max, rows_median,
 *         rows_min, rows_spread, spilled_bytes }: what went through the sorter, rows of a partition (rows_spread: of each, sorted; of
 *         up to 64 at even distances), and hot = list of { key, rows }: keys
 *         that have more than a 64th of the records, about so many of them. Of a source that cut keys:
 *         { split = list of { key, pieces, rows } }, where rows are exact. */
#ifndef LB_OPS_METRICS_H
#define LB_OPS_METRICS_H

#include <pthread.h>

#include "core/algo/heavy_hitters.h"
#include "core/algo/sort_pieces.h"
#include "core/ops/op.h"

/* The heavy keys of a shuffle: a worker counts some rows of its own, and hands what it has seen over at the end. */
struct lb_heat {
    pthread_mutex_t lock; /* guards `all` */
    struct lb_heavy_hitters all;
    bool closed; /* keys are closed ones, see column/key.h */
};

struct lb_heat_local {
    struct lb_heavy_hitters seen;
    uint32_t gap;   /* rows that the next counted one stands for */
    uint32_t until; /* rows up to it; 0 before the first row */
    uint32_t random;
};

void lb_heat_init(struct lb_heat *heat, bool closed);
void lb_heat_fini(struct lb_heat *heat);

/* Whether this row is to be counted, one in about 32: their distances are random, for keys may come at regular ones. */
static inline bool lb_heat_wants(struct lb_heat_local *local)
{
    return local->until-- <= 1;
}

/* The row wanted has this sort key. */
lb_status lb_heat_count(struct lb_heat_local *local, const char *key, size_t size,
                        struct lb_error *err) LB_MUST_USE;
/* Whether this worker's rows had the key so often that `hot` of the facts might name it. */
bool lb_heat_is_hot(const struct lb_heat_local *local, const struct lb_buf *key);
/* Hands over what the worker has seen. Thread-safe. */
lb_status lb_heat_merge(struct lb_heat *heat, struct lb_heat_local *local,
                        struct lb_error *err) LB_MUST_USE;
void lb_heat_local_fini(struct lb_heat_local *local);

/* Appends the value of a sort key; several side by side are a list. A key that was cut is told as the bytes that are left. */
lb_status lb_facts_put_key(struct lb_buf *out, const char *key, size_t size, bool closed,
                           struct lb_error *err) LB_MUST_USE;
/* Writes op->facts of a sink whose sorter is prepared. heat may be NULL. */
lb_status lb_facts_of_shuffle(struct lb_op *op, const struct lb_sorter *sorter,
                              struct lb_heat *heat, struct lb_error *err) LB_MUST_USE;
/* Writes op->facts of a source that has read all pieces. closed: the groups' keys are. */
lb_status lb_facts_of_pieces(struct lb_op *op, const struct lb_sort_pieces *pieces, bool closed,
                             struct lb_error *err) LB_MUST_USE;

#endif
