/* The sink "group": native aggregates by key columns. scan_group.c merges what it collects.
 *
 * IDEA    Every worker numbers the groups it meets (slots) by a table of keys (group_key.h) and folds each batch into the
 *         states of all aggregates (algo/group_state.h), which lie side by side (algo/group_records.h), a column at a time. Full or finished tables are flushed as rows (partition,
 *         key, partial states) into the external sorter, and scan.group merges rows of equal key: memory, spilling,
 *         partitions and order are the sorter's, as in aggregate_op.c.
 * ORDER   States know positions (morsel << 40 | row of the morsel), so it does not matter when a table is flushed.
 * STATES  of the table: growing up to its share of memory; once a full table holds more than two thirds as
 *         many keys as it saw rows, or a large one that did not reduce them at all was given up, it stays small: then it
 *         only takes out close repetitions; and when hardly one in twenty rows was such, the next PASS_BATCHES batches are not
 *         looked up at all but passed on row by row.
 * FORMAT  payload = details of the key (group_key.h), then the partial state of each aggregate. Without keys the
 *         sort key is one zero byte and there are no details. */
#include "core/ops/group_op.h"

#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/ops/group_alias.h"
#include "core/ops/group_key.h"
#include "core/ops/ops.h"
#include "core/column/key.h"
#include "core/ops/partials.h"
#include "core/ops/shuffle.h"

#ifdef LB_TINY
enum {
    SMALL_BYTES = 3 << 10,
    SMALL_STATE_BYTES = 1 << 10,
    KEEP_TABLE_BYTES = 1 << 10,
    PASS_BATCHES = 3
};
#else
enum {
    SMALL_BYTES = 4 << 20,
    SMALL_STATE_BYTES = 1 << 20,
    KEEP_TABLE_BYTES = 4 << 20,
    PASS_BATCHES = 256
};
#endif

struct group_local {
    struct lb_sort_writer *writer;
    struct lb_heat_local heat;
    struct lb_group_keys keys;
    struct lb_group_alias alias;   /* when is_ordered */
    bool is_ordered;               /* some aggregate is */
    struct lb_group_state *states; /* one per aggregate, in records */
    struct lb_group_records records;
    bool stays_small;
    uint32_t n_to_pass; /* batches that are not looked up */
    uint64_t rows_seen; /* since the last flush */
    uint64_t n_flushes; /* within this morsel */
    uint64_t rows_in_morsel;
    struct lb_buf sort_key;
    struct lb_buf payload;
    uint32_t slots[LB_BATCH_ROWS];
};

const struct lb_group_shared *lb_group_op_shared(const struct lb_op *op)
{
    return op->class == &lb_op_group ? op->shared : NULL;
}

/* ---- opening and closing ---- */

static lb_status read_keys(struct lb_op *self, struct lb_error *err)
{
    struct lb_group_shared *shared = self->shared;
    struct lb_value list, item;
    if (!lb_value_field(&self->params, "keys", &list))
        return LB_OK;
    if (list.tag != 'l' || list.count > LB_MAX_COLUMNS)
        return lb_param_wrong(self, "keys", err);
    if (list.count == 0)
        return LB_OK;
    shared->key_columns = lb_alloc(list.count * sizeof *shared->key_columns);
    if (shared->key_columns == NULL)
        return lb_error_memory(err, self->label, list.count * sizeof *shared->key_columns);
    shared->n_keys = list.count;
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 'i' || item.i < 1 || item.i > LB_MAX_COLUMNS)
            return lb_param_wrong(self, "keys", err);
        shared->key_columns[i] = (uint32_t)item.i - 1;
    }
    return LB_OK;
}

static lb_status read_aggregates(struct lb_op *self, struct lb_error *err)
{
    struct lb_group_shared *shared = self->shared;
    struct lb_value list;
    if (!lb_value_field(&self->params, "aggregates", &list))
        return LB_OK;
    if (list.tag != 'l')
        return lb_param_wrong(self, "aggregates", err);
    if (list.count + (uint64_t)shared->n_keys > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_USAGE, "%s: more than %d columns", self->label,
                            LB_MAX_COLUMNS);
    if (list.count == 0)
        return LB_OK;
    shared->aggregates = lb_alloc(list.count * sizeof *shared->aggregates);
    if (shared->aggregates == NULL)
        return lb_error_memory(err, self->label, list.count * sizeof *shared->aggregates);
    shared->n_aggregates = list.count;
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++)
        lb_codec_next(&cursor, &shared->aggregates[i]);
    return LB_OK;
}

lb_status lb_group_open_states(const struct lb_group_shared *shared, struct lb_worker *worker,
                               struct lb_group_state **states, struct lb_error *err)
{
    *states = NULL;
    if (shared->n_aggregates == 0)
        return LB_OK;
    *states = lb_alloc_zero(shared->n_aggregates * sizeof **states);
    if (*states == NULL)
        return lb_error_memory(err, "aggregates", shared->n_aggregates * sizeof **states);
    for (uint32_t i = 0; i < shared->n_aggregates; i++) {
        lb_status status = lb_group_state_init(&(*states)[i], &shared->aggregates[i], worker, err);
        if (status == LB_OK)
            continue;
        lb_group_close_states(shared, *states);
        *states = NULL;
        return status;
    }
    return LB_OK;
}

void lb_group_close_states(const struct lb_group_shared *shared, struct lb_group_state *states)
{
    if (states == NULL)
        return;
    for (uint32_t i = 0; i < shared->n_aggregates; i++)
        if (states[i].class != NULL)
            lb_group_state_fini(&states[i]);
    lb_free(states, shared->n_aggregates * sizeof *states);
}

static lb_status group_open(struct lb_op *self, struct lb_error *err)
{
    struct lb_group_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    lb_heat_init(&shared->heat, false);
    LB_TRY(lb_shuffle_partitions(self, &shared->n_partitions, err));
    LB_TRY(lb_param_bool(self, "pieces", false, &shared->pieces, err));
    LB_TRY(lb_param_bool(self, "merges", false, &shared->merges, err));
    LB_TRY(read_keys(self, err));
    shared->heat.closed = shared->n_keys > 1;
    LB_TRY(read_aggregates(self, err));
    if (shared->n_keys == 0)
        shared->n_partitions = 1;
    /* Wrong parameters are found here, also when there is no row. */
    struct lb_group_state *states;
    LB_TRY(lb_group_open_states(shared, NULL, &states, err));
    lb_group_close_states(shared, states);
    size_t worker_bytes = lb_run_worker_bytes(self->run);
    /* A table that reduces is worth more than a writer that spills late. */
    shared->table_bytes = worker_bytes / 3 * 2;
    const struct lb_sorter_config shape = {
        .n_partitions = shared->n_partitions,
        .n_ranges = 1,
        .split_keys = shared->pieces,
        .has_pieces = shared->pieces,
        .writer_bytes = worker_bytes / 3,
    };
    return lb_shuffle_new(self, &shape, &shared->sorter, err);
}

static void group_close(struct lb_op *self)
{
    struct lb_group_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_shuffle_delete(self, shared->sorter);
    lb_heat_fini(&shared->heat);
    lb_free(shared->key_columns, shared->n_keys * sizeof *shared->key_columns);
    lb_free(shared->aggregates, shared->n_aggregates * sizeof *shared->aggregates);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status group_attach(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_group_shared *shared = local->op->shared;
    struct group_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    LB_TRY(lb_group_open_states(shared, local->worker, &state->states, err));
    lb_group_records_init(&state->records, state->states, shared->n_aggregates);
    if (shared->n_keys > 0)
        LB_TRY(lb_group_keys_init(&state->keys, &state->records, shared->key_columns,
                                  shared->n_keys, err));
    LB_TRY(lb_sort_writer_new(shared->sorter, &state->writer, err));
    for (uint32_t i = 0; i < shared->n_aggregates; i++)
        state->is_ordered = state->is_ordered || lb_group_state_is_ordered(&state->states[i]);
    if (!state->is_ordered || shared->n_keys == 0)
        return LB_OK;
    return lb_group_alias_init(&state->alias, shared->key_columns, shared->n_keys, err);
}

static void group_detach(struct lb_op_local *local)
{
    struct group_local *state = local->state;
    if (state->writer != NULL)
        lb_sort_writer_delete(state->writer);
    lb_group_keys_fini(&state->keys);
    lb_group_records_fini(&state->records);
    lb_group_close_states(local->op->shared, state->states);
    lb_group_alias_fini(&state->alias);
    lb_buf_fini(&state->sort_key);
    lb_heat_local_fini(&state->heat);
    lb_buf_fini(&state->payload);
    lb_free(state, sizeof *state);
}

static lb_status group_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct group_local *state = local->state;
    state->n_flushes = 0;
    state->rows_in_morsel = 0;
    return LB_OK;
}

/* ---- flushing ---- */

/* Groups in use; without keys there is one, slot 0. */
static size_t n_groups(const struct lb_op_local *local)
{
    const struct lb_group_shared *shared = local->op->shared;
    const struct group_local *state = local->state;
    return shared->n_keys > 0 ? state->keys.n_groups : state->rows_seen > 0;
}

/* So far nearly every row was a group of its own. */
static bool hardly_reduced(const struct lb_op_local *local)
{
    const struct group_local *state = local->state;
    size_t n = n_groups(local);
    return n > LB_BATCH_ROWS && state->rows_seen * 20 < (uint64_t)n * 21;
}

/* at: NULL without keys. */
static lb_status flush_group(struct lb_op_local *local, const struct lb_group_at *at,
                             uint64_t sequence, struct lb_error *err)
{
    const struct lb_group_shared *shared = local->op->shared;
    struct group_local *state = local->state;
    struct lb_buf *key = &state->sort_key, *payload = &state->payload;
    size_t slot = at != NULL ? at->group : 0;
    key->size = payload->size = 0;
    if (at != NULL)
        LB_TRY(lb_group_keys_save(&state->keys, at, key, payload, err));
    else
        LB_TRY(lb_buf_append_byte(key, 0, err));
    for (uint32_t i = 0; i < shared->n_aggregates; i++)
        LB_TRY(lb_group_state_save(&state->states[i], slot, payload, err));
    char *out = NULL;
    LB_TRY(lb_partials_add(state->writer, shared->n_partitions, sequence, key, payload->size,
                           shared->pieces ? &state->heat : NULL, &out, local->op, err));
    if (payload->size > 0)
        memcpy(out, payload->data, payload->size);
    return LB_OK;
}

static lb_status flush(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_group_shared *shared = local->op->shared;
    struct group_local *state = local->state;
    uint64_t sequence = local->worker->morsel << 40 | state->n_flushes++;
    struct lb_group_at at = {0};
    if (shared->n_keys == 0 && state->rows_seen > 0)
        LB_TRY(flush_group(local, NULL, sequence, err));
    while (shared->n_keys > 0 && lb_group_keys_next(&state->keys, &at))
        LB_TRY(flush_group(local, &at, sequence, err));
    if (state->rows_seen * 2 < (uint64_t)n_groups(local) * 3)
        state->stays_small = true;
    if (state->n_to_pass == 0 && hardly_reduced(local) && !state->is_ordered)
        state->n_to_pass = PASS_BATCHES;
    state->rows_seen = 0;
    if (shared->n_keys > 0)
        lb_group_keys_reset(&state->keys, KEEP_TABLE_BYTES);
    if (shared->n_keys > 0 && state->is_ordered)
        lb_group_alias_reset(&state->alias, KEEP_TABLE_BYTES);
    lb_group_records_reset(&state->records, KEEP_TABLE_BYTES);
    return LB_OK;
}

/* Whether the next batch might not fit. */
static bool is_full(const struct lb_op_local *local)
{
    const struct lb_group_shared *shared = local->op->shared;
    const struct group_local *state = local->state;
    size_t n = n_groups(local);
    if (n == 0)
        return false;
    size_t small = SMALL_BYTES + (size_t)shared->n_aggregates * SMALL_STATE_BYTES;
    size_t bytes = lb_group_records_next_bytes(&state->records, n + LB_BATCH_ROWS);
    if (shared->n_keys > 0)
        bytes += lb_group_keys_next_bytes(&state->keys);
    if (shared->n_keys > 0 && state->is_ordered)
        bytes += lb_group_alias_next_bytes(&state->alias);
    if (bytes <= small)
        return false;
    if (state->stays_small || bytes > shared->table_bytes)
        return true;
    /* So far every row was a group of its own, nearly: with half a million groups that means there are more than 5 M, and a table
     * of them all costs more than it saves. 10 M groups of one row took 1150 ns a row in one table (and twice the memory), 590
     * in small ones; of 10 M rows in 4 M groups 370 and 420, in 1 M groups 220 and 370. */
    return bytes > 8 * small && hardly_reduced(local);
}

/* ---- pushing ---- */

static lb_status find_slots(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct group_local *state = local->state;
    bool must_reset = false, is_listed = false;
    if (n_groups(local) == 0)
        lb_group_records_fit(&state->records, batch);
    if (state->keys.n == 0) /* slots are zero from the start */
        return lb_group_records_use(&state->records, 1, err);
    if (state->n_to_pass > 0 && n_groups(local) == 0) {
        LB_TRY(lb_group_keys_list(&state->keys, batch, state->slots, &is_listed, err));
        state->n_to_pass = is_listed ? state->n_to_pass : 0;
    }
    if (is_listed)
        return LB_OK;
    LB_TRY(lb_group_keys_find(&state->keys, batch, state->slots, &must_reset, err));
    if (must_reset) {
        LB_TRY(flush(local, err));
        LB_TRY(lb_group_keys_find(&state->keys, batch, state->slots, &must_reset, err));
    }
    if (state->is_ordered)
        return lb_group_alias_map(&state->alias, batch, state->slots, state->keys.n_groups, err);
    return LB_OK;
}

/* Counts some of the rows towards their keys. */
static lb_status count_heat(const struct lb_group_shared *shared, struct group_local *state,
                            const struct lb_batch *batch, struct lb_error *err)
{
    for (uint32_t i = 0; shared->n_keys > 0 && i < batch->n_selected; i++) {
        if (!lb_heat_wants(&state->heat))
            continue;
        uint32_t row = lb_batch_row(batch, i);
        state->sort_key.size = 0;
        for (uint32_t k = 0; k < shared->n_keys; k++) {
            uint32_t column = shared->key_columns[k];
            if (column < batch->n_columns)
                LB_TRY(lb_key_put_column(&state->sort_key, &batch->columns[column], row,
                                         shared->n_keys > 1, err));
        }
        LB_TRY(lb_heat_count(&state->heat, state->sort_key.data, state->sort_key.size, err));
    }
    return LB_OK;
}

static lb_status group_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    const struct lb_group_shared *shared = local->op->shared;
    struct group_local *state = local->state;
    if (shared->merges) {
        uint64_t sequence = local->worker->morsel << 40 | state->rows_in_morsel;
        state->rows_in_morsel += batch->n_selected;
        return lb_partials_take(state->writer, shared->n_partitions, &sequence, batch, local->op,
                                err);
    }
    LB_TRY(count_heat(shared, state, batch, err));
    if (is_full(local))
        LB_TRY(flush(local, err));
    LB_TRY(find_slots(local, batch, err));
    state->rows_seen += batch->n_selected;
    struct lb_group_rows rows = {
        .batch = batch,
        .slots = state->slots,
        .position = local->worker->morsel << 40 | state->rows_in_morsel,
    };
    for (uint32_t i = 0; i < shared->n_aggregates; i++)
        LB_TRY(lb_group_state_update(&state->states[i], n_groups(local), &rows, err));
    state->rows_in_morsel += batch->n_selected;
    if (state->n_to_pass == 0)
        return LB_OK;
    state->n_to_pass--;
    return flush(local, err);
}

static lb_status group_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct group_local *state = local->state;
    LB_TRY(flush(local, err));
    LB_TRY(lb_heat_merge(&((struct lb_group_shared *)local->op->shared)->heat, &state->heat, err));
    struct lb_sort_writer *writer = state->writer;
    state->writer = NULL;
    return lb_sort_writer_finish(writer, err);
}

static lb_status group_finish(struct lb_op *self, struct lb_error *err)
{
    struct lb_group_shared *shared = self->shared;
    LB_TRY(lb_sorter_prepare(shared->sorter, err));
    return lb_facts_of_shuffle(self, shared->sorter, shared->merges ? NULL : &shared->heat, err);
}

const struct lb_op_class lb_op_group = {
    .name = "group",
    .kind = LB_OP_SINK,
    .open = group_open,
    .attach = group_attach,
    .begin = group_begin,
    .push = group_push,
    .combine = group_combine,
    .detach = group_detach,
    .finish = group_finish,
    .close = group_close,
};
