/* The count sink: how many records there are. */
#include "core/ops/ops.h"

static lb_status count_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    (void)local;
    (void)batch;
    (void)err;
    return LB_OK;
}

static lb_status count_finish(struct lb_op *self, struct lb_error *err)
{
    (void)err;
    self->n_result = atomic_load(&self->rows_in);
    return LB_OK;
}

const struct lb_op_class lb_op_count = {
    .name = "count",
    .kind = LB_OP_SINK,
    .push = count_push,
    .finish = count_finish,
};
