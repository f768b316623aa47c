/* What scan.group needs of the group sink that it stands on. */
#ifndef LB_OPS_GROUP_OP_H
#define LB_OPS_GROUP_OP_H

#include "core/algo/group_state.h"
#include "core/algo/sorter.h"
#include "core/ops/metrics.h"
#include "core/ops/op.h"

struct lb_group_shared {
    /* configuration */
    uint32_t *key_columns; /* 0-based */
    uint32_t n_keys;
    struct lb_value *aggregates; /* their parameters */
    uint32_t n_aggregates;
    uint32_t n_partitions;
    bool pieces, merges; /* see partials.h */
    size_t table_bytes;  /* most that a worker's table and states may hold */
    /* resources */
    struct lb_sorter *sorter;
    struct lb_heat heat; /* with keys */
};

/* Of an open group sink; NULL when op is none. */
const struct lb_group_shared *lb_group_op_shared(const struct lb_op *op);
/* One state per aggregate; on failure those made are given up. worker: NULL to look at parameters only. */
lb_status lb_group_open_states(const struct lb_group_shared *shared, struct lb_worker *worker,
                               struct lb_group_state **states, struct lb_error *err) LB_MUST_USE;
void lb_group_close_states(const struct lb_group_shared *shared, struct lb_group_state *states);

#endif
