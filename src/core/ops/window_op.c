/* The sink "window": brings the rows of each partition together, in order. scan_window.c walks through them.
 *
 * IDEA   Rows go to the external sorter, by hash of the partition columns to one of its ranges and in it by partition
 *        and order. Keys and payload are made in one pass over the columns, numbers without a call. When only the
 *        first rows of each partition are wanted, window_top.c lets few of them through. */
#include "core/ops/window.h"

#include <math.h>

#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/ops.h"
#include "core/ops/shuffle.h"

enum { AHEAD = 8 }; /* rows whose places are called into the cache meanwhile */

struct window_local {
    struct lb_sort_writer *writer;
    struct lb_window_top *top; /* NULL: all rows are wanted */
    uint64_t sequence;         /* of the next row: morsel << 40 | number */
    struct lb_buf key;
    struct lb_buf payload;
    struct lb_buf open_key;
};

const struct lb_window_shared *lb_window_op_shared(const struct lb_op *op)
{
    return op->class == &lb_op_window ? op->shared : NULL;
}

/* ---- opening and closing ---- */

/* A list of column numbers; absent: none. */
static lb_status read_numbers(const struct lb_op *self, const char *key, uint32_t **numbers,
                              uint32_t *n, struct lb_error *err)
{
    struct lb_value list, item;
    if (!lb_value_field(&self->params, key, &list) || (list.tag == 'l' && list.count == 0))
        return LB_OK;
    if (list.tag != 'l' || list.count > LB_MAX_COLUMNS)
        return lb_param_wrong(self, key, err);
    *numbers = lb_alloc(list.count * sizeof **numbers);
    if (*numbers == NULL)
        return lb_error_memory(err, self->label, list.count * sizeof **numbers);
    *n = list.count;
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 'i' || item.i < 1 || item.i > LB_MAX_COLUMNS)
            return lb_param_wrong(self, key, err);
        (*numbers)[i] = (uint32_t)item.i - 1;
    }
    return LB_OK;
}

static lb_status read_keys(const struct lb_op *self, struct lb_window_shared *shared,
                           struct lb_error *err)
{
    struct lb_value list = {.tag = 'l'}, item, field;
    LB_TRY(read_numbers(self, "partition", &shared->partition, &shared->n_partition, err));
    if (lb_value_field(&self->params, "order", &list) &&
        (list.tag != 'l' || list.count > LB_MAX_COLUMNS))
        return lb_param_wrong(self, "order", err);
    shared->n_keys = shared->n_partition + list.count;
    if (shared->n_keys == 0)
        return LB_OK;
    shared->keys = lb_alloc_zero(shared->n_keys * sizeof *shared->keys);
    if (shared->keys == NULL)
        return lb_error_memory(err, self->label, shared->n_keys * sizeof *shared->keys);
    for (uint32_t i = 0; i < shared->n_partition; i++)
        shared->keys[i].column = shared->partition[i];
    const char *cursor = list.data;
    for (uint32_t i = shared->n_partition; i < shared->n_keys; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 'm' || !lb_value_field(&item, "column", &field) || field.tag != 'i' ||
            field.i < 1 || field.i > LB_MAX_COLUMNS)
            return lb_param_wrong(self, "order", err);
        shared->keys[i].column = (uint32_t)field.i - 1;
        shared->keys[i].descending = lb_value_field(&item, "desc", &field) && field.tag == 't';
    }
    return LB_OK;
}

static lb_status find_kept_keys(const struct lb_op *self, struct lb_window_shared *shared,
                                struct lb_error *err)
{
    if (shared->n_kept == 0)
        return LB_OK;
    shared->kept_key = lb_alloc(shared->n_kept * sizeof *shared->kept_key);
    if (shared->kept_key == NULL)
        return lb_error_memory(err, self->label, shared->n_kept * sizeof *shared->kept_key);
    for (uint32_t i = 0; i < shared->n_kept; i++) {
        uint32_t key = 0;
        while (key < shared->n_keys && shared->keys[key].column != shared->kept[i])
            key++;
        shared->kept_key[i] = key;
    }
    return LB_OK;
}

static lb_status window_open(struct lb_op *self, struct lb_error *err)
{
    struct lb_window_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    int64_t top = 0;
    LB_TRY(read_keys(self, shared, err));
    LB_TRY(read_numbers(self, "columns", &shared->kept, &shared->n_kept, err));
    LB_TRY(find_kept_keys(self, shared, err));
    LB_TRY(lb_shuffle_partitions(self, &shared->n_partitions, err));
    LB_TRY(lb_param_int(self, "top", 0, &top, err));
    LB_TRY(lb_param_bool(self, "ties", false, &shared->ties, err));
    if (top < 0 || top > UINT32_MAX / 4)
        return lb_param_wrong(self, "top", err);
    shared->top = (uint64_t)top;
    if (shared->n_partition == 0)
        shared->n_partitions = 1;
    size_t bytes = lb_run_worker_bytes(self->run);
    if (shared->top > 0) {
        shared->top_bytes = bytes / 2;
        bytes /= 2;
    }
    const struct lb_sorter_config shape = {
        .n_partitions = shared->n_partitions,
        .n_ranges = 1,
        .writer_bytes = bytes,
        .merge_bytes = bytes / 2 * self->run->options.n_threads,
    };
    return lb_shuffle_new(self, &shape, &shared->sorter, err);
}

static void window_close(struct lb_op *self)
{
    struct lb_window_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_shuffle_delete(self, shared->sorter);
    lb_free(shared->keys, shared->n_keys * sizeof *shared->keys);
    lb_free(shared->partition, shared->n_partition * sizeof *shared->partition);
    lb_free(shared->kept, shared->n_kept * sizeof *shared->kept);
    lb_free(shared->kept_key, shared->n_kept * sizeof *shared->kept_key);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status window_attach(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_window_shared *shared = local->op->shared;
    struct window_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    if (shared->top > 0)
        LB_TRY(lb_window_top_new(shared, local->op->run->budget, &state->top, err));
    return lb_sort_writer_new(shared->sorter, &state->writer, err);
}

static void window_detach(struct lb_op_local *local)
{
    struct window_local *state = local->state;
    if (state->writer != NULL)
        lb_sort_writer_delete(state->writer);
    lb_window_top_delete(state->top);
    lb_buf_fini(&state->key);
    lb_buf_fini(&state->payload);
    lb_buf_fini(&state->open_key);
    lb_free(state, sizeof *state);
}

static lb_status window_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct window_local *state = local->state;
    state->sequence = local->worker->morsel << 40;
    return LB_OK;
}

/* ---- rows ---- */

static const struct lb_column *column_of(const struct lb_batch *batch, uint32_t column)
{
    static const struct lb_column absent = {.type = LB_NULL};
    return column < batch->n_columns ? &batch->columns[column] : &absent;
}

/* A number whose sort key tells all of it: the key's eight bytes, as a number. */
static inline bool number_key(const struct lb_column *column, uint32_t row, uint64_t *word)
{
    const int64_t exact = (int64_t)1 << 53;
    double value;
    if (column->valid != NULL)
        return false;
    if (column->type == LB_INT64) {
        int64_t whole = column->ints[row];
        if (whole <= -exact || whole >= exact)
            return false;
        value = (double)whole;
    } else if (column->type == LB_FLOAT64) {
        value = column->floats[row];
        /* -0.0 has the key of 0.0, all NaNs have one; from 2^53 on the rest of an integer follows. */
        if (!(fabs(value) < (double)exact) || (value == 0 && signbit(value)))
            return false;
    } else {
        return false;
    }
    memcpy(word, &value, sizeof *word);
    *word ^= (uint64_t)((int64_t)*word >> 63) | (uint64_t)1 << 63;
    return true;
}

static inline void put_number_key(char *at, uint64_t word, bool descending)
{
    word = __builtin_bswap64(descending ? ~word : word);
    *at = descending ? (char)~LB_KEY_NUMBER : LB_KEY_NUMBER;
    memcpy(at + 1, &word, sizeof word);
}

/* One column's sort key; of a descending one the bytes are inverted, for which a closed key is prefix-free.
 * *is_number: it is as number_key says. */
static inline lb_status put_key(struct lb_buf *out, const struct lb_column *column, uint32_t row,
                                bool descending, bool *is_number, struct lb_error *err)
{
    uint64_t word;
    *is_number = number_key(column, row, &word);
    if (*is_number) {
        LB_TRY(lb_buf_reserve(out, LB_NUMBER_KEY_BYTES, err));
        put_number_key(out->data + out->size, word, descending);
        out->size += LB_NUMBER_KEY_BYTES;
        return LB_OK;
    }
    size_t start = out->size;
    LB_TRY(lb_key_put_column(out, column, row, true, err));
    for (size_t j = start; descending && j < out->size; j++)
        out->data[j] = (char)~out->data[j];
    return LB_OK;
}

/* A value in the codec; there is room for a number. */
static inline lb_status put_value(struct lb_buf *out, const struct lb_column *column, uint32_t row,
                                  struct lb_error *err)
{
    if ((column->type == LB_INT64 || column->type == LB_FLOAT64) && column->valid == NULL) {
        char *at = out->data + out->size;
        *at = column->type == LB_INT64 ? 'i' : 'd';
        memcpy(at + 1, &column->ints[row], 8);
        out->size += 9;
        return LB_OK;
    }
    LB_TRY(lb_codec_put_column(out, column, row, err));
    return lb_buf_reserve(out, 9, err);
}

/* The partition of a row's key. One string alone is hashed in its open form, as all verbs do. */
static lb_status hash_key(const struct lb_window_shared *shared, struct window_local *state,
                          const struct lb_batch *batch, uint32_t row, size_t size,
                          uint32_t *partition, struct lb_error *err)
{
    const char *key = state->key.data;
    if (shared->n_partition == 1 && key[0] == LB_KEY_STRING) {
        state->open_key.size = 0;
        LB_TRY(lb_key_put_column(&state->open_key, column_of(batch, shared->partition[0]), row,
                                 false, err));
        key = state->open_key.data;
        size = state->open_key.size;
    }
    *partition = (uint32_t)(lb_hash_bytes(key, size) % shared->n_partitions);
    return LB_OK;
}

static lb_status make_row(struct lb_op_local *local, const struct lb_batch *batch, uint32_t i,
                          struct lb_window_row *out, struct lb_error *err)
{
    const struct lb_window_shared *shared = local->op->shared;
    struct window_local *state = local->state;
    uint32_t row = lb_batch_row(batch, i);
    state->key.size = state->payload.size = 0;
    LB_TRY(lb_buf_reserve(&state->payload, 9, err));
    out->group_size = out->partition = 0;
    uint32_t n_numbers = 0; /* first keys that are numbers to be read from the key */
    for (uint32_t k = 0; k < shared->n_keys; k++) {
        const struct lb_window_key *key = &shared->keys[k];
        bool is_number = false;
        LB_TRY(put_key(&state->key, column_of(batch, key->column), row, key->descending, &is_number,
                       err));
        n_numbers += is_number && n_numbers == k;
        if (k + 1 == shared->n_partition) {
            out->group_size = (uint32_t)state->key.size;
            if (shared->n_partitions > 1)
                LB_TRY(hash_key(shared, state, batch, row, state->key.size, &out->partition, err));
        }
    }
    for (uint32_t k = 0; k < shared->n_kept; k++) {
        const struct lb_column *column = column_of(batch, shared->kept[k]);
        if (shared->kept_key[k] < n_numbers)
            state->payload.data[state->payload.size++] =
                column->type == LB_INT64 ? LB_KEYED_INT : LB_KEYED_FLOAT;
        else
            LB_TRY(put_value(&state->payload, column, row, err));
        LB_TRY(lb_buf_reserve(&state->payload, 9, err));
    }
    if (state->key.size > UINT32_MAX || state->payload.size > UINT32_MAX)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a record of more than 4 GiB",
                            local->op->label);
    out->key = state->key.data;
    out->payload = state->payload.data;
    out->key_size = (uint32_t)state->key.size;
    out->payload_size = (uint32_t)state->payload.size;
    out->sequence = state->sequence + i;
    return LB_OK;
}

lb_status lb_window_write(struct lb_sort_writer *writer, const struct lb_window_row *row,
                          struct lb_error *err)
{
    struct lb_sort_row *out = NULL;
    LB_TRY(lb_sort_writer_add(writer, row->partition, row->sequence, row->key_size, row->group_size,
                              row->payload_size, &out, err));
    if (row->key_size > 0)
        memcpy(out->bytes, row->key, row->key_size);
    if (row->payload_size > 0)
        memcpy(out->bytes + row->key_size, row->payload, row->payload_size);
    return LB_OK;
}

/* ---- rows of numbers alone ---- */

enum { MOST_NUMBER_KEYS = 8 };

/* Whether all keys of a batch are numbers, and its values too or nothing but nil (columns that nobody reads), so that its rows have one size, *payload_size of it for values. */
static bool has_numbers_alone(const struct lb_window_shared *shared, const struct lb_batch *batch,
                              uint32_t *payload_size)
{
    *payload_size = 0;
    if (shared->n_keys == 0 || shared->n_keys > MOST_NUMBER_KEYS)
        return false;
    for (uint32_t i = 0; i < shared->n_keys + shared->n_kept; i++) {
        uint32_t k = i - shared->n_keys;
        const struct lb_column *column =
            column_of(batch, i < shared->n_keys ? shared->keys[i].column : shared->kept[k]);
        bool is_number = column->type == LB_INT64 || column->type == LB_FLOAT64;
        if (column->valid != NULL ||
            !(is_number || (i >= shared->n_keys && column->type == LB_NULL)))
            return false;
        if (i >= shared->n_keys)
            *payload_size += !is_number || shared->kept_key[k] < shared->n_keys ? 1 : 9;
    }
    return true;
}

/* Writes such a row where the sorter has it, as make_row would have it made. *done is false where a key takes more bytes. */
static lb_status write_numbers(struct lb_op_local *local, const struct lb_batch *batch, uint32_t i,
                               uint32_t payload_size, bool *done, struct lb_error *err)
{
    const struct lb_window_shared *shared = local->op->shared;
    struct window_local *state = local->state;
    uint32_t row = lb_batch_row(batch, i);
    char key[MOST_NUMBER_KEYS * LB_NUMBER_KEY_BYTES];
    *done = false;
    for (uint32_t k = 0; k < shared->n_keys; k++) {
        bool descending = shared->keys[k].descending;
        uint64_t word;
        if (!number_key(&batch->columns[shared->keys[k].column], row, &word))
            return LB_OK;
        put_number_key(key + (size_t)k * LB_NUMBER_KEY_BYTES, word, descending);
    }
    *done = true;
    uint32_t group_size = shared->n_partition * LB_NUMBER_KEY_BYTES;
    uint32_t partition = 0;
    if (shared->n_partitions > 1)
        partition = (uint32_t)(lb_hash_bytes(key, group_size) % shared->n_partitions);
    struct lb_sort_row *out = NULL;
    LB_TRY(lb_sort_writer_add(state->writer, partition, state->sequence + i,
                              shared->n_keys * LB_NUMBER_KEY_BYTES, group_size, payload_size, &out,
                              err));
    char *at = out->bytes;
    for (uint32_t k = 0; k < shared->n_keys; k++, at += LB_NUMBER_KEY_BYTES)
        memcpy(at, key + (size_t)k * LB_NUMBER_KEY_BYTES, LB_NUMBER_KEY_BYTES);
    for (uint32_t k = 0; k < shared->n_kept; k++) {
        const struct lb_column *column = column_of(batch, shared->kept[k]);
        bool is_int = column->type == LB_INT64;
        if (column->type == LB_NULL) {
            *at++ = 'n';
            continue;
        }
        if (shared->kept_key[k] < shared->n_keys) {
            *at++ = is_int ? LB_KEYED_INT : LB_KEYED_FLOAT;
            continue;
        }
        *at = is_int ? 'i' : 'd';
        memcpy(at + 1, &column->ints[row], 8);
        at += 9;
    }
    return LB_OK;
}

static lb_status window_push(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    struct window_local *state = local->state;
    struct lb_window_row row;
    if (state->top != NULL) {
        const uint32_t *wanted = NULL;
        uint32_t n = 0;
        LB_TRY(lb_window_top_choose(state->top, batch, state->writer, &wanted, &n, err));
        for (uint32_t i = 0; i < n; i++) {
            if (i + AHEAD < n)
                lb_window_top_call(state->top, wanted[i + AHEAD]);
            LB_TRY(make_row(local, batch, wanted[i], &row, err));
            LB_TRY(lb_window_top_keep(state->top, wanted[i], &row, err));
        }
    } else {
        uint32_t payload_size;
        bool is_easy = has_numbers_alone(local->op->shared, batch, &payload_size);
        for (uint32_t i = 0; i < batch->n_selected; i++) {
            bool done = false;
            if (is_easy)
                LB_TRY(write_numbers(local, batch, i, payload_size, &done, err));
            if (done)
                continue;
            LB_TRY(make_row(local, batch, i, &row, err));
            LB_TRY(lb_window_write(state->writer, &row, err));
        }
    }
    state->sequence += batch->n_selected;
    return LB_OK;
}

static lb_status window_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct window_local *state = local->state;
    if (state->top != NULL)
        LB_TRY(lb_window_top_flush(state->top, state->writer, err));
    struct lb_sort_writer *writer = state->writer;
    state->writer = NULL;
    return lb_sort_writer_finish(writer, err);
}

static lb_status window_finish(struct lb_op *self, struct lb_error *err)
{
    struct lb_window_shared *shared = self->shared;
    LB_TRY(lb_sorter_prepare(shared->sorter, err));
    self->n_result = lb_sorter_n_rows(shared->sorter);
    return LB_OK;
}

const struct lb_op_class lb_op_window = {
    .name = "window",
    .kind = LB_OP_SINK,
    .open = window_open,
    .attach = window_attach,
    .begin = window_begin,
    .push = window_push,
    .combine = window_combine,
    .detach = window_detach,
    .finish = window_finish,
    .close = window_close,
};
