/* cartesian: each record with each record of a store, columns side by side; the store is walked once per batch. */
#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/ops/ops.h"
#include "core/ops/store.h"

struct cartesian_local {
    struct lb_batch_builder builder;
    struct lb_buf scratch;
};

static lb_status cartesian_open(struct lb_op *self, struct lb_error *err)
{
    self->shared = self->n_inputs == 1 ? lb_store_of_sink(self->inputs[0]) : NULL;
    if (self->shared == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no store", self->label);
    return LB_OK;
}

static lb_status cartesian_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct cartesian_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    return LB_OK;
}

static void cartesian_detach(struct lb_op_local *local)
{
    struct cartesian_local *state = local->state;
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->scratch);
    lb_free(state, sizeof *state);
}

/* One left row with all stored rows of all chunks, in their order: so the result is in order of the left side. */
static lb_status cross_row(struct lb_op_local *local, const struct lb_batch *batch, uint32_t row,
                           struct lb_error *err)
{
    struct lb_store *store = local->op->shared;
    struct cartesian_local *state = local->state;
    struct lb_batch_builder *builder = &state->builder;
    struct lb_builder *column = NULL;
    for (uint32_t c = 0; c < lb_store_n_chunks(store); c++) {
        const char *cursor = NULL;
        size_t size = 0;
        uint32_t n_rows = 0, n_columns = 0;
        uint64_t first_row = 0;
        LB_TRY(lb_store_read(store, c, &state->scratch, &cursor, &size, err));
        lb_store_chunk(store, c, &n_rows, &first_row);
        for (uint32_t r = 0; r < n_rows; r++) {
            memcpy(&n_columns, cursor, sizeof n_columns);
            cursor += sizeof n_columns;
            if (!lb_batch_builder_fits(builder, batch->n_columns + n_columns)) {
                LB_TRY(lb_push(local->next, lb_batch_builder_finish(builder, batch), err));
                lb_batch_builder_reset(builder);
            }
            for (uint32_t i = 0; i < batch->n_columns; i++) {
                LB_TRY(lb_batch_builder_column(builder, i, &column, err));
                LB_TRY(lb_builder_column(column, &batch->columns[i], row, err));
            }
            for (uint32_t i = 0; i < n_columns; i++) {
                size_t value_size = lb_codec_size(cursor);
                LB_TRY(lb_batch_builder_column(builder, batch->n_columns + i, &column, err));
                LB_TRY(lb_builder_encoded(column, cursor, value_size, err));
                cursor += value_size;
            }
            LB_TRY(lb_batch_builder_end_row(builder, row, err));
            if (lb_batch_builder_is_full(builder)) {
                LB_TRY(lb_push(local->next, lb_batch_builder_finish(builder, batch), err));
                lb_batch_builder_reset(builder);
            }
        }
    }
    return LB_OK;
}

static lb_status cartesian_push(struct lb_op_local *local, const struct lb_batch *batch,
                                struct lb_error *err)
{
    struct cartesian_local *state = local->state;
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < batch->n_selected; i++)
        LB_TRY(cross_row(local, batch, lb_batch_row(batch, i), err));
    if (state->builder.n_rows == 0)
        return LB_OK;
    lb_status status = lb_push(local->next, lb_batch_builder_finish(&state->builder, batch), err);
    lb_batch_builder_reset(&state->builder);
    return status;
}

const struct lb_op_class lb_op_cartesian = {
    .name = "cartesian",
    .kind = LB_OP_TRANSFORM,
    .open = cartesian_open,
    .attach = cartesian_attach,
    .push = cartesian_push,
    .detach = cartesian_detach,
};
