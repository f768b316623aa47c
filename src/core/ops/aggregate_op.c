/* Aggregation by key: the sink that pre-aggregates; scan_aggregate.c merges its partial states.
 *
 * IDEA    Every worker folds its records into a table (algo/group_table.h). Full or finished tables are flushed as rows
 *         (partition, key, partial state) into the external sorter; the source merges rows of equal key. So memory, spilling,
 *         partitions and order are the sorter's, and the number of distinct keys does not matter.
 * SALT    Sinks with the parameters `pieces` and `merges`, sources with `partials`: see partials.h.
 * ORDER   Rows of one key are merged by sequence = morsel << 40 | flush. An aggregate that is_ordered is flushed at
 *         the end of each morsel, so that its partials are merged in input order.
 * STATES  of the table: growing while it reduces the rows; once a full table holds more than two thirds as
 *         many keys as it saw rows, it stays small: then it only takes out close repetitions.
 * FORMAT  payload = u32 size of the encoded key (0: a string that is the sort key behind its tag), encoded key,
 *         partial state. */
#include "core/ops/aggregate_op.h"

#include "core/algo/aggregate.h"
#include "core/algo/sorter.h"
#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/metrics.h"
#include "core/ops/ops.h"
#include "core/ops/partials.h"
#include "core/ops/shuffle.h"

#ifdef LB_TINY
enum { SMALL_TABLE_BYTES = 2 << 10 };
#else
enum { SMALL_TABLE_BYTES = 4 << 20 };
#endif

struct aggregate_shared {
    struct lb_sorter *sorter;
    struct lb_heat heat;
    const struct lb_aggregate_class *class;
    uint32_t n_partitions;
    bool whole;
    bool pieces, merges; /* see partials.h */
    size_t table_bytes;  /* most that a worker's table and states may hold */
};

struct aggregate_local {
    struct lb_sort_writer *writer;
    struct lb_heat_local heat;
    struct lb_group_table table;
    struct lb_aggregate aggregate;
    bool is_ordered;
    bool stays_small;
    uint64_t rows_seen; /* since the last flush */
    uint64_t n_flushes; /* within this morsel */
    struct lb_buf sort_key;
    struct lb_buf encoded;
    struct lb_buf partial;
    struct lb_group_entry *found[LB_BATCH_ROWS];
};

struct lb_sorter *lb_aggregate_op_sorter(const struct lb_op *op)
{
    if (op->class != &lb_op_aggregate || op->shared == NULL)
        return NULL;
    return ((const struct aggregate_shared *)op->shared)->sorter;
}

static lb_status find_class(const struct lb_op *op, const struct lb_aggregate_class **class,
                            struct lb_error *err)
{
    char *name = NULL;
    LB_TRY(lb_param_string(op, "aggregate", &name, err));
    *class = name != NULL ? lb_aggregate_find(name) : NULL;
    if (*class == NULL)
        lb_error_set(err, LB_ERR_INTERNAL, "plan: no aggregate '%s'", name ? name : "nil");
    lb_strfree(name);
    return *class != NULL ? LB_OK : LB_ERR_INTERNAL;
}

static lb_status aggregate_open(struct lb_op *self, struct lb_error *err)
{
    struct aggregate_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    lb_heat_init(&shared->heat, false);
    LB_TRY(lb_shuffle_partitions(self, &shared->n_partitions, err));
    LB_TRY(lb_param_bool(self, "whole", false, &shared->whole, err));
    LB_TRY(lb_param_bool(self, "pieces", false, &shared->pieces, err));
    LB_TRY(lb_param_bool(self, "merges", false, &shared->merges, err));
    LB_TRY(find_class(self, &shared->class, err));
    size_t worker_bytes = lb_run_worker_bytes(self->run);
    shared->table_bytes = worker_bytes / 2;
    const struct lb_sorter_config shape = {
        .n_partitions = shared->n_partitions,
        .n_ranges = 1,
        .split_keys = shared->pieces,
        .has_pieces = shared->pieces,
        .writer_bytes = worker_bytes / 2,
    };
    return lb_shuffle_new(self, &shape, &shared->sorter, err);
}

lb_status lb_aggregate_op_open(const struct lb_op *op, struct lb_worker *worker,
                               struct lb_aggregate *aggregate, struct lb_error *err)
{
    const struct aggregate_shared *shared = op->shared;
    *aggregate =
        (struct lb_aggregate){.class = shared->class, .params = op->params, .worker = worker};
    return shared->class->open(aggregate, err);
}

static lb_status aggregate_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct aggregate_shared *shared = local->op->shared;
    struct aggregate_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    LB_TRY(lb_group_table_init(&state->table, err));
    LB_TRY(lb_sort_writer_new(shared->sorter, &state->writer, err));
    LB_TRY(lb_aggregate_op_open(local->op, local->worker, &state->aggregate, err));
    state->is_ordered =
        shared->class->is_ordered != NULL && shared->class->is_ordered(&state->aggregate);
    return LB_OK;
}

static lb_status aggregate_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    ((struct aggregate_local *)local->state)->n_flushes = 0;
    return LB_OK;
}

static lb_status flush_entry(struct lb_op_local *local, const struct lb_group_entry *entry,
                             uint64_t sequence, struct lb_error *err)
{
    struct aggregate_shared *shared = local->op->shared;
    struct aggregate_local *state = local->state;
    state->sort_key.size = 0;
    state->encoded.size = 0;
    state->partial.size = 0;
    LB_TRY(lb_group_entry_key(entry, &state->sort_key, &state->encoded, err));
    LB_TRY(shared->class->save(&state->aggregate, entry, &state->partial, err));
    /* A string is in the sort key already. */
    uint32_t encoded_size = entry->kind == LB_KIND_STRING ? 0 : (uint32_t)state->encoded.size;
    size_t payload_size = sizeof encoded_size + encoded_size + state->partial.size;
    char *out = NULL;
    LB_TRY(lb_partials_add(state->writer, shared->n_partitions, sequence, &state->sort_key,
                           payload_size, shared->pieces ? &state->heat : NULL, &out, local->op,
                           err));
    memcpy(out, &encoded_size, sizeof encoded_size);
    out += sizeof encoded_size;
    if (encoded_size > 0)
        memcpy(out, state->encoded.data, encoded_size);
    out += encoded_size;
    if (state->partial.size > 0)
        memcpy(out, state->partial.data, state->partial.size);
    return LB_OK;
}

static lb_status flush(struct lb_op_local *local, struct lb_error *err)
{
    struct aggregate_shared *shared = local->op->shared;
    struct aggregate_local *state = local->state;
    uint64_t sequence = local->worker->morsel << 40 | state->n_flushes++;
    for (size_t i = 0; i < state->table.n_slots; i++)
        if (state->table.entries[i].kind != LB_KIND_EMPTY)
            LB_TRY(flush_entry(local, &state->table.entries[i], sequence, err));
    if (!state->is_ordered && state->rows_seen * 2 < (uint64_t)state->table.n_entries * 3)
        state->stays_small = true;
    state->rows_seen = 0;
    lb_group_table_reset(&state->table, SMALL_TABLE_BYTES);
    shared->class->reset(&state->aggregate);
    return LB_OK;
}

/* Whether the next batch might not fit. */
static bool is_full(const struct aggregate_shared *shared, const struct aggregate_local *state)
{
    size_t bytes =
        lb_group_table_next_bytes(&state->table) + shared->class->held_bytes(&state->aggregate);
    if (bytes <= SMALL_TABLE_BYTES || state->table.n_entries == 0)
        return false;
    if (state->stays_small || bytes > shared->table_bytes)
        return true;
    /* About to outgrow the cache: go on only if it pays. */
    return bytes > 4 * (size_t)SMALL_TABLE_BYTES &&
           state->rows_seen * 2 < (uint64_t)state->table.n_entries * 3;
}

/* Counts some of the rows just found towards their keys. */
static lb_status count_heat(struct aggregate_local *state, uint32_t n, struct lb_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!lb_heat_wants(&state->heat))
            continue;
        state->sort_key.size = state->encoded.size = 0;
        LB_TRY(lb_group_entry_key(state->found[i], &state->sort_key, &state->encoded, err));
        LB_TRY(lb_heat_count(&state->heat, state->sort_key.data, state->sort_key.size, err));
    }
    return LB_OK;
}

static lb_status aggregate_push(struct lb_op_local *local, const struct lb_batch *batch,
                                struct lb_error *err)
{
    struct aggregate_shared *shared = local->op->shared;
    struct aggregate_local *state = local->state;
    if (shared->merges) {
        uint64_t sequence = local->worker->morsel << 40 | state->n_flushes;
        state->n_flushes += batch->n_selected;
        return lb_partials_take(state->writer, shared->n_partitions, &sequence, batch, local->op,
                                err);
    }
    if (is_full(shared, state))
        LB_TRY(flush(local, err));
    LB_TRY(lb_group_table_find(&state->table, batch, shared->whole, state->found, err));
    state->rows_seen += batch->n_selected;
    LB_TRY(count_heat(state, batch->n_selected, err));
    return shared->class->update(&state->aggregate, state->found, batch, err);
}

static lb_status aggregate_end(struct lb_op_local *local, struct lb_error *err)
{
    struct aggregate_local *state = local->state;
    return state->is_ordered ? flush(local, err) : LB_OK;
}

static lb_status aggregate_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct aggregate_local *state = local->state;
    LB_TRY(flush(local, err));
    LB_TRY(lb_heat_merge(&((struct aggregate_shared *)local->op->shared)->heat, &state->heat, err));
    struct lb_sort_writer *writer = state->writer;
    state->writer = NULL;
    return lb_sort_writer_finish(writer, err);
}

static void aggregate_detach(struct lb_op_local *local)
{
    struct aggregate_local *state = local->state;
    if (state->writer != NULL)
        lb_sort_writer_delete(state->writer);
    if (state->aggregate.class != NULL)
        state->aggregate.class->close(&state->aggregate);
    lb_group_table_fini(&state->table);
    lb_buf_fini(&state->sort_key);
    lb_buf_fini(&state->encoded);
    lb_buf_fini(&state->partial);
    lb_heat_local_fini(&state->heat);
    lb_free(state, sizeof *state);
}

static lb_status aggregate_finish(struct lb_op *self, struct lb_error *err)
{
    struct aggregate_shared *shared = self->shared;
    LB_TRY(lb_sorter_prepare(shared->sorter, err));
    return lb_facts_of_shuffle(self, shared->sorter, shared->merges ? NULL : &shared->heat, err);
}

static void aggregate_close(struct lb_op *self)
{
    struct aggregate_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_shuffle_delete(self, shared->sorter);
    lb_heat_fini(&shared->heat);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_aggregate = {
    .name = "aggregate",
    .kind = LB_OP_SINK,
    .open = aggregate_open,
    .attach = aggregate_attach,
    .begin = aggregate_begin,
    .push = aggregate_push,
    .end = aggregate_end,
    .combine = aggregate_combine,
    .detach = aggregate_detach,
    .finish = aggregate_finish,
    .close = aggregate_close,
};
