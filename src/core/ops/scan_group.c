/* The source "scan.group": merges the partial states of a group sink; gives its key columns, then one column per
 * aggregate. Without keys there is always one record, also of no rows.
 *
 * MEMORY The values that one group's states keep (median, count_distinct, collect_list and the like) are reserved; when the budget
 *        refuses them it is an error that names function and group. */
#include "core/base/sys.h"
#include "core/ops/group_key.h"
#include "core/ops/group_op.h"
#include "core/ops/ops.h"
#include "core/ops/partials.h"
#include "core/ops/range_scan.h"

#ifdef LB_TINY
enum { LEAST_GROUP_BYTES = 1 << 20 };
#else
enum { LEAST_GROUP_BYTES = 8 << 20 }; /* a group has so much in any case */
#endif

struct scan_shared {
    struct lb_range_shared range;
    const struct lb_group_shared *group; /* borrowed from the sink */
    bool partials;                       /* see partials.h */
};

struct scan_local {
    uint32_t range;
    struct lb_sort_cursor *cursor;
    struct lb_group_state *states;
    struct lb_batch_builder builder;
    struct lb_buf key;     /* sort key of the current group */
    struct lb_buf details; /* of its key */
    struct lb_buf payload; /* scratch, of a partial state */
    size_t reserved;       /* for the values of the current group */
    bool merges; /* else states go on as they are: an aggregate cannot save what it has merged */
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
    shared->range.sorter = shared->group->sorter;
    shared->range.cuts = LB_CUT_TAILS;
    shared->range.headless = true;
    shared->range.closed = shared->group->n_keys > 1;
    return lb_param_bool(self, "partials", false, &shared->partials, err);
}

static lb_status scan_attach(struct lb_op_local *local, struct lb_error *err)
{
    const struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    LB_TRY(lb_group_open_states(shared->group, local->worker, &state->states, err));
    state->merges = true;
    for (uint32_t i = 0; shared->partials && i < shared->group->n_aggregates; i++)
        state->merges = state->merges && lb_group_state_saves_merged(&state->states[i]);
    return LB_OK;
}

static lb_status scan_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    struct scan_local *state = local->state;
    return lb_range_take(local, &state->range, more, err);
}

/* Appends the state of the group that has ended, for another merge. */
static lb_status put_partial(const struct lb_group_shared *group, struct scan_local *state,
                             struct lb_error *err)
{
    state->payload.size = 0;
    LB_TRY(lb_buf_append(&state->payload, state->details.data, state->details.size, err));
    for (uint32_t i = 0; i < group->n_aggregates; i++)
        LB_TRY(lb_group_state_save(&state->states[i], 0, &state->payload, err));
    return lb_partials_put(&state->builder, &state->key, &state->payload, err);
}

/* Appends the record of the group that has ended. */
static lb_status put_result(const struct lb_group_shared *group, struct scan_local *state,
                            struct lb_error *err)
{
    struct lb_batch_builder *builder = &state->builder;
    struct lb_builder *column = NULL;
    if (group->n_keys > 0)
        LB_TRY(lb_group_key_decode(state->key.data, state->key.size, state->details.data,
                                   group->n_keys, builder, err));
    for (uint32_t i = 0; i < group->n_aggregates; i++) {
        LB_TRY(lb_batch_builder_column(builder, group->n_keys + i, &column, err));
        LB_TRY(lb_group_state_result(&state->states[i], column, err));
    }
    return lb_batch_builder_end_row(builder, builder->n_rows, err);
}

static lb_status flush_full(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_local *state = local->state;
    if (!lb_batch_builder_is_full(&state->builder))
        return LB_OK;
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status end_group(struct lb_op_local *local, struct lb_error *err)
{
    const struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state;
    LB_TRY(shared->partials ? put_partial(shared->group, state, err)
                            : put_result(shared->group, state, err));
    return flush_full(local, err);
}

static lb_status clear_states(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_group_shared *group = ((struct scan_shared *)local->op->shared)->group;
    struct scan_local *state = local->state;
    for (uint32_t i = 0; i < group->n_aggregates; i++)
        LB_TRY(lb_group_state_clear(&state->states[i], err));
    return LB_OK;
}

static void release(struct lb_op_local *local)
{
    struct scan_local *state = local->state;
    lb_budget_release(local->op->run->budget, state->reserved);
    state->reserved = 0;
}

/* Puts the current group in front of an error that says what else there is to say. */
static lb_status of_group(const struct lb_op_local *local, lb_status status, struct lb_error *err)
{
    const struct lb_group_shared *group = ((struct scan_shared *)local->op->shared)->group;
    const struct scan_local *state = local->state;
    struct lb_buf key = {0};
    if (status != LB_ERR_RESOURCE)
        return status;
    if (group->n_keys > 0)
        lb_range_tell_key(&state->key, group->n_keys > 1, &key);
    lb_error_prefix(err, "%s: %s%.*s: ", local->op->label,
                    group->n_keys > 0 ? "group " : "all records", (int)key.size,
                    key.size > 0 ? key.data : "");
    lb_buf_fini(&key);
    return status;
}

/* The values of the current group do not fit: says of which function, and of which group. */
static lb_status refuse(struct lb_op_local *local, size_t bytes, struct lb_error *err)
{
    const struct lb_group_shared *group = ((struct scan_shared *)local->op->shared)->group;
    struct scan_local *state = local->state;
    const struct lb_group_state *largest = &state->states[0];
    struct lb_buf key = {0};
    for (uint32_t i = 1; i < group->n_aggregates; i++)
        if (lb_group_state_merged_bytes(&state->states[i]) > lb_group_state_merged_bytes(largest))
            largest = &state->states[i];
    if (group->n_keys > 0)
        lb_range_tell_key(&state->key, group->n_keys > 1, &key);
    lb_error_set(err, LB_ERR_RESOURCE,
                 "%s: the values that %s needs of %s%.*s take more than %llu MiB, and there is no "
                 "more memory (see --memory): %s",
                 local->op->label, largest->label, group->n_keys > 0 ? "group " : "all records",
                 (int)key.size, key.size > 0 ? key.data : "", (unsigned long long)(bytes >> 20),
                 strcmp(lb_group_state_name(largest), "count_distinct") == 0
                     ? "approx_count_distinct needs few"
                     : "reduce_groups streams the values of a key");
    lb_buf_fini(&key);
    return LB_ERR_RESOURCE;
}

static lb_status reserve(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_group_shared *group = ((struct scan_shared *)local->op->shared)->group;
    struct scan_local *state = local->state;
    size_t bytes = 0;
    for (uint32_t i = 0; i < group->n_aggregates; i++)
        bytes += lb_group_state_merged_bytes(&state->states[i]);
    if (bytes <= state->reserved)
        return LB_OK;
    if (!lb_budget_reserve(local->op->run->budget, bytes - state->reserved)) {
        if (bytes > LEAST_GROUP_BYTES)
            return refuse(local, bytes, err);
        lb_budget_force(local->op->run->budget, bytes - state->reserved);
    }
    state->reserved = bytes;
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
    if (state->in_group && row->group_size == state->key.size &&
        memcmp(row->bytes, state->key.data, row->group_size) == 0) {
        lb_group_key_merge(state->details.data, cursor, group->n_keys);
    } else {
        if (state->in_group)
            LB_TRY(end_group(local, err));
        release(local);
        state->in_group = true;
        state->key.size = state->details.size = 0;
        LB_TRY(lb_buf_append(&state->key, row->bytes, row->group_size, err));
        LB_TRY(lb_buf_append(&state->details, cursor, details_size, err));
        LB_TRY(clear_states(local, err));
    }
    cursor += details_size;
    for (uint32_t i = 0; i < group->n_aggregates; i++)
        LB_TRY(of_group(local, lb_group_state_merge(&state->states[i], &cursor, end, err), err));
    return reserve(local, err);
}

static lb_status pass_row(struct lb_op_local *local, const struct lb_sort_row *row,
                          struct lb_error *err)
{
    struct scan_local *state = local->state;
    const char *payload = row->bytes + row->key_size;
    state->key.size = state->payload.size = 0;
    LB_TRY(lb_buf_append(&state->key, row->bytes, row->group_size, err));
    LB_TRY(lb_buf_append(&state->payload, payload, row->payload_size, err));
    LB_TRY(lb_partials_put(&state->builder, &state->key, &state->payload, err));
    return flush_full(local, err);
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
    uint64_t n_rows = 0; /* of a key that is split */
    lb_batch_builder_reset(&state->builder);
    LB_TRY(lb_range_cursor(local->op, state->range, &state->cursor, err));
    for (uint32_t i = 1;; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            break;
        n_rows += lb_range_counts(local->op, state->range, row);
        LB_TRY(state->merges ? merge_row(local, row, err) : pass_row(local, row, err));
        if (i % 1024 == 0 || lb_sort_cursor_is_due(state->cursor))
            lb_sort_cursor_release(state->cursor);
    }
    lb_range_add_rows(local->op, state->range, n_rows);
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
    release(local);
    lb_group_close_states(shared->group, state->states);
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->key);
    lb_buf_fini(&state->details);
    lb_buf_fini(&state->payload);
    lb_free(state, sizeof *state);
}

static void scan_close(struct lb_op *self)
{
    struct scan_shared *shared = self->shared;
    if (shared != NULL)
        lb_sort_pieces_delete(shared->range.pieces);
    lb_free(shared, sizeof *shared);
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
    .finish = lb_range_finish_op,
    .close = scan_close,
};
