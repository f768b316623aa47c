/* The shared part of the sources over a sorter's ranges; see range_scan.h. */
#include "core/ops/range_scan.h"

#include "core/base/sys.h"
#include "core/base/utf8.h"
#include "core/io/format.h"
#include "core/ops/metrics.h"

enum { FREE_LIST_BYTES = 1 << 20 };

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
    shared->closed = lb_sort_op_is_closed(self->inputs[0]);
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

/* ---- pieces ---- */

/* What `ask` of lb_sort_pieces_config goes by. */
struct salting {
    const struct lb_host *host;
    void *function;    /* the user's, or NULL */
    uint32_t n_pieces; /* without */
    bool closed;       /* something follows the group's part of the key */
    struct lb_buf key;
};

static lb_status ask_pieces(void *context, const char *group, uint32_t group_size,
                            uint32_t *n_pieces, struct lb_error *err)
{
    struct salting *salting = context;
    *n_pieces = salting->n_pieces;
    if (salting->function == NULL)
        return LB_OK;
    salting->key.size = 0;
    LB_TRY(lb_facts_put_key(&salting->key, group, group_size, salting->closed, err));
    return salting->host->salt_ask(salting->function, salting->key.data, salting->key.size,
                                   n_pieces, err);
}

static lb_status make_pieces(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_shared *shared = local->op->shared;
    struct salting salting = {.host = &local->op->run->options.host,
                              .n_pieces = LB_SORT_AS_FOUND,
                              .closed = shared->closed};
    struct lb_sort_pieces_config config = {.between = true,
                                           .inside = shared->cuts >= LB_CUT_TAILS,
                                           .turned = shared->cuts == LB_CUT_HEADS,
                                           .headless = shared->headless,
                                           .ask = ask_pieces,
                                           .context = &salting};
    struct lb_value salt;
    if (lb_value_field(&local->op->params, "salt", &salt)) {
        if (salt.tag == 'f')
            config.between = config.inside = false;
        else if (salt.tag == 'i')
            salting.n_pieces = salt.i > 0 && salt.i < INT32_MAX ? (uint32_t)salt.i : 1;
        else if (salt.tag == 's' && salting.host->salt_open != NULL)
            LB_TRY(salting.host->salt_open(local->worker, &local->op->params, local->op->label,
                                           &salting.function, err));
    }
    lb_status status = lb_sort_pieces_new(shared->sorter, &config, &shared->pieces, err);
    if (salting.function != NULL)
        salting.host->salt_close(salting.function);
    lb_buf_fini(&salting.key);
    return status;
}

lb_status lb_range_take(struct lb_op_local *local, uint32_t *range, bool *more,
                        struct lb_error *err)
{
    struct lb_range_shared *shared = local->op->shared;
    if (shared->next_range == 0 && shared->pieces == NULL && shared->cuts != LB_CUT_NOTHING &&
        lb_sorter_has_pieces(shared->sorter))
        LB_TRY(make_pieces(local, err));
    uint32_t n = shared->pieces != NULL ? shared->pieces->n : lb_sorter_n_ranges(shared->sorter);
    *more = shared->next_range < n;
    if (!*more)
        return LB_OK;
    *range = shared->next_range++;
    local->worker->goes_on = shared->pieces != NULL && !shared->pieces->items[*range].is_last;
    return LB_OK;
}

lb_status lb_range_cursor(const struct lb_op *op, uint32_t range, struct lb_sort_cursor **cursor,
                          struct lb_error *err)
{
    const struct lb_range_shared *shared = op->shared;
    return shared->pieces != NULL ? lb_sort_pieces_cursor(shared->pieces, range, cursor, err)
                                  : lb_sort_cursor_new(shared->sorter, range, cursor, err);
}

bool lb_range_counts(const struct lb_op *op, uint32_t range, const struct lb_sort_row *row)
{
    const struct lb_range_shared *shared = op->shared;
    if (shared->pieces == NULL)
        return false;
    const struct lb_sort_piece *piece = &shared->pieces->items[range];
    if (!piece->counts || !(piece->begins || piece->ends))
        return false;
    const struct lb_sort_split *split = &shared->pieces->splits[piece->split];
    return row->group_size == split->group_size &&
           memcmp(row->bytes, split->group, split->group_size) == 0;
}

void lb_range_add_rows(const struct lb_op *op, uint32_t range, uint64_t n_rows)
{
    const struct lb_range_shared *shared = op->shared;
    if (n_rows > 0)
        atomic_fetch_add(&shared->pieces->splits[shared->pieces->items[range].split].n_rows,
                         n_rows);
}

lb_status lb_range_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    const struct lb_range_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    LB_TRY(lb_range_take(local, &state->range, more, err));
    state->piece = *more && shared->pieces != NULL ? &shared->pieces->items[state->range] : NULL;
    return LB_OK;
}

bool lb_range_progress(const struct lb_op *self, struct lb_progress *progress)
{
    const struct lb_range_shared *shared = self->shared;
    progress->done = shared->next_range;
    progress->total =
        shared->pieces != NULL ? shared->pieces->n : lb_sorter_n_ranges(shared->sorter);
    return true;
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

lb_status lb_range_finish_op(struct lb_op *self, struct lb_error *err)
{
    const struct lb_range_shared *shared = self->shared;
    if (shared->pieces == NULL || shared->pieces->n_splits == 0)
        return LB_OK;
    return lb_facts_of_pieces(self, shared->pieces, shared->closed, err);
}

void lb_range_close_op(struct lb_op *self)
{
    struct lb_range_shared *shared = self->shared;
    if (shared != NULL)
        lb_sort_pieces_delete(shared->pieces);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

lb_status lb_range_begin(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
    state->in_group = false;
    state->seen_bytes = 0;
    lb_batch_builder_reset(&state->builder);
    return lb_range_cursor(local->op, state->range, &state->cursor, err);
}

lb_status lb_range_flush(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    state->seen_bytes = 0;
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

lb_status lb_range_charge(struct lb_op_local *local, const struct lb_buf *list, size_t *charged,
                          struct lb_error *err)
{
    struct lb_run *run = local->op->run;
    if (list->capacity <= FREE_LIST_BYTES || list->capacity <= *charged)
        return LB_OK;
    if (!lb_budget_reserve(run->budget, list->capacity - *charged)) {
        const struct lb_range_shared *shared = local->op->shared;
        const struct lb_range_local *state = local->state;
        struct lb_buf key = {0};
        lb_range_tell_key(&state->group, shared->closed, &key);
        lb_error_set(err, LB_ERR_RESOURCE,
                     "%s: the list of key %.*s needs more than %.1f MiB (the memory limit is "
                     "%.1f MiB; see --memory): reduce_groups streams the values of a key",
                     local->op->label, (int)key.size, key.size > 0 ? key.data : "",
                     (double)list->size / 1048576, (double)run->options.memory_bytes / 1048576);
        lb_buf_fini(&key);
        return LB_ERR_RESOURCE;
    }
    *charged = list->capacity;
    return LB_OK;
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

void lb_range_tell_key(const struct lb_buf *group, bool closed, struct lb_buf *out)
{
    enum { SHOWN_BYTES = 100 };
    struct lb_buf key = {0};
    size_t start = out->size;
    if (lb_facts_put_key(&key, group->data, group->size, closed, NULL) != LB_OK ||
        lb_format_encoded(LB_FORMAT_JSON, key.data, key.size, out, NULL) != LB_OK)
        out->size = start;
    lb_buf_fini(&key);
    if (out->size - start > SHOWN_BYTES) {
        out->size = start + lb_utf8_whole(out->data + start, SHOWN_BYTES - 3);
        memcpy(out->data + out->size, "...", 3);
        out->size += 3;
    }
}
