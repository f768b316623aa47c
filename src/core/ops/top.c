/* The top sink: the first n records by key (column 0, which is dropped, or `keys`), ties in input order. Nothing is ever
 * sorted whole.
 *
 * IDEA    Each worker keeps up to 2n candidates; when full they are sorted and the worse half goes, and the worst that
 *         stayed becomes the bar that a later record must pass. finish merges the workers' candidates and fills a store.
 * MEMORY  2n rows per worker; n is the user's choice, so it is not spilled. */
#include <pthread.h>
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/column/builder.h"
#include "core/ops/column_keys.h"
#include "core/ops/ops.h"
#include "core/ops/store.h"

struct candidate {
    uint64_t sequence; /* morsel << 40 | number */
    uint32_t key_size;
    uint32_t row_size;
    uint32_t n_columns;
    bool descending; /* as the operator's; here for qsort's comparison */
    char *bytes;     /* key, then the row's codec values */
};

struct candidates {
    struct candidate *items;
    size_t n;
    size_t capacity;
};

struct top_shared {
    struct lb_store_result result;
    uint64_t n;
    bool descending;
    bool has_keys;
    struct lb_column_keys keys; /* when has_keys: of the whole record, which is kept */
    pthread_mutex_t lock;
    struct candidates all; /* what the workers handed over; guarded by lock */
};

struct top_local {
    struct candidates kept;
    bool has_bar;      /* kept.items[n - 1] is the worst of the n best so far */
    uint64_t sequence; /* of the next record */
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

static void candidate_free(struct candidate *candidate)
{
    lb_free(candidate->bytes, (size_t)candidate->key_size + candidate->row_size);
}

static void candidates_fini(struct candidates *list)
{
    for (size_t i = 0; i < list->n; i++)
        candidate_free(&list->items[i]);
    lb_free(list->items, list->capacity * sizeof *list->items);
    *list = (struct candidates){0};
}

/* Sorts and keeps the first n. */
static void cut(struct candidates *list, uint64_t n)
{
    if (list->n > 1)
        qsort(list->items, list->n, sizeof *list->items, compare);
    while (list->n > n)
        candidate_free(&list->items[--list->n]);
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

/* Keeps the record whose key is in state->key. */
static lb_status keep(struct lb_op_local *local, const struct lb_batch *batch, uint32_t row,
                      const struct candidate *head, struct lb_error *err)
{
    const struct top_shared *shared = local->op->shared;
    struct top_local *state = local->state;
    struct candidate candidate = *head;
    state->row.size = 0;
    uint32_t first = shared->has_keys ? 0 : 1;
    for (uint32_t j = first; j < batch->n_columns; j++)
        LB_TRY(lb_codec_put_column(&state->row, &batch->columns[j], row, err));
    candidate.row_size = (uint32_t)state->row.size;
    candidate.n_columns = batch->n_columns - first;
    LB_TRY(reserve(&state->kept, 1, err));
    size_t size = (size_t)candidate.key_size + candidate.row_size;
    candidate.bytes = lb_alloc(size);
    if (candidate.bytes == NULL)
        return lb_error_memory(err, local->op->label, size);
    memcpy(candidate.bytes, state->key.data, candidate.key_size);
    if (candidate.row_size > 0)
        memcpy(candidate.bytes + candidate.key_size, state->row.data, candidate.row_size);
    state->kept.items[state->kept.n++] = candidate;
    if (state->kept.n >= 2 * shared->n) {
        cut(&state->kept, shared->n);
        state->has_bar = true;
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
        if (state->has_bar && compare(&candidate, &state->kept.items[shared->n - 1]) > 0)
            continue;
        LB_TRY(keep(local, batch, row, &candidate, err));
    }
    return LB_OK;
}

static lb_status top_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct top_shared *shared = local->op->shared;
    struct top_local *state = local->state;
    cut(&state->kept, shared->n);
    pthread_mutex_lock(&shared->lock);
    lb_status status = reserve(&shared->all, state->kept.n, err);
    if (status == LB_OK && state->kept.n > 0) {
        memcpy(shared->all.items + shared->all.n, state->kept.items,
               state->kept.n * sizeof *state->kept.items);
        shared->all.n += state->kept.n;
        state->kept.n = 0;
    }
    pthread_mutex_unlock(&shared->lock);
    return status;
}

static void top_detach(struct lb_op_local *local)
{
    struct top_local *state = local->state;
    candidates_fini(&state->kept);
    lb_buf_fini(&state->key);
    lb_buf_fini(&state->row);
    lb_free(state, sizeof *state);
}

/* Writes the candidates to the store as one morsel. */
static lb_status fill(struct top_shared *shared, struct lb_store_writer *writer,
                      struct lb_batch_builder *builder, struct lb_error *err)
{
    LB_TRY(lb_store_begin(writer, 0, err));
    for (size_t i = 0; i < shared->all.n; i++) {
        const struct candidate *candidate = &shared->all.items[i];
        const char *cursor = candidate->bytes + candidate->key_size;
        if (!lb_batch_builder_fits(builder, candidate->n_columns)) {
            LB_TRY(lb_store_add(writer, lb_batch_builder_finish(builder, NULL), err));
            lb_batch_builder_reset(builder);
        }
        for (uint32_t j = 0; j < candidate->n_columns; j++) {
            struct lb_builder *column = NULL;
            size_t size = lb_codec_size(cursor);
            LB_TRY(lb_batch_builder_column(builder, j, &column, err));
            LB_TRY(lb_builder_encoded_view(column, cursor, size, err));
            cursor += size;
        }
        LB_TRY(lb_batch_builder_end_row(builder, 0, err));
        if (lb_batch_builder_is_full(builder) || i + 1 == shared->all.n) {
            LB_TRY(lb_store_add(writer, lb_batch_builder_finish(builder, NULL), err));
            lb_batch_builder_reset(builder);
        }
    }
    return lb_store_end(writer, err);
}

static lb_status top_finish(struct lb_op *self, struct lb_error *err)
{
    struct top_shared *shared = self->shared;
    struct lb_store_writer *writer = NULL;
    struct lb_batch_builder builder;
    cut(&shared->all, shared->n);
    LB_TRY(lb_store_writer_new(shared->result.store, &writer, err));
    lb_batch_builder_init(&builder);
    lb_status status = fill(shared, writer, &builder, err);
    lb_batch_builder_fini(&builder);
    lb_store_writer_delete(writer);
    if (status == LB_OK)
        status = lb_store_seal(shared->result.store, UINT64_MAX, err);
    self->n_result = shared->all.n;
    return status;
}

static void top_close(struct lb_op *self)
{
    struct top_shared *shared = self->shared;
    if (shared == NULL)
        return;
    candidates_fini(&shared->all);
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
