/* Columns of the file that records come from: its path, and what the folders of the path say (io/hive.h).
 *
 * IDEA    A morsel of a source over files lies in one file. So the columns are the same for all rows of many batches: they are filled
 *         once for each file that a worker meets.
 * PARAMS  `width`: columns of the records that come; the new ones stand behind them. `columns`: a list of maps, "name" and "type" of a
 *         folder's column, nothing for the path. */
#include <stdio.h>

#include "core/base/sys.h"
#include "core/io/csv.h"
#include "core/io/hive.h"
#include "core/ops/ops.h"

struct wanted {
    const char *name; /* NULL: the path */
    size_t name_size;
    enum lb_csv_type type;
};

struct file_shared {
    uint32_t width, n_wanted;
    struct wanted wanted[LB_MAX_COLUMNS];
};

union cells {
    uint8_t bools[LB_BATCH_ROWS];
    int64_t ints[LB_BATCH_ROWS];
    double floats[LB_BATCH_ROWS];
    struct lb_view views[LB_BATCH_ROWS];
};

struct file_local {
    struct lb_buf file; /* the path that the columns are of, with a NUL; empty: none */
    struct lb_buf *texts;
    union cells *cells;
    struct lb_column columns[LB_MAX_COLUMNS]; /* of the batch, then the new ones */
};

static lb_status read_wanted(struct lb_op *self, const struct lb_value *item, struct wanted *wanted,
                             struct lb_error *err)
{
    struct lb_value name, type;
    wanted->type = LB_CSV_STRING;
    if (!lb_value_field(item, "name", &name))
        return LB_OK;
    if (name.tag != 's' || !lb_value_field(item, "type", &type) || type.tag != 's' ||
        !lb_csv_type_parse(type.data, type.size, &wanted->type))
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: wrong column", self->label);
    wanted->name = name.data;
    wanted->name_size = name.size;
    return LB_OK;
}

static lb_status file_open(struct lb_op *self, struct lb_error *err)
{
    struct file_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    struct lb_value list, item;
    int64_t width = 0;
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_param_int(self, "width", 0, &width, err));
    if (!lb_value_field(&self->params, "columns", &list) || list.tag != 'l' || width < 0 ||
        width + list.count > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: wrong columns", self->label);
    shared->width = (uint32_t)width;
    const char *cursor = list.data;
    for (; shared->n_wanted < list.count; shared->n_wanted++) {
        lb_codec_next(&cursor, &item);
        LB_TRY(read_wanted(self, &item, &shared->wanted[shared->n_wanted], err));
    }
    return LB_OK;
}

static void file_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct file_shared));
    self->shared = NULL;
}

static lb_status file_attach(struct lb_op_local *local, struct lb_error *err)
{
    const struct file_shared *shared = local->op->shared;
    struct file_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    size_t n = shared->n_wanted + 1;
    state->texts = lb_alloc_zero(n * sizeof *state->texts);
    state->cells = lb_alloc_zero(n * sizeof *state->cells);
    if (state->texts == NULL || state->cells == NULL)
        return lb_error_memory(err, local->op->label, n * sizeof *state->cells);
    return LB_OK;
}

static void file_detach(struct lb_op_local *local)
{
    const struct file_shared *shared = local->op->shared;
    struct file_local *state = local->state;
    size_t n = shared->n_wanted + 1;
    for (size_t i = 0; i < n && state->texts != NULL; i++)
        lb_buf_fini(&state->texts[i]);
    if (state->texts != NULL)
        lb_free(state->texts, n * sizeof *state->texts);
    if (state->cells != NULL)
        lb_free(state->cells, n * sizeof *state->cells);
    lb_buf_fini(&state->file);
    lb_free(state, sizeof *state);
}

/* The value of a folder of the path in `text`, with the padding that numbers want. */
static lb_status find_value(const struct wanted *wanted, const char *path, struct lb_buf *text,
                            bool *is_nil, struct lb_error *err)
{
    struct lb_hive_part part;
    bool found = false;
    for (const char *cursor = path; !found && lb_hive_next(&cursor, &part);) {
        text->size = 0;
        LB_TRY(lb_hive_decode(part.name, part.name_size, text, err));
        found = text->size == wanted->name_size &&
                memcmp(text->data, wanted->name, wanted->name_size) == 0;
    }
    if (!found)
        return lb_error_set(err, LB_ERR_DATA, "%s: no folder of its path is '%.*s=...'", path,
                            (int)wanted->name_size, wanted->name);
    text->size = 0;
    *is_nil = part.is_nil;
    LB_TRY(lb_hive_decode(part.value, part.value_size, text, err));
    return lb_buf_reserve(text, LB_TEXT_PADDING, err);
}

static void fill(union cells *cells, struct lb_column *column, const struct lb_buf *text,
                 enum lb_csv_type type, bool *fits)
{
    static const enum lb_type types[] = {LB_NULL, LB_BOOL, LB_INT64, LB_FLOAT64,
                                         LB_STRING}; /* ORDER csv types */
    bool is_true = false;
    int64_t integer = 0;
    double number = 0;
    struct lb_view view;
    *fits = type == LB_CSV_BOOLEAN   ? lb_csv_boolean(text->data, text->size, &is_true)
            : type == LB_CSV_INTEGER ? lb_csv_integer(text->data, text->size, &integer)
            : type == LB_CSV_FLOAT   ? lb_csv_float(text->data, text->size, &number)
                                     : true;
    lb_view_set(&view, text->data, text->size);
    for (uint32_t i = 0; i < LB_BATCH_ROWS && *fits; i++) {
        if (type == LB_CSV_BOOLEAN)
            cells->bools[i] = is_true;
        else if (type == LB_CSV_INTEGER)
            cells->ints[i] = integer;
        else if (type == LB_CSV_FLOAT)
            cells->floats[i] = number;
        else
            cells->views[i] = view;
    }
    *column = (struct lb_column){.type = types[type], .data = cells};
}

/* Fills the new columns for a file. */
static lb_status meet(struct lb_op_local *local, const char *path, struct lb_error *err)
{
    const struct file_shared *shared = local->op->shared;
    struct file_local *state = local->state;
    state->file.size = 0;
    for (uint32_t i = 0; i < shared->n_wanted; i++) {
        const struct wanted *wanted = &shared->wanted[i];
        struct lb_buf *text = &state->texts[i];
        struct lb_column *column = &state->columns[shared->width + i];
        bool is_nil = false, fits = false;
        text->size = 0;
        LB_TRY(wanted->name != NULL ? find_value(wanted, path, text, &is_nil, err)
                                    : lb_buf_append(text, path, strlen(path), err));
        if (is_nil) {
            *column = (struct lb_column){.type = LB_NULL};
            continue;
        }
        fill(&state->cells[i], column, text, wanted->type, &fits);
        if (!fits)
            return lb_error_set(
                err, LB_ERR_DATA,
                "%s: '%.*s=%.*s' in its path is no %s: declare types = { [\"%.*s\"] = "
                "\"string\" }",
                path, (int)wanted->name_size, wanted->name, (int)text->size, text->data,
                lb_csv_type_name(wanted->type), (int)wanted->name_size, wanted->name);
    }
    return lb_buf_append(&state->file, path, strlen(path) + 1, err);
}

static lb_status file_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    const struct file_shared *shared = local->op->shared;
    struct file_local *state = local->state;
    const char *path = local->worker->file;
    if (batch->n_columns != shared->width || path == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: no records of a file",
                            local->op->label);
    if (state->file.size == 0 || strcmp(state->file.data, path) != 0)
        LB_TRY(meet(local, path, err));
    memcpy(state->columns, batch->columns, shared->width * sizeof *state->columns);
    struct lb_batch out = *batch;
    out.columns = state->columns;
    out.n_columns = shared->width + shared->n_wanted;
    out.parent = batch;
    out.parent_rows = NULL;
    out.locate = NULL;
    return lb_push(local->next, &out, err);
}

const struct lb_op_class lb_op_file_columns = {
    .name = "file_columns",
    .kind = LB_OP_TRANSFORM,
    .open = file_open,
    .attach = file_attach,
    .push = file_push,
    .detach = file_detach,
    .close = file_close,
};
