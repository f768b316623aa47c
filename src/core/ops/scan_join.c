/* Joins of pairs: the source over a sort with sides, where side 0 is the left dataset and side 1 (to n) the right one.
 *
 * IDEA    A group holds all records of one key, the right side's first (sort.h). They are kept; then each left record
 *         streams by and meets them. So the left side of a key may be of any size, and the result of a key is in order
 *         of the left records, for each in order of the right ones. Keys that are nil match nothing, but outer joins keep
 *         their records.
 * PIECES  Where records of one key are many, several workers share them (algo/sort_pieces.h): the right records are the
 *         head of the group, the left ones its tail. Each piece of left records keeps all right ones; where few left records
 *         meet many right ones, a piece is one left record with a part of the right ones (`turned`). Either way
 *         the pieces one after the other give the records of the whole, in their order.
 * MEMORY  The right records of one key, encoded; beyond a limit they go to a spill file as frames, which
 *         are read again for each left record of that key. cogroup keeps the lists of one key in memory: they are one
 *         record.
 * RESULT  inner, left, right, full: (key, left, right), nil where there is no match; semi, anti: (key, left);
 *         cogroup: (key, list of side 0, list of side 1, ...). A side's value of several columns is a list.
 * FLAT    With the parameters flat = list of {left?, right?} and widths = {left, right}, the numbers of value columns of
 *         the sides, a record has instead one column for each element of flat: the left record's value column of that
 *         number; where there is no left record, or no `left`, the right record's; or nil. */
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/held_rows.h"
#include "core/ops/ops.h"
#include "core/ops/range_scan.h"

/* ORDER join kinds */
enum join_kind { JOIN_INNER, JOIN_LEFT, JOIN_RIGHT, JOIN_FULL, JOIN_SEMI, JOIN_ANTI };

static const char *const join_kinds[] = {"inner", "left", "right", "full", "semi", "anti", NULL};

#ifdef LB_TINY
enum { HOLD_LEAST_BYTES = 64 };
#else
enum { HOLD_LEAST_BYTES = 1 << 20 };
#endif

/* A column of a flat result: 1-based value columns, 0: none. */
struct flat_column {
    uint32_t left, right;
};

struct join_local {
    struct flat_column flat[LB_MAX_COLUMNS];
    uint32_t n_flat; /* 0: (key, left, right) */
    uint32_t widths[2];
    const char *left_items[LB_MAX_COLUMNS]; /* scratch: the value columns of a record, or NULL */
    const char *right_items[LB_MAX_COLUMNS];
    struct lb_held_rows
        held; /* encoded values of right records; its spill file is for this range's keys */
    struct lb_buf left; /* the left value, encoded */
    bool has_right, has_left;
    struct lb_buf key; /* the group's key, encoded */
};

static lb_status join_open(struct lb_op *self, struct lb_error *err)
{
    LB_TRY(lb_range_open_op(self, join_kinds, err));
    struct lb_range_shared *shared = self->shared;
    bool one_sided = shared->kind == JOIN_SEMI || shared->kind == JOIN_ANTI;
    shared->cuts = one_sided ? LB_CUT_TAILS : LB_CUT_HEADS;
    return LB_OK;
}

static uint32_t number_of(const struct lb_value *map, const char *key)
{
    struct lb_value field;
    if (map->tag != 'm' || !lb_value_field(map, key, &field))
        return 0;
    return field.tag == 'i' && field.i >= 1 && field.i <= LB_MAX_COLUMNS ? (uint32_t)field.i
                                                                         : UINT32_MAX;
}

/* The parameters flat and widths. */
static lb_status param_flat(const struct lb_op *op, struct join_local *own, struct lb_error *err)
{
    struct lb_value list, widths, item;
    if (!lb_value_field(&op->params, "flat", &list))
        return LB_OK;
    bool good = list.tag == 'l' && list.count >= 1 && list.count <= LB_MAX_COLUMNS &&
                lb_value_field(&op->params, "widths", &widths) && widths.tag == 'l' &&
                widths.count == 2;
    const char *cursor = good ? widths.data : NULL;
    for (uint32_t i = 0; good && i < 2; i++) {
        lb_codec_next(&cursor, &item);
        good = item.tag == 'i' && item.i >= 0 && item.i < LB_MAX_COLUMNS;
        own->widths[i] = good ? (uint32_t)item.i : 0;
    }
    cursor = good ? list.data : NULL;
    for (uint32_t i = 0; good && i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        struct flat_column column = {number_of(&item, "left"), number_of(&item, "right")};
        good = column.left <= own->widths[0] && column.right <= own->widths[1] &&
               (column.left > 0 || column.right > 0);
        own->flat[own->n_flat++] = column;
    }
    return good ? LB_OK
                : lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: parameter 'flat' is wrong",
                               op->label);
}

static lb_status join_attach(struct lb_op_local *local, struct lb_error *err)
{
    LB_TRY(lb_range_attach(local, err));
    struct lb_range_local *state = local->state;
    struct join_local *own = state->own = lb_alloc_zero(sizeof *own);
    if (own == NULL)
        return lb_error_memory(err, local->op->label, sizeof *own);
    lb_held_rows_init(&own->held, local->op->run, 8, HOLD_LEAST_BYTES);
    return param_flat(local->op, own, err);
}

static void join_detach(struct lb_op_local *local)
{
    struct lb_range_local *state = local->state;
    struct join_local *own = state->own;
    if (own != NULL) {
        if (own->held.spill != NULL) {
            atomic_fetch_add(&local->op->run->spilled_bytes, lb_spill_bytes(own->held.spill));
            lb_spill_delete(own->held.spill);
        }
        lb_held_rows_fini(&own->held);
        lb_buf_fini(&own->left);
        lb_buf_fini(&own->key);
        lb_free(own, sizeof *own);
    }
    lb_range_detach(local);
}

/* Appends the row's key as an encoded value. */
static lb_status put_key(const struct lb_sort_row *row, struct lb_buf *out, struct lb_error *err)
{
    const char *cursor = row->bytes + row->key_size, *data = NULL;
    bool is_string = false;
    size_t size = 0;
    lb_sort_row_value(row, &cursor, &is_string, &data, &size);
    return is_string ? lb_codec_put_string(out, data, size, err)
                     : lb_buf_append(out, data, size, err);
}

/* Whether unmatched right records are results, so that their own keys (1 and 1.0 are one) must be kept. */
static bool wants_right(const struct lb_op_local *local)
{
    int kind = ((const struct lb_range_shared *)local->op->shared)->kind;
    return kind == JOIN_RIGHT || kind == JOIN_FULL;
}

/* ---- the right records of the key ---- */

static lb_status spill_held(struct lb_op_local *local, struct join_local *own, struct lb_error *err)
{
    if (own->held.spill == NULL)
        LB_TRY(lb_spill_new(&local->op->run->spill, &own->held.spill, err));
    return lb_held_rows_spill(&own->held, local->op->label, err);
}

static lb_status hold_right(struct lb_op_local *local, struct join_local *own,
                            const struct lb_sort_row *row, struct lb_error *err)
{
    int kind = ((const struct lb_range_shared *)local->op->shared)->kind;
    own->has_right = true;
    if (kind == JOIN_SEMI || kind == JOIN_ANTI)
        return LB_OK;
    if (wants_right(local))
        LB_TRY(put_key(row, &own->held.newest, err));
    LB_TRY(lb_range_put_value(row, &own->held.newest, err));
    return own->held.newest.size >= own->held.most_bytes ? spill_held(local, own, err) : LB_OK;
}

/* ---- results ---- */

/* The value columns of an encoded value, as lb_range_put_value made it; NULL: there is no record. */
static void split_value(const char *value, uint32_t width, const char **items)
{
    struct lb_value list = {.count = 0};
    const char *cursor = value;
    if (value != NULL && width == 1) {
        items[0] = value;
        return;
    }
    if (value != NULL && width > 1) {
        lb_codec_next(&cursor, &list);
        cursor = list.data;
    }
    for (uint32_t i = 0; i < width; i++) {
        items[i] = i < list.count ? cursor : NULL;
        if (i < list.count)
            cursor += lb_codec_size(cursor);
    }
}

static lb_status put_flat(struct lb_range_local *state, const char *left, const char *right,
                          struct lb_error *err)
{
    struct join_local *own = state->own;
    split_value(left, own->widths[0], own->left_items);
    split_value(right, own->widths[1], own->right_items);
    for (uint32_t i = 0; i < own->n_flat; i++) {
        const struct flat_column *flat = &own->flat[i];
        struct lb_builder *column = NULL;
        const char *item = NULL;
        if (flat->left > 0 && left != NULL)
            item = own->left_items[flat->left - 1];
        else if (flat->right > 0)
            item = own->right_items[flat->right - 1];
        LB_TRY(lb_batch_builder_column(&state->builder, i, &column, err));
        LB_TRY(item != NULL ? lb_builder_encoded(column, item, lb_codec_size(item), err)
                            : lb_builder_null(column, err));
    }
    return LB_OK;
}

/* (key, left, right) */
static lb_status put_columns(struct lb_op_local *local, const struct lb_buf *left,
                             const char *right, size_t right_size, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    const struct lb_range_shared *shared = local->op->shared;
    struct join_local *own = state->own;
    struct lb_builder *column = NULL;
    LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
    LB_TRY(lb_builder_encoded(column, own->key.data, own->key.size, err));
    LB_TRY(lb_batch_builder_column(&state->builder, 1, &column, err));
    LB_TRY(left != NULL ? lb_builder_encoded(column, left->data, left->size, err)
                        : lb_builder_null(column, err));
    if (shared->kind != JOIN_SEMI && shared->kind != JOIN_ANTI) {
        LB_TRY(lb_batch_builder_column(&state->builder, 2, &column, err));
        LB_TRY(right != NULL ? lb_builder_encoded(column, right, right_size, err)
                             : lb_builder_null(column, err));
    }
    return LB_OK;
}

/* Appends one record; left or right NULL: nil. */
static lb_status put_record(struct lb_op_local *local, const struct lb_buf *left, const char *right,
                            size_t right_size, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    const struct join_local *own = state->own;
    if (own->n_flat > 0)
        LB_TRY(put_flat(state, left != NULL ? left->data : NULL, right, err));
    else
        LB_TRY(put_columns(local, left, right, right_size, err));
    LB_TRY(lb_batch_builder_end_row(&state->builder, 0, err));
    if (!lb_batch_builder_is_full(&state->builder))
        return LB_OK;
    /* The cursor is not released here: the caller is at work on its newest row. */
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status put_all(struct lb_op_local *local, const struct lb_buf *left, const char *values,
                         size_t size, struct lb_error *err)
{
    struct join_local *own = ((struct lb_range_local *)local->state)->own;
    const char *cursor = values;
    const char *end = values + size;
    while (cursor < end) {
        if (wants_right(local)) {
            size_t key_size = lb_codec_size(cursor);
            if (left == NULL) {
                own->key.size = 0;
                LB_TRY(lb_buf_append(&own->key, cursor, key_size, err));
            }
            cursor += key_size;
        }
        size_t value_size = lb_codec_size(cursor);
        LB_TRY(put_record(local, left, cursor, value_size, err));
        cursor += value_size;
    }
    return LB_OK;
}

/* One record for each right record of the key; left NULL: nil. */
static lb_status put_matches(struct lb_op_local *local, const struct lb_buf *left,
                             struct lb_error *err)
{
    struct join_local *own = ((struct lb_range_local *)local->state)->own;
    for (uint32_t i = 0; i < own->held.n_frames; i++) {
        const struct lb_frame *frame = &own->held.frames[i];
        LB_TRY(lb_spill_read_buf(own->held.spill, frame, &own->held.frame, &own->held.packed, err));
        LB_TRY(put_all(local, left, own->held.frame.data, frame->raw_size, err));
    }
    return put_all(local, left, own->held.newest.data, own->held.newest.size, err);
}

static lb_status join_left(struct lb_op_local *local, const struct lb_sort_row *row,
                           struct lb_error *err)
{
    struct lb_range_shared *shared = local->op->shared;
    struct join_local *own = ((struct lb_range_local *)local->state)->own;
    own->has_left = true;
    own->left.size = 0;
    own->key.size = 0;
    LB_TRY(put_key(row, &own->key, err));
    LB_TRY(lb_range_put_value(row, &own->left, err));
    switch ((enum join_kind)shared->kind) {
    case JOIN_SEMI:
        return own->has_right ? put_record(local, &own->left, NULL, 0, err) : LB_OK;
    case JOIN_ANTI:
        return own->has_right ? LB_OK : put_record(local, &own->left, NULL, 0, err);
    case JOIN_LEFT:
    case JOIN_FULL:
        if (!own->has_right)
            return put_record(local, &own->left, NULL, 0, err);
        break;
    default:
        break;
    }
    return own->has_right ? put_matches(local, &own->left, err) : LB_OK;
}

/* Right records that met no left one. */
static lb_status end_group(struct lb_op_local *local, struct lb_error *err)
{
    struct join_local *own = ((struct lb_range_local *)local->state)->own;
    if (wants_right(local) && own->has_right && !own->has_left)
        LB_TRY(put_matches(local, NULL, err));
    lb_held_rows_clear(&own->held);
    own->has_right = own->has_left = false;
    return LB_OK;
}

static lb_status join_row(struct lb_op_local *local, const struct lb_sort_row *row,
                          struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct join_local *own = state->own;
    bool is_new = false, was_in_group = state->in_group;
    LB_TRY(lb_range_enter(state, row, &is_new, err));
    bool is_right = lb_sort_row_side(row) != 0;
    /* The right records of a nil key are done with before the left ones come. */
    bool parts =
        was_in_group && !is_new && !is_right && !own->has_left && row->bytes[0] == LB_KEY_NIL;
    if (was_in_group && (is_new || parts))
        LB_TRY(end_group(local, err));
    return is_right ? hold_right(local, own, row, err) : join_left(local, row, err);
}

/* ---- pieces ---- */

static void forget_group(struct join_local *own)
{
    lb_held_rows_clear(&own->held);
    own->has_right = own->has_left = false;
}

/* What the piece is to be read with: the right records of the key it begins with; turned: its left record. */
static lb_status read_head(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_range_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    struct join_local *own = state->own;
    struct lb_sort_cursor *cursor = NULL;
    const struct lb_sort_row *row = NULL;
    LB_TRY(lb_sort_pieces_head(shared->pieces, state->range, &cursor, err));
    lb_status status = lb_sort_cursor_next(cursor, &row, err);
    bool is_nil = row != NULL && row->bytes[0] == LB_KEY_NIL;
    for (uint32_t i = 1; status == LB_OK && row != NULL && !is_nil; i++) {
        if (lb_sort_row_side(row) != 0) {
            status = hold_right(local, own, row, err);
        } else {
            own->has_left = true;
            status = put_key(row, &own->key, err);
            if (status == LB_OK)
                status = lb_range_put_value(row, &own->left, err);
        }
        if (i % 1024 == 0 || lb_sort_cursor_is_due(cursor))
            lb_sort_cursor_release(cursor);
        if (status == LB_OK)
            status = lb_sort_cursor_next(cursor, &row, err);
    }
    lb_sort_cursor_delete(cursor);
    return status;
}

/* A right record of a turned piece: meets its left record, or none. */
static lb_status join_turned(struct lb_op_local *local, const struct lb_sort_row *row,
                             struct lb_error *err)
{
    struct join_local *own = ((struct lb_range_local *)local->state)->own;
    if (!own->has_left && !wants_right(local))
        return LB_OK;
    if (!own->has_left) {
        own->key.size = 0;
        LB_TRY(put_key(row, &own->key, err));
    }
    own->held.newest.size = 0;
    LB_TRY(lb_range_put_value(row, &own->held.newest, err));
    return put_record(local, own->has_left ? &own->left : NULL, own->held.newest.data,
                      own->held.newest.size, err);
}

static lb_status end_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct join_local *own = state->own;
    /* Where the key's left records go on in the next piece, nothing is left unmatched; but nil matches nothing. */
    bool goes_on = state->piece != NULL && state->piece->ends &&
                   !(state->in_group && state->group.data[0] == LB_KEY_NIL);
    if (state->in_group && !goes_on)
        LB_TRY(end_group(local, err));
    forget_group(own);
    return lb_range_end(local, err);
}

static lb_status join_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct join_local *own = state->own;
    const struct lb_sort_piece *piece = state->piece;
    bool is_turned = piece != NULL && piece->turned;
    bool counts = true;
    uint64_t n_rows = 0; /* of the key that is split */
    forget_group(own);   /* what a morsel that was cut short left */
    own->left.size = own->key.size = 0;
    LB_TRY(lb_range_begin(local, err));
    if (piece != NULL && piece->begins)
        LB_TRY(read_head(local, err));
    for (uint32_t i = 1;; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            break;
        if (is_turned)
            LB_TRY(join_turned(local, row, err));
        else
            LB_TRY(join_row(local, row, err));
        counts = counts && lb_range_counts(local->op, state->range, row);
        n_rows += counts;
        if (i % 1024 == 0 || lb_sort_cursor_is_due(state->cursor)) /* everything kept is copied */
            lb_sort_cursor_release(state->cursor);
    }
    lb_range_add_rows(local->op, state->range, n_rows);
    return end_produce(local, err);
}

const struct lb_op_class lb_op_scan_join = {
    .name = "scan.join",
    .kind = LB_OP_SOURCE,
    .open = join_open,
    .attach = join_attach,
    .claim = lb_range_claim,
    .progress = lb_range_progress,
    .produce = join_produce,
    .detach = join_detach,
    .finish = lb_range_finish_op,
    .close = lb_range_close_op,
};

/* ---- scan.cogroup ---- */

enum { MOST_SIDES = 64 };

struct lists {
    uint32_t n_sides;
    struct lb_buf bytes[MOST_SIDES];
    size_t marks[MOST_SIDES];
    uint32_t counts[MOST_SIDES];
    size_t charged[MOST_SIDES]; /* reserved for bytes */
};

static lb_status cogroup_open(struct lb_op *self, struct lb_error *err)
{
    LB_TRY(lb_range_open_op(self, NULL, err));
    ((struct lb_range_shared *)self->shared)->cuts = LB_CUT_GROUPS;
    return LB_OK;
}

static lb_status cogroup_attach(struct lb_op_local *local, struct lb_error *err)
{
    int64_t n_sides = 0;
    LB_TRY(lb_range_attach(local, err));
    LB_TRY(lb_param_int(local->op, "sides", 2, &n_sides, err));
    if (n_sides < 1 || n_sides > MOST_SIDES)
        return lb_error_set(err, LB_ERR_USAGE, "%s: %lld datasets (%d at most)", local->op->label,
                            (long long)n_sides, MOST_SIDES);
    struct lb_range_local *state = local->state;
    struct lists *lists = state->own = lb_alloc_zero(sizeof *lists);
    if (lists == NULL)
        return lb_error_memory(err, local->op->label, sizeof *lists);
    lists->n_sides = (uint32_t)n_sides;
    return LB_OK;
}

static void cogroup_detach(struct lb_op_local *local)
{
    struct lists *lists = ((struct lb_range_local *)local->state)->own;
    for (uint32_t i = 0; lists != NULL && i < lists->n_sides; i++) {
        lb_budget_release(local->op->run->budget, lists->charged[i]);
        lb_buf_fini(&lists->bytes[i]);
    }
    lb_free(lists, sizeof *lists);
    lb_range_detach(local);
}

static lb_status begin_lists(struct lb_range_local *state, const struct lb_sort_row *row,
                             struct lb_error *err)
{
    struct lists *lists = state->own;
    struct lb_builder *column = NULL;
    LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
    LB_TRY(lb_range_put_key(row, column, err));
    for (uint32_t i = 0; i < lists->n_sides; i++) {
        lists->bytes[i].size = 0;
        lists->counts[i] = 0;
        LB_TRY(lb_codec_begin(&lists->bytes[i], 'l', &lists->marks[i], err));
    }
    return LB_OK;
}

static lb_status end_lists(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct lists *lists = state->own;
    for (uint32_t i = 0; i < lists->n_sides; i++) {
        struct lb_builder *column = NULL;
        lb_codec_end(&lists->bytes[i], lists->marks[i], lists->counts[i]);
        LB_TRY(lb_batch_builder_column(&state->builder, i + 1, &column, err));
        LB_TRY(lb_builder_encoded(column, lists->bytes[i].data, lists->bytes[i].size, err));
    }
    LB_TRY(lb_batch_builder_end_row(&state->builder, 0, err));
    return lb_batch_builder_is_full(&state->builder) ? lb_range_flush(local, err) : LB_OK;
}

static lb_status cogroup_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct lists *lists = state->own;
    LB_TRY(lb_range_begin(local, err));
    for (uint32_t i = 1;; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        bool is_new = row == NULL, was_in_group = state->in_group;
        if (row != NULL)
            LB_TRY(lb_range_enter(state, row, &is_new, err));
        if (is_new && was_in_group)
            LB_TRY(end_lists(local, err));
        if (row == NULL)
            return lb_range_end(local, err);
        if (is_new)
            LB_TRY(begin_lists(state, row, err));
        uint32_t side = lb_sort_row_side(row);
        if (side >= lists->n_sides)
            return lb_error_set(err, LB_ERR_INTERNAL, "%s: a record of side %u", local->op->label,
                                side);
        LB_TRY(lb_range_put_value(row, &lists->bytes[side], err));
        LB_TRY(lb_range_charge(local, &lists->bytes[side], &lists->charged[side], err));
        lists->counts[side]++;
        if (i % 1024 == 0 || lb_sort_cursor_is_due(state->cursor))
            lb_sort_cursor_release(state->cursor);
    }
}

const struct lb_op_class lb_op_scan_cogroup = {
    .name = "scan.cogroup",
    .kind = LB_OP_SOURCE,
    .open = cogroup_open,
    .attach = cogroup_attach,
    .claim = lb_range_claim,
    .progress = lb_range_progress,
    .produce = cogroup_produce,
    .detach = cogroup_detach,
    .close = lb_range_close_op,
};
