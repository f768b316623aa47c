/* The source over the aggregate sink: merges the partial states of equal keys, which the sorter brings together. The rows are
 * described in aggregate_op.c, `partials` in partials.h. */
#include "core/algo/aggregate.h"
#include "core/algo/sorter.h"
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/aggregate_op.h"
#include "core/ops/ops.h"
#include "core/ops/partials.h"
#include "core/ops/range_scan.h"

struct merge_shared {
    struct lb_range_shared range;
    const struct lb_op *sink;
    bool partials; /* see partials.h */
};

struct merge_local {
    uint32_t range;
    struct lb_sort_cursor *cursor;
    struct lb_aggregate aggregate;
    struct lb_batch_builder builder;
    struct lb_buf group; /* sort key of the current group */
    struct lb_buf key;   /* its encoded key; empty: a string, see aggregate_op.c */
    struct lb_buf result;
    bool in_group;
};

static lb_status merge_open(struct lb_op *self, struct lb_error *err)
{
    struct merge_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    shared->sink = self->n_inputs == 1 ? self->inputs[0] : NULL;
    shared->range.sorter = shared->sink != NULL ? lb_aggregate_op_sorter(shared->sink) : NULL;
    shared->range.cuts = LB_CUT_TAILS;
    shared->range.headless = true;
    if (shared->range.sorter == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no aggregate", self->label);
    return lb_param_bool(self, "partials", false, &shared->partials, err);
}

static lb_status merge_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct merge_shared *shared = local->op->shared;
    struct merge_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    LB_TRY(lb_aggregate_op_open(shared->sink, local->worker, &state->aggregate, err));
    state->aggregate.group = &state->group;
    return LB_OK;
}

static lb_status merge_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    struct merge_local *state = local->state;
    return lb_range_take(local, &state->range, more, err);
}

/* Appends the state of the group that has ended, for another merge. */
static lb_status put_partial(struct merge_local *state, struct lb_error *err)
{
    uint32_t encoded_size = (uint32_t)state->key.size;
    state->result.size = 0;
    LB_TRY(lb_buf_append(&state->result, &encoded_size, sizeof encoded_size, err));
    LB_TRY(lb_buf_append(&state->result, state->key.data, state->key.size, err));
    LB_TRY(state->aggregate.class->save_merged(&state->aggregate, &state->result, err));
    return lb_partials_put(&state->builder, &state->group, &state->result, err);
}

/* Appends (key, result...) of the group that has ended. */
static lb_status put_result(struct merge_local *state, struct lb_error *err)
{
    struct lb_batch_builder *builder = &state->builder;
    struct lb_builder *column = NULL;
    uint32_t n_values = 0;
    state->result.size = 0;
    LB_TRY(state->aggregate.class->result(&state->aggregate, &state->result, &n_values, err));
    LB_TRY(lb_batch_builder_column(builder, 0, &column, err));
    if (state->key.size == 0)
        LB_TRY(lb_builder_string(column, state->group.data + 1, state->group.size - 1, err));
    else
        LB_TRY(lb_builder_encoded(column, state->key.data, state->key.size, err));
    const char *cursor = state->result.data;
    for (uint32_t i = 0; i < n_values; i++) {
        size_t size = lb_codec_size(cursor);
        LB_TRY(lb_batch_builder_column(builder, i + 1, &column, err));
        LB_TRY(lb_builder_encoded(column, cursor, size, err));
        cursor += size;
    }
    return lb_batch_builder_end_row(builder, 0, err);
}

static lb_status end_group(struct lb_op_local *local, struct lb_error *err)
{
    struct merge_local *state = local->state;
    const struct merge_shared *shared = local->op->shared;
    LB_TRY(shared->partials ? put_partial(state, err) : put_result(state, err));
    if (!lb_batch_builder_is_full(&state->builder))
        return LB_OK;
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status merge_row(struct lb_op_local *local, const struct lb_sort_row *row,
                           struct lb_error *err)
{
    struct merge_local *state = local->state;
    const char *payload = row->bytes + row->key_size;
    uint32_t encoded_size = 0;
    memcpy(&encoded_size, payload, sizeof encoded_size);
    const char *encoded = payload + sizeof encoded_size;
    const char *partial = encoded + encoded_size;
    size_t partial_size = row->payload_size - sizeof encoded_size - encoded_size;
    bool is_same = state->in_group && row->group_size == state->group.size &&
                   memcmp(row->bytes, state->group.data, row->group_size) == 0;
    if (is_same) {
        /* 1 and 1.0 are one key: which of them stands for it must not depend on the split into morsels. */
        if (encoded_size > 0 && state->key.size > 0 &&
            lb_key_compare(encoded, encoded_size, state->key.data, state->key.size) > 0) {
            state->key.size = 0;
            LB_TRY(lb_buf_append(&state->key, encoded, encoded_size, err));
        }
        return state->aggregate.class->merge(&state->aggregate, partial, partial_size, err);
    }
    if (state->in_group)
        LB_TRY(end_group(local, err));
    state->in_group = true;
    state->group.size = 0;
    state->key.size = 0;
    LB_TRY(lb_buf_append(&state->group, row->bytes, row->group_size, err));
    LB_TRY(lb_buf_append(&state->key, encoded, encoded_size, err));
    return state->aggregate.class->load(&state->aggregate, partial, partial_size, err);
}

static lb_status merge_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct merge_local *state = local->state;
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
    state->in_group = false;
    uint64_t n_rows = 0; /* of a key that is split */
    lb_batch_builder_reset(&state->builder);
    LB_TRY(lb_range_cursor(local->op, state->range, &state->cursor, err));
    for (uint32_t i = 1;; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            break;
        n_rows += lb_range_counts(local->op, state->range, row);
        LB_TRY(merge_row(local, row, err));
        if (i % 1024 == 0 || lb_sort_cursor_is_due(state->cursor))
            lb_sort_cursor_release(state->cursor);
    }
    lb_range_add_rows(local->op, state->range, n_rows);
    if (state->in_group)
        LB_TRY(end_group(local, err));
    if (state->builder.n_rows > 0)
        LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
    return LB_OK;
}

static void merge_detach(struct lb_op_local *local)
{
    struct merge_local *state = local->state;
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    if (state->aggregate.class != NULL)
        state->aggregate.class->close(&state->aggregate);
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->group);
    lb_buf_fini(&state->key);
    lb_buf_fini(&state->result);
    lb_free(state, sizeof *state);
}

static void merge_close(struct lb_op *self)
{
    struct merge_shared *shared = self->shared;
    if (shared != NULL)
        lb_sort_pieces_delete(shared->range.pieces);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_scan_aggregate = {
    .name = "scan.aggregate",
    .kind = LB_OP_SOURCE,
    .open = merge_open,
    .attach = merge_attach,
    .claim = merge_claim,
    .produce = merge_produce,
    .detach = merge_detach,
    .finish = lb_range_finish_op,
    .close = merge_close,
};
