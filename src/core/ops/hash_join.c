/* The probe side of a hash join: the transform hash_join, and the source scan.join_rest, which gives the build rows by themselves.
 *
 * IDEA    The table is read-only and shared; a batch looks up all its keys at once. While no key of the table has two rows, a
 *         probe row gives one record at most: then the result has the probe batch's own columns, with a selection, and only the
 *         columns of the build side are gathered, to the places of their probe rows. Otherwise pairs of row numbers are collected and both
 *         sides are gathered, a batch of pairs at a time, so that a key with very many rows neither needs memory nor runs on
 *         when the rest is not wanted.
 * SKEW    The probe side is not divided by key: however often one key comes, the morsels stay equal.
 * MARKS   For the rest, the first row of each key that was looked up with success is marked. All morsels of the probe side have ended before
 *         scan.join_rest begins (op.h: waits); it finds the first row of a row's key by looking it up again. */
#include "core/base/sys.h"
#include "core/ops/join_build.h"
#include "core/ops/ops.h"

static const uint32_t NONE = UINT32_MAX; /* no build row */

struct probe_shared {
    struct lb_join_build *build; /* borrowed */
    enum lb_join_kind kind;
    uint32_t keys[LB_MAX_COLUMNS]; /* of the probe side */
    struct lb_join_outputs outputs;
    uint32_t next; /* scan.join_rest: rows claimed, in morsels; guarded by the stage's lock */
};

/* A gathered column. */
struct gathered {
    uint64_t data[2 * LB_BATCH_ROWS];
    uint64_t valid[LB_JOIN_BITMAP_WORDS];
};

struct probe_local {
    struct lb_join_probe probe;
    uint32_t first[LB_BATCH_ROWS];  /* per selected row: first match + 1, or 0 */
    uint32_t rows[LB_BATCH_ROWS];   /* of the result: rows of the probe batch */
    uint32_t source[LB_BATCH_ROWS]; /* and of the table, or NONE */
    uint32_t n;
    struct lb_column columns[LB_MAX_COLUMNS];
    struct gathered *gathered[LB_MAX_COLUMNS]; /* made when first needed */
    uint32_t morsel;                           /* scan.join_rest */
};

static lb_status open_shared(struct lb_op *self, struct lb_error *err)
{
    struct probe_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_join_build_of(self, 0, &shared->build, err));
    if (shared->build->table == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has no table", self->label);
    LB_TRY(lb_join_param_outputs(self, &shared->outputs, err));
    for (uint32_t i = 0; i < shared->outputs.n; i++)
        if (shared->outputs.items[i].build > shared->build->n_columns)
            return lb_param_wrong(self, "outputs", err);
    return LB_OK;
}

static void close_shared(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct probe_shared));
    self->shared = NULL;
}

static lb_status probe_open(struct lb_op *self, struct lb_error *err)
{
    LB_TRY(open_shared(self, err));
    struct probe_shared *shared = self->shared;
    struct lb_value list, item;
    LB_TRY(lb_join_param_kind(self, &shared->kind, err));
    if (!lb_value_field(&self->params, "keys", &list) || list.tag != 'l' ||
        list.count != shared->build->n_keys)
        return lb_param_wrong(self, "keys", err);
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 'i' || item.i < 1 || item.i > LB_MAX_COLUMNS)
            return lb_param_wrong(self, "keys", err);
        shared->keys[i] = (uint32_t)(item.i - 1);
    }
    return LB_OK;
}

static lb_status probe_attach(struct lb_op_local *local, struct lb_error *err)
{
    local->state = lb_alloc_zero(sizeof(struct probe_local));
    return local->state != NULL
               ? LB_OK
               : lb_error_memory(err, local->op->label, sizeof(struct probe_local));
}

static void probe_detach(struct lb_op_local *local)
{
    struct probe_local *state = local->state;
    for (uint32_t i = 0; i < LB_MAX_COLUMNS; i++)
        lb_free(state->gathered[i], sizeof *state->gathered[i]);
    lb_join_probe_fini(&state->probe);
    lb_free(state, sizeof *state);
}

/* ---- gathering ---- */

/* Values from[source[i]] go to out[to[i]], or to out[i] without `to`. */
#define GATHER(type)                                                                     \
    do {                                                                                 \
        const type *from_ = column->data;                                                \
        type *out_ = (type *)(void *)out->data;                                          \
        type zero_;                                                                      \
        memset(&zero_, 0, sizeof zero_);                                                 \
        for (uint32_t i = 0; i < n; i++)                                                 \
            out_[to != NULL ? to[i] : i] = source[i] != NONE ? from_[source[i]] : zero_; \
    } while (0)

/* Long strings lie anywhere in the table; whoever reads the column next finds them on their way. */
static void fetch_strings(const struct lb_view *views, const uint32_t *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct lb_view *view = &views[to != NULL ? to[i] : i];
        if (view->size > LB_VIEW_INLINE)
            __builtin_prefetch(view->data);
    }
}

/* n_rows: of the result. Rows that get no value become zero, for steps may compute what is not selected. */
static struct lb_column gather(const struct lb_column *column, const uint32_t *source,
                               const uint32_t *to, uint32_t n, uint32_t n_rows,
                               struct gathered *out)
{
    struct lb_column result = {.type = column->type};
    if (column->type == LB_NULL)
        return result;
    if (n < n_rows)
        memset(out->data, 0, n_rows * lb_join_width(column->type));
    switch (column->type) {
    case LB_BOOL:
        GATHER(uint8_t);
        break;
    case LB_INT64:
    case LB_FLOAT64: /* moved as the integer of its bits */
        GATHER(int64_t);
        break;
    default:
        GATHER(struct lb_view);
        if (column->type == LB_STRING)
            fetch_strings((const struct lb_view *)(const void *)out->data, to, n);
        break;
    }
    result.data = out->data;
    bool has_nils = column->valid != NULL || (n < n_rows && column->type == LB_ANY);
    for (uint32_t i = 0; i < n && !has_nils; i++)
        has_nils = source[i] == NONE;
    if (!has_nils)
        return result;
    memset(out->valid, 0, sizeof out->valid);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = to != NULL ? to[i] : i;
        if (source[i] != NONE && lb_column_is_valid(column, source[i]))
            out->valid[at >> 6] |= (uint64_t)1 << (at & 63);
    }
    result.valid = out->valid;
    return result;
}

static lb_status room(struct lb_op_local *local, uint32_t i, struct gathered **out,
                      struct lb_error *err)
{
    struct probe_local *state = local->state;
    if (state->gathered[i] == NULL)
        state->gathered[i] = lb_alloc(sizeof **out);
    *out = state->gathered[i];
    return *out != NULL ? LB_OK : lb_error_memory(err, local->op->label, sizeof **out);
}

static const struct lb_column absent = {.type = LB_NULL};

static struct lb_column table_column(const struct lb_join_table *table, uint32_t i)
{
    const struct lb_join_column *column = &table->columns[i];
    return (struct lb_column){.type = column->type, .valid = column->valid, .data = column->data};
}

/* One record at most for each probe row: state->rows, which ascend, and their matches. */
static lb_status push_selected(struct lb_op_local *local, const struct lb_batch *batch,
                               struct lb_error *err)
{
    const struct probe_shared *shared = local->op->shared;
    struct probe_local *state = local->state;
    for (uint32_t i = 0; i < shared->outputs.n; i++) {
        const struct lb_join_output *output = &shared->outputs.items[i];
        state->columns[i] = absent;
        if (output->probe > 0) {
            if (output->probe <= batch->n_columns)
                state->columns[i] = batch->columns[output->probe - 1];
        } else if (output->build > 0 && shared->build->table->n_rows > 0) {
            struct gathered *out = NULL;
            struct lb_column from = table_column(shared->build->table, output->build - 1);
            LB_TRY(room(local, i, &out, err));
            state->columns[i] =
                gather(&from, state->source, state->rows, state->n, batch->n_rows, out);
        }
    }
    bool is_whole = state->n == batch->n_rows;
    struct lb_batch result = {.n_rows = batch->n_rows,
                              .n_columns = shared->outputs.n,
                              .n_selected = state->n,
                              .select = is_whole ? NULL : state->rows,
                              .columns = state->columns,
                              .parent = batch};
    return lb_push(local->next, &result, err);
}

/* Pairs of rows. */
static lb_status push_pairs(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    const struct probe_shared *shared = local->op->shared;
    struct probe_local *state = local->state;
    for (uint32_t i = 0; i < shared->outputs.n; i++) {
        const struct lb_join_output *output = &shared->outputs.items[i];
        struct gathered *out = NULL;
        LB_TRY(room(local, i, &out, err));
        if (output->probe > 0) {
            const struct lb_column *from =
                output->probe <= batch->n_columns ? &batch->columns[output->probe - 1] : &absent;
            state->columns[i] = gather(from, state->rows, NULL, state->n, state->n, out);
        } else if (output->build > 0) {
            struct lb_column from = table_column(shared->build->table, output->build - 1);
            state->columns[i] = gather(&from, state->source, NULL, state->n, state->n, out);
        } else {
            state->columns[i] = absent;
        }
    }
    struct lb_batch result = {.n_rows = state->n,
                              .n_columns = shared->outputs.n,
                              .n_selected = state->n,
                              .columns = state->columns,
                              .parent = batch,
                              .parent_rows = state->rows};
    state->n = 0;
    return lb_push(local->next, &result, err);
}

static lb_status join_pairs(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    const struct probe_shared *shared = local->op->shared;
    const uint32_t *next = shared->build->table->next;
    struct probe_local *state = local->state;
    state->n = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i), match = state->first[i];
        if (match == 0 && shared->kind != LB_JOIN_OUTER)
            continue;
        do {
            state->rows[state->n] = row;
            state->source[state->n++] = match != 0 ? match - 1 : NONE;
            match = match != 0 ? next[match - 1] : 0;
            if (state->n == LB_BATCH_ROWS)
                LB_TRY(push_pairs(local, batch, err));
        } while (match != 0);
    }
    return state->n > 0 ? push_pairs(local, batch, err) : LB_OK;
}

static lb_status probe_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    const struct probe_shared *shared = local->op->shared;
    struct lb_join_build *build = shared->build;
    struct probe_local *state = local->state;
    LB_TRY(lb_join_table_find(build->table, &state->probe, batch, shared->keys, state->first, err));
    for (uint32_t i = 0; build->matched != NULL && i < batch->n_selected; i++) {
        uint32_t match = state->first[i];
        if (match != 0 && !atomic_load_explicit(&build->matched[match - 1], memory_order_relaxed))
            atomic_store_explicit(&build->matched[match - 1], 1, memory_order_relaxed);
    }
    enum lb_join_kind kind = shared->kind;
    if (kind == LB_JOIN_NONE)
        return LB_OK;
    if ((kind == LB_JOIN_INNER || kind == LB_JOIN_OUTER) && build->table->has_duplicates)
        return join_pairs(local, batch, err);
    bool keeps_matched = kind != LB_JOIN_ANTI;
    bool keeps_others = kind == LB_JOIN_ANTI || kind == LB_JOIN_OUTER;
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t match = state->first[i];
        state->rows[n] = lb_batch_row(batch, i);
        state->source[n] = match - 1; /* 0 - 1 is NONE */
        n += match != 0 ? keeps_matched : keeps_others;
    }
    state->n = n;
    return n > 0 ? push_selected(local, batch, err) : LB_OK;
}

const struct lb_op_class lb_op_hash_join = {
    .name = "hash_join",
    .kind = LB_OP_TRANSFORM,
    .open = probe_open,
    .attach = probe_attach,
    .push = probe_push,
    .detach = probe_detach,
    .close = close_shared,
};

/* ---- the rest ---- */

static lb_status rest_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct probe_shared *shared = local->op->shared;
    struct probe_local *state = local->state;
    *more = shared->next < lb_join_rest_morsels(shared->build);
    if (*more)
        state->morsel = shared->next++;
    return LB_OK;
}

/* Rows first.. of the table, n of them, as a batch of all its columns. */
static lb_status table_batch(struct lb_op_local *local, uint32_t first, uint32_t n,
                             struct lb_batch *batch, struct lb_error *err)
{
    const struct lb_join_table *table = ((struct probe_shared *)local->op->shared)->build->table;
    struct probe_local *state = local->state;
    for (uint32_t i = 0; i < n; i++)
        state->source[i] = first + i;
    for (uint32_t i = 0; i < table->n_columns; i++) {
        struct gathered *out = NULL;
        struct lb_column from = table_column(table, i);
        LB_TRY(room(local, i, &out, err));
        state->columns[i] = gather(&from, state->source, NULL, n, n, out);
    }
    *batch = (struct lb_batch){
        .n_rows = n, .n_columns = table->n_columns, .n_selected = n, .columns = state->columns};
    return LB_OK;
}

static lb_status rest_produce(struct lb_op_local *local, struct lb_error *err)
{
    const struct probe_shared *shared = local->op->shared;
    const struct lb_join_build *build = shared->build;
    struct probe_local *state = local->state;
    bool wanted = build->rest == LB_JOIN_REST_MATCHED;
    uint64_t start = (uint64_t)state->morsel * LB_JOIN_REST_ROWS;
    uint64_t end =
        start + LB_JOIN_REST_ROWS < build->n_rows ? start + LB_JOIN_REST_ROWS : build->n_rows;
    struct lb_column columns[LB_MAX_COLUMNS];
    for (uint64_t first = start; first < end; first += LB_BATCH_ROWS) {
        uint32_t n = (uint32_t)(end - first < LB_BATCH_ROWS ? end - first : LB_BATCH_ROWS);
        struct lb_batch batch;
        LB_TRY(table_batch(local, (uint32_t)first, n, &batch, err));
        LB_TRY(lb_join_table_find(build->table, &state->probe, &batch, build->keys, state->first,
                                  err));
        state->n = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t match = state->first[i];
            bool is_matched = match != 0 && build->matched[match - 1] != 0;
            state->rows[state->n] = i;
            state->n += is_matched == wanted;
        }
        for (uint32_t i = 0; i < shared->outputs.n; i++) {
            uint32_t column = shared->outputs.items[i].build;
            columns[i] = column > 0 ? state->columns[column - 1] : absent;
        }
        struct lb_batch result = {.n_rows = n,
                                  .n_columns = shared->outputs.n,
                                  .n_selected = state->n,
                                  .select = state->n == n ? NULL : state->rows,
                                  .columns = columns};
        LB_TRY(lb_push(local->next, &result, err));
    }
    return LB_OK;
}

const struct lb_op_class lb_op_scan_join_rest = {
    .name = "scan.join_rest",
    .kind = LB_OP_SOURCE,
    .waits = true,
    .open = open_shared,
    .attach = probe_attach,
    .claim = rest_claim,
    .produce = rest_produce,
    .detach = probe_detach,
    .close = close_shared,
};
