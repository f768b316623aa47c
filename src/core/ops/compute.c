/* Transforms by expressions: compute appends a column for each, where keeps the rows for which one is true. */
#include "core/base/sys.h"
#include "core/expr/expr.h"
#include "core/ops/ops.h"

struct compute_shared {
    int64_t
        n_columns; /* compute: of the records; a batch whose last columns are nil may have fewer */
    uint32_t n_exprs;
    struct lb_expr *exprs[LB_MAX_COLUMNS];
};

struct compute_local {
    uint32_t select[LB_BATCH_ROWS]; /* where */
    struct lb_column columns[LB_MAX_COLUMNS];
    uint32_t n_states;
    struct lb_expr_state *states[LB_MAX_COLUMNS];
};

static lb_status compute_open(struct lb_op *self, struct lb_error *err)
{
    struct compute_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
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
    lb_free(state, sizeof *state);
}

/* The user's mistakes get the name of the step; what breaks the run stays as it is. */
static lb_status named(const struct lb_op_local *local, lb_status status, struct lb_error *err)
{
    if (status == LB_ERR_USER)
        lb_error_prefix(err, "%s ", local->op->label);
    return status;
}

static lb_status compute_push(struct lb_op_local *local, const struct lb_batch *batch,
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
        if (status != LB_OK)
            return named(local, status, err);
    }
    struct lb_batch out =
        lb_batch_same_rows(batch, state->columns, (uint32_t)width + state->n_states);
    return lb_push(local->next, &out, err);
}

static lb_status where_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct compute_local *state = local->state;
    struct lb_batch out = lb_batch_same_rows(batch, batch->columns, batch->n_columns);
    lb_status status = lb_expr_filter(state->states[0], batch, state->select, &out.n_selected, err);
    if (status != LB_OK)
        return named(local, status, err);
    if (out.n_selected < batch->n_selected)
        out.select = state->select;
    return lb_push(local->next, &out, err);
}

const struct lb_op_class lb_op_compute = {
    .name = "compute",
    .kind = LB_OP_TRANSFORM,
    .open = compute_open,
    .attach = compute_attach,
    .push = compute_push,
    .detach = compute_detach,
    .close = compute_close,
};
const struct lb_op_class lb_op_where = {
    .name = "where",
    .kind = LB_OP_TRANSFORM,
    .open = compute_open,
    .attach = compute_attach,
    .push = where_push,
    .detach = compute_detach,
    .close = compute_close,
};
