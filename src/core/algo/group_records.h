/* The records of a worker's groups: what belongs to a group lies side by side, the words of its key and the states of all
 * aggregates. Groups come at random, so what a row costs is the cache lines that it needs: with an array per aggregate
 * 100 000 groups of a sum and an average took 60 ns a row for the states, with records 8.
 *
 * CALLS  init; ((fit | set_key_bytes)*, (reserve | use)*, reset)*; fini.
 * RECORD key bytes, then the states in order, each aligned for its type; up to a cache line it is a power of two, so that it
 *        never lies in two lines. Records not used yet are zero: states without values.
 * THREADS none: they belong to one worker. */
#ifndef LB_ALGO_GROUP_RECORDS_H
#define LB_ALGO_GROUP_RECORDS_H

#include "core/algo/group_state.h"

struct lb_group_records {
    /* configuration */
    struct lb_group_state *states; /* borrowed; NULL when there are none */
    uint32_t n_states;
    /* layout */
    uint32_t key_bytes; /* a multiple of 8 */
    uint32_t stride;    /* bytes of a record */
    /* records */
    char *bytes;
    size_t n_bytes;
    size_t n; /* in use */
};

void lb_group_records_init(struct lb_group_records *records, struct lb_group_state *states,
                           uint32_t n_states);
void lb_group_records_fini(struct lb_group_records *records);
/* Lays states out for columns as this batch has them; other batches are taken too. No record is in use. */
void lb_group_records_fit(struct lb_group_records *records, const struct lb_batch *batch);
/* Likewise; the room for a key stays until it is set again. */
void lb_group_records_set_key_bytes(struct lb_group_records *records, uint32_t key_bytes);
/* Makes room for records 0 to n - 1; they may move. */
lb_status lb_group_records_reserve(struct lb_group_records *records, size_t n,
                                   struct lb_error *err) LB_MUST_USE;
/* The same, and says that they are groups now. */
lb_status lb_group_records_use(struct lb_group_records *records, size_t n,
                               struct lb_error *err) LB_MUST_USE;
/* Forgets all groups, in the states too; keeps at most keep_bytes of records. */
void lb_group_records_reset(struct lb_group_records *records, size_t keep_bytes);
/* Bytes it would hold, states' own memory included, after growing to n records: the old ones are there while it does. */
size_t lb_group_records_next_bytes(const struct lb_group_records *records, size_t n);

static inline char *lb_group_record(const struct lb_group_records *records, size_t group)
{
    return records->bytes + group * records->stride;
}

#endif
