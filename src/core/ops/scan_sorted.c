/* Sources that read a sorter's ranges: rows as they are, groups as lists, and set operations. */
#include "core/base/sys.h"
#include "core/ops/ops.h"
#include "core/ops/sort.h"

/* ORDER kinds */
enum set_kind { SET_SUBTRACT, SET_INTERSECTION };

struct scan_shared {
    struct lb_sorter *sorter; /* borrowed from the sink */
    uint32_t next_range;      /* guarded by the stage's lock */
    enum set_kind kind;       /* scan.set */
};

struct scan_local {
    uint32_t range;
    struct lb_sort_cursor *cursor; /* of the claimed range */
    struct lb_batch_builder builder;
    struct lb_buf list;  /* scan.groups: the values so far, encoded */
    struct lb_buf group; /* the current group's key bytes */
    uint32_t partition;  /* and partition */
    bool in_group;
};

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

static lb_status scan_open(struct lb_op *self, struct lb_error *err)
{
    struct scan_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    shared->sorter = self->n_inputs == 1 ? lb_sort_op_sorter(self->inputs[0]) : NULL;
    if (shared->sorter == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no sort", self->label);
    char *kind = NULL;
    LB_TRY(lb_param_string(self, "kind", &kind, err));
    if (kind != NULL && strcmp(kind, "intersection") == 0)
        shared->kind = SET_INTERSECTION;
    lb_strfree(kind);
    return LB_OK;
}

static lb_status scan_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    return LB_OK;
}

static lb_status scan_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state;
    *more = shared->next_range < lb_sorter_n_ranges(shared->sorter);
    if (*more)
        state->range = shared->next_range++;
    return LB_OK;
}

static void scan_detach(struct lb_op_local *local)
{
    struct scan_local *state = local->state;
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->list);
    lb_buf_fini(&state->group);
    lb_free(state, sizeof *state);
}

static void scan_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct scan_shared));
    self->shared = NULL;
}

static lb_status open_cursor(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state;
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
    state->in_group = false;
    lb_batch_builder_reset(&state->builder);
    return lb_sort_cursor_new(shared->sorter, state->range, &state->cursor, err);
}

static lb_status flush(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_local *state = local->state;
    if (state->builder.n_rows == 0)
        return LB_OK;
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_batch_builder_reset(&state->builder);
    lb_sort_cursor_release(state->cursor);
    return LB_OK;
}

static lb_status close_cursor(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_local *state = local->state;
    LB_TRY(flush(local, err));
    lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
    return LB_OK;
}

/* True when the row begins another group than the one noted; notes it. */
static lb_status enter_group(struct scan_local *state, const struct lb_sort_row *row, bool *is_new,
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

/* ---- scan.sorted ---- */

static lb_status sorted_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_local *state = local->state;
    LB_TRY(open_cursor(local, err));
    for (;;) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            return close_cursor(local, err);
        LB_TRY(lb_sort_row_decode(row, &state->builder, err));
        if (lb_batch_builder_is_full(&state->builder))
            LB_TRY(flush(local, err));
    }
}

const struct lb_op_class lb_op_scan_sorted = {
    .name = "scan.sorted",
    .kind = LB_OP_SOURCE,
    .open = scan_open,
    .attach = scan_attach,
    .claim = scan_claim,
    .produce = sorted_produce,
    .detach = scan_detach,
    .close = scan_close,
};

/* ---- scan.groups ---- */

struct group_list {
    size_t mark;
    uint32_t count;
};

static lb_status put_string_or_value(struct lb_buf *out, bool is_string, const char *data,
                                     size_t size, struct lb_error *err)
{
    return is_string ? lb_codec_put_string(out, data, size, err)
                     : lb_buf_append(out, data, size, err);
}

/* Adds the value columns of a row to the list; several of them as a list of their own. */
static lb_status add_value(struct scan_local *state, const struct lb_sort_row *row,
                           struct lb_error *err)
{
    const char *cursor = row->bytes + row->key_size;
    const char *end = cursor + row->payload_size;
    bool is_string = false;
    const char *data = NULL;
    size_t size = 0, mark = 0;
    lb_sort_row_value(row, &cursor, &is_string, &data, &size); /* the key */
    if (cursor == end)
        return lb_codec_put_nil(&state->list, err);
    lb_sort_row_value(row, &cursor, &is_string, &data, &size);
    if (cursor == end)
        return put_string_or_value(&state->list, is_string, data, size, err);
    LB_TRY(lb_codec_begin(&state->list, 'l', &mark, err));
    LB_TRY(put_string_or_value(&state->list, is_string, data, size, err));
    uint32_t count = 1;
    for (; cursor < end; count++) {
        lb_sort_row_value(row, &cursor, &is_string, &data, &size);
        LB_TRY(put_string_or_value(&state->list, is_string, data, size, err));
    }
    lb_codec_end(&state->list, mark, count);
    return LB_OK;
}

/* Ends the row of the group whose key is in column 0 already. */
static lb_status end_list(struct lb_op_local *local, struct group_list *list, struct lb_error *err)
{
    struct scan_local *state = local->state;
    struct lb_builder *column = NULL;
    lb_codec_end(&state->list, list->mark, list->count);
    LB_TRY(lb_batch_builder_column(&state->builder, 1, &column, err));
    LB_TRY(lb_builder_encoded(column, state->list.data, state->list.size, err));
    LB_TRY(lb_batch_builder_end_row(&state->builder, 0, err));
    return lb_batch_builder_is_full(&state->builder) ? flush(local, err) : LB_OK;
}

static lb_status groups_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_local *state = local->state;
    struct group_list list = {0};
    LB_TRY(open_cursor(local, err));
    for (uint32_t since_release = 0;; since_release++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        bool is_new = row == NULL;
        bool was_in_group = state->in_group;
        if (row != NULL)
            LB_TRY(enter_group(state, row, &is_new, err));
        if (is_new && was_in_group)
            LB_TRY(end_list(local, &list, err));
        if (row == NULL)
            return close_cursor(local, err);
        if (is_new) {
            struct lb_builder *column = NULL;
            bool is_string = false;
            const char *data = NULL, *cursor = row->bytes + row->key_size;
            size_t size = 0;
            lb_sort_row_value(row, &cursor, &is_string, &data, &size);
            LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
            LB_TRY(is_string ? lb_builder_string(column, data, size, err)
                             : lb_builder_encoded(column, data, size, err));
            state->list.size = 0;
            list.count = 0;
            LB_TRY(lb_codec_begin(&state->list, 'l', &list.mark, err));
        }
        LB_TRY(add_value(state, row, err));
        list.count++;
        if (since_release % 1024 == 1023) /* key and values are copied: a huge group may go on */
            lb_sort_cursor_release(state->cursor);
    }
}

const struct lb_op_class lb_op_scan_groups = {
    .name = "scan.groups",
    .kind = LB_OP_SOURCE,
    .open = scan_open,
    .attach = scan_attach,
    .claim = scan_claim,
    .produce = groups_produce,
    .detach = scan_detach,
    .close = scan_close,
};

/* ---- scan.set: a group's rows of side 1 come first, see sort.h ---- */

static lb_status set_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state;
    bool has_right = false; /* the group has rows of side 1 */
    bool is_done = false;   /* intersection: the group's record is out */
    LB_TRY(open_cursor(local, err));
    for (uint32_t since_release = 0;; since_release++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            return close_cursor(local, err);
        bool is_new = false;
        LB_TRY(enter_group(state, row, &is_new, err));
        bool is_right = row->bytes[row->group_size] == 0;
        if (is_new) {
            has_right = is_right;
            is_done = false;
        }
        bool wanted =
            !is_right && (shared->kind == SET_SUBTRACT ? !has_right : has_right && !is_done);
        if (wanted) {
            is_done = true;
            LB_TRY(lb_sort_row_decode(row, &state->builder, err));
        }
        if (lb_batch_builder_is_full(&state->builder))
            LB_TRY(flush(local, err));
        else if (since_release % 1024 == 1023 && state->builder.n_rows == 0)
            lb_sort_cursor_release(state->cursor);
    }
}

const struct lb_op_class lb_op_scan_set = {
    .name = "scan.set",
    .kind = LB_OP_SOURCE,
    .open = scan_open,
    .attach = scan_attach,
    .claim = scan_claim,
    .produce = set_produce,
    .detach = scan_detach,
    .close = scan_close,
};
