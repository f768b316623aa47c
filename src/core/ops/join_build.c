/* The sink join_build, which collects the build side of a hash join.
 *
 * STATES  of a worker: collecting pieces; then, once any worker finds that the memory does not do, spilling: its pieces go to disk, morsel
 *         by morsel, and what follows goes there directly (join_shuffle.h). finish makes a table of all pieces, or, when the index has
 *         no room either, sends them all to disk.
 * MEMORY  A piece's bytes are reserved when it is taken. Rows and index together may take most_bytes, the better half of what the
 *         budget has left when the stage opens, so that the probe side's stage has the rest. */
#include "core/ops/join_build.h"

#include <stdlib.h>

#include "core/base/sys.h"
#include "core/ops/join_shuffle.h"
#include "core/ops/ops.h"
#include "core/ops/shuffle.h"

#ifdef LB_TINY
enum { PIECE_ROWS = 10, MOST_BYTES = 8 << 10 };
#else
enum { PIECE_ROWS = 1 << 16 };
#endif

struct build_local {
    struct lb_join_collector collector;
    struct lb_join_rows **pieces;
    size_t n_pieces;
    size_t capacity;
    uint32_t part; /* pieces of this morsel so far */
    bool in_morsel;
    bool spilling;
    struct lb_join_writer writer; /* when spilling */
};

/* ---- parameters ---- */

lb_status lb_join_param_kind(const struct lb_op *op, enum lb_join_kind *kind, struct lb_error *err)
{
    static const char *const names[] = {"inner", "outer", "semi", "anti", "none", NULL};
    int choice = 0;
    LB_TRY(lb_param_choice(op, "kind", names, &choice, err));
    *kind = (enum lb_join_kind)choice;
    return LB_OK;
}

static uint32_t column_of(const struct lb_value *map, const char *key)
{
    struct lb_value field;
    if (map->tag != 'm' || !lb_value_field(map, key, &field))
        return 0;
    return field.tag == 'i' && field.i >= 1 && field.i <= LB_MAX_COLUMNS ? (uint32_t)field.i
                                                                         : UINT32_MAX;
}

lb_status lb_join_param_outputs(const struct lb_op *op, struct lb_join_outputs *outputs,
                                struct lb_error *err)
{
    struct lb_value list, item;
    if (!lb_value_field(&op->params, "outputs", &list) || list.tag != 'l' || list.count < 1 ||
        list.count > LB_MAX_COLUMNS)
        return lb_param_wrong(op, "outputs", err);
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        struct lb_join_output output = {column_of(&item, "probe"), column_of(&item, "build")};
        if (output.probe == UINT32_MAX || output.build == UINT32_MAX)
            return lb_param_wrong(op, "outputs", err);
        outputs->items[outputs->n++] = output;
    }
    return LB_OK;
}

lb_status lb_join_build_of(const struct lb_op *op, uint32_t i, struct lb_join_build **build,
                           struct lb_error *err)
{
    *build = NULL;
    if (i < op->n_inputs && op->inputs[i]->class == &lb_op_join_build)
        *build = op->inputs[i]->shared;
    return *build != NULL
               ? LB_OK
               : lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no join_build", op->label);
}

uint64_t lb_join_rest_morsels(const struct lb_join_build *build)
{
    if (build->rest == LB_JOIN_REST_NONE)
        return 0;
    return (build->n_rows + LB_JOIN_REST_ROWS - 1) / LB_JOIN_REST_ROWS;
}

/* ---- the sink ---- */

/* The sink's shared state. */
struct build_shared {
    struct lb_join_build build; /* first: others see this */
    struct lb_join_side side;   /* how its rows go to disk */
};

static lb_status build_open(struct lb_op *self, struct lb_error *err)
{
    static const char *const rests[] = {"none", "unmatched", "matched", NULL};
    struct build_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    struct lb_join_build *build = &shared->build;
    struct lb_join_side *side = &shared->side;
    pthread_mutex_init(&build->lock, NULL);
    lb_heat_init(&build->heat, true);
    int64_t n_columns = 0;
    int rest = 0;
    LB_TRY(lb_param_int(self, "columns", 0, &n_columns, err));
    LB_TRY(lb_param_bool(self, "spill", false, &build->spills, err));
    LB_TRY(lb_param_bool(self, "pieces", false, &build->has_pieces, err));
    LB_TRY(lb_param_choice(self, "rest", rests, &rest, err));
    LB_TRY(lb_shuffle_partitions(self, &build->n_partitions, err));
    if (n_columns < 1 || n_columns > LB_MAX_COLUMNS)
        return lb_param_wrong(self, "columns", err);
    build->n_columns = (uint32_t)n_columns;
    build->rest = (enum lb_join_rest)rest;
    LB_TRY(lb_join_param_columns(self, "keys", build->keys, &build->n_keys, err));
    for (uint32_t i = 0; i < build->n_keys; i++)
        if (build->keys[i] >= build->n_columns)
            return lb_param_wrong(self, "keys", err);
    LB_TRY(lb_join_param_columns(self, "stored", side->columns, &side->n_columns, err));
    memcpy(side->keys, build->keys, sizeof side->keys);
    side->n_keys = build->n_keys;
    side->is_build = true;
    side->drops_nil = build->rest != LB_JOIN_REST_UNMATCHED;
    build->worker_bytes = lb_run_worker_bytes(self->run);
    build->most_bytes = build->worker_bytes * self->run->options.n_threads;
#ifdef LB_TINY
    build->most_bytes = MOST_BYTES;
#endif
    build->overflowed = build->spills;
    return LB_OK;
}

static lb_status build_attach(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_join_build *build = local->op->shared;
    struct build_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    return lb_join_collector_init(&state->collector, build->n_columns, err);
}

static void build_detach(struct lb_op_local *local)
{
    struct build_local *state = local->state;
    for (size_t i = 0; i < state->n_pieces; i++)
        lb_join_rows_delete(state->pieces[i]);
    lb_free(state->pieces, state->capacity * sizeof *state->pieces);
    lb_join_collector_fini(&state->collector);
    lb_join_writer_fini(&state->writer);
    lb_free(state, sizeof *state);
}

/* ---- to disk ---- */

static lb_status write_piece(struct lb_join_writer *writer, const struct lb_join_rows *piece,
                             struct lb_column *columns, uint64_t *bits, struct lb_error *err)
{
    struct lb_batch batch;
    for (uint32_t first = 0; first < piece->n_rows; first += LB_BATCH_ROWS) {
        lb_join_rows_batch(piece, first, columns, bits, &batch);
        LB_TRY(lb_join_writer_add(writer, &batch, err));
    }
    return LB_OK;
}

static void free_piece(struct lb_join_build *build, struct lb_run *run, struct lb_join_rows **piece)
{
    if (*piece == NULL)
        return;
    lb_budget_release(run->budget, (*piece)->bytes);
    atomic_fetch_sub(&build->held_bytes, (*piece)->bytes);
    lb_join_rows_delete(*piece);
    *piece = NULL;
}

/* Writes pieces, which stand in order and of which each morsel has all or its first ones. `open` tells the morsel that is not to
 * be ended (UINT64_MAX: none). The pieces written are freed. */
static lb_status write_pieces(struct lb_join_build *build, struct lb_run *run,
                              struct lb_join_writer *writer, struct lb_join_rows **pieces,
                              size_t n_pieces, uint64_t open, struct lb_error *err)
{
    size_t columns_bytes = build->n_columns * sizeof(struct lb_column);
    size_t bits_bytes = build->n_columns * LB_JOIN_BITMAP_WORDS * sizeof(uint64_t);
    struct lb_column *columns = lb_alloc(columns_bytes);
    uint64_t *bits = lb_alloc(bits_bytes);
    lb_status status = LB_OK;
    if (columns == NULL || bits == NULL)
        status = lb_error_memory(err, "a join", bits_bytes);
    for (size_t i = 0; i < n_pieces && status == LB_OK; i++) {
        uint64_t morsel = pieces[i]->morsel;
        if (pieces[i]->part == 0)
            lb_join_writer_begin(writer, morsel);
        status = write_piece(writer, pieces[i], columns, bits, err);
        bool is_last = i + 1 == n_pieces || pieces[i + 1]->morsel != morsel;
        if (status == LB_OK && is_last && morsel != open)
            status = lb_join_writer_end(writer, err);
        free_piece(build, run, &pieces[i]);
    }
    for (size_t i = 0; i < n_pieces; i++)
        free_piece(build, run, &pieces[i]);
    lb_free(columns, columns_bytes);
    lb_free(bits, bits_bytes);
    return status;
}

/* Takes what the collector has as a piece. Also when no memory is left: then all turns to spilling. */
static lb_status take_piece(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_join_build *build = local->op->shared;
    struct build_local *state = local->state;
    struct lb_budget *budget = local->op->run->budget;
    if (state->collector.n_rows == 0)
        return LB_OK;
    if (state->n_pieces == state->capacity) {
        size_t capacity = state->capacity * 2 + 16;
        void *pieces = lb_realloc(state->pieces, state->capacity * sizeof *state->pieces,
                                  capacity * sizeof *state->pieces);
        if (pieces == NULL)
            return lb_error_memory(err, local->op->label, capacity * sizeof *state->pieces);
        state->pieces = pieces;
        state->capacity = capacity;
    }
    struct lb_join_rows *piece = NULL;
    LB_TRY(lb_join_collector_take(&state->collector, local->worker->morsel, state->part++, &piece,
                                  err));
    state->pieces[state->n_pieces++] = piece;
    bool fits = lb_budget_reserve(budget, piece->bytes);
    if (!fits)
        lb_budget_force(budget, piece->bytes); /* it is there, and goes with the others */
    if (atomic_fetch_add(&build->held_bytes, piece->bytes) + piece->bytes > build->most_bytes)
        fits = false;
    if (!fits)
        atomic_store(&build->overflowed, true);
    return LB_OK;
}

/* From collecting to spilling. */
static lb_status start_spilling(struct lb_op_local *local, struct lb_error *err)
{
    struct build_shared *shared = local->op->shared;
    struct build_local *state = local->state;
    LB_TRY(take_piece(local, err));
    LB_TRY(lb_join_writer_init(&state->writer, local->op, &shared->build, &shared->side, err));
    state->spilling = true;
    uint64_t open = state->in_morsel ? local->worker->morsel : UINT64_MAX;
    size_t n = state->n_pieces;
    bool has_open = n > 0 && state->pieces[n - 1]->morsel == open;
    state->n_pieces = 0;
    LB_TRY(
        write_pieces(&shared->build, local->op->run, &state->writer, state->pieces, n, open, err));
    if (state->in_morsel && !has_open)
        lb_join_writer_begin(&state->writer, open);
    return LB_OK;
}

static lb_status build_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct build_local *state = local->state;
    state->part = 0;
    state->in_morsel = true;
    if (state->spilling)
        lb_join_writer_begin(&state->writer, local->worker->morsel);
    return LB_OK;
}

static lb_status build_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct lb_join_build *build = local->op->shared;
    struct build_local *state = local->state;
    if (!state->spilling && atomic_load_explicit(&build->overflowed, memory_order_relaxed))
        LB_TRY(start_spilling(local, err));
    if (state->spilling)
        return lb_join_writer_add(&state->writer, batch, err);
    LB_TRY(lb_join_collector_add(&state->collector, batch, err));
    if (state->collector.n_rows >= PIECE_ROWS ||
        lb_join_collector_bytes(&state->collector) > build->most_bytes / 16)
        return take_piece(local, err);
    return LB_OK;
}

static lb_status build_end(struct lb_op_local *local, struct lb_error *err)
{
    struct build_local *state = local->state;
    LB_TRY(state->spilling ? lb_join_writer_end(&state->writer, err) : take_piece(local, err));
    state->in_morsel = false;
    return LB_OK;
}

static lb_status build_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_join_build *build = local->op->shared;
    struct build_local *state = local->state;
    if (state->spilling)
        return lb_join_writer_finish(&state->writer, err);
    if (state->n_pieces == 0)
        return LB_OK;
    pthread_mutex_lock(&build->lock);
    size_t size = build->n_pieces * sizeof *build->pieces;
    size_t more = state->n_pieces * sizeof *build->pieces;
    void *pieces = lb_realloc(build->pieces, size, size + more);
    if (pieces != NULL) {
        build->pieces = pieces;
        memcpy(build->pieces + build->n_pieces, state->pieces, more);
        build->n_pieces += state->n_pieces;
        state->n_pieces = 0;
    }
    pthread_mutex_unlock(&build->lock);
    return pieces != NULL ? LB_OK : lb_error_memory(err, local->op->label, size + more);
}

/* A table of all pieces; none when it does not fit. */
static lb_status make_table(struct lb_op *self, struct lb_error *err)
{
    struct lb_join_build *build = self->shared;
    struct lb_budget *budget = self->run->budget;
    struct lb_join_table *table = NULL;
    bool fits = false;
    LB_TRY(lb_join_table_new(build->n_columns, build->keys, build->n_keys, budget, &table, err));
    lb_status status =
        lb_join_table_build(table, build->pieces, build->n_pieces, build->held_bytes, &fits, err);
    if (!fits) {
        lb_join_table_delete(table);
        build->overflowed = true;
        return status;
    }
    build->table = table;
    build->pieces = NULL;
    build->n_pieces = 0;
    LB_TRY(status);
    build->n_rows = table->n_rows;
    if (build->rest == LB_JOIN_REST_NONE || table->n_rows == 0)
        return LB_OK;
    lb_budget_force(budget, table->n_rows);
    build->matched = lb_alloc_zero(table->n_rows);
    return build->matched != NULL ? LB_OK : lb_error_memory(err, self->label, table->n_rows);
}

static int by_place(const void *a, const void *b)
{
    const struct lb_join_rows *x = *(struct lb_join_rows *const *)a;
    const struct lb_join_rows *y = *(struct lb_join_rows *const *)b;
    if (x->morsel != y->morsel)
        return x->morsel < y->morsel ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

/* Pieces of workers that were done before it turned out that not all fit, or all of them. */
static lb_status spill_pieces(struct lb_op *self, struct lb_error *err)
{
    struct build_shared *shared = self->shared;
    struct lb_join_build *build = &shared->build;
    LB_TRY(lb_join_shuffle_open(self, build, err));
    if (build->n_pieces > 0) {
        struct lb_join_writer writer;
        size_t n = build->n_pieces;
        qsort(build->pieces, n, sizeof *build->pieces, by_place);
        lb_status status = lb_join_writer_init(&writer, self, build, &shared->side, err);
        if (status == LB_OK)
            status = write_pieces(build, self->run, &writer, build->pieces, n, UINT64_MAX, err);
        if (status == LB_OK)
            status = lb_join_writer_finish(&writer, err);
        lb_join_writer_fini(&writer);
        LB_TRY(status);
        lb_free(build->pieces, n * sizeof *build->pieces);
        build->pieces = NULL;
        build->n_pieces = 0;
    }
    lb_join_shuffle_seal(build);
    return LB_OK;
}

static lb_status build_finish(struct lb_op *self, struct lb_error *err)
{
    struct lb_join_build *build = self->shared;
    if (!build->overflowed)
        LB_TRY(make_table(self, err));
    if (build->overflowed)
        LB_TRY(spill_pieces(self, err));
    self->overflowed = build->overflowed;
    self->n_result = build->n_rows;
    return LB_OK;
}

static void build_close(struct lb_op *self)
{
    struct lb_join_build *build = self->shared;
    if (build == NULL)
        return;
    uint64_t spilled = 0;
    for (size_t i = 0; i < build->n_pieces; i++)
        lb_join_rows_delete(build->pieces[i]);
    lb_free(build->pieces, build->n_pieces * sizeof *build->pieces);
    if (build->table == NULL)
        lb_budget_release(self->run->budget, build->held_bytes);
    if (build->matched != NULL) {
        lb_free(build->matched, build->table->n_rows);
        lb_budget_release(self->run->budget, build->table->n_rows);
    }
    lb_join_table_delete(build->table);
    lb_join_shuffle_close(self, build);
    lb_heat_fini(&build->heat);
    for (size_t i = 0; i < build->n_groups; i++)
        lb_free(build->groups[i].frames,
                build->groups[i].n_frames * sizeof *build->groups[i].frames);
    lb_free(build->groups, build->n_groups * sizeof *build->groups);
    for (size_t i = 0; i < build->n_spills; i++) {
        spilled += lb_spill_bytes(build->spills_list[i]);
        lb_spill_delete(build->spills_list[i]);
    }
    lb_free(build->spills_list, build->n_spills * sizeof *build->spills_list);
    atomic_fetch_add(&self->run->spilled_bytes, spilled);
    pthread_mutex_destroy(&build->lock);
    lb_free(build, sizeof(struct build_shared));
    self->shared = NULL;
}

const struct lb_op_class lb_op_join_build = {
    .name = "join_build",
    .kind = LB_OP_SINK,
    .open = build_open,
    .attach = build_attach,
    .begin = build_begin,
    .push = build_push,
    .end = build_end,
    .combine = build_combine,
    .detach = build_detach,
    .finish = build_finish,
    .close = build_close,
};
