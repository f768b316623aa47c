/* Transforms by expressions: compute appends a column for each, where keeps the rows for which one is true; and fit, which keeps
 * the rows whose values some aggregates can take.
 *
 * ERRORS  With on_error = "skip" or { to = path } a batch in which an expression fails is looked through row by row; the rows that
 *         fail are left out (skips.h, rejects.h), and the others are evaluated together, again.
 * FIT     stands before a group with on_error: its aggregates go over a batch one after the other, and a row that one of them
 *         refuses must not have come to another. And before windows, behind which the place of a record is not known. */
#include <stdlib.h>
#include <string.h>

#include "core/algo/group_state.h"
#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/expr/expr.h"
#include "core/ops/ops.h"
#include "core/ops/rejects.h"
#include "core/ops/skips.h"

struct compute_shared {
    int64_t
        n_columns; /* compute: of the records; a batch whose last columns are nil may have fewer */
    uint32_t n_exprs;
    struct lb_expr *exprs[LB_MAX_COLUMNS];
    uint32_t n_aggregates;
    struct lb_group_state *aggregates; /* fit: their parameters; they get no row */
    bool skips;                        /* on_error is not "fail" */
    struct lb_rejects *rejects;        /* of on_error = { to = path }, else NULL */
    uint32_t n_names;                  /* with rejects: the columns, in the order of their names */
    struct name {
        struct lb_value text;
        uint32_t column;
    } names[LB_MAX_COLUMNS];
};

struct compute_local {
    uint32_t select[LB_BATCH_ROWS]; /* where */
    uint32_t part[LB_BATCH_ROWS];   /* the rows of a batch that is taken in parts */
    uint32_t n_at_once;             /* rows of a part, lately; 0: whole batches */
    struct lb_column columns[LB_MAX_COLUMNS];
    uint32_t n_states;
    struct lb_expr_state *states[LB_MAX_COLUMNS];
    uint32_t good[LB_BATCH_ROWS]; /* rows in which nothing fails */
    struct lb_column single[LB_MAX_COLUMNS];
    struct lb_buf rejected, record;
};

static int compare_names(const void *a, const void *b)
{
    const struct lb_value *x = &((const struct name *)a)->text,
                          *y = &((const struct name *)b)->text;
    size_t size = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->data, y->data, size);
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

/* The parameters on_error and, for what is written, names. */
static lb_status open_policy(struct lb_op *self, struct lb_error *err)
{
    struct compute_shared *shared = self->shared;
    struct lb_value policy, path, names, name;
    if (!lb_value_field(&self->params, "on_error", &policy) ||
        (policy.tag == 's' && policy.size == 4 && memcmp(policy.data, "fail", 4) == 0))
        return LB_OK;
    shared->skips = true;
    if (policy.tag != 'm')
        return LB_OK;
    if (!lb_value_field(&policy, "to", &path) || path.tag != 's' ||
        !lb_value_field(&self->params, "names", &names) || names.tag != 'l' ||
        names.count > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has a wrong on_error", self->label);
    const char *cursor = names.data;
    for (uint32_t i = 0; i < names.count; i++) {
        lb_codec_next(&cursor, &name);
        if (name.tag == 's')
            shared->names[shared->n_names++] = (struct name){.text = name, .column = i};
    }
    qsort(shared->names, shared->n_names, sizeof *shared->names, compare_names);
    return lb_rejects_of(self->run, path.data, path.size, &shared->rejects, err);
}

static lb_status open_aggregates(struct lb_op *self, struct lb_error *err)
{
    struct compute_shared *shared = self->shared;
    struct lb_value list, item;
    if (!lb_value_field(&self->params, "aggregates", &list)) /* it is there for its file */
        return LB_OK;
    if (list.tag != 'l' || list.count == 0 || list.count > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has wrong aggregates", self->label);
    size_t bytes = list.count * sizeof *shared->aggregates;
    shared->aggregates = lb_alloc_zero(bytes);
    if (shared->aggregates == NULL)
        return lb_error_memory(err, self->label, bytes);
    shared->n_aggregates = list.count;
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        LB_TRY(lb_group_state_init(&shared->aggregates[i], &item, NULL, err));
    }
    return LB_OK;
}

static lb_status compute_open(struct lb_op *self, struct lb_error *err)
{
    struct compute_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(open_policy(self, err));
    if (self->class == &lb_op_fit)
        return open_aggregates(self, err);
    struct lb_value value, program;
    if (self->class == &lb_op_where) {
        if (!lb_value_field(&self->params, "expr", &program))
            return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has no expr", self->label);
        LB_TRY(lb_expr_new(&program, &shared->exprs[0], err));
        shared->n_exprs = 1;
        return LB_OK;
    }
    LB_TRY(lb_param_int(self, "columns", 0, &shared->n_columns, err));
    if (!lb_value_field(&self->params, "exprs", &value) || value.tag != 'l' ||
        value.count >= LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has wrong exprs", self->label);
    const char *cursor = value.data;
    for (uint32_t i = 0; i < value.count; i++) {
        lb_codec_next(&cursor, &program);
        LB_TRY(lb_expr_new(&program, &shared->exprs[i], err));
        shared->n_exprs++;
    }
    return LB_OK;
}

static void compute_close(struct lb_op *self)
{
    struct compute_shared *shared = self->shared;
    if (shared == NULL)
        return;
    for (uint32_t i = 0; i < shared->n_exprs; i++)
        lb_expr_delete(shared->exprs[i]);
    for (uint32_t i = 0; i < shared->n_aggregates; i++)
        if (shared->aggregates[i].class != NULL)
            lb_group_state_fini(&shared->aggregates[i]);
    lb_free(shared->aggregates, shared->n_aggregates * sizeof *shared->aggregates);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status compute_attach(struct lb_op_local *local, struct lb_error *err)
{
    const struct compute_shared *shared = local->op->shared;
    struct compute_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    for (uint32_t i = 0; i < shared->n_exprs; i++) {
        LB_TRY(lb_expr_state_new(shared->exprs[i], &state->states[i], err));
        state->n_states++;
        lb_expr_state_watch(state->states[i], &local->worker->run->stop);
    }
    return LB_OK;
}

static void compute_detach(struct lb_op_local *local)
{
    struct compute_local *state = local->state;
    for (uint32_t i = 0; i < state->n_states; i++)
        lb_expr_state_delete(state->states[i]);
    lb_buf_fini(&state->rejected);
    lb_buf_fini(&state->record);
    lb_free(state, sizeof *state);
}

/* The user's mistakes get the name of the step; what breaks the run stays as it is. */
static lb_status named(const struct lb_op_local *local, lb_status status, struct lb_error *err)
{
    if (status == LB_ERR_USER || status == LB_ERR_RESOURCE)
        lb_error_prefix(err, "%s ", local->op->label);
    return status;
}

/* The row as user functions would see it, encoded. */
static lb_status encode_row(const struct compute_shared *shared, const struct lb_batch *batch,
                            uint32_t row, struct lb_buf *out, struct lb_error *err)
{
    size_t mark;
    uint32_t n = 0;
    out->size = 0;
    LB_TRY(lb_codec_begin(out, 'm', &mark, err));
    for (uint32_t i = 0; i < shared->n_names; i++) {
        const struct name *name = &shared->names[i];
        if (name->column >= batch->n_columns ||
            lb_column_value(&batch->columns[name->column], row).tag == 'n')
            continue;
        LB_TRY(lb_codec_put_string(out, name->text.data, name->text.size, err));
        LB_TRY(lb_codec_put_column(out, &batch->columns[name->column], row, err));
        n++;
    }
    lb_codec_end(out, mark, n);
    return LB_OK;
}

/* Leaves the row out for what err says. */
static lb_status skip_row(struct lb_op_local *local, const struct lb_batch *batch, uint32_t row,
                          struct lb_error *err)
{
    const struct compute_shared *shared = local->op->shared;
    struct compute_local *state = local->state;
    struct lb_skip skip = {
        .verb = local->op->label, .kind = "error", .place = "", .message = err->message};
    struct lb_error failure;
    lb_status status = lb_batch_origin(batch, row, &skip.origin, &failure);
    if (status == LB_OK && shared->rejects != NULL)
        status = encode_row(shared, batch, row, &state->record, &failure);
    if (status == LB_OK && shared->rejects != NULL) {
        struct lb_reject item = {.origin = skip.origin,
                                 .kind = skip.kind,
                                 .message = skip.message,
                                 .verb = skip.verb,
                                 .value = state->record.data,
                                 .value_size = state->record.size};
        status = lb_reject_put(&item, &state->rejected, &failure);
    }
    if (status == LB_OK)
        status = lb_skips_note(local->worker, &skip, &failure);
    if (status != LB_OK)
        *err = failure;
    return status;
}

/* One row as a batch of its own: in the whole batch, evaluating one row costs what all the rows before it cost. */
static struct lb_batch take_row(struct compute_local *state, const struct lb_batch *batch,
                                uint32_t row)
{
    static const size_t sizes[] = {0, 1, 8, 8, 16, 16}; /* ORDER types */
    for (uint32_t i = 0; i < batch->n_columns; i++) {
        const struct lb_column *from = &batch->columns[i];
        state->single[i] = (struct lb_column){.type = LB_NULL};
        if (lb_column_is_valid(from, row))
            state->single[i] = (struct lb_column){
                .type = from->type, .data = (const char *)from->data + row * sizes[from->type]};
    }
    return (struct lb_batch){
        .n_rows = 1, .n_columns = batch->n_columns, .n_selected = 1, .columns = state->single};
}

/* The batch with the good rows only, when all have been looked at. */
static lb_status end_leaving_out(struct lb_op_local *local, const struct lb_batch *batch,
                                 uint32_t n_good, struct lb_batch *rest, struct lb_error *err)
{
    const struct compute_shared *shared = local->op->shared;
    struct compute_local *state = local->state;
    *rest = *batch;
    rest->select = state->good;
    rest->n_selected = n_good;
    if (state->rejected.size == 0)
        return LB_OK;
    return lb_rejects_add(shared->rejects, local->worker, &state->rejected, err);
}

/* The batch without the rows in which an expression fails. */
static lb_status leave_out(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_batch *rest, struct lb_error *err)
{
    struct compute_local *state = local->state;
    bool is_where = local->op->class == &lb_op_where;
    uint32_t n_good = 0;
    state->rejected.size = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = batch->select != NULL ? batch->select[i] : i;
        struct lb_batch one = take_row(state, batch, row);
        lb_status status = LB_OK;
        for (uint32_t k = 0; k < state->n_states && status == LB_OK; k++) {
            struct lb_column column;
            uint32_t selected, n;
            status = is_where ? lb_expr_filter(state->states[k], &one, &selected, &n, err)
                              : lb_expr_eval(state->states[k], &one, &column, err);
        }
        if (status == LB_OK)
            state->good[n_good++] = row;
        else if (status == LB_ERR_USER)
            LB_TRY(skip_row(local, batch, row, err));
        else
            return status;
    }
    return end_leaving_out(local, batch, n_good, rest, err);
}

typedef lb_status rows_function(struct lb_op_local *local, const struct lb_batch *batch,
                                struct lb_error *err);

static lb_status push(struct lb_op_local *local, const struct lb_batch *batch, rows_function *rows,
                      struct lb_error *err);

static lb_status compute_rows(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    const struct compute_shared *shared = local->op->shared;
    struct compute_local *state = local->state;
    int64_t width = batch->n_columns > shared->n_columns ? batch->n_columns : shared->n_columns;
    if (width + state->n_states > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_USAGE, "%s: more than %d columns", local->op->label,
                            LB_MAX_COLUMNS);
    memcpy(state->columns, batch->columns, batch->n_columns * sizeof *state->columns);
    for (int64_t i = batch->n_columns; i < width; i++)
        state->columns[i] = (struct lb_column){.type = LB_NULL};
    for (uint32_t i = 0; i < state->n_states; i++) {
        struct lb_column *column = &state->columns[width + i];
        lb_status status = lb_expr_eval(state->states[i], batch, column, err);
        if (status == LB_ERR_USER && shared->skips) {
            struct lb_batch rest;
            LB_TRY(leave_out(local, batch, &rest, err));
            return rest.n_selected > 0 ? push(local, &rest, compute_rows, err) : LB_OK;
        }
        if (status != LB_OK)
            return named(local, status, err);
    }
    struct lb_batch out =
        lb_batch_same_rows(batch, state->columns, (uint32_t)width + state->n_states);
    return lb_push(local->next, &out, err);
}

static lb_status where_rows(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct compute_local *state = local->state;
    struct lb_batch out = lb_batch_same_rows(batch, batch->columns, batch->n_columns);
    lb_status status = lb_expr_filter(state->states[0], batch, state->select, &out.n_selected, err);
    if (status == LB_ERR_USER && ((const struct compute_shared *)local->op->shared)->skips) {
        struct lb_batch rest;
        LB_TRY(leave_out(local, batch, &rest, err));
        return rest.n_selected > 0 ? push(local, &rest, where_rows, err) : LB_OK;
    }
    if (status != LB_OK)
        return named(local, status, err);
    if (out.n_selected < batch->n_selected)
        out.select = state->select;
    return lb_push(local->next, &out, err);
}

static bool is_too_much(const struct compute_local *state)
{
    for (uint32_t i = 0; i < state->n_states; i++)
        if (lb_expr_state_too_much(state->states[i]))
            return true;
    return false;
}

/* Takes a batch of which the values are too large to be had all at once in parts that get shorter as needed. Nothing of a
 * part has left before all of it could be computed, and rows that fail are left out before, so that each is noted once. */
static lb_status in_parts(struct lb_op_local *local, const struct lb_batch *whole,
                          rows_function *rows, struct lb_error *err)
{
    struct compute_local *state = local->state;
    struct lb_batch rest;
    const struct lb_batch *batch = whole;
    if (((const struct compute_shared *)local->op->shared)->skips) {
        LB_TRY(leave_out(local, whole, &rest, err));
        batch = &rest;
    }
    uint32_t n_all = batch->n_selected, n;
    for (uint32_t i = 0; i < n_all; i++)
        state->part[i] = lb_batch_row(batch, i);
    for (uint32_t at = 0; at < n_all; at += n) {
        n = state->n_at_once < n_all - at ? state->n_at_once : n_all - at;
        struct lb_batch part = lb_batch_same_rows(batch, batch->columns, batch->n_columns);
        part.select = state->part + at;
        part.n_selected = n;
        lb_status status = rows(local, &part, err);
        if (status == LB_ERR_RESOURCE && n > 1 && is_too_much(state)) {
            state->n_at_once = n / 2;
            n = 0;
        } else if (status != LB_OK) {
            return status;
        }
    }
    /* Later ones may be shorter. */
    state->n_at_once = state->n_at_once * 2 < LB_BATCH_ROWS ? state->n_at_once * 2 : 0;
    return LB_OK;
}

static lb_status push(struct lb_op_local *local, const struct lb_batch *batch, rows_function *rows,
                      struct lb_error *err)
{
    struct compute_local *state = local->state;
    if (__builtin_expect(state->n_at_once == 0, 1)) {
        lb_status status = rows(local, batch, err);
        if (status != LB_ERR_RESOURCE || batch->n_selected <= 1 || !is_too_much(state))
            return status;
        state->n_at_once = batch->n_selected / 2;
    }
    return in_parts(local, batch, rows, err);
}

/* What a worker saw of other morsels must not show. */
static lb_status compute_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    ((struct compute_local *)local->state)->n_at_once = 0;
    return LB_OK;
}

static lb_status compute_push(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    return push(local, batch, compute_rows, err);
}

static lb_status where_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    return push(local, batch, where_rows, err);
}

static lb_status fit_push(struct lb_op_local *local, const struct lb_batch *batch,
                          struct lb_error *err)
{
    const struct compute_shared *shared = local->op->shared;
    struct compute_local *state = local->state;
    struct lb_batch rest;
    uint32_t n_good = 0;
    bool may_refuse = false;
    for (uint32_t k = 0; k < shared->n_aggregates && !may_refuse; k++)
        may_refuse = lb_group_state_may_refuse(&shared->aggregates[k], batch);
    if (!may_refuse)
        return lb_push(local->next, batch, err);
    state->rejected.size = 0;
    struct lb_batch looked_at = *batch;
    if (shared->skips) { /* to find a record's place may take a walk through its file, for each */
        looked_at.parent = NULL;
        looked_at.locate = NULL;
    }
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        lb_status status = LB_OK;
        for (uint32_t k = 0; k < shared->n_aggregates && status == LB_OK; k++)
            status = lb_group_state_check(&shared->aggregates[k], &looked_at, row, err);
        if (status != LB_OK && !shared->skips)
            return status;
        if (status == LB_OK)
            state->good[n_good++] = row;
        else
            LB_TRY(skip_row(local, batch, row, err));
    }
    LB_TRY(end_leaving_out(local, batch, n_good, &rest, err));
    return n_good > 0 ? lb_push(local->next, &rest, err) : LB_OK;
}

const struct lb_op_class lb_op_compute = {
    .name = "compute",
    .kind = LB_OP_TRANSFORM,
    .open = compute_open,
    .attach = compute_attach,
    .begin = compute_begin,
    .push = compute_push,
    .detach = compute_detach,
    .close = compute_close,
};
const struct lb_op_class lb_op_where = {
    .name = "where",
    .kind = LB_OP_TRANSFORM,
    .open = compute_open,
    .attach = compute_attach,
    .begin = compute_begin,
    .push = where_push,
    .detach = compute_detach,
    .close = compute_close,
};
const struct lb_op_class lb_op_fit = {
    .name = "fit",
    .kind = LB_OP_TRANSFORM,
    .open = compute_open,
    .attach = compute_attach,
    .push = fit_push,
    .detach = compute_detach,
    .close = compute_close,
};
