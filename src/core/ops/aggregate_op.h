/* What sources see of the aggregate sink. */
#ifndef LB_OPS_AGGREGATE_OP_H
#define LB_OPS_AGGREGATE_OP_H

#include "core/ops/op.h"

struct lb_aggregate;
struct lb_sorter;
/* Its sorter of partial states, NULL when op is no open aggregate operator. */
struct lb_sorter *lb_aggregate_op_sorter(const struct lb_op *op);
/* Begins the aggregate of an open operator for one worker. */
lb_status lb_aggregate_op_open(const struct lb_op *op, struct lb_worker *worker,
                               struct lb_aggregate *aggregate, struct lb_error *err) LB_MUST_USE;

#endif
