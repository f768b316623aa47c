/* Expressions: from programs to steps that are known to be well formed, and the memory of their evaluation. */
#include "core/base/sys.h"
#include "core/expr/expr_private.h"

enum {
    MAX_STEPS = 1 << 20,
    MAX_DEPTH = 2000, /* evaluation recurses */
    ARENA_BYTES = 4096
};

static const struct expr_class *find_class(const char *name, size_t size)
{
    static const struct expr_class *const tables[] = {
        expr_core_classes,   expr_number_classes, expr_real_classes,     expr_string_classes,
        expr_text_classes,   expr_time_classes,   expr_calendar_classes, expr_time_text_classes,
        expr_regexp_classes, expr_digest_classes, expr_table_classes};

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct expr_class *class = tables[i]; class->name != NULL; class ++)
            if (strlen(class->name) == size && memcmp(class->name, name, size) == 0)
                return class;
    return NULL;
}

static lb_status malformed(struct lb_error *err, uint32_t step, const char *what)
{
    return lb_error_set(err, LB_ERR_INTERNAL, "malformed expression, step %u: %s", step + 1, what);
}

static bool next_integer(const char **cursor, int64_t min, int64_t max, uint32_t *integer)
{
    struct lb_value value;

    lb_codec_next(cursor, &value);
    if (value.tag != 'i' || value.i < min || value.i > max)
        return false;
    *integer = (uint32_t)value.i;
    return true;
}

static lb_status read_args(struct lb_expr *expr, uint32_t number, uint32_t n, const char *cursor,
                           uint8_t *used, uint16_t *depths, struct lb_error *err)
{
    struct expr_step *step = &expr->steps[number];
    const struct expr_class *class = step->class;
    uint32_t *args;

    if (n < class->min_args || (class->max_args != 255 && n > class->max_args))
        return malformed(err, number, "wrong number of arguments");
    args = lb_arena_alloc(&expr->arena, n * sizeof *args);
    if (args == NULL)
        return lb_error_memory(err, "an expression", n * sizeof *args);
    for (uint32_t i = 0; i < n; i++) {
        if (!next_integer(&cursor, 1, number, &args[i]))
            return malformed(err, number, "an argument is no earlier step");
        args[i]--;
        if (used[args[i]]++)
            return malformed(err, number, "an argument is used twice");
        if (depths[args[i]] >= MAX_DEPTH)
            return lb_error_set(err, LB_ERR_USER, "an expression is nested more than %d deep",
                                MAX_DEPTH);
        if (depths[number] <= depths[args[i]])
            depths[number] = (uint16_t)(depths[args[i]] + 1);
    }
    step->args = args;
    step->n_args = n;
    return LB_OK;
}

/* The candidates of an `in` become a set, when all are literals of one kind. */
static lb_status make_set(struct lb_expr *expr, struct expr_step *step, struct lb_error *err)
{
    size_t bytes = step->n_args * sizeof(struct lb_value);
    struct lb_value *values = lb_alloc(bytes);
    lb_status status = LB_OK;
    uint32_t n = step->n_args - 1;
    bool is_literal = true;

    if (values == NULL)
        return lb_error_memory(err, "an expression", bytes);
    for (uint32_t i = 0; i < n; i++) {
        const struct expr_step *candidate = &expr->steps[step->args[i + 1]];
        is_literal = is_literal && candidate->class->kind == EXPR_LITERAL;
        values[i] = candidate->literal;
    }
    if (is_literal)
        status = expr_set_new(values, n, &expr->arena, &step->set, err);
    lb_free(values, bytes);
    return status;
}

static lb_status read_step(struct lb_expr *expr, uint32_t number, const struct lb_value *list,
                           uint8_t *used, uint16_t *depths, struct lb_error *err)
{
    struct expr_step *step = &expr->steps[number];
    const char *cursor = list->data;
    struct lb_value name;
    uint32_t column;

    if (list->tag != 'l' || list->count < 3)
        return malformed(err, number, "no list");
    lb_codec_next(&cursor, &name);
    if (name.tag != 's')
        return malformed(err, number, "no class");
    step->class = find_class(name.data, name.size);
    if (step->class == NULL)
        return malformed(err, number, "unknown class");
    if (!next_integer(&cursor, 0, (int64_t)expr->text_size + 1, &step->from) ||
        !next_integer(&cursor, 0, (int64_t)expr->text_size, &step->to))
        return malformed(err, number, "wrong position");
    switch (step->class->kind) {
    case EXPR_COLUMN:
        if (list->count != 4 || !next_integer(&cursor, 1, LB_MAX_COLUMNS, &column))
            return malformed(err, number, "wrong column");
        step->column = column - 1;
        return LB_OK;
    case EXPR_LITERAL:
        step->literal.tag = 'n';
        if (list->count > 3) /* a list that ends in nil may be cut there */
            lb_codec_next(&cursor, &step->literal);
        if (step->literal.tag == 'l' || step->literal.tag == 'm')
            return malformed(err, number, "a table as literal");
        return LB_OK;
    default:
        LB_TRY(read_args(expr, number, list->count - 3, cursor, used, depths, err));
        if (step->class->kind == EXPR_REGEXP)
            return expr_regexp_prepare(expr, step, err);
        return step->class->kind == EXPR_IN ? make_set(expr, step, err) : LB_OK;
    }
}

static lb_status read_steps(struct lb_expr *expr, const struct lb_value *list, uint8_t *used,
                            uint16_t *depths, struct lb_error *err)
{
    const char *cursor = list->data;

    for (uint32_t i = 0; i < list->count; i++) {
        struct lb_value item;
        lb_codec_next(&cursor, &item);
        LB_TRY(read_step(expr, i, &item, used, depths, err));
    }
    for (uint32_t i = 0; i + 1 < list->count; i++)
        if (!used[i])
            return malformed(err, i, "it is not used");
    return LB_OK;
}

static lb_status read_program(struct lb_expr *expr, const struct lb_value *program,
                              struct lb_error *err)
{
    struct lb_value text;
    struct lb_value steps;

    if (!lb_value_field(program, "text", &text) || text.tag != 's' ||
        !lb_value_field(program, "steps", &steps) || steps.tag != 'l' || steps.count == 0 ||
        steps.count > MAX_STEPS)
        return lb_error_set(err, LB_ERR_INTERNAL, "malformed expression: no text or steps");
    expr->text = text.data;
    expr->text_size = text.size;
    expr->n_steps = steps.count;
    size_t steps_bytes = steps.count * sizeof *expr->steps;
    expr->steps = lb_arena_alloc(&expr->arena, steps_bytes);
    uint8_t *used = lb_arena_alloc(&expr->arena, steps.count);
    uint16_t *depths = lb_arena_alloc(&expr->arena, steps.count * sizeof *depths);
    if (expr->steps != NULL)
        memset(expr->steps, 0, steps_bytes);
    if (expr->steps == NULL || used == NULL || depths == NULL)
        return lb_error_memory(err, "an expression", steps_bytes);
    memset(used, 0, steps.count);
    memset(depths, 0, steps.count * sizeof *depths);
    return read_steps(expr, &steps, used, depths, err);
}

lb_status lb_expr_new(const struct lb_value *program, struct lb_expr **expr, struct lb_error *err)
{
    struct lb_expr *made = lb_alloc_zero(sizeof *made);
    lb_status status;

    if (made == NULL)
        return lb_error_memory(err, "an expression", sizeof *made);
    lb_arena_init(&made->arena, ARENA_BYTES);
    status = read_program(made, program, err);
    if (status != LB_OK) {
        lb_expr_delete(made);
        return status;
    }
    *expr = made;
    return LB_OK;
}

void lb_expr_delete(struct lb_expr *expr)
{
    if (expr == NULL)
        return;
    for (uint32_t i = 0; expr->steps != NULL && i < expr->n_steps; i++)
        expr_regexp_delete(expr->steps[i].regexp);
    lb_arena_fini(&expr->arena);
    lb_free(expr, sizeof *expr);
}

/* ---- states ---- */

lb_status expr_slot_part(struct lb_expr_state *state, void **part, size_t element_bytes,
                         struct lb_error *err)
{
    size_t bytes = LB_BATCH_ROWS * element_bytes;

    if (*part != NULL)
        return LB_OK;
    *part = lb_arena_alloc(&state->arena, bytes);
    if (*part == NULL)
        return lb_error_memory(err, "an expression", bytes);
    memset(*part, 0, bytes);
    return LB_OK;
}

static lb_status make_slots(struct lb_expr_state *state, struct lb_error *err)
{
    const struct lb_expr *expr = state->expr;
    size_t bytes = expr->n_steps * sizeof *state->slots;
    uint32_t most_args = 1;

    state->slots = lb_alloc_zero(bytes);
    if (state->slots == NULL)
        return lb_error_memory(err, "an expression", bytes);
    for (uint32_t i = 0; i < expr->n_steps; i++)
        lb_builder_init(&state->slots[i].builder);
    for (uint32_t i = 0; i < expr->n_steps; i++) {
        const struct expr_step *step = &expr->steps[i];
        struct lb_column *args;

        if (step->n_args > most_args)
            most_args = step->n_args;
        args = lb_arena_alloc(&state->arena, step->n_args * sizeof *args);
        if (args == NULL)
            return lb_error_memory(err, "an expression", step->n_args * sizeof *args);
        state->slots[i].args = args;
    }
    state->values = lb_arena_alloc(&state->arena, most_args * sizeof *state->values);
    if (state->values == NULL)
        return lb_error_memory(err, "an expression", most_args * sizeof *state->values);
    return LB_OK;
}

lb_status lb_expr_state_new(const struct lb_expr *expr, struct lb_expr_state **state,
                            struct lb_error *err)
{
    struct lb_expr_state *made = lb_alloc_zero(sizeof *made);
    lb_status status;

    if (made == NULL)
        return lb_error_memory(err, "an expression", sizeof *made);
    made->expr = expr;
    lb_arena_init(&made->arena, 64 << 10);
    status = make_slots(made, err);
    if (status != LB_OK) {
        lb_expr_state_delete(made);
        return status;
    }
    *state = made;
    return LB_OK;
}

void lb_expr_state_delete(struct lb_expr_state *state)
{
    if (state == NULL)
        return;
    if (state->slots != NULL) {
        for (uint32_t i = 0; i < state->expr->n_steps; i++) {
            lb_builder_fini(&state->slots[i].builder);
            expr_matcher_delete(state->slots[i].matcher);
        }
        lb_free(state->slots, state->expr->n_steps * sizeof *state->slots);
    }
    lb_buf_fini(&state->scratch);
    lb_arena_fini(&state->arena);
    lb_free(state, sizeof *state);
}

void lb_expr_state_watch(struct lb_expr_state *state, const _Atomic int *stop)
{
    state->stop = stop;
}

bool lb_expr_state_too_much(const struct lb_expr_state *state)
{
    return state->is_too_much;
}

lb_status expr_fail(const struct lb_expr_state *state, uint32_t step, uint32_t row,
                    struct lb_error *err)
{
    const struct lb_expr *expr = state->expr;
    const struct expr_step *at = &expr->steps[step];
    struct lb_buf where = {0};
    lb_status status = err != NULL ? err->status : LB_ERR_USER;

    if (err == NULL)
        return status;
    if (lb_batch_locate(state->batch, row, &where, NULL) != LB_OK)
        where.size = 0;
    /* A part that is nearly all of it would only repeat. */
    if (at->from >= 1 && at->to >= at->from && at->to - at->from + 1 < expr->text_size)
        lb_error_set(err, status, "\"%.*s\": in \"%.*s\": %s%s%.*s", (int)expr->text_size,
                     expr->text, (int)(at->to - at->from + 1), expr->text + at->from - 1,
                     err->message, where.size > 0 ? "\n  " : "", (int)where.size,
                     where.size > 0 ? where.data : "");
    else
        lb_error_set(err, status, "\"%.*s\": %s%s%.*s", (int)expr->text_size, expr->text,
                     err->message, where.size > 0 ? "\n  " : "", (int)where.size,
                     where.size > 0 ? where.data : "");
    lb_buf_fini(&where);
    return status;
}

/* ---- evaluation ---- */

static struct expr_rows rows_of(const struct lb_batch *batch)
{
    return (struct expr_rows){.index = batch->select, .n = batch->n_selected};
}

lb_status lb_expr_eval(struct lb_expr_state *state, const struct lb_batch *batch,
                       struct lb_column *result, struct lb_error *err)
{
    struct expr_rows rows = rows_of(batch);

    state->is_too_much = false;
    state->batch = batch;
    return expr_eval(state, state->expr->n_steps - 1, &rows, result, err);
}

lb_status lb_expr_filter(struct lb_expr_state *state, const struct lb_batch *batch,
                         uint32_t *select, uint32_t *n_selected, struct lb_error *err)
{
    struct expr_rows rows = rows_of(batch);

    state->is_too_much = false;
    state->batch = batch;
    return expr_filter(state, state->expr->n_steps - 1, &rows, select, n_selected, err);
}
