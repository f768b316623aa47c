/* The source "scan.group": merges the partial states of a group sink; gives its key columns, then one column per
 * aggregate. Without keys there is always one record, also of no rows. */
#include "core/base/sys.h"
#include "core/ops/group_key.h"
#include "core/ops/group_op.h"
#include "core/ops/ops.h"

struct scan_shared {
    const struct lb_group_shared *group; /* borrowed from the sink */
    uint32_t next_range;                 /* guarded by the stage's lock */
};

struct scan_local {
    uint32_t range;
    struct lb_sort_cursor *cursor;
    struct lb_group_state *states;
    struct lb_batch_builder builder;
    struct lb_buf key;     /* sort key of the current group */
    struct lb_buf details; /* of its key */
    bool in_group;
};

static lb_status scan_open(struct lb_op *self, struct lb_error *err)
{
    struct scan_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    if (self->n_inputs == 1)
        shared->group = lb_group_op_shared(self->inputs[0]);
    if (shared->group == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no group", self->label);
    return LB_OK;
}

static lb_status scan_attach(struct lb_op_local *local, struct lb_error *err)
{
    const struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    return lb_group_open_states(shared->group, local->worker, &state->states, err);
}

static lb_status scan_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state;
    uint32_t n_ranges = shared->group->n_keys > 0 ? lb_sorter_n_ranges(shared->group->sorter) : 1;
    *more = shared->next_range < n_ranges;
    if (*more)
        state->range = shared->next_range++;
    return LB_OK;
}

/* Appends the record of the group that has ended. */
static lb_status end_group(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_group_shared *group = ((struct scan_shared *)local->op->shared)->group;
    struct scan_local *state = local->state;
    struct lb_batch_builder *builder = &state->builder;
    struct lb_builder *column = NULL;
    if (group->n_keys > 0)
        LB_TRY(lb_group_key_decode(state->key.data, state->key.size, state->details.data,
                                   group->n_keys, builder, err));
    for (uint32_t i = 0; i < group->n_aggregates; i++) {
        LB_TRY(lb_batch_builder_column(builder, group->n_keys + i, &column, err));
        LB_TRY(lb_group_state_result(&state->states[i], column, err));
    }
    LB_TRY(lb_batch_builder_end_row(builder, builder->n_rows, err));
    if (!lb_batch_builder_is_full(builder))
        return LB_OK;
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(builder, NULL), err));
    lb_batch_builder_reset(builder);
    return LB_OK;
}

static lb_status clear_states(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_group_shared *group = ((struct scan_shared *)local->op->shared)->group;
    struct scan_local *state = local->state;
    for (uint32_t i = 0; i < group->n_aggregates; i++)
        LB_TRY(lb_group_state_clear(&state->states[i], err));
    return LB_OK;
}

static lb_status merge_row(struct lb_op_local *local, const struct lb_sort_row *row,
                           struct lb_error *err)
{
    const struct lb_group_shared *group = ((struct scan_shared *)local->op->shared)->group;
    struct scan_local *state = local->state;
    const char *cursor = row->bytes + row->key_size;
    const char *end = cursor + row->payload_size;
    size_t details_size = lb_group_key_details_size(cursor, group->n_keys);
    if (state->in_group && row->key_size == state->key.size &&
        memcmp(row->bytes, state->key.data, row->key_size) == 0) {
        lb_group_key_merge(state->details.data, cursor, group->n_keys);
    } else {
        if (state->in_group)
            LB_TRY(end_group(local, err));
        state->in_group = true;
        state->key.size = state->details.size = 0;
        LB_TRY(lb_buf_append(&state->key, row->bytes, row->key_size, err));
        LB_TRY(lb_buf_append(&state->details, cursor, details_size, err));
        LB_TRY(clear_states(local, err));
    }
    cursor += details_size;
    for (uint32_t i = 0; i < group->n_aggregates; i++)
        LB_TRY(lb_group_state_merge(&state->states[i], &cursor, end, err));
    return LB_OK;
}

static void drop_cursor(struct scan_local *state)
{
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
}

static lb_status scan_produce(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_group_shared *group = ((struct scan_shared *)local->op->shared)->group;
    struct scan_local *state = local->state;
    drop_cursor(state);
    state->in_group = false;
    lb_batch_builder_reset(&state->builder);
    LB_TRY(lb_sort_cursor_new(group->sorter, state->range, &state->cursor, err));
    for (uint32_t i = 1;; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            break;
        LB_TRY(merge_row(local, row, err));
        if (i % 1024 == 0)
            lb_sort_cursor_release(state->cursor);
    }
    if (!state->in_group && group->n_keys == 0) {
        LB_TRY(clear_states(local, err));
        state->in_group = true;
    }
    if (state->in_group)
        LB_TRY(end_group(local, err));
    if (state->builder.n_rows > 0)
        LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    drop_cursor(state);
    return LB_OK;
}

static void scan_detach(struct lb_op_local *local)
{
    const struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state;
    drop_cursor(state);
    lb_group_close_states(shared->group, state->states);
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->key);
    lb_buf_fini(&state->details);
    lb_free(state, sizeof *state);
}

static void scan_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct scan_shared));
    self->shared = NULL;
}

const struct lb_op_class lb_op_scan_group = {
    .name = "scan.group",
    .kind = LB_OP_SOURCE,
    .open = scan_open,
    .attach = scan_attach,
    .claim = scan_claim,
    .produce = scan_produce,
    .detach = scan_detach,
    .close = scan_close,
};
