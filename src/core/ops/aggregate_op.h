/* What sources see of the aggregate sink. */
#ifndef LB_OPS_AGGREGATE_OP_H
#define LB_OPS_AGGREGATE_OP_H

#include "core/ops/op.h"

struct lb_sorter;
/* Its sorter of partial states, NULL when op is no open aggregate operator. */
struct lb_sorter *lb_aggregate_op_sorter(const struct lb_op *op);

#endif
