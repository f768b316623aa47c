/* The native text helpers: words, fields, field, grep, lower. Each means what the plain Lua function over the line
 * would: words is gmatch "%S+", fields(nil) likewise, grep is line:find(pattern), lower is line:lower().
 *
 * They work on column 0, which must hold strings; anything else fails as indexing it in Lua would. */
#include <stdio.h>

#include "core/algo/pattern.h"
#include "core/base/arena.h"
#include "core/base/sys.h"
#include "core/base/utf8.h"
#include "core/column/builder.h"
#include "core/column/codec.h"
#include "core/io/format.h"
#include "core/io/text.h"
#include "core/ops/ops.h"

enum { SHOWN_BYTES = 200 };
#define TOO_MANY_FIELDS "more than 250 fields"
_Static_assert(LB_MAX_COLUMNS == 250, "TOO_MANY_FIELDS says so");

struct text_shared {
    uint32_t field;
    char *separator; /* NULL: blanks */
    size_t separator_size;
    struct lb_pattern *pattern;
};

struct text_local {
    struct lb_batch_builder builder;     /* words, fields */
    struct lb_view views[LB_BATCH_ROWS]; /* field, lower */
    uint64_t valid[(LB_BATCH_ROWS + 63) / 64];
    uint32_t select[LB_BATCH_ROWS];        /* grep */
    struct lb_arena strings;               /* lower */
    struct lb_buf padded;                  /* a line with the padding that the kernels want */
    struct lb_view decoded[LB_BATCH_ROWS]; /* the strings of a column of mixed values */
    struct lb_column columns[LB_MAX_COLUMNS];
};

static lb_status text_open(struct lb_op *self, struct lb_error *err)
{
    struct text_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    int64_t field = 1;
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_param_int(self, "n", 1, &field, err));
    LB_TRY(lb_param_string(self, "sep", &shared->separator, err));
    if (field < 1 || field > UINT32_MAX || (shared->separator && !*shared->separator))
        return lb_error_set(err, LB_ERR_USAGE, "%s: wrong field number or separator", self->label);
    shared->field = (uint32_t)field;
    shared->separator_size = shared->separator != NULL ? strlen(shared->separator) : 0;
    struct lb_value value;
    if (self->class != &lb_op_grep)
        return LB_OK;
    if (!lb_value_field(&self->params, "pattern", &value) || value.tag != 's')
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: parameter 'pattern' is wrong",
                            self->label);
    return lb_pattern_new(value.data, value.size, &shared->pattern, err);
}

static void text_close(struct lb_op *self)
{
    struct text_shared *shared = self->shared;
    if (shared == NULL)
        return;
    if (shared->pattern != NULL)
        lb_pattern_delete(shared->pattern);
    lb_strfree(shared->separator);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status text_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct text_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    lb_arena_init(&state->strings, 64 << 10);
    return LB_OK;
}

static void text_detach(struct lb_op_local *local)
{
    struct text_local *state = local->state;
    lb_batch_builder_fini(&state->builder);
    lb_arena_fini(&state->strings);
    lb_buf_fini(&state->padded);
    lb_free(state, sizeof *state);
}

/* The record as Lua would write its first value: for one that no source can place. */
static lb_status show_record(const struct lb_batch *batch, uint32_t row, struct lb_buf *out,
                             struct lb_error *err)
{
    struct lb_buf value = {0};
    lb_status status = lb_codec_put_column(&value, &batch->columns[0], row, err);
    if (status == LB_OK)
        status = lb_buf_append(out, "record ", 7, err);
    if (status == LB_OK)
        status = lb_format_encoded(LB_FORMAT_LUA, value.data, value.size, out, err);
    lb_buf_fini(&value);
    if (status == LB_OK && out->size > SHOWN_BYTES) {
        out->size = lb_utf8_whole(out->data, SHOWN_BYTES);
        status = lb_buf_append(out, "...", 3, err);
    }
    return status;
}

/* Fails with a message that names operator and record. */
static lb_status record_error(struct lb_op_local *local, const struct lb_batch *batch, uint32_t row,
                              lb_status status, const char *what, struct lb_error *err)
{
    struct lb_buf where = {0};
    bool is_known = lb_batch_locate(batch, row, &where, err) == LB_OK;
    if (is_known && where.size == 0)
        is_known = show_record(batch, row, &where, err) == LB_OK;
    lb_error_set(err, status, "%s: %s%s%.*s", local->op->label, what, is_known ? "\n  " : "",
                 is_known ? (int)where.size : 0, is_known ? where.data : "");
    lb_buf_fini(&where);
    return status;
}

static const char *type_name(char tag)
{
    switch (tag) {
    case 'n':
        return "nil";
    case 'f':
    case 't':
        return "boolean";
    case 'i':
    case 'd':
        return "number";
    default:
        return "table";
    }
}

static lb_status fail_no_string(struct lb_op_local *local, const struct lb_batch *batch,
                                uint32_t row, char tag, struct lb_error *err)
{
    char what[64];
    snprintf(what, sizeof what, "string expected, got %s", type_name(tag));
    return record_error(local, batch, row, LB_ERR_USER, what, err);
}

/* Sets *views to the strings of column 0, by physical row; those of rows that are not selected mean nothing. Fails unless every
 * selected row is a string. A column of mixed values may have been filtered to its strings. */
static lb_status get_strings(struct lb_op_local *local, const struct lb_batch *batch,
                             const struct lb_view **views, struct lb_error *err)
{
    /* ORDER types */
    static const char tags[] = {'n', 't', 'i', 'd'};
    struct text_local *state = local->state;
    const struct lb_column *column = &batch->columns[0];
    bool is_any = column->type == LB_ANY;
    *views = is_any ? state->decoded : column->views;
    if (column->type == LB_STRING && column->valid == NULL)
        return LB_OK;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        if (!lb_column_is_valid(column, row))
            return fail_no_string(local, batch, row, 'n', err);
        if (column->type == LB_STRING)
            continue;
        if (!is_any)
            return fail_no_string(local, batch, row, tags[column->type], err);
        struct lb_value value;
        const char *cursor = lb_view_data(&column->views[row]);
        lb_codec_next(&cursor, &value);
        if (value.tag != 's')
            return fail_no_string(local, batch, row, value.tag, err);
        lb_view_set(&state->decoded[row], value.data, value.size);
    }
    return LB_OK;
}

/* The line with padding behind it, copied when it is inline in its view. */
static lb_status padded_line(struct text_local *state, const struct lb_view *view,
                             const char **line, struct lb_error *err)
{
    state->padded.size = 0;
    LB_TRY(lb_buf_reserve(&state->padded, view->size + LB_TEXT_PADDING, err));
    memcpy(state->padded.data, lb_view_data(view), view->size);
    *line = state->padded.data;
    return LB_OK;
}

static lb_status flush(struct lb_op_local *local, const struct lb_batch *parent,
                       struct lb_error *err)
{
    struct text_local *state = local->state;
    if (state->builder.n_rows > 0)
        LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, parent), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status words_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    const struct lb_view *lines;
    struct text_local *state = local->state;
    LB_TRY(get_strings(local, batch, &lines, err));
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        const struct lb_view *view = &lines[row];
        const char *cursor = NULL;
        LB_TRY(padded_line(state, view, &cursor, err));
        const char *end = cursor + view->size;
        for (;;) {
            size_t n = lb_text_words(&cursor, end, true, state->views, LB_BATCH_ROWS);
            for (size_t j = 0; j < n; j++) {
                struct lb_builder *column = NULL;
                LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
                LB_TRY(lb_builder_string(column, lb_view_data(&state->views[j]),
                                         state->views[j].size, err));
                LB_TRY(lb_batch_builder_end_row(&state->builder, row, err));
                if (lb_batch_builder_is_full(&state->builder))
                    LB_TRY(flush(local, batch, err));
            }
            if (n < LB_BATCH_ROWS)
                break;
        }
    }
    return flush(local, batch, err);
}

/* Cuts a line into fields; *n is their number, LB_MAX_COLUMNS + 1 when there are more. */
static void cut_fields(const struct text_shared *shared, const char *line, size_t size,
                       struct lb_view *fields, size_t *n)
{
    const char *cursor = line;
    const char *end = line + size;
    if (shared->separator == NULL) {
        *n = lb_text_words(&cursor, end, true, fields, LB_MAX_COLUMNS + 1);
        return;
    }
    *n = 0;
    for (const char *next = cursor; next != NULL && *n <= LB_MAX_COLUMNS;
         cursor = next + shared->separator_size) {
        next = memmem(cursor, (size_t)(end - cursor), shared->separator, shared->separator_size);
        lb_view_set(&fields[(*n)++], cursor, (size_t)((next != NULL ? next : end) - cursor));
        if (next == NULL)
            break;
    }
}

static lb_status fields_push(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    const struct lb_view *lines;
    const struct text_shared *shared = local->op->shared;
    struct text_local *state = local->state;
    struct lb_view fields[LB_MAX_COLUMNS + 1];
    LB_TRY(get_strings(local, batch, &lines, err));
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        const struct lb_view *view = &lines[row];
        const char *line = NULL;
        size_t n_fields = 0;
        LB_TRY(padded_line(state, view, &line, err));
        cut_fields(shared, line, view->size, fields, &n_fields);
        if (n_fields > LB_MAX_COLUMNS)
            return record_error(local, batch, row, LB_ERR_DATA, TOO_MANY_FIELDS, err);
        if (!lb_batch_builder_fits(&state->builder, (uint32_t)n_fields))
            LB_TRY(flush(local, batch, err));
        for (uint32_t j = 0; j < n_fields; j++) {
            struct lb_builder *column = NULL;
            LB_TRY(lb_batch_builder_column(&state->builder, j, &column, err));
            LB_TRY(lb_builder_string(column, lb_view_data(&fields[j]), fields[j].size, err));
        }
        LB_TRY(lb_batch_builder_end_row(&state->builder, row, err));
        if (lb_batch_builder_is_full(&state->builder))
            LB_TRY(flush(local, batch, err));
    }
    return flush(local, batch, err);
}

/* Pushes the batch with column 0 replaced; rows stay the same. */
static lb_status push_replaced(struct lb_op_local *local, const struct lb_batch *batch,
                               const struct lb_column *column, bool only, struct lb_error *err)
{
    struct text_local *state = local->state;
    uint32_t n_columns = only ? 1 : batch->n_columns;
    memcpy(state->columns, batch->columns, n_columns * sizeof *state->columns);
    state->columns[0] = *column;
    struct lb_batch out = lb_batch_same_rows(batch, state->columns, n_columns);
    return lb_push(local->next, &out, err);
}

static lb_status field_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    const struct lb_view *lines;
    const struct text_shared *shared = local->op->shared;
    struct text_local *state = local->state;
    uint32_t n_missing = 0;
    LB_TRY(get_strings(local, batch, &lines, err));
    memset(state->valid, 0xff, sizeof state->valid);
    memset(state->views, 0, batch->n_rows * sizeof *state->views);
    lb_arena_reset(&state->strings);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        const struct lb_view *view = &lines[row];
        const char *line = NULL;
        struct lb_view found;
        LB_TRY(padded_line(state, view, &line, err));
        bool has = shared->separator == NULL
                       ? lb_text_field_blank(line, view->size, shared->field, &found)
                       : lb_text_field_sep(line, view->size, shared->field, shared->separator,
                                           shared->separator_size, &found);
        if (!has) {
            state->valid[row >> 6] &= ~(1ULL << (row & 63));
            n_missing++;
            continue;
        }
        /* The field lies in the copy; point into the line itself. */
        const char *data = lb_view_data(view);
        if (found.size > LB_VIEW_INLINE)
            found.data = data + (found.data - line);
        state->views[row] = found;
    }
    struct lb_column column = {
        .type = LB_STRING, .valid = n_missing > 0 ? state->valid : NULL, .views = state->views};
    return push_replaced(local, batch, &column, true, err);
}

static lb_status grep_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    const struct lb_view *lines;
    const struct text_shared *shared = local->op->shared;
    struct text_local *state = local->state;
    uint32_t n = 0;
    LB_TRY(get_strings(local, batch, &lines, err));
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        const struct lb_view *view = &lines[row];
        struct lb_match match;
        bool found = false;
        LB_TRY(lb_pattern_find(shared->pattern, lb_view_data(view), view->size, 0, &match, &found,
                               err));
        if (found)
            state->select[n++] = row;
    }
    struct lb_batch out = lb_batch_same_rows(batch, batch->columns, batch->n_columns);
    out.select = state->select;
    out.n_selected = n;
    return lb_push(local->next, &out, err);
}

static lb_status lower_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    const struct lb_view *lines;
    struct text_local *state = local->state;
    LB_TRY(get_strings(local, batch, &lines, err));
    memset(state->views, 0, batch->n_rows * sizeof *state->views);
    lb_arena_reset(&state->strings);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        const struct lb_view *view = &lines[row];
        struct lb_view *out = &state->views[row];
        if (view->size <= LB_VIEW_INLINE) {
            char bytes[LB_VIEW_INLINE];
            lb_text_lower(view->prefix, view->size, bytes);
            lb_view_set(out, bytes, view->size);
            continue;
        }
        char *copy = lb_arena_alloc(&state->strings, view->size);
        if (copy == NULL)
            return lb_error_memory(err, local->op->label, view->size);
        lb_text_lower(lb_view_data(view), view->size, copy);
        lb_view_set(out, copy, view->size);
    }
    struct lb_column column = {.type = LB_STRING, .views = state->views};
    return push_replaced(local, batch, &column, false, err);
}

#define TEXT_OP(variable, text_name, function) \
    const struct lb_op_class variable = {      \
        .name = text_name,                     \
        .kind = LB_OP_TRANSFORM,               \
        .open = text_open,                     \
        .attach = text_attach,                 \
        .push = function,                      \
        .detach = text_detach,                 \
        .close = text_close,                   \
    }
TEXT_OP(lb_op_words, "words", words_push);
TEXT_OP(lb_op_fields, "fields", fields_push);
TEXT_OP(lb_op_field, "field", field_push);
TEXT_OP(lb_op_grep, "grep", grep_push);
TEXT_OP(lb_op_lower, "lower", lower_push);
