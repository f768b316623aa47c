/* Sources that read a sorter's ranges: rows as they are, groups as lists, and set operations. */
#include "core/base/sys.h"
#include "core/ops/ops.h"
#include "core/ops/range_scan.h"

/* ---- scan.sorted ---- */

static lb_status plain_open(struct lb_op *self, struct lb_error *err)
{
    return lb_range_open_op(self, NULL, err);
}

static lb_status sorted_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    LB_TRY(lb_range_begin(local, err));
    for (;;) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            return lb_range_end(local, err);
        if (!lb_batch_builder_fits(&state->builder, lb_sort_row_width(row)))
            LB_TRY(lb_range_flush(local, err));
        LB_TRY(lb_sort_row_decode(row, &state->builder, err));
        bool is_due = lb_range_see(state, row);
        if (lb_batch_builder_is_full(&state->builder) || is_due)
            LB_TRY(lb_range_flush(local, err));
    }
}

const struct lb_op_class lb_op_scan_sorted = {
    .name = "scan.sorted",
    .kind = LB_OP_SOURCE,
    .open = plain_open,
    .attach = lb_range_attach,
    .claim = lb_range_claim,
    .progress = lb_range_progress,
    .produce = sorted_produce,
    .detach = lb_range_detach,
    .close = lb_range_close_op,
};

/* ---- scan.groups ---- */

/* The list of the current group. */
struct group_list {
    struct lb_buf bytes; /* the values so far, encoded */
    size_t mark;
    uint32_t count;
    size_t charged; /* reserved for bytes */
};

static lb_status groups_open(struct lb_op *self, struct lb_error *err)
{
    LB_TRY(lb_range_open_op(self, NULL, err));
    ((struct lb_range_shared *)self->shared)->cuts = LB_CUT_GROUPS;
    return LB_OK;
}

static lb_status groups_attach(struct lb_op_local *local, struct lb_error *err)
{
    LB_TRY(lb_range_attach(local, err));
    struct lb_range_local *state = local->state;
    state->own = lb_alloc_zero(sizeof(struct group_list));
    return state->own != NULL ? LB_OK
                              : lb_error_memory(err, local->op->label, sizeof(struct group_list));
}

static void groups_detach(struct lb_op_local *local)
{
    struct group_list *list = ((struct lb_range_local *)local->state)->own;
    if (list != NULL) {
        lb_budget_release(local->op->run->budget, list->charged);
        lb_buf_fini(&list->bytes);
    }
    lb_free(list, sizeof *list);
    lb_range_detach(local);
}

static lb_status begin_list(struct lb_range_local *state, const struct lb_sort_row *row,
                            struct lb_error *err)
{
    struct group_list *list = state->own;
    struct lb_builder *column = NULL;
    LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
    LB_TRY(lb_range_put_key(row, column, err));
    list->bytes.size = 0;
    list->count = 0;
    return lb_codec_begin(&list->bytes, 'l', &list->mark, err);
}

/* Ends the row of the group whose key is in column 0 already. */
static lb_status end_list(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct group_list *list = state->own;
    struct lb_builder *column = NULL;
    lb_codec_end(&list->bytes, list->mark, list->count);
    LB_TRY(lb_batch_builder_column(&state->builder, 1, &column, err));
    LB_TRY(lb_builder_encoded(column, list->bytes.data, list->bytes.size, err));
    LB_TRY(lb_batch_builder_end_row(&state->builder, 0, err));
    return lb_batch_builder_is_full(&state->builder) ? lb_range_flush(local, err) : LB_OK;
}

static lb_status groups_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    struct group_list *list = state->own;
    LB_TRY(lb_range_begin(local, err));
    for (uint32_t since_release = 0;; since_release++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        bool is_new = row == NULL;
        bool was_in_group = state->in_group;
        if (row != NULL)
            LB_TRY(lb_range_enter(state, row, &is_new, err));
        if (is_new && was_in_group)
            LB_TRY(end_list(local, err));
        if (row == NULL)
            return lb_range_end(local, err);
        if (is_new)
            LB_TRY(begin_list(state, row, err));
        LB_TRY(lb_range_put_value(row, &list->bytes, err));
        LB_TRY(lb_range_charge(local, &list->bytes, &list->charged, err));
        list->count++;
        /* Key and values are copied: a huge group may go on. */
        if (since_release % 1024 == 1023 || lb_sort_cursor_is_due(state->cursor))
            lb_sort_cursor_release(state->cursor);
    }
}

const struct lb_op_class lb_op_scan_groups = {
    .name = "scan.groups",
    .kind = LB_OP_SOURCE,
    .open = groups_open,
    .attach = groups_attach,
    .claim = lb_range_claim,
    .progress = lb_range_progress,
    .produce = groups_produce,
    .detach = groups_detach,
    .close = lb_range_close_op,
};

/* ---- scan.set: a group's rows of side 1 come first, see sort.h ---- */

/* ORDER set kinds */
enum set_kind { SET_SUBTRACT, SET_INTERSECTION };

static lb_status set_open(struct lb_op *self, struct lb_error *err)
{
    static const char *const kinds[] = {"subtract", "intersection", NULL};
    LB_TRY(lb_range_open_op(self, kinds, err));
    ((struct lb_range_shared *)self->shared)->cuts = LB_CUT_GROUPS;
    return LB_OK;
}

static lb_status set_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    bool has_right = false; /* the group has rows of side 1 */
    bool is_done = false;   /* intersection: the group's record is out */
    LB_TRY(lb_range_begin(local, err));
    for (uint32_t since_release = 0;; since_release++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            return lb_range_end(local, err);
        bool is_new = false;
        LB_TRY(lb_range_enter(state, row, &is_new, err));
        bool is_right = lb_sort_row_side(row) == 1;
        if (is_new) {
            has_right = is_right;
            is_done = false;
        }
        bool wanted =
            !is_right && (shared->kind == SET_SUBTRACT ? !has_right : has_right && !is_done);
        if (wanted) {
            is_done = true;
            if (!lb_batch_builder_fits(&state->builder, lb_sort_row_width(row)))
                LB_TRY(lb_range_flush(local, err));
            LB_TRY(lb_sort_row_decode(row, &state->builder, err));
        }
        bool is_due = lb_range_see(state, row);
        if (lb_batch_builder_is_full(&state->builder) || (is_due && state->builder.n_rows > 0))
            LB_TRY(lb_range_flush(local, err));
        else if (is_due || (since_release % 1024 == 1023 && state->builder.n_rows == 0)) {
            state->seen_bytes = 0;
            lb_sort_cursor_release(state->cursor);
        }
    }
}

const struct lb_op_class lb_op_scan_set = {
    .name = "scan.set",
    .kind = LB_OP_SOURCE,
    .open = set_open,
    .attach = lb_range_attach,
    .claim = lb_range_claim,
    .progress = lb_range_progress,
    .produce = set_produce,
    .detach = lb_range_detach,
    .close = lb_range_close_op,
};
