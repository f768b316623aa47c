/* The store sink and the source that reads stores. */
#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/ops/ops.h"
#include "core/ops/store.h"

struct lb_store *lb_store_of_sink(const struct lb_op *sink)
{
    if (sink->class != &lb_op_store_class && sink->class != &lb_op_top)
        return NULL;
    const struct lb_store_result *result = sink->shared;
    return result != NULL ? result->store : NULL;
}

/* ---- sink ---- */

struct store_shared {
    struct lb_store_result result;
    uint64_t limit; /* rows wanted, UINT64_MAX: all */
};

struct store_local {
    struct lb_store_writer *writer;
    uint64_t n_rows; /* of this morsel */
};

static lb_status store_open(struct lb_op *self, struct lb_error *err)
{
    int64_t limit = 0;
    LB_TRY(lb_param_int(self, "limit", -1, &limit, err));
    struct store_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    shared->limit = limit < 0 ? UINT64_MAX : (uint64_t)limit;
    self->may_enough = limit >= 0;
    if (shared->limit == 0)
        self->enough = true;
    return lb_store_new(self->run->budget, &self->run->spill, &shared->result.store, err);
}

static lb_status store_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct store_shared *shared = local->op->shared;
    struct store_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    return lb_store_writer_new(shared->result.store, &state->writer, err);
}

static lb_status store_begin(struct lb_op_local *local, struct lb_error *err)
{
    struct store_local *state = local->state;
    state->n_rows = 0;
    return lb_store_begin(state->writer, local->worker->morsel, err);
}

static lb_status store_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct store_shared *shared = local->op->shared;
    struct store_local *state = local->state;
    LB_TRY(lb_store_add(state->writer, batch, err));
    state->n_rows += batch->n_selected;
    if (state->n_rows >= shared->limit)
        return lb_error_set(err, LB_ENOUGH, "enough");
    return LB_OK;
}

static lb_status store_end(struct lb_op_local *local, struct lb_error *err)
{
    struct store_shared *shared = local->op->shared;
    struct store_local *state = local->state;
    LB_TRY(lb_store_end(state->writer, err));
    if (shared->limit != UINT64_MAX && lb_store_settled_rows(shared->result.store) >= shared->limit)
        atomic_store(&local->op->enough, true);
    return LB_OK;
}

static void store_detach(struct lb_op_local *local)
{
    struct store_local *state = local->state;
    lb_store_writer_delete(state->writer);
    lb_free(state, sizeof *state);
}

static lb_status store_finish(struct lb_op *self, struct lb_error *err)
{
    struct store_shared *shared = self->shared;
    LB_TRY(lb_store_seal(shared->result.store, shared->limit, err));
    self->last_morsel = lb_store_last_morsel(shared->result.store, shared->limit);
    self->n_result = lb_store_n_rows(shared->result.store);
    return LB_OK;
}

static void store_close(struct lb_op *self)
{
    struct store_shared *shared = self->shared;
    if (shared == NULL)
        return;
    if (shared->result.store != NULL)
        atomic_fetch_add(&self->run->spilled_bytes, lb_store_spilled_bytes(shared->result.store));
    lb_store_unref(shared->result.store);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_store_class = {
    .name = "store",
    .kind = LB_OP_SINK,
    .open = store_open,
    .attach = store_attach,
    .begin = store_begin,
    .push = store_push,
    .end = store_end,
    .detach = store_detach,
    .finish = store_finish,
    .close = store_close,
};

/* ---- source ---- */

struct scan_shared {
    struct lb_store *store; /* shares */
    bool with_index;
    uint32_t next_chunk; /* guarded by the stage's lock */
};

struct scan_local {
    uint32_t chunk;
    struct lb_buf scratch;
    struct lb_batch_builder builder;
};

static lb_status scan_open(struct lb_op *self, struct lb_error *err)
{
    struct scan_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_param_bool(self, "index", false, &shared->with_index, err));
    struct lb_store *store = self->n_inputs > 0 ? lb_store_of_sink(self->inputs[0]) : self->handle;
    if (store == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no store", self->label);
    shared->store = lb_store_ref(store);
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
    *more = shared->next_chunk < lb_store_n_chunks(shared->store);
    if (*more)
        state->chunk = shared->next_chunk++;
    return LB_OK;
}

static bool scan_progress(const struct lb_op *self, struct lb_progress *progress)
{
    const struct scan_shared *shared = self->shared;
    progress->done = shared->next_chunk;
    progress->total = lb_store_n_chunks(shared->store);
    return true;
}

static lb_status scan_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state;
    struct lb_batch_builder *builder = &state->builder;
    const char *cursor = NULL;
    size_t size = 0;
    LB_TRY(lb_store_read(shared->store, state->chunk, &state->scratch, &cursor, &size, err));
    uint32_t n_rows = 0;
    uint64_t first_row = 0;
    lb_store_chunk(shared->store, state->chunk, &n_rows, &first_row);
    lb_batch_builder_reset(builder);
    for (uint32_t i = 0; i < n_rows; i++) {
        struct lb_builder *column = NULL;
        uint32_t n_columns = 0;
        memcpy(&n_columns, cursor, sizeof n_columns);
        cursor += sizeof n_columns;
        if (!lb_batch_builder_fits(builder, n_columns + shared->with_index)) {
            LB_TRY(lb_push(local->next, lb_batch_builder_finish(builder, NULL), err));
            lb_batch_builder_reset(builder);
        }
        for (uint32_t j = 0; j < n_columns; j++) {
            size_t value_size = lb_codec_size(cursor);
            LB_TRY(lb_batch_builder_column(builder, j, &column, err));
            LB_TRY(lb_builder_encoded_view(column, cursor, value_size, err));
            cursor += value_size;
        }
        if (shared->with_index) {
            LB_TRY(lb_batch_builder_column(builder, n_columns, &column, err));
            LB_TRY(lb_builder_int(column, (int64_t)(first_row + i), err));
        }
        LB_TRY(lb_batch_builder_end_row(builder, i, err));
        if (lb_batch_builder_is_full(builder) || i + 1 == n_rows) {
            LB_TRY(lb_push(local->next, lb_batch_builder_finish(builder, NULL), err));
            lb_batch_builder_reset(builder);
        }
    }
    return LB_OK;
}

static void scan_detach(struct lb_op_local *local)
{
    struct scan_local *state = local->state;
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->scratch);
    lb_free(state, sizeof *state);
}

static void scan_close(struct lb_op *self)
{
    struct scan_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_store_unref(shared->store);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_scan_store = {
    .name = "scan.store",
    .kind = LB_OP_SOURCE,
    .open = scan_open,
    .attach = scan_attach,
    .claim = scan_claim,
    .progress = scan_progress,
    .produce = scan_produce,
    .detach = scan_detach,
    .close = scan_close,
};
