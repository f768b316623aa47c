/* Evaluation of steps over chosen rows of a batch.
 *
 * IDEA    A step is evaluated for a list of rows; its result is a column as long as the batch, in which only those
 *         rows count. So `and`, `case` and the like narrow the list for their later arguments, and nothing is moved.
 * KERNELS Typed columns go through kernels.c. What has no kernel goes value by value: the class's function gives a
 *         value, the step's builder makes a column of them, nil for the rows in between.
 * MEMORY  A step writes only to its own slot. Since each step has one user, it runs at most once for a batch, and
 *         results may borrow from those of its arguments. */
#include "core/expr/expr_private.h"

/* ---- results ---- */

static lb_status append(struct lb_builder *builder, const struct lb_value *value, bool copy,
                        struct lb_error *err)
{
    return value->tag == 's' && !copy ? lb_builder_view(builder, value->data, value->size, err)
                                      : lb_builder_value(builder, value, err);
}

static lb_status fill_nulls(struct lb_builder *builder, uint32_t n_rows, struct lb_error *err)
{
    while (builder->n_rows < n_rows)
        LB_TRY(lb_builder_null(builder, err));
    return LB_OK;
}

static lb_status not_boolean(struct lb_expr_state *state, uint32_t step, uint32_t row,
                             const struct lb_value *value, struct lb_error *err)
{
    char text[EXPR_DESCRIBED_BYTES];

    lb_error_set(err, LB_ERR_USER, "true or false expected, got %s", expr_describe(value, text));
    return expr_fail(state, step, row, err);
}

/* The truth of each row: 0, 1, or 2 for NULL, at truths[row]. step is whose result the column is. */
static lb_status truths_of(struct lb_expr_state *state, uint32_t step,
                           const struct lb_column *column, const struct expr_rows *rows,
                           uint8_t *truths, struct lb_error *err)
{
    if (column->type == LB_BOOL && column->valid == NULL) {
        for (uint32_t i = 0; i < rows->n; i++) {
            uint32_t row = expr_row(rows, i);
            truths[row] = column->bools[row];
        }
        return LB_OK;
    }
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        struct lb_value value;
        value = lb_column_value(column, row);
        if (value.tag != 'f' && value.tag != 't' && value.tag != 'n')
            return not_boolean(state, step, row, &value, err);
        truths[row] = value.tag == 'n' ? 2 : value.tag == 't';
    }
    return LB_OK;
}

/* Makes the slot's three-valued truths its result. */
static lb_status finish_truths(struct lb_expr_state *state, uint32_t step,
                               const struct expr_rows *rows, struct lb_column *out,
                               struct lb_error *err)
{
    struct expr_slot *slot = &state->slots[step];
    const uint8_t *truths = slot->more_truths;
    bool has_null = false;

    LB_TRY(expr_slot_part(state, (void **)&slot->truths, 1, err));
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        slot->truths[row] = truths[row] == 1;
        has_null |= truths[row] == 2;
    }
    *out = (struct lb_column){.type = LB_BOOL, .bools = slot->truths};
    if (!has_null)
        return LB_OK;
    LB_TRY(expr_slot_part(state, (void **)&slot->valid, 1, err));
    memset(slot->valid, 0xff, EXPR_BITMAP_WORDS * 8);
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        if (truths[row] == 2)
            slot->valid[row >> 6] &= ~(1ULL << (row & 63));
    }
    out->valid = slot->valid;
    return LB_OK;
}

/* ---- literals ---- */

/* A column of LB_BATCH_ROWS times the value, made once. */
static lb_status eval_literal(struct lb_expr_state *state, uint32_t step, struct lb_column *out,
                              struct lb_error *err)
{
    const struct lb_value *value = &state->expr->steps[step].literal;
    struct lb_column *column = &state->slots[step].literal;
    void *data = NULL;
    struct lb_view view;

    *out = *column;
    if (value->tag == 'n' || column->data != NULL)
        return LB_OK;
    switch (value->tag) {
    case 'f':
    case 't':
        LB_TRY(expr_slot_part(state, &data, 1, err));
        memset(data, value->tag == 't', LB_BATCH_ROWS);
        column->type = LB_BOOL;
        break;
    case 's':
        LB_TRY(expr_slot_part(state, &data, sizeof view, err));
        lb_view_set(&view, value->data, value->size);
        for (int i = 0; i < LB_BATCH_ROWS; i++)
            ((struct lb_view *)data)[i] = view;
        column->type = LB_STRING;
        break;
    default:
        LB_TRY(expr_slot_part(state, &data, 8, err));
        for (int i = 0; i < LB_BATCH_ROWS; i++)
            memcpy((char *)data + 8 * i, value->tag == 'i' ? (void *)&value->i : (void *)&value->d,
                   8);
        column->type = value->tag == 'i' ? LB_INT64 : LB_FLOAT64;
    }
    column->data = data;
    *out = *column;
    return LB_OK;
}

/* ---- logic ---- */

/* The rows of `from` whose truth is not `decided`, into open (which may be from's own list). */
static uint32_t keep_open(const struct expr_rows *from, const uint8_t *truths, uint8_t decided,
                          uint32_t *open)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < from->n; i++) {
        uint32_t row = expr_row(from, i);
        open[n] = row;
        n += truths[row] != decided;
    }
    return n;
}

static lb_status eval_logic(struct lb_expr_state *state, uint32_t number,
                            const struct expr_rows *rows, struct lb_column *out,
                            struct lb_error *err)
{
    const struct expr_step *step = &state->expr->steps[number];
    struct expr_slot *slot = &state->slots[number];
    struct expr_rows left = *rows;
    uint8_t decided = (uint8_t)step->class->variant; /* false ends an `and`, true an `or` */

    LB_TRY(expr_slot_part(state, (void **)&slot->truths, 1, err));
    LB_TRY(expr_slot_part(state, (void **)&slot->more_truths, 1, err));
    LB_TRY(expr_slot_part(state, (void **)&slot->open, 4, err));
    uint8_t *truths = slot->more_truths;
    for (uint32_t i = 0; i < step->n_args && left.n > 0; i++) {
        struct lb_column column;
        uint8_t *target = i == 0 ? truths : slot->truths;
        LB_TRY(expr_eval(state, step->args[i], &left, &column, err));
        LB_TRY(truths_of(state, step->args[i], &column, &left, target, err));
        for (uint32_t j = 0; i > 0 && j < left.n; j++) {
            uint32_t row = expr_row(&left, j);
            if (target[row] == decided || truths[row] != 2)
                truths[row] = target[row];
        }
        left.n = keep_open(&left, truths, decided, slot->open);
        left.index = slot->open;
    }
    return finish_truths(state, number, rows, out, err);
}

static lb_status eval_not(struct lb_expr_state *state, uint32_t number,
                          const struct expr_rows *rows, struct lb_column *out, struct lb_error *err)
{
    static const uint8_t opposites[] = {1, 0, 2};
    struct expr_slot *slot = &state->slots[number];
    uint32_t arg = state->expr->steps[number].args[0];
    struct lb_column column;

    LB_TRY(expr_slot_part(state, (void **)&slot->more_truths, 1, err));
    LB_TRY(expr_eval(state, arg, rows, &column, err));
    LB_TRY(truths_of(state, arg, &column, rows, slot->more_truths, err));
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        slot->more_truths[row] = opposites[slot->more_truths[row]];
    }
    return finish_truths(state, number, rows, out, err);
}

static bool is_nil(const struct lb_column *column, uint32_t row)
{
    if (!lb_column_is_valid(column, row))
        return true;
    return column->type == LB_ANY && *lb_view_data(&column->views[row]) == 'n';
}

static lb_status eval_is_null(struct lb_expr_state *state, uint32_t number,
                              const struct expr_rows *rows, struct lb_column *out,
                              struct lb_error *err)
{
    struct expr_slot *slot = &state->slots[number];
    struct lb_column column;

    LB_TRY(expr_slot_part(state, (void **)&slot->truths, 1, err));
    LB_TRY(expr_eval(state, state->expr->steps[number].args[0], rows, &column, err));
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        slot->truths[row] = is_nil(&column, row);
    }
    *out = (struct lb_column){.type = LB_BOOL, .bools = slot->truths};
    return LB_OK;
}

/* ---- one of several arguments for each row ---- */

enum { NO_CHOICE = 0 }; /* choices are 1-based arguments */

/* The result takes, for each row, the chosen argument's value. */
static lb_status gather(struct lb_expr_state *state, uint32_t number, const struct expr_rows *rows,
                        struct lb_column *out, struct lb_error *err)
{
    struct expr_slot *slot = &state->slots[number];

    lb_builder_reset(&slot->builder);
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        struct lb_value value = {.tag = 'n'};
        LB_TRY(fill_nulls(&slot->builder, row, err));
        if (slot->choice[row] != NO_CHOICE)
            value = lb_column_value(&slot->args[slot->choice[row] - 1], row);
        /* A short string lies in its view, which stays as long as this result. */
        LB_TRY(append(&slot->builder, &value, false, err));
    }
    LB_TRY(fill_nulls(&slot->builder, state->batch->n_rows, err));
    *out = lb_builder_finish(&slot->builder);
    return LB_OK;
}

static lb_status eval_case(struct lb_expr_state *state, uint32_t number,
                           const struct expr_rows *rows, struct lb_column *out,
                           struct lb_error *err)
{
    const struct expr_step *step = &state->expr->steps[number];
    struct expr_slot *slot = &state->slots[number];
    struct expr_rows left = *rows;

    LB_TRY(expr_slot_part(state, (void **)&slot->more_truths, 1, err));
    LB_TRY(expr_slot_part(state, (void **)&slot->open, 4, err));
    LB_TRY(expr_slot_part(state, (void **)&slot->matched, 4, err));
    LB_TRY(expr_slot_part(state, (void **)&slot->choice, 4, err));
    for (uint32_t i = 0; i < rows->n; i++)
        slot->choice[expr_row(rows, i)] = NO_CHOICE;
    for (uint32_t i = 0; i < step->n_args && left.n > 0; i += 2) {
        struct expr_rows matched = left;
        uint32_t value = i;
        if (i + 1 < step->n_args) {
            struct lb_column condition;
            value = i + 1;
            LB_TRY(expr_eval(state, step->args[i], &left, &condition, err));
            LB_TRY(truths_of(state, step->args[i], &condition, &left, slot->more_truths, err));
            matched = (struct expr_rows){.index = slot->matched};
            for (uint32_t j = 0; j < left.n; j++) {
                uint32_t row = expr_row(&left, j);
                slot->matched[matched.n] = row;
                matched.n += slot->more_truths[row] == 1;
            }
            left.n = keep_open(&left, slot->more_truths, 1, slot->open);
            left.index = slot->open;
        }
        if (matched.n == 0)
            continue;
        LB_TRY(expr_eval(state, step->args[value], &matched, &slot->args[value], err));
        for (uint32_t j = 0; j < matched.n; j++)
            slot->choice[expr_row(&matched, j)] = value + 1;
    }
    return gather(state, number, rows, out, err);
}

static lb_status eval_coalesce(struct lb_expr_state *state, uint32_t number,
                               const struct expr_rows *rows, struct lb_column *out,
                               struct lb_error *err)
{
    const struct expr_step *step = &state->expr->steps[number];
    struct expr_slot *slot = &state->slots[number];
    struct expr_rows left = *rows;

    LB_TRY(expr_slot_part(state, (void **)&slot->open, 4, err));
    LB_TRY(expr_slot_part(state, (void **)&slot->choice, 4, err));
    for (uint32_t i = 0; i < rows->n; i++)
        slot->choice[expr_row(rows, i)] = NO_CHOICE;
    for (uint32_t i = 0; i < step->n_args && left.n > 0; i++) {
        struct lb_column *column = &slot->args[i];
        uint32_t n = 0;
        LB_TRY(expr_eval(state, step->args[i], &left, column, err));
        for (uint32_t j = 0; j < left.n; j++) {
            uint32_t row = expr_row(&left, j);
            bool is_open = is_nil(column, row);
            if (!is_open)
                slot->choice[row] = i + 1;
            slot->open[n] = row;
            n += is_open;
        }
        left = (struct expr_rows){.index = slot->open, .n = n};
    }
    return gather(state, number, rows, out, err);
}

/* ---- value by value ---- */

#ifdef LB_TINY
enum { MOST_STRING_BYTES = 4 << 10 };
#else
enum { MOST_STRING_BYTES = 4 << 20 };
#endif

/* Adds the place to what a value makes fail, memory for it included. */
static lb_status failed(struct lb_expr_state *state, uint32_t number, uint32_t row,
                        lb_status status, struct lb_error *err)
{
    bool is_placed = status == LB_ERR_USER || status == LB_ERR_RESOURCE;
    return is_placed ? expr_fail(state, number, row, err) : status;
}

static lb_status call_row(struct lb_expr_state *state, uint32_t number, uint32_t row,
                          struct lb_error *err)
{
    const struct expr_step *step = &state->expr->steps[number];
    struct expr_slot *slot = &state->slots[number];
    struct expr_call call = {.class = step->class,
                             .state = state,
                             .step = number,
                             .scratch = &state->scratch,
                             .value = {.tag = 'n'}};
    bool has_nil = false;

    for (uint32_t i = 0; i < step->n_args; i++) {
        state->values[i] = lb_column_value(&slot->args[i], row);
        has_nil |= state->values[i].tag == 'n';
    }
    state->scratch.size = 0;
    if (!has_nil || step->class->takes_nil) {
        lb_status status = step->class->function(&call, state->values, step->n_args, err);
        if (status != LB_OK)
            return failed(state, number, row, status, err);
    }
    return failed(state, number, row, append(&slot->builder, &call.value, call.is_scratch, err),
                  err);
}

static lb_status eval_rows(struct lb_expr_state *state, uint32_t number,
                           const struct expr_rows *rows, struct lb_column *out,
                           struct lb_error *err)
{
    struct lb_builder *builder = &state->slots[number].builder;

    lb_builder_reset(builder);
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        LB_TRY(fill_nulls(builder, row, err));
        LB_TRY(call_row(state, number, row, err));
        if (builder->strings.used_bytes > MOST_STRING_BYTES && i + 1 < rows->n) {
            state->is_too_much = true;
            return lb_error_set(err, LB_ERR_RESOURCE, "the values of %u rows take more than %d MiB",
                                rows->n, MOST_STRING_BYTES >> 20);
        }
    }
    LB_TRY(fill_nulls(builder, state->batch->n_rows, err));
    *out = lb_builder_finish(builder);
    return LB_OK;
}

/* By kernel when there is one for these columns. */
static lb_status eval_function(struct lb_expr_state *state, uint32_t number,
                               const struct expr_rows *rows, struct lb_column *out,
                               struct lb_error *err)
{
    const struct expr_step *step = &state->expr->steps[number];
    struct lb_column *args = state->slots[number].args;
    uint32_t n_first =
        step->set != NULL ? 1 : step->n_args; /* a set's candidates only when needed */
    bool done = false;

    for (uint32_t i = 0; i < n_first; i++)
        LB_TRY(expr_eval(state, step->args[i], rows, &args[i], err));
    switch (step->class->kind) {
    case EXPR_COMPARE:
        LB_TRY(expr_kernel_compare(state, number, (enum expr_compare)step->class->variant, &args[0],
                                   &args[1], rows, out, &done, err));
        break;
    case EXPR_BETWEEN:
        LB_TRY(expr_kernel_between(state, number, args, rows, out, &done, err));
        break;
    case EXPR_ARITHMETIC:
        LB_TRY(expr_kernel_arithmetic(state, number, args, rows, out, &done, err));
        break;
    case EXPR_IN:
        if (step->set != NULL)
            LB_TRY(expr_kernel_in(state, number, &args[0], rows, out, &done, err));
        break;
    default:
        break;
    }
    if (done)
        return LB_OK;
    for (uint32_t i = n_first; i < step->n_args; i++)
        LB_TRY(expr_eval(state, step->args[i], rows, &args[i], err));
    return eval_rows(state, number, rows, out, err);
}

/* ---- dispatch ---- */

lb_status expr_eval(struct lb_expr_state *state, uint32_t number, const struct expr_rows *rows,
                    struct lb_column *out, struct lb_error *err)
{
    const struct expr_step *step = &state->expr->steps[number];

    switch (step->class->kind) {
    case EXPR_COLUMN:
        if (step->column < state->batch->n_columns)
            *out = state->batch->columns[step->column];
        else
            *out = (struct lb_column){.type = LB_NULL};
        return LB_OK;
    case EXPR_LITERAL:
        return eval_literal(state, number, out, err);
    case EXPR_LOGIC:
        return eval_logic(state, number, rows, out, err);
    case EXPR_NOT:
        return eval_not(state, number, rows, out, err);
    case EXPR_IS_NULL:
        return eval_is_null(state, number, rows, out, err);
    case EXPR_CASE:
        return eval_case(state, number, rows, out, err);
    case EXPR_COALESCE:
        return eval_coalesce(state, number, rows, out, err);
    default:
        return eval_function(state, number, rows, out, err);
    }
}

/* Of an `and` only the rows go on that are true so far: what is NULL or false never becomes true. */
lb_status expr_filter(struct lb_expr_state *state, uint32_t number, const struct expr_rows *rows,
                      uint32_t *select, uint32_t *n_selected, struct lb_error *err)
{
    const struct expr_step *step = &state->expr->steps[number];
    struct expr_slot *slot = &state->slots[number];
    struct expr_rows left = *rows;
    struct lb_column column;
    uint32_t n = 0;

    if (step->class->kind == EXPR_LOGIC && step->class->variant == 0) {
        for (uint32_t i = 0; i < step->n_args && left.n > 0; i++) {
            LB_TRY(expr_filter(state, step->args[i], &left, select, &n, err));
            left = (struct expr_rows){.index = select, .n = n};
        }
        *n_selected = left.n;
        return LB_OK;
    }
    LB_TRY(expr_eval(state, number, rows, &column, err));
    if (column.type == LB_BOOL && column.valid == NULL) {
        for (uint32_t i = 0; i < rows->n; i++) {
            uint32_t row = expr_row(rows, i);
            select[n] = row;
            n += column.bools[row];
        }
        *n_selected = n;
        return LB_OK;
    }
    LB_TRY(expr_slot_part(state, (void **)&slot->more_truths, 1, err));
    LB_TRY(truths_of(state, number, &column, rows, slot->more_truths, err));
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        select[n] = row;
        n += slot->more_truths[row] == 1;
    }
    *n_selected = n;
    return LB_OK;
}
