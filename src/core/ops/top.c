/* The top sink: the first n records by key (column 0, which is dropped, or `keys`), ties in input order. As long as these fit into
 * memory nothing is sorted whole.
 *
 * IDEA    Each worker keeps up to 2n candidates; when full they are sorted and the worse half goes, and the worst that
 *         stayed becomes the bar that a later record must pass. finish merges the workers' candidates and fills a store.
 * MEMORY  2n rows per worker, reserved in the budget. A worker that is refused hands its candidates, and from then on all that
 *         pass its bar, to an external sorter; finish then takes the first n from there. */
#include <pthread.h>
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/column/builder.h"
#include "core/ops/column_keys.h"
#include "core/ops/ops.h"
#include "core/ops/shuffle.h"
#include "core/ops/store.h"

enum { STEP_BYTES = 256 << 10 }; /* in which the budget is asked */

struct candidate {
    uint64_t sequence; /* morsel << 40 | number */
    uint32_t key_size;
    uint32_t row_size;
    bool descending; /* as the operator's; here for qsort's comparison */
    char *bytes;     /* key, then the row's codec values */
};

struct candidates {
    struct candidate *items;
    size_t n;
    size_t capacity;
    size_t held_bytes;     /* of their bytes */
    size_t reserved_bytes; /* at least as many */
};

struct top_shared {
    struct lb_store_result result;
    uint64_t n;
    size_t worker_bytes; /* that a worker may take, seen from the start */
    bool descending;
    bool has_keys;
    struct lb_column_keys keys; /* when has_keys: of the whole record, which is kept */
    pthread_mutex_t lock;
    struct candidates all;    /* what the workers handed over; guarded by lock */
    struct lb_sorter *sorter; /* for what did not fit; NULL: all did; made under lock */
};

struct top_local {
    struct candidates kept;
    bool has_bar;                  /* `bar` is the worst of the n best so far */
    struct candidate bar;          /* borrowed from kept, or, when that is sorted, its own */
    bool has_overflowed;           /* they did not fit: `writer` takes the place of `kept` */
    struct lb_sort_writer *writer; /* NULL: not yet, or handed over */
    uint64_t sequence;             /* of the next record */
    struct lb_buf key;
    struct lb_buf row;
};

static int compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int order = lb_key_compare(x->bytes, x->key_size, y->bytes, y->key_size);
    if (order != 0)
        return x->descending ? -order : order;
    return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

static size_t candidate_bytes(const struct candidate *candidate)
{
    return (size_t)candidate->key_size + candidate->row_size;
}

/* Frees those from the n-th on. */
static void candidates_cut(struct candidates *list, size_t n)
{
    while (list->n > n) {
        struct candidate *last = &list->items[--list->n];
        list->held_bytes -= candidate_bytes(last);
        lb_free(last->bytes, candidate_bytes(last));
    }
}

static void candidates_fini(struct candidates *list, struct lb_budget *budget)
{
    candidates_cut(list, 0);
    lb_free(list->items, list->capacity * sizeof *list->items);
    lb_budget_release(budget, list->reserved_bytes);
    *list = (struct candidates){0};
}

/* Sorts and keeps the first n. */
static void cut(struct candidates *list, uint64_t n)
{
    if (list->n > 1)
        qsort(list->items, list->n, sizeof *list->items, compare);
    candidates_cut(list, n);
}

static lb_status reserve(struct candidates *list, size_t more, struct lb_error *err)
{
    if (list->capacity - list->n >= more)
        return LB_OK;
    size_t capacity = list->capacity * 2 + more;
    void *items = lb_realloc(list->items, list->capacity * sizeof *list->items,
                             capacity * sizeof *list->items);
    if (items == NULL)
        return lb_error_memory(err, "the candidates of top", capacity * sizeof *list->items);
    list->items = items;
    list->capacity = capacity;
    return LB_OK;
}

/* Reserves memory for so many bytes more. */
static bool charge(struct candidates *list, size_t bytes, struct lb_budget *budget)
{
    if (list->held_bytes + bytes > list->reserved_bytes) {
        size_t step = (list->held_bytes + bytes - list->reserved_bytes + STEP_BYTES - 1) /
                      STEP_BYTES * STEP_BYTES;
        if (!lb_budget_reserve_spare(budget, step))
            return false;
        list->reserved_bytes += step;
    }
    list->held_bytes += bytes;
    return true;
}

static lb_status top_open(struct lb_op *self, struct lb_error *err)
{
    int64_t n = 0;
    struct top_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    pthread_mutex_init(&shared->lock, NULL);
    LB_TRY(lb_param_int(self, "n", 0, &n, err));
    LB_TRY(lb_param_bool(self, "descending", false, &shared->descending, err));
    struct lb_value list;
    shared->has_keys = lb_value_field(&self->params, "keys", &list);
    if (shared->has_keys)
        LB_TRY(lb_param_column_keys(self, &shared->keys, err));
    shared->n = n < 0 ? 0 : (uint64_t)n;
    shared->worker_bytes = lb_run_worker_bytes(self->run);
    if (shared->n == 0)
        self->enough = true;
    return lb_store_new(self->run->budget, &self->run->spill, &shared->result.store, err);
}

static lb_status top_attach(struct lb_op_local *local, struct lb_error *err)
{
    local->state = lb_alloc_zero(sizeof(struct top_local));
    return local->state != NULL ? LB_OK
                                : lb_error_memory(err, local->op->label, sizeof(struct top_local));
}

static lb_status top_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    ((struct top_local *)local->state)->sequence = local->worker->morsel << 40;
    return LB_OK;
}

/* ---- in the sorter ---- */

static lb_status add_sorted(struct lb_sort_writer *writer, const struct candidate *candidate,
                            const char *key, const char *row, struct lb_error *err)
{
    struct lb_sort_row *out = NULL;
    LB_TRY(lb_sort_writer_add(writer, 0, candidate->sequence, candidate->key_size,
                              candidate->key_size, candidate->row_size, &out, err));
    if (candidate->key_size > 0)
        memcpy(out->bytes, key, candidate->key_size);
    if (candidate->row_size > 0)
        memcpy(out->bytes + candidate->key_size, row, candidate->row_size);
    return LB_OK;
}

/* What is in the list goes to the sorter. */
static lb_status sort_list(struct candidates *list, struct lb_sort_writer *writer,
                           struct lb_error *err)
{
    for (; list->n > 0; candidates_cut(list, list->n - 1)) {
        const struct candidate *last = &list->items[list->n - 1];
        LB_TRY(add_sorted(writer, last, last->bytes, last->bytes + last->key_size, err));
    }
    return LB_OK;
}

static lb_status new_sorter(const struct lb_op *op, struct lb_error *err)
{
    struct top_shared *shared = op->shared;
    const struct lb_sorter_config shape = {.n_partitions = 1,
                                           .n_ranges = 1,
                                           .descending = shared->descending,
                                           .writer_bytes = shared->worker_bytes,
                                           .merge_bytes = shared->worker_bytes / 2 *
                                                          op->run->options.n_threads};
    lb_status status = LB_OK;
    pthread_mutex_lock(&shared->lock);
    if (shared->sorter == NULL)
        status = lb_shuffle_new(op, &shape, &shared->sorter, err);
    pthread_mutex_unlock(&shared->lock);
    return status;
}

/* The worker's candidates do not fit. */
static lb_status overflow(struct lb_op_local *local, struct lb_error *err)
{
    struct top_shared *shared = local->op->shared;
    struct top_local *state = local->state;
    if (state->has_bar) {
        struct candidate bar = state->bar;
        bar.row_size = 0;
        bar.bytes = lb_alloc(bar.key_size);
        if (bar.bytes == NULL && bar.key_size > 0) {
            state->has_bar = false;
            return lb_error_memory(err, local->op->label, bar.key_size);
        }
        memcpy(bar.bytes, state->bar.bytes, bar.key_size);
        state->bar = bar;
    }
    state->has_overflowed = true;
    LB_TRY(new_sorter(local->op, err));
    LB_TRY(lb_sort_writer_new(shared->sorter, &state->writer, err));
    LB_TRY(sort_list(&state->kept, state->writer, err));
    candidates_fini(&state->kept, local->op->run->budget);
    return LB_OK;
}

/* ---- pushing ---- */

/* Keeps the record whose key is in state->key. */
static lb_status keep(struct lb_op_local *local, const struct lb_batch *batch, uint32_t row,
                      const struct candidate *head, struct lb_error *err)
{
    const struct top_shared *shared = local->op->shared;
    struct top_local *state = local->state;
    struct candidate candidate = *head;
    state->row.size = 0;
    for (uint32_t j = shared->has_keys ? 0 : 1; j < batch->n_columns; j++)
        LB_TRY(lb_codec_put_column(&state->row, &batch->columns[j], row, err));
    if (state->key.size > UINT32_MAX || state->row.size > UINT32_MAX)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a record of more than 4 GiB",
                            local->op->label);
    candidate.row_size = (uint32_t)state->row.size;
    size_t size = candidate_bytes(&candidate);
    if (!state->has_overflowed && !charge(&state->kept, size, local->op->run->budget))
        LB_TRY(overflow(local, err));
    if (state->has_overflowed)
        return add_sorted(state->writer, &candidate, state->key.data, state->row.data, err);
    candidate.bytes = size > 0 ? lb_alloc(size) : NULL;
    lb_status status = LB_OK;
    if (candidate.bytes == NULL && size > 0)
        status = lb_error_memory(err, local->op->label, size);
    if (status == LB_OK)
        status = reserve(&state->kept, 1, err);
    if (status != LB_OK) {
        lb_free(candidate.bytes, size);
        state->kept.held_bytes -= size;
        return status;
    }
    memcpy(candidate.bytes, state->key.data, candidate.key_size);
    if (candidate.row_size > 0)
        memcpy(candidate.bytes + candidate.key_size, state->row.data, candidate.row_size);
    state->kept.items[state->kept.n++] = candidate;
    if (state->kept.n >= 2 * shared->n) {
        cut(&state->kept, shared->n);
        state->has_bar = true;
        state->bar = state->kept.items[shared->n - 1];
    }
    return LB_OK;
}

static lb_status top_push(struct lb_op_local *local, const struct lb_batch *batch,
                          struct lb_error *err)
{
    const struct top_shared *shared = local->op->shared;
    struct top_local *state = local->state;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        state->key.size = 0;
        LB_TRY(shared->has_keys
                   ? lb_column_keys_put(&shared->keys, &state->key, batch, 0, row, err)
                   : lb_key_put_column(&state->key, &batch->columns[0], row, false, err));
        struct candidate candidate = {.sequence = state->sequence++,
                                      .key_size = (uint32_t)state->key.size,
                                      .descending = shared->descending,
                                      .bytes = state->key.data};
        if (state->has_bar && compare(&candidate, &state->bar) > 0)
            continue;
        LB_TRY(keep(local, batch, row, &candidate, err));
    }
    return LB_OK;
}

static lb_status top_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct top_shared *shared = local->op->shared;
    struct top_local *state = local->state;
    struct lb_sort_writer *writer = state->writer;
    state->writer = NULL;
    if (writer != NULL)
        return lb_sort_writer_finish(writer, err);
    cut(&state->kept, shared->n);
    pthread_mutex_lock(&shared->lock);
    lb_status status = reserve(&shared->all, state->kept.n, err);
    if (status == LB_OK && state->kept.n > 0) {
        memcpy(shared->all.items + shared->all.n, state->kept.items,
               state->kept.n * sizeof *state->kept.items);
        shared->all.n += state->kept.n;
        shared->all.held_bytes += state->kept.held_bytes;
        shared->all.reserved_bytes += state->kept.reserved_bytes;
        state->kept.n = state->kept.held_bytes = state->kept.reserved_bytes = 0;
        state->has_bar = false;
    }
    pthread_mutex_unlock(&shared->lock);
    return status;
}

static void top_detach(struct lb_op_local *local)
{
    struct top_local *state = local->state;
    if (state->writer != NULL)
        lb_sort_writer_delete(state->writer);
    if (state->has_overflowed && state->has_bar)
        lb_free(state->bar.bytes, state->bar.key_size);
    candidates_fini(&state->kept, local->op->run->budget);
    lb_buf_fini(&state->key);
    lb_buf_fini(&state->row);
    lb_free(state, sizeof *state);
}

/* ---- the result ---- */

/* Where the result is put together. */
struct filling {
    struct lb_store_writer *writer;
    struct lb_batch_builder builder;
    size_t bytes; /* of its rows */
};

static lb_status fill_batch(struct filling *filling, struct lb_error *err)
{
    if (filling->builder.n_rows > 0)
        LB_TRY(
            lb_store_add(filling->writer, lb_batch_builder_finish(&filling->builder, NULL), err));
    lb_batch_builder_reset(&filling->builder);
    filling->bytes = 0;
    return LB_OK;
}

static bool is_full(const struct filling *filling)
{
    return lb_batch_builder_is_full(&filling->builder) || filling->bytes >= LB_BATCH_STRING_BYTES;
}

/* One more row: codec values, one behind the other. */
static lb_status fill_row(struct filling *filling, const char *bytes, size_t size,
                          struct lb_error *err)
{
    struct lb_batch_builder *builder = &filling->builder;
    const char *end = bytes + size;
    uint32_t n_columns = 0;
    for (const char *cursor = bytes; cursor < end; cursor += lb_codec_size(cursor))
        n_columns++;
    if (!lb_batch_builder_fits(builder, n_columns))
        LB_TRY(fill_batch(filling, err));
    for (uint32_t j = 0; j < n_columns; j++) {
        struct lb_builder *column = NULL;
        size_t value_size = lb_codec_size(bytes);
        LB_TRY(lb_batch_builder_column(builder, j, &column, err));
        LB_TRY(lb_builder_encoded_view(column, bytes, value_size, err));
        bytes += value_size;
    }
    filling->bytes += size;
    return lb_batch_builder_end_row(builder, 0, err);
}

static lb_status fill_from_list(struct top_shared *shared, struct filling *filling,
                                struct lb_error *err)
{
    cut(&shared->all, shared->n);
    for (size_t i = 0; i < shared->all.n; i++) {
        const struct candidate *candidate = &shared->all.items[i];
        LB_TRY(fill_row(filling, candidate->bytes + candidate->key_size, candidate->row_size, err));
        if (is_full(filling))
            LB_TRY(fill_batch(filling, err));
    }
    return fill_batch(filling, err);
}

static lb_status fill_from_cursor(struct lb_sort_cursor *cursor, uint64_t n,
                                  struct filling *filling, struct lb_error *err)
{
    for (uint64_t i = 0; i < n; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(cursor, &row, err));
        if (row == NULL)
            break;
        LB_TRY(fill_row(filling, row->bytes + row->key_size, row->payload_size, err));
        /* Before frames go that the batch's strings lie in. */
        if (is_full(filling)) {
            LB_TRY(fill_batch(filling, err));
            lb_sort_cursor_release(cursor);
        }
    }
    return fill_batch(filling, err);
}

/* Some candidates are in the sorter: the others follow them. */
static lb_status fill_from_sorter(struct lb_op *self, struct filling *filling, struct lb_error *err)
{
    struct top_shared *shared = self->shared;
    struct lb_sort_writer *writer = NULL;
    struct lb_sort_cursor *cursor = NULL;
    LB_TRY(lb_sort_writer_new(shared->sorter, &writer, err));
    lb_status status = sort_list(&shared->all, writer, err);
    if (status != LB_OK) {
        lb_sort_writer_delete(writer);
        return status;
    }
    candidates_fini(&shared->all, self->run->budget);
    LB_TRY(lb_sort_writer_finish(writer, err));
    LB_TRY(lb_sorter_prepare(shared->sorter, err));
    LB_TRY(lb_sort_cursor_new(shared->sorter, 0, &cursor, err));
    status = fill_from_cursor(cursor, shared->n, filling, err);
    lb_sort_cursor_delete(cursor);
    return status;
}

/* As one morsel of the store. */
static lb_status fill(struct lb_op *self, struct filling *filling, struct lb_error *err)
{
    struct top_shared *shared = self->shared;
    LB_TRY(lb_store_begin(filling->writer, 0, err));
    LB_TRY(shared->sorter != NULL ? fill_from_sorter(self, filling, err)
                                  : fill_from_list(shared, filling, err));
    return lb_store_end(filling->writer, err);
}

static lb_status top_finish(struct lb_op *self, struct lb_error *err)
{
    struct top_shared *shared = self->shared;
    struct filling filling = {0};
    LB_TRY(lb_store_writer_new(shared->result.store, &filling.writer, err));
    lb_batch_builder_init(&filling.builder);
    lb_status status = fill(self, &filling, err);
    lb_batch_builder_fini(&filling.builder);
    lb_store_writer_delete(filling.writer);
    if (status == LB_OK)
        status = lb_store_seal(shared->result.store, UINT64_MAX, err);
    self->n_result = lb_store_n_rows(shared->result.store);
    return status;
}

static void top_close(struct lb_op *self)
{
    struct top_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_shuffle_delete(self, shared->sorter);
    candidates_fini(&shared->all, self->run->budget);
    pthread_mutex_destroy(&shared->lock);
    lb_store_unref(shared->result.store);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_top = {
    .name = "top",
    .kind = LB_OP_SINK,
    .open = top_open,
    .attach = top_attach,
    .begin = top_begin,
    .push = top_push,
    .combine = top_combine,
    .detach = top_detach,
    .finish = top_finish,
    .close = top_close,
};
