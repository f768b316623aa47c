/* Transforms between rows, whose columns have names only in the plan, and single values: bundle, pack_row, unpack,
 * explode.
 *
 *  bundle    keys: list of columns, columns: list of columns, strict?: bool. The record becomes (key, columns...). The
 *            key of one column is its value, that of several the list of them; with strict it is nil when one of them is.
 *  pack_row  names: list of strings, keep_first?: bool. The record becomes one map from names to values; nils are left
 *            out. With keep_first column 1 stays in front of the map, and names are those of the columns behind it.
 *  unpack    names: list of strings. A map, or nil, becomes its values for these names; anything else is an error.
 *  explode   column. One record for each element of the list in it, which takes the list's place; none for nil. */
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/ops/ops.h"

struct name {
    const char *data; /* in the plan */
    size_t size;
    uint32_t column;
};

struct rows_shared {
    uint32_t keys[LB_MAX_COLUMNS]; /* bundle: 0-based columns; explode: the first is the column */
    uint32_t n_keys;
    uint32_t columns[LB_MAX_COLUMNS];
    uint32_t n_columns;
    bool strict;
    bool keep_first;
    struct name names[LB_MAX_COLUMNS];
    uint32_t n_names;
};

struct rows_local {
    struct lb_builder key; /* bundle: its first column */
    struct lb_column columns[LB_MAX_COLUMNS];
    struct lb_batch_builder builder;
    struct lb_buf value;
};

/* A list of 1-based column numbers. */
static lb_status param_columns(const struct lb_op *self, const char *key, uint32_t *columns,
                               uint32_t *n, struct lb_error *err)
{
    struct lb_value value, item;
    if (!lb_value_field(&self->params, key, &value) || value.tag != 'l' ||
        value.count > LB_MAX_COLUMNS)
        return lb_param_wrong(self, key, err);
    const char *cursor = value.data;
    for (uint32_t i = 0; i < value.count; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 'i' || item.i < 1 || item.i > LB_MAX_COLUMNS)
            return lb_param_wrong(self, key, err);
        columns[(*n)++] = (uint32_t)(item.i - 1);
    }
    return LB_OK;
}

static lb_status param_names(const struct lb_op *self, struct rows_shared *shared,
                             struct lb_error *err)
{
    struct lb_value value, item;
    if (!lb_value_field(&self->params, "names", &value) || value.tag != 'l' || value.count == 0 ||
        value.count > LB_MAX_COLUMNS)
        return lb_param_wrong(self, "names", err);
    const char *cursor = value.data;
    for (uint32_t i = 0; i < value.count; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 's')
            return lb_param_wrong(self, "names", err);
        shared->names[shared->n_names++] = (struct name){item.data, item.size, i};
    }
    return LB_OK;
}

static int by_bytes(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static lb_status new_shared(struct lb_op *self, struct lb_error *err)
{
    self->shared = lb_alloc_zero(sizeof(struct rows_shared));
    return self->shared != NULL ? LB_OK
                                : lb_error_memory(err, self->label, sizeof(struct rows_shared));
}

static lb_status bundle_open(struct lb_op *self, struct lb_error *err)
{
    LB_TRY(new_shared(self, err));
    struct rows_shared *shared = self->shared;
    LB_TRY(lb_param_bool(self, "strict", false, &shared->strict, err));
    LB_TRY(param_columns(self, "columns", shared->columns, &shared->n_columns, err));
    LB_TRY(param_columns(self, "keys", shared->keys, &shared->n_keys, err));
    return shared->n_keys > 0 && shared->n_columns < LB_MAX_COLUMNS
               ? LB_OK
               : lb_param_wrong(self, "keys", err);
}

/* Maps have their keys in order of bytes. */
static lb_status pack_open(struct lb_op *self, struct lb_error *err)
{
    LB_TRY(new_shared(self, err));
    struct rows_shared *shared = self->shared;
    LB_TRY(param_names(self, shared, err));
    LB_TRY(lb_param_bool(self, "keep_first", false, &shared->keep_first, err));
    qsort(shared->names, shared->n_names, sizeof *shared->names, by_bytes);
    return LB_OK;
}

static lb_status unpack_open(struct lb_op *self, struct lb_error *err)
{
    LB_TRY(new_shared(self, err));
    struct rows_shared *shared = self->shared;
    return param_names(self, shared, err);
}

static lb_status explode_open(struct lb_op *self, struct lb_error *err)
{
    int64_t column = 0;
    LB_TRY(new_shared(self, err));
    struct rows_shared *shared = self->shared;
    LB_TRY(lb_param_int(self, "column", 0, &column, err));
    if (column < 1 || column > LB_MAX_COLUMNS)
        return lb_param_wrong(self, "column", err);
    shared->keys[0] = (uint32_t)(column - 1);
    return LB_OK;
}

static void rows_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct rows_shared));
    self->shared = NULL;
}

static lb_status rows_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct rows_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_builder_init(&state->key);
    lb_batch_builder_init(&state->builder);
    return LB_OK;
}

static void rows_detach(struct lb_op_local *local)
{
    struct rows_local *state = local->state;
    lb_builder_fini(&state->key);
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->value);
    lb_free(state, sizeof *state);
}

/* ---- bundle ---- */

static lb_status put_key(const struct rows_shared *shared, struct rows_local *state,
                         const struct lb_batch *batch, uint32_t row, struct lb_error *err)
{
    size_t mark = 0;
    state->value.size = 0;
    LB_TRY(lb_codec_begin(&state->value, 'l', &mark, err));
    for (uint32_t j = 0; j < shared->n_keys; j++) {
        struct lb_column column = lb_batch_column(batch, shared->keys[j]);
        if (shared->strict && !lb_column_is_valid(&column, row))
            return lb_builder_null(&state->key, err);
        LB_TRY(lb_codec_put_column(&state->value, &column, row, err));
    }
    lb_codec_end(&state->value, mark, shared->n_keys);
    return lb_builder_encoded(&state->key, state->value.data, state->value.size, err);
}

static lb_status bundle_push(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    const struct rows_shared *shared = local->op->shared;
    struct rows_local *state = local->state;
    if (shared->n_keys == 1) {
        state->columns[0] = lb_batch_column(batch, shared->keys[0]);
    } else {
        /* The rows stay where they are: those that are not selected get a nil. */
        lb_builder_reset(&state->key);
        uint32_t next = 0;
        for (uint32_t i = 0; i < batch->n_selected; i++, next++) {
            uint32_t row = lb_batch_row(batch, i);
            for (; next < row; next++)
                LB_TRY(lb_builder_null(&state->key, err));
            LB_TRY(put_key(shared, state, batch, row, err));
        }
        for (; next < batch->n_rows; next++)
            LB_TRY(lb_builder_null(&state->key, err));
        state->columns[0] = lb_builder_finish(&state->key);
    }
    for (uint32_t i = 0; i < shared->n_columns; i++)
        state->columns[i + 1] = lb_batch_column(batch, shared->columns[i]);
    struct lb_batch out = lb_batch_same_rows(batch, state->columns, shared->n_columns + 1);
    return lb_push(local->next, &out, err);
}

/* ---- pack_row, unpack, explode ---- */

static lb_status flush(struct lb_op_local *local, const struct lb_batch *parent,
                       struct lb_error *err)
{
    struct rows_local *state = local->state;
    if (state->builder.n_rows > 0)
        LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, parent), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status pack_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    const struct rows_shared *shared = local->op->shared;
    struct rows_local *state = local->state;
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i), count = 0;
        struct lb_builder *column = NULL;
        size_t mark = 0;
        state->value.size = 0;
        LB_TRY(lb_codec_begin(&state->value, 'm', &mark, err));
        for (uint32_t j = 0; j < shared->n_names; j++) {
            const struct name *name = &shared->names[j];
            struct lb_column from = lb_batch_column(batch, name->column + shared->keep_first);
            if (!lb_column_is_valid(&from, row))
                continue;
            LB_TRY(lb_codec_put_string(&state->value, name->data, name->size, err));
            LB_TRY(lb_codec_put_column(&state->value, &from, row, err));
            count++;
        }
        lb_codec_end(&state->value, mark, count);
        if (shared->keep_first) {
            LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
            LB_TRY(lb_builder_column(column, &batch->columns[0], row, err));
        }
        LB_TRY(lb_batch_builder_column(&state->builder, shared->keep_first, &column, err));
        LB_TRY(lb_builder_encoded(column, state->value.data, state->value.size, err));
        LB_TRY(lb_batch_builder_end_row(&state->builder, row, err));
        if (lb_batch_builder_is_full(&state->builder))
            LB_TRY(flush(local, batch, err));
    }
    return flush(local, batch, err);
}

/* Finds a name in a map; names are asked for in any order. */
static const char *find(const struct lb_value *map, const struct name *name)
{
    const char *cursor = map->data;
    for (uint32_t i = 0; i < map->count; i++) {
        struct lb_value key;
        lb_codec_next(&cursor, &key);
        if (key.size == name->size && memcmp(key.data, name->data, key.size) == 0)
            return cursor;
        cursor += lb_codec_size(cursor);
    }
    return NULL;
}

static lb_status unpack_row(struct lb_op_local *local, const struct lb_batch *batch, uint32_t row,
                            struct lb_error *err)
{
    const struct rows_shared *shared = local->op->shared;
    struct rows_local *state = local->state;
    const struct lb_column *from = &batch->columns[0];
    struct lb_value value = {.tag = 'n'};
    if (lb_column_is_valid(from, row) && from->type == LB_ANY) {
        const char *cursor = lb_view_data(&from->views[row]);
        lb_codec_next(&cursor, &value);
    } else if (lb_column_is_valid(from, row)) {
        value.tag = 's';
    }
    if (value.tag != 'm' && value.tag != 'n' && !(value.tag == 'l' && value.count == 0))
        return lb_op_fail_at(local->op, batch, row, "a record is no table with string keys", err);
    for (uint32_t j = 0; j < shared->n_names; j++) {
        struct lb_builder *column = NULL;
        const char *found = value.tag == 'm' ? find(&value, &shared->names[j]) : NULL;
        LB_TRY(lb_batch_builder_column(&state->builder, j, &column, err));
        LB_TRY(found != NULL ? lb_builder_encoded_view(column, found, lb_codec_size(found), err)
                             : lb_builder_null(column, err));
    }
    return lb_batch_builder_end_row(&state->builder, row, err);
}

static lb_status unpack_push(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    struct rows_local *state = local->state;
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < batch->n_selected; i++)
        LB_TRY(unpack_row(local, batch, lb_batch_row(batch, i), err));
    return flush(local, batch, err);
}

static lb_status put_exploded(struct lb_op_local *local, const struct lb_batch *batch, uint32_t row,
                              const char *element, struct lb_error *err)
{
    const struct rows_shared *shared = local->op->shared;
    struct rows_local *state = local->state;
    for (uint32_t j = 0; j < batch->n_columns; j++) {
        struct lb_builder *column = NULL;
        LB_TRY(lb_batch_builder_column(&state->builder, j, &column, err));
        LB_TRY(j == shared->keys[0]
                   ? lb_builder_encoded(column, element, lb_codec_size(element), err)
                   : lb_builder_column(column, &batch->columns[j], row, err));
    }
    LB_TRY(lb_batch_builder_end_row(&state->builder, row, err));
    return lb_batch_builder_is_full(&state->builder) ? flush(local, batch, err) : LB_OK;
}

static lb_status explode_push(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    const struct rows_shared *shared = local->op->shared;
    struct rows_local *state = local->state;
    struct lb_column lists = lb_batch_column(batch, shared->keys[0]);
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        if (!lb_column_is_valid(&lists, row))
            continue;
        struct lb_value list = {.tag = 's'};
        if (lists.type == LB_ANY) {
            const char *cursor = lb_view_data(&lists.views[row]);
            lb_codec_next(&cursor, &list);
        }
        if (list.tag == 'n')
            continue;
        if (list.tag != 'l')
            return lb_op_fail_at(local->op, batch, row, "a value is no list", err);
        const char *element = list.data;
        for (uint32_t k = 0; k < list.count; k++) {
            LB_TRY(put_exploded(local, batch, row, element, err));
            element += lb_codec_size(element);
        }
    }
    return flush(local, batch, err);
}

#define ROWS_OP(variable, op_name, open_function, push_function) \
    const struct lb_op_class variable = {                        \
        .name = op_name,                                         \
        .kind = LB_OP_TRANSFORM,                                 \
        .open = open_function,                                   \
        .attach = rows_attach,                                   \
        .push = push_function,                                   \
        .detach = rows_detach,                                   \
        .close = rows_close,                                     \
    }
ROWS_OP(lb_op_bundle, "bundle", bundle_open, bundle_push);
ROWS_OP(lb_op_pack_row, "pack_row", pack_open, pack_push);
ROWS_OP(lb_op_unpack, "unpack", unpack_open, unpack_push);
ROWS_OP(lb_op_explode, "explode", explode_open, explode_push);
