/* The way of a hash join whose build side does not fit the memory: join_morsels, scan.join_match, join_order, scan.join_ordered.
 *
 * IDEA    sort (with sides) brings the rows of a key together, the build rows first, each with its number as last column when they are given by themselves, too.
 *         scan.join_match keeps them while the probe rows of the key stream by, and gives for each probe row one record: its place, its
 *         columns, its matches. join_order sorts these by place, and scan.join_ordered makes the joined records of each, only then
 *         and only as far as they are wanted. So the disk holds each probe row once, whatever the number of its matches.
 *         A place is (morsel of the probe side, position); build rows by themselves have places in morsels behind
 *         those. A morsel is a partition of the second sort, so that what comes out is cut as the probe side was.
 * FORMAT  matches: empty: none; 'I', then build rows one after the other, each n_columns codec values and, with a rest, its number; or 'G' and the u32 number
 *         of a group on disk (join_build.h): the build rows of a key that are more than INLINE_BYTES.
 *         The columns of both sides are those that the outputs take.
 *         A row of join_order: key = place, 8 bytes big-endian; payload = u32 bytes of the probe columns (NO_PROBE: there is no probe
 *         row), the columns as codec values, then the matches.
 * MEMORY  The build rows of one key up to hold_bytes a worker, then in frames on disk, which are read one at a time.
 * WHY NOT Joining partition by partition with a table for each: a key whose rows alone exceed the memory still needs this way. */
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/join_build.h"
#include "core/ops/ops.h"
#include "core/ops/range_scan.h"

#ifdef LB_TINY
enum { INLINE_BYTES = 64, HOLD_LEAST_BYTES = 128 };
#else
enum { INLINE_BYTES = 16 << 10, HOLD_LEAST_BYTES = 256 << 10 };
#endif
enum { MOST_PARTITIONS = 65535, PLACE_BITS = 40 };
static const uint32_t NO_PROBE = UINT32_MAX;

/* Morsels that come out, and so partitions; of more than can be partitions the last ones are one. */
static uint32_t n_partitions(const struct lb_join_build *build)
{
    uint64_t n = build->n_probe_morsels + lb_join_rest_morsels(build);
    return n > MOST_PARTITIONS ? MOST_PARTITIONS : (uint32_t)n;
}

/* ---- join_morsels: passes on, and counts the morsels of the probe side ---- */

static lb_status morsels_open(struct lb_op *self, struct lb_error *err)
{
    struct lb_join_build *build = NULL;
    LB_TRY(lb_join_build_of(self, 0, &build, err));
    self->shared = build;
    return LB_OK;
}

static lb_status morsels_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct lb_join_build *build = local->op->shared;
    uint64_t n = local->worker->morsel + 1, known = build->n_probe_morsels;
    while (known < n && !atomic_compare_exchange_weak(&build->n_probe_morsels, &known, n))
        ;
    return LB_OK;
}

static lb_status morsels_push(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    return lb_push(local->next, batch, err);
}

const struct lb_op_class lb_op_join_morsels = {
    .name = "join_morsels",
    .kind = LB_OP_TRANSFORM,
    .open = morsels_open,
    .begin = morsels_begin,
    .push = morsels_push,
};

/* ---- scan.join_match ---- */

struct match_shared {
    struct lb_range_shared range; /* first: lb_range_claim uses it */
    struct lb_join_build *build;
    enum lb_join_kind kind;
    uint32_t n_columns; /* of a build row */
    uint64_t n_probe_morsels;
};

struct match_local {
    size_t hold_bytes;
    struct lb_buf
        held; /* matches as FORMAT says: 'I' and build rows, or only rows once there are frames */
    struct lb_spill *spill;     /* the build's; made when first needed */
    struct lb_join_group group; /* frames of the current key */
    uint32_t frame_capacity;
    struct lb_buf frame, packed; /* scratch of reading frames */
    bool has_build, has_probe;
    bool
        continues; /* the piece began within the key: what is to be given once, an earlier piece gives */
};

/* The parameter `columns`: how many a build row has. */
static lb_status param_columns(const struct lb_op *op, uint32_t *n_columns, struct lb_error *err)
{
    int64_t n = 0;
    LB_TRY(lb_param_int(op, "columns", 0, &n, err));
    if (n < 1 || n > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: parameter 'columns' is wrong",
                            op->label);
    *n_columns = (uint32_t)n;
    return LB_OK;
}

static lb_status match_open(struct lb_op *self, struct lb_error *err)
{
    struct match_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_join_build_of(self, 1, &shared->build, err));
    LB_TRY(lb_join_param_kind(self, &shared->kind, err));
    LB_TRY(param_columns(self, &shared->n_columns, err));
    shared->n_probe_morsels = shared->build->n_probe_morsels;
    shared->range.sorter = lb_sort_op_sorter(self->inputs[0]);
    shared->range.cuts = LB_CUT_TAILS;
    return shared->range.sorter != NULL
               ? LB_OK
               : lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no sort", self->label);
}

static void match_close(struct lb_op *self)
{
    struct match_shared *shared = self->shared;
    if (shared != NULL)
        lb_sort_pieces_delete(shared->range.pieces);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status match_attach(struct lb_op_local *local, struct lb_error *err)
{
    LB_TRY(lb_range_attach(local, err));
    struct lb_range_local *state = local->state;
    struct match_local *own = state->own = lb_alloc_zero(sizeof *own);
    if (own == NULL)
        return lb_error_memory(err, local->op->label, sizeof *own);
    own->hold_bytes = lb_run_worker_bytes(local->op->run) / 16;
    if (own->hold_bytes < HOLD_LEAST_BYTES)
        own->hold_bytes = HOLD_LEAST_BYTES;
#ifdef LB_TINY
    own->hold_bytes = HOLD_LEAST_BYTES;
#endif
    return LB_OK;
}

static void match_detach(struct lb_op_local *local)
{
    struct lb_range_local *state = local->state;
    struct match_local *own = state->own;
    if (own != NULL) {
        lb_free(own->group.frames, own->frame_capacity * sizeof *own->group.frames);
        lb_buf_fini(&own->held);
        lb_buf_fini(&own->frame);
        lb_buf_fini(&own->packed);
        lb_free(own, sizeof *own);
    }
    lb_range_detach(local);
}

/* A file for frames, which the build keeps, as they are read after this stage. */
static lb_status open_spill(struct lb_op_local *local, struct match_local *own,
                            struct lb_error *err)
{
    struct lb_join_build *build = ((struct match_shared *)local->op->shared)->build;
    struct lb_spill *spill = NULL;
    LB_TRY(lb_spill_new(&local->op->run->spill, &spill, err));
    pthread_mutex_lock(&build->lock);
    size_t size = build->n_spills * sizeof spill;
    void *list = lb_realloc(build->spills_list, size, size + sizeof spill);
    if (list != NULL) {
        build->spills_list = list;
        build->spills_list[build->n_spills++] = spill;
    }
    pthread_mutex_unlock(&build->lock);
    if (list == NULL) {
        lb_spill_delete(spill);
        return lb_error_memory(err, local->op->label, size);
    }
    own->spill = spill;
    return LB_OK;
}

/* The held rows become a frame. */
static lb_status spill_held(struct lb_op_local *local, struct match_local *own,
                            struct lb_error *err)
{
    size_t head = own->group.n_frames == 0 ? 1 : 0; /* the 'I' */
    if (own->spill == NULL)
        LB_TRY(open_spill(local, own, err));
    if (own->group.n_frames == own->frame_capacity) {
        uint32_t capacity = own->frame_capacity * 2 + 16;
        void *frames =
            lb_realloc(own->group.frames, own->frame_capacity * sizeof *own->group.frames,
                       capacity * sizeof *own->group.frames);
        if (frames == NULL)
            return lb_error_memory(err, local->op->label, capacity * sizeof(struct lb_frame));
        own->group.frames = frames;
        own->frame_capacity = capacity;
    }
    LB_TRY(lb_spill_append(own->spill, own->held.data + head, own->held.size - head,
                           &own->group.frames[own->group.n_frames], err));
    own->group.n_frames++;
    own->held.size = 0;
    return LB_OK;
}

static lb_status hold(struct lb_op_local *local, const struct lb_sort_row *row,
                      struct lb_error *err)
{
    const struct match_shared *shared = local->op->shared;
    struct match_local *own = ((struct lb_range_local *)local->state)->own;
    own->has_build = true;
    /* Rows that nobody will see need not be kept. */
    if (shared->kind > LB_JOIN_OUTER && shared->build->rest == LB_JOIN_REST_NONE)
        return LB_OK;
    if (own->held.size == 0 && own->group.n_frames == 0)
        LB_TRY(lb_buf_append_byte(&own->held, 'I', err));
    LB_TRY(lb_buf_append(&own->held, row->bytes + row->key_size, row->payload_size, err));
    return own->held.size > own->hold_bytes ? spill_held(local, own, err) : LB_OK;
}

/* Before the first probe row of a key: many rows become a group that probe rows refer to. */
static lb_status settle(struct lb_op_local *local, struct lb_error *err)
{
    struct match_shared *shared = local->op->shared;
    struct lb_join_build *build = shared->build;
    struct match_local *own = ((struct lb_range_local *)local->state)->own;
    if (own->held.size <= INLINE_BYTES && own->group.n_frames == 0)
        return LB_OK;
    if (shared->kind > LB_JOIN_OUTER)
        return LB_OK;
    if (own->held.size > 0)
        LB_TRY(spill_held(local, own, err));
    struct lb_join_group group = {.spill = own->spill, .n_frames = own->group.n_frames};
    size_t frames_bytes = group.n_frames * sizeof *group.frames;
    group.frames = lb_alloc(frames_bytes);
    if (group.frames == NULL)
        return lb_error_memory(err, local->op->label, frames_bytes);
    memcpy(group.frames, own->group.frames, frames_bytes);
    pthread_mutex_lock(&build->lock);
    uint32_t number = (uint32_t)build->n_groups;
    size_t size = build->n_groups * sizeof group;
    void *groups = lb_realloc(build->groups, size, size + sizeof group);
    if (groups != NULL) {
        build->groups = groups;
        build->groups[build->n_groups++] = group;
    }
    pthread_mutex_unlock(&build->lock);
    if (groups == NULL) {
        lb_free(group.frames, frames_bytes);
        return lb_error_memory(err, local->op->label, size);
    }
    LB_TRY(lb_buf_append_byte(&own->held, 'G', err));
    return lb_buf_append(&own->held, &number, sizeof number, err);
}

/* Appends a record (place, probe columns, matches). */
static lb_status put_record(struct lb_op_local *local, uint64_t place,
                            const struct lb_sort_row *probe, const char *matches, size_t size,
                            struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct lb_builder *column = NULL;
    LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
    LB_TRY(lb_builder_int(column, (int64_t)place, err));
    LB_TRY(lb_batch_builder_column(&state->builder, 1, &column, err));
    LB_TRY(probe != NULL
               ? lb_builder_string(column, probe->bytes + probe->key_size, probe->payload_size, err)
               : lb_builder_null(column, err));
    LB_TRY(lb_batch_builder_column(&state->builder, 2, &column, err));
    LB_TRY(lb_builder_string(column, matches, size, err));
    LB_TRY(lb_batch_builder_end_row(&state->builder, 0, err));
    if (!lb_batch_builder_is_full(&state->builder))
        return LB_OK;
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status match_probe(struct lb_op_local *local, const struct lb_sort_row *row,
                             struct lb_error *err)
{
    const struct match_shared *shared = local->op->shared;
    struct match_local *own = ((struct lb_range_local *)local->state)->own;
    if (!own->has_probe && own->has_build)
        LB_TRY(settle(local, err));
    own->has_probe = true;
    bool matches = own->has_build;
    switch (shared->kind) {
    case LB_JOIN_INNER:
    case LB_JOIN_SEMI:
        if (!matches)
            return LB_OK;
        break;
    case LB_JOIN_ANTI:
        if (matches)
            return LB_OK;
        break;
    case LB_JOIN_NONE:
        return LB_OK;
    case LB_JOIN_OUTER:
        break;
    }
    bool gives_matches = matches && shared->kind <= LB_JOIN_OUTER;
    return put_record(local, row->sequence, row, gives_matches ? own->held.data : "",
                      gives_matches ? own->held.size : 0, err);
}

static void skip_values(const char **cursor, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        *cursor += lb_codec_size(*cursor);
}

/* Build rows become records by themselves. */
static lb_status put_rest(struct lb_op_local *local, const char *rows, size_t size,
                          struct lb_error *err)
{
    const struct match_shared *shared = local->op->shared;
    const char *cursor = rows;
    struct lb_buf matches = {0};
    lb_status status = LB_OK;
    while (cursor < rows + size && status == LB_OK) {
        const char *start = cursor;
        struct lb_value number;
        skip_values(&cursor, shared->n_columns);
        lb_codec_next(&cursor, &number);
        uint64_t row = (uint64_t)number.i;
        uint64_t place = (shared->n_probe_morsels + row / LB_JOIN_REST_ROWS) << PLACE_BITS |
                         row % LB_JOIN_REST_ROWS;
        matches.size = 0;
        status = lb_buf_append_byte(&matches, 'I', err);
        if (status == LB_OK)
            status = lb_buf_append(&matches, start, (size_t)(cursor - start), err);
        if (status == LB_OK)
            status = put_record(local, place, NULL, matches.data, matches.size, err);
    }
    lb_buf_fini(&matches);
    return status;
}

static lb_status end_group(struct lb_op_local *local, struct lb_error *err)
{
    const struct match_shared *shared = local->op->shared;
    struct match_local *own = ((struct lb_range_local *)local->state)->own;
    enum lb_join_rest rest = shared->build->rest;
    bool wanted = rest != LB_JOIN_REST_NONE && !own->continues &&
                  own->has_probe == (rest == LB_JOIN_REST_MATCHED) && own->has_build;
    for (uint32_t i = 0; wanted && i < own->group.n_frames; i++) {
        const struct lb_frame *frame = &own->group.frames[i];
        own->frame.size = 0;
        LB_TRY(lb_buf_reserve(&own->frame, frame->raw_size, err));
        LB_TRY(lb_spill_read(own->spill, frame, own->frame.data, &own->packed, err));
        LB_TRY(put_rest(local, own->frame.data, frame->raw_size, err));
    }
    size_t head = own->group.n_frames == 0 ? 1 : 0; /* the 'I' */
    bool refers = own->held.size > 0 && own->held.data[0] == 'G';
    if (wanted && own->held.size > head && !refers)
        LB_TRY(put_rest(local, own->held.data + head, own->held.size - head, err));
    own->held.size = 0;
    own->group.n_frames = 0;
    own->has_build = own->has_probe = own->continues = false;
    return LB_OK;
}

static lb_status match_row(struct lb_op_local *local, const struct lb_sort_row *row,
                           struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct match_local *own = state->own;
    bool is_new = false, was_in_group = state->in_group;
    LB_TRY(lb_range_enter(state, row, &is_new, err));
    bool is_build = lb_sort_row_side(row) != 0;
    /* The build rows of a nil key are done with before the probe rows come. */
    bool parts =
        was_in_group && !is_new && !is_build && !own->has_probe && row->bytes[0] == LB_KEY_NIL;
    if (was_in_group && (is_new || parts))
        LB_TRY(end_group(local, err));
    return is_build ? hold(local, row, err) : match_probe(local, row, err);
}

/* A piece that begins within a key is read with the key's build rows. Nil matches nothing. */
static lb_status read_head(struct lb_op_local *local, struct lb_error *err)
{
    const struct match_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    struct match_local *own = state->own;
    struct lb_sort_cursor *cursor = NULL;
    const struct lb_sort_row *row = NULL;
    own->continues = true;
    LB_TRY(lb_sort_pieces_head(shared->range.pieces, state->range, &cursor, err));
    lb_status status = lb_sort_cursor_next(cursor, &row, err);
    for (uint32_t i = 1; status == LB_OK && row != NULL && row->bytes[0] != LB_KEY_NIL; i++) {
        status = hold(local, row, err);
        if (i % 1024 == 0 || lb_sort_cursor_is_due(cursor))
            lb_sort_cursor_release(cursor);
        if (status == LB_OK)
            status = lb_sort_cursor_next(cursor, &row, err);
    }
    lb_sort_cursor_delete(cursor);
    return status;
}

static lb_status match_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct match_local *own = state->own;
    own->held.size = 0;
    own->group.n_frames = 0;
    own->has_build = own->has_probe = own->continues = false;
    LB_TRY(lb_range_begin(local, err));
    if (state->piece != NULL && state->piece->begins)
        LB_TRY(read_head(local, err));
    for (uint32_t i = 1;; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            break;
        LB_TRY(match_row(local, row, err));
        if (i % 1024 == 0 || lb_sort_cursor_is_due(state->cursor)) /* everything kept is copied */
            lb_sort_cursor_release(state->cursor);
    }
    /* Where the key's probe rows go on in the next piece it has some, if not in this one. */
    if (state->piece != NULL && state->piece->ends && state->in_group &&
        state->group.data[0] != LB_KEY_NIL)
        own->has_probe = true;
    if (state->in_group)
        LB_TRY(end_group(local, err));
    return lb_range_end(local, err);
}

const struct lb_op_class lb_op_scan_join_match = {
    .name = "scan.join_match",
    .kind = LB_OP_SOURCE,
    .open = match_open,
    .attach = match_attach,
    .claim = lb_range_claim,
    .produce = match_produce,
    .detach = match_detach,
    .close = match_close,
};

/* ---- join_order ---- */

struct order_shared {
    struct lb_sorter *sorter;
    uint32_t n_partitions;
};

static lb_status order_open(struct lb_op *self, struct lb_error *err)
{
    struct order_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    struct lb_join_build *build = NULL;
    LB_TRY(lb_join_build_of(self, 0, &build, err));
    shared->n_partitions = n_partitions(build) > 0 ? n_partitions(build) : 1;
    struct lb_sorter_config config = {
        .n_partitions = shared->n_partitions,
        .n_ranges = 1,
        .writer_bytes = lb_run_worker_bytes(self->run),
        .merge_bytes = lb_run_worker_bytes(self->run) / 2 * self->run->options.n_threads,
        .n_workers = self->run->options.n_threads,
        .spill = self->run->spill,
        .budget = self->run->budget,
        .stop = &self->run->stop,
    };
    return lb_sorter_new(&config, &shared->sorter, err);
}

static lb_status order_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct order_shared *shared = local->op->shared;
    struct lb_sort_writer *writer = NULL;
    LB_TRY(lb_sort_writer_new(shared->sorter, &writer, err));
    local->state = writer;
    return LB_OK;
}

static lb_status order_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct order_shared *shared = local->op->shared;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t r = lb_batch_row(batch, i);
        uint64_t place = (uint64_t)batch->columns[0].ints[r], morsel = place >> PLACE_BITS;
        const struct lb_view *probe =
            lb_column_is_valid(&batch->columns[1], r) ? &batch->columns[1].views[r] : NULL;
        const struct lb_view *matches = &batch->columns[2].views[r];
        uint32_t partition =
            morsel < shared->n_partitions ? (uint32_t)morsel : shared->n_partitions - 1;
        uint64_t key = __builtin_bswap64(place);
        uint32_t probe_size = probe != NULL ? probe->size : NO_PROBE;
        uint64_t payload =
            sizeof probe_size + (probe != NULL ? probe->size : 0) + (uint64_t)matches->size;
        if (payload > UINT32_MAX)
            return lb_error_set(err, LB_ERR_RESOURCE, "%s: a record of more than 4 GiB",
                                local->op->label);
        struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_writer_add(local->state, partition, place, sizeof key, sizeof key,
                                  (uint32_t)payload, &row, err));
        char *out = row->bytes;
        memcpy(out, &key, sizeof key);
        out += sizeof key;
        memcpy(out, &probe_size, sizeof probe_size);
        out += sizeof probe_size;
        if (probe != NULL) {
            memcpy(out, lb_view_data(probe), probe->size);
            out += probe->size;
        }
        memcpy(out, lb_view_data(matches), matches->size);
    }
    return LB_OK;
}

static lb_status order_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_sort_writer *writer = local->state;
    local->state = NULL;
    return lb_sort_writer_finish(writer, err);
}

static void order_detach(struct lb_op_local *local)
{
    lb_sort_writer_delete(local->state);
}

static lb_status order_finish(struct lb_op *self, struct lb_error *err)
{
    struct order_shared *shared = self->shared;
    LB_TRY(lb_sorter_prepare(shared->sorter, err));
    self->n_result = lb_sorter_n_rows(shared->sorter);
    return LB_OK;
}

static void order_close(struct lb_op *self)
{
    struct order_shared *shared = self->shared;
    if (shared == NULL)
        return;
    if (shared->sorter != NULL)
        atomic_fetch_add(&self->run->spilled_bytes, lb_sorter_spilled_bytes(shared->sorter));
    lb_sorter_delete(shared->sorter);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_join_order = {
    .name = "join_order",
    .kind = LB_OP_SINK,
    .open = order_open,
    .attach = order_attach,
    .push = order_push,
    .combine = order_combine,
    .detach = order_detach,
    .finish = order_finish,
    .close = order_close,
};

/* ---- scan.join_ordered ---- */

struct ordered_shared {
    struct lb_range_shared range; /* first */
    struct lb_join_build *build;
    struct lb_join_outputs outputs;
    uint32_t n_columns; /* of a build row */
    uint32_t n_partitions;
};

struct ordered_local {
    const char *probe[LB_MAX_COLUMNS]; /* the values of the current record's columns, or NULL */
    const char *build[LB_MAX_COLUMNS];
    struct lb_buf frame, packed;
};

static lb_status ordered_open(struct lb_op *self, struct lb_error *err)
{
    struct ordered_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_join_build_of(self, 1, &shared->build, err));
    LB_TRY(lb_join_param_outputs(self, &shared->outputs, err));
    LB_TRY(param_columns(self, &shared->n_columns, err));
    if (self->inputs[0]->class != &lb_op_join_order)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no join_order", self->label);
    shared->range.sorter = ((struct order_shared *)self->inputs[0]->shared)->sorter;
    shared->n_partitions = n_partitions(shared->build);
    return LB_OK;
}

static void ordered_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct ordered_shared));
    self->shared = NULL;
}

static lb_status ordered_attach(struct lb_op_local *local, struct lb_error *err)
{
    LB_TRY(lb_range_attach(local, err));
    struct lb_range_local *state = local->state;
    state->own = lb_alloc_zero(sizeof(struct ordered_local));
    return state->own != NULL
               ? LB_OK
               : lb_error_memory(err, local->op->label, sizeof(struct ordered_local));
}

static void ordered_detach(struct lb_op_local *local)
{
    struct lb_range_local *state = local->state;
    struct ordered_local *own = state->own;
    if (own != NULL) {
        lb_buf_fini(&own->frame);
        lb_buf_fini(&own->packed);
        lb_free(own, sizeof *own);
    }
    lb_range_detach(local);
}

/* Every partition is a morsel, also one without rows. */
static lb_status ordered_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct ordered_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    *more = shared->range.next_range < shared->n_partitions;
    if (*more)
        state->range = shared->range.next_range++;
    return LB_OK;
}

/* Appends one record; probe: whether there is a probe row; the build row's values are set, or none. */
static lb_status put_joined(struct lb_op_local *local, bool has_probe, bool has_build,
                            struct lb_error *err)
{
    const struct ordered_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    struct ordered_local *own = state->own;
    for (uint32_t i = 0; i < shared->outputs.n; i++) {
        const struct lb_join_output *output = &shared->outputs.items[i];
        struct lb_builder *column = NULL;
        const char *item = NULL;
        if (output->probe > 0 && has_probe)
            item = own->probe[output->probe - 1];
        else if (output->build > 0 && has_build)
            item = own->build[output->build - 1];
        LB_TRY(lb_batch_builder_column(&state->builder, i, &column, err));
        LB_TRY(item != NULL ? lb_builder_encoded(column, item, lb_codec_size(item), err)
                            : lb_builder_null(column, err));
    }
    LB_TRY(lb_batch_builder_end_row(&state->builder, 0, err));
    if (!lb_batch_builder_is_full(&state->builder))
        return LB_OK;
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status put_matches(struct lb_op_local *local, bool has_probe, const char *rows,
                             size_t size, struct lb_error *err)
{
    const struct ordered_shared *shared = local->op->shared;
    struct ordered_local *own = ((struct lb_range_local *)local->state)->own;
    const char *cursor = rows;
    while (cursor < rows + size) {
        for (uint32_t i = 0; i < shared->n_columns; i++) {
            own->build[i] = cursor;
            cursor += lb_codec_size(cursor);
        }
        if (shared->build->rest != LB_JOIN_REST_NONE)
            skip_values(&cursor, 1); /* its number */
        LB_TRY(put_joined(local, has_probe, true, err));
    }
    return LB_OK;
}

static lb_status put_row(struct lb_op_local *local, const struct lb_sort_row *row,
                         struct lb_error *err)
{
    const struct ordered_shared *shared = local->op->shared;
    struct ordered_local *own = ((struct lb_range_local *)local->state)->own;
    const char *cursor = row->bytes + row->key_size, *end = cursor + row->payload_size;
    uint32_t probe_size = 0, number = 0;
    memcpy(&probe_size, cursor, sizeof probe_size);
    cursor += sizeof probe_size;
    bool has_probe = probe_size != NO_PROBE;
    const char *probe_end = has_probe ? cursor + probe_size : cursor;
    memset(own->probe, 0, sizeof own->probe);
    for (uint32_t i = 0; cursor < probe_end; i++) {
        own->probe[i] = cursor;
        cursor += lb_codec_size(cursor);
    }
    if (cursor == end)
        return put_joined(local, has_probe, false, err);
    if (*cursor == 'I')
        return put_matches(local, has_probe, cursor + 1, (size_t)(end - cursor - 1), err);
    memcpy(&number, cursor + 1, sizeof number);
    const struct lb_join_group *group = &shared->build->groups[number];
    for (uint32_t i = 0; i < group->n_frames; i++) {
        const struct lb_frame *frame = &group->frames[i];
        own->frame.size = 0;
        LB_TRY(lb_buf_reserve(&own->frame, frame->raw_size, err));
        LB_TRY(lb_spill_read(group->spill, frame, own->frame.data, &own->packed, err));
        LB_TRY(put_matches(local, has_probe, own->frame.data, frame->raw_size, err));
    }
    return LB_OK;
}

static lb_status ordered_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    if (lb_sorter_n_rows(((struct ordered_shared *)local->op->shared)->range.sorter) == 0)
        return LB_OK;
    LB_TRY(lb_range_begin(local, err));
    for (uint32_t i = 1;; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            return lb_range_end(local, err);
        LB_TRY(put_row(local, row, err));
        if (i % 256 == 0) /* what was put is copied */
            lb_sort_cursor_release(state->cursor);
    }
}

const struct lb_op_class lb_op_scan_join_ordered = {
    .name = "scan.join_ordered",
    .kind = LB_OP_SOURCE,
    .open = ordered_open,
    .attach = ordered_attach,
    .claim = ordered_claim,
    .produce = ordered_produce,
    .detach = ordered_detach,
    .close = ordered_close,
};
