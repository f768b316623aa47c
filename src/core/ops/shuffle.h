/* What the sinks over an external sorter share: their parameter, and a sorter with the run's threads, memory and disk. */
#ifndef LB_OPS_SHUFFLE_H
#define LB_OPS_SHUFFLE_H

#include "core/algo/sorter.h"
#include "core/ops/op.h"

/* The parameter `partitions`: 1 to 65535, 1 when absent. */
lb_status lb_shuffle_partitions(const struct lb_op *op, uint32_t *n_partitions,
                                struct lb_error *err) LB_MUST_USE;
/* shape: of the sorter. What the run has is filled in here; so is merge_bytes where it is 0: half of what a worker may take,
 * for each thread. */
lb_status lb_shuffle_new(const struct lb_op *op, const struct lb_sorter_config *shape,
                         struct lb_sorter **sorter, struct lb_error *err) LB_MUST_USE;
/* Takes the sorter (NULL allowed); what it spilled counts for the run. */
void lb_shuffle_delete(const struct lb_op *op, struct lb_sorter *sorter);

#endif
