/* The sort sink: turns records into rows of the external sorter (algo/sorter.h), for sort_by, grouping, sets
 * and repartitioning alike. What makes the difference is only where partition and key come from. */
#include "core/ops/sort.h"

#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/aggregate_op.h"
#include "core/ops/metrics.h"
#include "core/ops/column_keys.h"
#include "core/ops/ops.h"
#include "core/ops/shuffle.h"

/* ORDER by */
enum by { BY_HASH, BY_GIVEN, BY_TURN, BY_NONE };
enum key { KEY_FIRST, KEY_RECORD, KEY_NONE, KEY_COLUMNS };

struct sort_shared {
    struct lb_sorter *sorter;
    struct lb_heat heat; /* by: "hash" and "given", with a key */
    bool has_heat;
    enum by by;
    enum key key;
    bool sides;
    uint32_t n_values; /* columns behind the key that order within a group */
    bool keep_key;
    bool closed; /* something follows the group's part of the key */
    uint32_t n_partitions;
    struct lb_column_keys keys; /* KEY_COLUMNS */
};

struct sort_local {
    struct lb_sort_writer *writer;
    struct lb_heat_local heat;
    uint64_t sequence; /* of the next row: morsel << 40 | number */
    struct lb_buf key;
    struct lb_buf payload;
    struct lb_buf record; /* a whole record as a list */
};

struct lb_sorter *lb_sort_op_sorter(const struct lb_op *sink)
{
    if (sink->shared == NULL)
        return NULL;
    if (sink->class == &lb_op_sort)
        return ((const struct sort_shared *)sink->shared)->sorter;
    return lb_aggregate_op_sorter(sink);
}

bool lb_sort_op_is_closed(const struct lb_op *sink)
{
    return sink->class == &lb_op_sort && ((const struct sort_shared *)sink->shared)->closed;
}

static lb_status sort_open(struct lb_op *self, struct lb_error *err)
{
    static const char *const by_names[] = {"hash", "given", "turn", "none", NULL};
    static const char *const key_names[] = {"first", "record", "none", "columns", NULL};
    struct sort_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    lb_heat_init(&shared->heat, false);
    int by = 0, key = 0;
    int64_t n_values = 0;
    bool descending = false, pieces = false, values = false;
    LB_TRY(lb_param_choice(self, "by", by_names, &by, err));
    LB_TRY(lb_param_choice(self, "key", key_names, &key, err));
    LB_TRY(lb_shuffle_partitions(self, &shared->n_partitions, err));
    LB_TRY(lb_param_bool(self, "descending", false, &descending, err));
    LB_TRY(lb_param_bool(self, "sides", false, &shared->sides, err));
    LB_TRY(lb_param_bool(self, "values", false, &values, err));
    LB_TRY(lb_param_int(self, "n_values", values ? LB_MAX_COLUMNS : 0, &n_values, err));
    shared->n_values = (uint32_t)n_values;
    LB_TRY(lb_param_bool(self, "pieces", false, &pieces, err));
    LB_TRY(lb_param_bool(self, "keep_key", true, &shared->keep_key, err));
    shared->by = (enum by)by;
    shared->key = (enum key)key;
    shared->closed = shared->sides || shared->n_values > 0;
    shared->has_heat = by <= BY_GIVEN && key != KEY_NONE;
    shared->heat.closed = shared->closed;
    if (shared->key == KEY_COLUMNS)
        LB_TRY(lb_param_column_keys(self, &shared->keys, err));
    const struct lb_sorter_config shape = {
        .n_partitions = shared->n_partitions,
        .n_ranges = by == BY_NONE ? 256 : 1, /* a group must not be split */
        .split_keys = by == BY_NONE || pieces,
        .has_pieces = pieces && !descending,
        .descending = descending,
        .writer_bytes = lb_run_worker_bytes(self->run),
    };
    return lb_shuffle_new(self, &shape, &shared->sorter, err);
}

static lb_status sort_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct sort_shared *shared = local->op->shared;
    struct sort_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    return lb_sort_writer_new(shared->sorter, &state->writer, err);
}

static lb_status sort_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct sort_local *state = local->state;
    state->sequence = local->worker->morsel << 40;
    return LB_OK;
}

/* The integer in a column that the planner put there (partition number, side). */
static lb_status given_int(const struct lb_op *op, const struct lb_batch *batch, uint32_t column,
                           uint32_t row, int64_t *value, struct lb_error *err)
{
    if (column >= batch->n_columns || batch->columns[column].type != LB_INT64 ||
        !lb_column_is_valid(&batch->columns[column], row))
        return lb_error_set(err, LB_ERR_INTERNAL, "%s: column %u is no integer", op->label,
                            column + 1);
    *value = batch->columns[column].ints[row];
    return LB_OK;
}

/* Columns first.. of a row as one encoded list. */
static lb_status put_list(struct lb_buf *out, const struct lb_batch *batch, uint32_t first,
                          uint32_t row, struct lb_error *err)
{
    size_t mark = 0;
    LB_TRY(lb_codec_begin(out, 'l', &mark, err));
    for (uint32_t i = first; i < batch->n_columns; i++)
        LB_TRY(lb_codec_put_column(out, &batch->columns[i], row, err));
    lb_codec_end(out, mark, batch->n_columns - first);
    return LB_OK;
}

static lb_status put_key(const struct sort_shared *shared, struct sort_local *state,
                         const struct lb_batch *batch, uint32_t first, uint32_t row,
                         struct lb_error *err)
{
    if (shared->key == KEY_NONE)
        return LB_OK;
    if (shared->key == KEY_COLUMNS)
        return lb_column_keys_put(&shared->keys, &state->key, batch, first, row, err);
    if (shared->key == KEY_FIRST || batch->n_columns - first == 1)
        return lb_key_put_column(&state->key, &batch->columns[first], row, shared->closed, err);
    state->record.size = 0;
    LB_TRY(put_list(&state->record, batch, first, row, err));
    return lb_key_put_encoded(&state->key, state->record.data, state->record.size, shared->closed,
                              err);
}

/* A key's partition is that of its open form, so that verbs which close keys (joins, sort_values) divide
 * them as all others do. Only strings have two forms. */
static lb_status hash_partition(const struct sort_shared *shared, struct sort_local *state,
                                const struct lb_batch *batch, uint32_t first, uint32_t row,
                                size_t group_size, uint32_t *partition, struct lb_error *err)
{
    const char *key = state->key.data;
    if (shared->closed && group_size > 0 && key[0] == LB_KEY_STRING) {
        state->record.size = 0;
        LB_TRY(lb_key_put_column(&state->record, &batch->columns[first], row, false, err));
        key = state->record.data;
        group_size = state->record.size;
    }
    *partition = (uint32_t)(lb_hash_bytes(key, group_size) % shared->n_partitions);
    return LB_OK;
}

static lb_status push_row(struct lb_op_local *local, const struct lb_batch *batch, uint32_t row,
                          struct lb_error *err)
{
    struct sort_shared *shared = local->op->shared;
    struct sort_local *state = local->state;
    uint64_t sequence = state->sequence++;
    uint32_t first = 0; /* first column of key and record */
    uint32_t partition = 0;
    int64_t given = 0, side = 0;
    if (shared->by == BY_GIVEN) {
        LB_TRY(given_int(local->op, batch, first++, row, &given, err));
        given %= shared->n_partitions;
        partition = (uint32_t)(given < 0 ? given + shared->n_partitions : given);
    }
    if (shared->sides)
        LB_TRY(given_int(local->op, batch, first++, row, &side, err));
    if (first >= batch->n_columns)
        return lb_error_set(err, LB_ERR_INTERNAL, "%s: record without key", local->op->label);
    state->key.size = 0;
    state->payload.size = 0;
    LB_TRY(put_key(shared, state, batch, first, row, err));
    size_t group_size = state->key.size;
    if (shared->has_heat && lb_heat_wants(&state->heat))
        LB_TRY(lb_heat_count(&state->heat, state->key.data, group_size, err));
    if (shared->sides)
        LB_TRY(lb_buf_append_byte(&state->key, (char)(255 - side), err));
    for (uint32_t i = first + 1; i <= first + shared->n_values && i < batch->n_columns; i++)
        LB_TRY(lb_key_put_column(&state->key, &batch->columns[i], row, true, err));
    if (shared->by == BY_HASH)
        LB_TRY(hash_partition(shared, state, batch, first, row, group_size, &partition, err));
    else if (shared->by == BY_TURN)
        partition = (uint32_t)((sequence + (sequence >> 40)) % shared->n_partitions);
    uint32_t column = first + (shared->keep_key || shared->key == KEY_COLUMNS ? 0 : 1);
    bool is_key_string =
        !shared->closed && shared->keep_key && group_size > 0 &&
        state->key.data[0] == LB_KEY_STRING &&
        (shared->key == KEY_FIRST || (shared->key == KEY_RECORD && batch->n_columns - first == 1));
    if (is_key_string) {
        LB_TRY(lb_buf_append_byte(&state->payload, 'K', err));
        column++;
    }
    for (; column < batch->n_columns; column++)
        LB_TRY(lb_codec_put_column(&state->payload, &batch->columns[column], row, err));
    if (state->key.size > UINT32_MAX || state->payload.size > UINT32_MAX)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a record of more than 4 GiB",
                            local->op->label);
    struct lb_sort_row *out = NULL;
    LB_TRY(lb_sort_writer_add(state->writer, partition, sequence, (uint32_t)state->key.size,
                              (uint32_t)group_size, (uint32_t)state->payload.size, &out, err));
    if (state->key.size > 0)
        memcpy(out->bytes, state->key.data, state->key.size);
    if (state->payload.size > 0)
        memcpy(out->bytes + state->key.size, state->payload.data, state->payload.size);
    return LB_OK;
}

/* The common case without detours: the key is a string column without nils, kept in the record, in one partition
 * or by hash. */
static lb_status push_strings(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    struct sort_shared *shared = local->op->shared;
    struct sort_local *state = local->state;
    const struct lb_view *keys = batch->columns[0].views;
    char small[64];
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        const struct lb_view *key = &keys[row];
        const char *data = lb_view_data(key);
        uint32_t partition = 0;
        state->payload.size = 0;
        for (uint32_t j = 1; j < batch->n_columns; j++)
            LB_TRY(lb_codec_put_column(&state->payload, &batch->columns[j], row, err));
        if (key->size > UINT32_MAX - 1 || state->payload.size > UINT32_MAX - 1)
            return lb_error_set(err, LB_ERR_RESOURCE, "%s: a record of more than 4 GiB",
                                local->op->label);
        if (shared->by == BY_HASH) {
            const char *bytes = small;
            if (key->size < sizeof small) {
                small[0] = LB_KEY_STRING;
                memcpy(small + 1, data, key->size);
            } else {
                state->key.size = 0;
                LB_TRY(lb_buf_append_byte(&state->key, LB_KEY_STRING, err));
                LB_TRY(lb_buf_append(&state->key, data, key->size, err));
                bytes = state->key.data;
            }
            partition = (uint32_t)(lb_hash_bytes(bytes, key->size + 1) % shared->n_partitions);
            if (lb_heat_wants(&state->heat))
                LB_TRY(lb_heat_count(&state->heat, bytes, key->size + 1, err));
        }
        struct lb_sort_row *out = NULL;
        LB_TRY(lb_sort_writer_add(state->writer, partition, state->sequence++, key->size + 1,
                                  key->size + 1, (uint32_t)state->payload.size + 1, &out, err));
        out->bytes[0] = LB_KEY_STRING;
        memcpy(out->bytes + 1, data, key->size);
        out->bytes[key->size + 1] = 'K';
        if (state->payload.size > 0)
            memcpy(out->bytes + key->size + 2, state->payload.data, state->payload.size);
    }
    return LB_OK;
}

static lb_status sort_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    const struct sort_shared *shared = local->op->shared;
    if ((shared->by == BY_NONE || shared->by == BY_HASH) && !shared->closed && shared->keep_key &&
        (shared->key == KEY_FIRST || (shared->key == KEY_RECORD && batch->n_columns == 1)) &&
        batch->columns[0].type == LB_STRING && batch->columns[0].valid == NULL)
        return push_strings(local, batch, err);
    for (uint32_t i = 0; i < batch->n_selected; i++)
        LB_TRY(push_row(local, batch, lb_batch_row(batch, i), err));
    return LB_OK;
}

static lb_status sort_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct sort_local *state = local->state;
    LB_TRY(lb_heat_merge(&((struct sort_shared *)local->op->shared)->heat, &state->heat, err));
    struct lb_sort_writer *writer = state->writer;
    state->writer = NULL;
    return lb_sort_writer_finish(writer, err);
}

static void sort_detach(struct lb_op_local *local)
{
    struct sort_local *state = local->state;
    if (state->writer != NULL)
        lb_sort_writer_delete(state->writer);
    lb_buf_fini(&state->key);
    lb_buf_fini(&state->payload);
    lb_buf_fini(&state->record);
    lb_heat_local_fini(&state->heat);
    lb_free(state, sizeof *state);
}

static lb_status sort_finish(struct lb_op *self, struct lb_error *err)
{
    struct sort_shared *shared = self->shared;
    LB_TRY(lb_sorter_prepare(shared->sorter, err));
    self->n_result = lb_sorter_n_rows(shared->sorter);
    return lb_facts_of_shuffle(self, shared->sorter, shared->has_heat ? &shared->heat : NULL, err);
}

static void sort_close(struct lb_op *self)
{
    struct sort_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_shuffle_delete(self, shared->sorter);
    lb_heat_fini(&shared->heat);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_sort = {
    .name = "sort",
    .kind = LB_OP_SINK,
    .open = sort_open,
    .attach = sort_attach,
    .begin = sort_begin,
    .push = sort_push,
    .combine = sort_combine,
    .detach = sort_detach,
    .finish = sort_finish,
    .close = sort_close,
};
