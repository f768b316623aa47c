/* Batches: finding a row's origin. */
#include "core/column/batch.h"

#include "core/base/buf.h"

static lb_status locate(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                        struct lb_buf *out, struct lb_error *err)
{
    while (batch != NULL) {
        if (batch->locate != NULL)
            return batch->locate(batch, row, origin, out, err);
        if (batch->parent_rows != NULL)
            row = batch->parent_rows[row];
        batch = batch->parent;
    }
    return LB_OK;
}

lb_status lb_batch_locate(const struct lb_batch *batch, uint32_t row, struct lb_buf *out,
                          struct lb_error *err)
{
    return locate(batch, row, NULL, out, err);
}

lb_status lb_batch_origin(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                          struct lb_error *err)
{
    *origin = (struct lb_origin){0};
    return locate(batch, row, origin, NULL, err);
}
