/* scan.join_match: the first source of a hash join whose build side does not fit the memory.
 *
 * IDEA    join_shuffle.h brings the rows of a key together, the build rows first. They are kept while the probe rows of the key
 *         stream by, and each of these gives one record: its place, its columns, its matches. join_order.c sorts them by place and
 *         makes the joined records only then, and only as far as they are wanted. So the disk holds each probe row once,
 *         whatever the number of its matches.
 * FORMAT  (place, record), see join_order.h.
 * MEMORY  The build rows of one key up to a limit for each worker (held_rows.h), then in frames on disk, which are read one at a time.
 * WHY NOT Joining partition by partition with a table for each: a key whose rows alone exceed the memory still needs this way. */
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/held_rows.h"
#include "core/ops/join_order.h"
#include "core/ops/join_shuffle.h"
#include "core/ops/join_values.h"
#include "core/ops/ops.h"
#include "core/ops/range_scan.h"

#ifdef LB_TINY
enum { INLINE_BYTES = 64, HOLD_LEAST_BYTES = 128, OUT_BYTES = 512 };
#else
enum { INLINE_BYTES = 16 << 10, HOLD_LEAST_BYTES = 256 << 10, OUT_BYTES = 256 << 10 };
#endif

struct match_shared {
    struct lb_range_shared range; /* first: lb_range_claim uses it */
    struct lb_join_build *build;
    enum lb_join_kind kind;
    uint32_t n_columns; /* of a build row */
    uint64_t n_probe_morsels;
};

struct match_local {
    /* Build rows of the current key, each with its number where there is a rest; the spill file is the build's. */
    struct lb_held_rows held;
    bool refers;                /* held is the number of a group */
    struct lb_buf out;          /* records not yet pushed */
    size_t ends[LB_BATCH_ROWS]; /* of each in `out` */
    int64_t places[LB_BATCH_ROWS];
    uint32_t n_out;
    bool has_build, has_probe;
    bool
        continues; /* the piece began within the key: what is to be given once, an earlier piece gives */
};

static lb_status match_open(struct lb_op *self, struct lb_error *err)
{
    struct match_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_join_build_of(self, 1, &shared->build, err));
    LB_TRY(lb_join_param_kind(self, &shared->kind, err));
    LB_TRY(lb_join_param_width(self, &shared->n_columns, err));
    shared->n_probe_morsels = shared->build->n_probe_morsels;
    shared->range.sorter = shared->build->sorter;
    shared->range.cuts = LB_CUT_TAILS;
    shared->range.closed = true;
    return shared->range.sorter != NULL
               ? LB_OK
               : lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: the table fits", self->label);
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
    lb_held_rows_init(&own->held, local->op->run, 16, HOLD_LEAST_BYTES);
    return LB_OK;
}

static void match_detach(struct lb_op_local *local)
{
    struct lb_range_local *state = local->state;
    struct match_local *own = state->own;
    if (own != NULL) {
        lb_held_rows_fini(&own->held);
        lb_buf_fini(&own->out);
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
    own->held.spill = spill;
    return LB_OK;
}

/* The held rows become a frame. */
static lb_status spill_held(struct lb_op_local *local, struct match_local *own,
                            struct lb_error *err)
{
    if (own->held.spill == NULL)
        LB_TRY(open_spill(local, own, err));
    return lb_held_rows_spill(&own->held, local->op->label, err);
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
    LB_TRY(lb_buf_append(&own->held.newest, row->bytes + row->key_size, row->payload_size, err));
    if (shared->build->rest != LB_JOIN_REST_NONE)
        LB_TRY(lb_join_put_number(&own->held.newest, LB_JOIN_INT_TAG,
                                  (int64_t)lb_join_row_number(shared->build, row->sequence), err));
    return own->held.newest.size > own->held.most_bytes ? spill_held(local, own, err) : LB_OK;
}

/* Before the first probe row of a key: many rows become a group that probe rows refer to. */
static lb_status settle(struct lb_op_local *local, struct lb_error *err)
{
    struct match_shared *shared = local->op->shared;
    struct lb_join_build *build = shared->build;
    struct match_local *own = ((struct lb_range_local *)local->state)->own;
    if (own->held.newest.size <= INLINE_BYTES && own->held.n_frames == 0)
        return LB_OK;
    if (shared->kind > LB_JOIN_OUTER)
        return LB_OK;
    if (own->held.newest.size > 0)
        LB_TRY(spill_held(local, own, err));
    struct lb_join_group group = {.spill = own->held.spill, .n_frames = own->held.n_frames};
    size_t frames_bytes = group.n_frames * sizeof *group.frames;
    group.frames = lb_alloc(frames_bytes);
    if (group.frames == NULL)
        return lb_error_memory(err, local->op->label, frames_bytes);
    memcpy(group.frames, own->held.frames, frames_bytes);
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
    own->refers = true;
    return lb_buf_append(&own->held.newest, &number, sizeof number, err);
}

/* Pushes the records. */
static lb_status flush(struct lb_op_local *local, struct lb_error *err)
{
    struct match_local *own = ((struct lb_range_local *)local->state)->own;
    struct lb_view views[LB_BATCH_ROWS];
    if (own->n_out == 0)
        return LB_OK;
    size_t start = 0;
    for (uint32_t i = 0; i < own->n_out; i++) {
        lb_view_set(&views[i], own->out.data + start, own->ends[i] - start);
        start = own->ends[i];
    }
    const struct lb_column columns[2] = {{.type = LB_INT64, .ints = own->places},
                                         {.type = LB_STRING, .views = views}};
    const struct lb_batch batch = {
        .n_rows = own->n_out, .n_selected = own->n_out, .n_columns = 2, .columns = columns};
    LB_TRY(lb_push(local->next, &batch, err));
    own->n_out = 0;
    own->out.size = 0;
    return LB_OK;
}

/* Puts a record; `has` as join_order.h says, for which these are the bytes behind the probe row (NULL: there is none). */
static lb_status put_record(struct lb_op_local *local, uint64_t place,
                            const struct lb_sort_row *probe, unsigned has, const char *matches,
                            size_t size, struct lb_error *err)
{
    struct match_local *own = ((struct lb_range_local *)local->state)->own;
    struct lb_buf *out = &own->out;
    size_t probe_size = probe != NULL ? probe->payload_size : 0;
    LB_TRY(lb_buf_reserve(out, 1 + probe_size + size, err));
    char *at = out->data + out->size;
    *at++ = (char)(has | (probe != NULL ? LB_JOIN_HAS_PROBE : 0));
    if (probe_size > 0)
        memcpy(at, probe->bytes + probe->key_size, probe_size);
    if (size > 0)
        memcpy(at + probe_size, matches, size);
    out->size += 1 + probe_size + size;
    own->places[own->n_out] = (int64_t)place;
    own->ends[own->n_out++] = out->size;
    return own->n_out == LB_BATCH_ROWS || out->size > OUT_BYTES ? flush(local, err) : LB_OK;
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
    if (!gives_matches)
        return put_record(local, row->sequence, row, 0, NULL, 0, err);
    return put_record(local, row->sequence, row, own->refers ? LB_JOIN_HAS_GROUP : LB_JOIN_HAS_ROWS,
                      own->held.newest.data, own->held.newest.size, err);
}

/* Build rows become records by themselves. */
static lb_status put_rest(struct lb_op_local *local, const char *rows, size_t size,
                          struct lb_error *err)
{
    const struct match_shared *shared = local->op->shared;
    for (const char *cursor = rows; cursor < rows + size;) {
        const char *start = cursor;
        for (uint32_t i = 0; i < shared->n_columns; i++)
            cursor += lb_join_value_size(cursor);
        uint64_t row = (uint64_t)lb_join_get_number(cursor);
        cursor += lb_join_value_size(cursor);
        uint64_t place = (shared->n_probe_morsels + row / LB_JOIN_REST_ROWS) << LB_JOIN_PLACE_BITS |
                         row % LB_JOIN_REST_ROWS;
        LB_TRY(
            put_record(local, place, NULL, LB_JOIN_HAS_ROWS, start, (size_t)(cursor - start), err));
    }
    return LB_OK;
}

static void begin_key(struct match_local *own)
{
    lb_held_rows_clear(&own->held);
    own->has_build = own->has_probe = own->continues = own->refers = false;
}

static lb_status end_group(struct lb_op_local *local, struct lb_error *err)
{
    const struct match_shared *shared = local->op->shared;
    struct match_local *own = ((struct lb_range_local *)local->state)->own;
    enum lb_join_rest rest = shared->build->rest;
    bool wanted = rest != LB_JOIN_REST_NONE && !own->continues &&
                  own->has_probe == (rest == LB_JOIN_REST_MATCHED) && own->has_build;
    for (uint32_t i = 0; wanted && i < own->held.n_frames; i++) {
        const struct lb_frame *frame = &own->held.frames[i];
        LB_TRY(lb_spill_read_buf(own->held.spill, frame, &own->held.frame, &own->held.packed, err));
        LB_TRY(put_rest(local, own->held.frame.data, frame->raw_size, err));
    }
    if (wanted && !own->refers)
        LB_TRY(put_rest(local, own->held.newest.data, own->held.newest.size, err));
    begin_key(own);
    return LB_OK;
}

static lb_status match_row(struct lb_op_local *local, const struct lb_sort_row *row,
                           struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct match_local *own = state->own;
    bool is_new = false, was_in_group = state->in_group;
    LB_TRY(lb_range_enter(state, row, &is_new, err));
    bool is_build = (unsigned char)row->bytes[row->group_size] == LB_JOIN_BUILD_SIDE;
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
    begin_key(own);
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
    LB_TRY(flush(local, err));
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
