/* The shared part of the sources over a sorter's ranges; see range_scan.h. */
#include "core/ops/range_scan.h"

#include "core/base/sys.h"

uint32_t lb_sort_row_width(const struct lb_sort_row *row)
{
    const char *cursor = row->bytes + row->key_size;
    const char *end = cursor + row->payload_size;
    uint32_t width = 0;
    for (; cursor < end; width++)
        cursor += *cursor == 'K' ? 1 : lb_codec_size(cursor);
    return width;
}

lb_status lb_sort_row_decode(const struct lb_sort_row *row, struct lb_batch_builder *builder,
                             struct lb_error *err)
{
    const char *cursor = row->bytes + row->key_size;
    const char *end = cursor + row->payload_size;
    for (uint32_t i = 0; cursor < end; i++) {
        struct lb_builder *column = NULL;
        bool is_string = false;
        const char *data = NULL;
        size_t size = 0;
        LB_TRY(lb_batch_builder_column(builder, i, &column, err));
        lb_sort_row_value(row, &cursor, &is_string, &data, &size);
        LB_TRY(is_string ? lb_builder_view(column, data, size, err)
                         : lb_builder_encoded_view(column, data, size, err));
    }
    return lb_batch_builder_end_row(builder, 0, err);
}

lb_status lb_range_open_op(struct lb_op *self, const char *const *kinds, struct lb_error *err)
{
    struct lb_range_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    shared->sorter = self->n_inputs == 1 ? lb_sort_op_sorter(self->inputs[0]) : NULL;
    if (shared->sorter == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no sort", self->label);
    if (kinds == NULL)
        return LB_OK;
    char *kind = NULL;
    LB_TRY(lb_param_string(self, "kind", &kind, err));
    while (kind != NULL && kinds[shared->kind] != NULL && strcmp(kinds[shared->kind], kind) != 0)
        shared->kind++;
    bool found = kind != NULL && kinds[shared->kind] != NULL;
    lb_strfree(kind);
    if (!found)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: no such kind", self->label);
    return LB_OK;
}

lb_status lb_range_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    return LB_OK;
}

lb_status lb_range_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct lb_range_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    *more = shared->next_range < lb_sorter_n_ranges(shared->sorter);
    if (*more)
        state->range = shared->next_range++;
    return LB_OK;
}

void lb_range_detach(struct lb_op_local *local)
{
    struct lb_range_local *state = local->state;
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->group);
    lb_free(state, sizeof *state);
}

void lb_range_close_op(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct lb_range_shared));
    self->shared = NULL;
}

lb_status lb_range_begin(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
    state->in_group = false;
    lb_batch_builder_reset(&state->builder);
    return lb_sort_cursor_new(shared->sorter, state->range, &state->cursor, err);
}

lb_status lb_range_flush(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    if (state->builder.n_rows == 0)
        return LB_OK;
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_batch_builder_reset(&state->builder);
    lb_sort_cursor_release(state->cursor);
    return LB_OK;
}

lb_status lb_range_end(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    LB_TRY(lb_range_flush(local, err));
    lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
    return LB_OK;
}

lb_status lb_range_enter(struct lb_range_local *state, const struct lb_sort_row *row, bool *is_new,
                         struct lb_error *err)
{
    *is_new = !state->in_group || row->partition != state->partition ||
              row->group_size != state->group.size ||
              memcmp(row->bytes, state->group.data, row->group_size) != 0;
    if (!*is_new)
        return LB_OK;
    state->in_group = true;
    state->partition = row->partition;
    state->group.size = 0;
    return lb_buf_append(&state->group, row->bytes, row->group_size, err);
}

static lb_status put_scalar_or_value(struct lb_buf *out, bool is_string, const char *data,
                                     size_t size, struct lb_error *err)
{
    return is_string ? lb_codec_put_string(out, data, size, err)
                     : lb_buf_append(out, data, size, err);
}

lb_status lb_range_put_value(const struct lb_sort_row *row, struct lb_buf *out,
                             struct lb_error *err)
{
    const char *cursor = row->bytes + row->key_size;
    const char *end = cursor + row->payload_size;
    bool is_string = false;
    const char *data = NULL;
    size_t size = 0, mark = 0;
    lb_sort_row_value(row, &cursor, &is_string, &data, &size); /* the key */
    if (cursor == end)
        return lb_codec_put_nil(out, err);
    lb_sort_row_value(row, &cursor, &is_string, &data, &size);
    if (cursor == end)
        return put_scalar_or_value(out, is_string, data, size, err);
    LB_TRY(lb_codec_begin(out, 'l', &mark, err));
    LB_TRY(put_scalar_or_value(out, is_string, data, size, err));
    uint32_t count = 1;
    for (; cursor < end; count++) {
        lb_sort_row_value(row, &cursor, &is_string, &data, &size);
        LB_TRY(put_scalar_or_value(out, is_string, data, size, err));
    }
    lb_codec_end(out, mark, count);
    return LB_OK;
}

lb_status lb_range_put_key(const struct lb_sort_row *row, struct lb_builder *column,
                           struct lb_error *err)
{
    bool is_string = false;
    const char *data = NULL, *cursor = row->bytes + row->key_size;
    size_t size = 0;
    lb_sort_row_value(row, &cursor, &is_string, &data, &size);
    return is_string ? lb_builder_string(column, data, size, err)
                     : lb_builder_encoded(column, data, size, err);
}
