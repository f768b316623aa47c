/* Kernels: comparison and arithmetic over typed columns, all rows of a kind in one loop.
 *
 * A kernel writes what comes out of rows that are NULL too (the bitmap hides it), so that loops do not branch. Only
 * where that could fail (overflow) a second loop looks for a row that counts.
 * Loops over all rows are told apart from those over a list, for the compiler to vectorise the former. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif
#include <math.h>

#include "core/base/number.h"
#include "core/expr/expr_private.h"

#define FOR_ROWS(rows, row, body)                         \
    do {                                                  \
        if ((rows)->index == NULL) {                      \
            uint32_t n_ = (rows)->n;                      \
            for (uint32_t row = 0; row < n_; row++) {     \
                body;                                     \
            }                                             \
        } else {                                          \
            for (uint32_t i_ = 0; i_ < (rows)->n; i_++) { \
                uint32_t row = (rows)->index[i_];         \
                body;                                     \
            }                                             \
        }                                                 \
    } while (0)

/* A row is NULL where a or b is. */
static lb_status both_valid(struct lb_expr_state *state, struct expr_slot *slot, const uint64_t *a,
                            const uint64_t *b, const uint64_t **valid, struct lb_error *err)
{
    uint32_t n_words = (state->batch->n_rows + 63) / 64;

    *valid = a != NULL ? a : b;
    if (a == NULL || b == NULL)
        return LB_OK;
    LB_TRY(expr_slot_part(state, (void **)&slot->valid, 1, err));
    for (uint32_t i = 0; i < n_words; i++)
        slot->valid[i] = a[i] & b[i];
    *valid = slot->valid;
    return LB_OK;
}

/* ---- comparison ---- */

static void compare_ints(enum expr_compare operation, const int64_t *restrict a,
                         const int64_t *restrict b, const struct expr_rows *rows,
                         uint8_t *restrict out)
{
    switch (operation) {
    case EXPR_EQ:
        FOR_ROWS(rows, row, out[row] = a[row] == b[row]);
        break;
    case EXPR_NE:
        FOR_ROWS(rows, row, out[row] = a[row] != b[row]);
        break;
    case EXPR_LT:
        FOR_ROWS(rows, row, out[row] = a[row] < b[row]);
        break;
    case EXPR_LE:
        FOR_ROWS(rows, row, out[row] = a[row] <= b[row]);
        break;
    case EXPR_GT:
        FOR_ROWS(rows, row, out[row] = a[row] > b[row]);
        break;
    case EXPR_GE:
        FOR_ROWS(rows, row, out[row] = a[row] >= b[row]);
        break;
    }
}

/* NaN equals itself and is above all. */
static inline bool float_equal(double a, double b)
{
    return (a == b) | ((a != a) & (b != b));
}

static inline bool float_less(double a, double b)
{
    return (a < b) | ((b != b) & (a == a));
}

static void compare_floats(enum expr_compare operation, const double *restrict a,
                           const double *restrict b, const struct expr_rows *rows,
                           uint8_t *restrict out)
{
    switch (operation) {
    case EXPR_EQ:
        FOR_ROWS(rows, row, out[row] = float_equal(a[row], b[row]));
        break;
    case EXPR_NE:
        FOR_ROWS(rows, row, out[row] = !float_equal(a[row], b[row]));
        break;
    case EXPR_LT:
        FOR_ROWS(rows, row, out[row] = float_less(a[row], b[row]));
        break;
    case EXPR_LE:
        FOR_ROWS(rows, row, out[row] = !float_less(b[row], a[row]));
        break;
    case EXPR_GT:
        FOR_ROWS(rows, row, out[row] = float_less(b[row], a[row]));
        break;
    case EXPR_GE:
        FOR_ROWS(rows, row, out[row] = !float_less(a[row], b[row]));
        break;
    }
}

static inline int compare_views(const struct lb_view *a, const struct lb_view *b)
{
    uint32_t size = a->size < b->size ? a->size : b->size;
    int order = memcmp(lb_view_data(a), lb_view_data(b), size);

    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static void compare_strings(enum expr_compare operation, const struct lb_view *a,
                            const struct lb_view *b, const struct expr_rows *rows, uint8_t *out,
                            const uint64_t *valid)
{
    /* Views of NULL rows may be anything: they are not followed. */
#define IF_VALID(value) out[row] = (valid == NULL || (valid[row >> 6] >> (row & 63) & 1)) && (value)
    if (operation == EXPR_EQ)
        FOR_ROWS(rows, row, IF_VALID(lb_view_equal(&a[row], &b[row])));
    else if (operation == EXPR_NE)
        FOR_ROWS(rows, row, IF_VALID(!lb_view_equal(&a[row], &b[row])));
    else
        FOR_ROWS(rows, row,
                 IF_VALID(expr_compare_holds(operation, compare_views(&a[row], &b[row]))));
#undef IF_VALID
}

/* Whether a comparison of columns of these types has a kernel. */
static bool is_comparable(enum lb_type a, enum lb_type b)
{
    bool numbers = (a == LB_INT64 || a == LB_FLOAT64) && (b == LB_INT64 || b == LB_FLOAT64);

    return numbers || (a == b && (a == LB_STRING || a == LB_BOOL));
}

static void compare_into(enum expr_compare operation, const struct lb_column *a,
                         const struct lb_column *b, const struct expr_rows *rows,
                         const uint64_t *valid, uint8_t *out)
{
    if (a->type == LB_STRING)
        compare_strings(operation, a->views, b->views, rows, out, valid);
    else if (a->type == LB_BOOL)
        FOR_ROWS(rows, row,
                 out[row] = expr_compare_holds(operation, a->bools[row] - b->bools[row]));
    else if (a->type == LB_INT64 && b->type == LB_INT64)
        compare_ints(operation, a->ints, b->ints, rows, out);
    else if (a->type == LB_FLOAT64 && b->type == LB_FLOAT64)
        compare_floats(operation, a->floats, b->floats, rows, out);
    else if (a->type == LB_INT64)
        FOR_ROWS(rows, row,
                 out[row] = expr_compare_holds(operation,
                                               lb_compare_int_float(a->ints[row], b->floats[row])));
    else
        FOR_ROWS(rows, row,
                 out[row] = expr_compare_holds(
                     operation, -lb_compare_int_float(b->ints[row], a->floats[row])));
}

lb_status expr_kernel_compare(struct lb_expr_state *state, uint32_t step,
                              enum expr_compare operation, const struct lb_column *a,
                              const struct lb_column *b, const struct expr_rows *rows,
                              struct lb_column *out, bool *done, struct lb_error *err)
{
    struct expr_slot *slot = &state->slots[step];
    const uint64_t *valid;

    if (!is_comparable(a->type, b->type))
        return LB_OK;
    LB_TRY(expr_slot_part(state, (void **)&slot->truths, 1, err));
    LB_TRY(both_valid(state, slot, a->valid, b->valid, &valid, err));
    compare_into(operation, a, b, rows, valid, slot->truths);
    *out = (struct lb_column){.type = LB_BOOL, .valid = valid, .bools = slot->truths};
    *done = true;
    return LB_OK;
}

/* args: value, low, high. Only without NULLs, which take more than two comparisons. */
lb_status expr_kernel_between(struct lb_expr_state *state, uint32_t step,
                              const struct lb_column *args, const struct expr_rows *rows,
                              struct lb_column *out, bool *done, struct lb_error *err)
{
    struct expr_slot *slot = &state->slots[step];

    if (!is_comparable(args[0].type, args[1].type) || !is_comparable(args[0].type, args[2].type) ||
        args[1].valid != NULL || args[2].valid != NULL)
        return LB_OK;
    LB_TRY(expr_slot_part(state, (void **)&slot->truths, 1, err));
    LB_TRY(expr_slot_part(state, (void **)&slot->more_truths, 1, err));
    uint8_t *truths = slot->truths;
    const uint8_t *others = slot->more_truths;
    compare_into(EXPR_GE, &args[0], &args[1], rows, args[0].valid, truths);
    compare_into(EXPR_LE, &args[0], &args[2], rows, args[0].valid, slot->more_truths);
    FOR_ROWS(rows, row, truths[row] &= others[row]);
    *out = (struct lb_column){.type = LB_BOOL, .valid = args[0].valid, .bools = truths};
    *done = true;
    return LB_OK;
}

/* ---- arithmetic ---- */

static bool counts(const uint64_t *valid, uint32_t row)
{
    return valid == NULL || (valid[row >> 6] >> (row & 63) & 1) != 0;
}

/* Clears the rows with a zero divisor. */
static lb_status clear_zeros(struct lb_expr_state *state, struct expr_slot *slot,
                             const struct lb_column *divisor, const struct expr_rows *rows,
                             const uint64_t **valid, struct lb_error *err)
{
    uint32_t n_words = (state->batch->n_rows + 63) / 64;

    LB_TRY(expr_slot_part(state, (void **)&slot->valid, 1, err));
    if (*valid == NULL)
        memset(slot->valid, 0xff, n_words * 8);
    else if (*valid != slot->valid)
        memcpy(slot->valid, *valid, n_words * 8);
    FOR_ROWS(rows, row, {
        bool is_zero =
            divisor->type == LB_INT64 ? divisor->ints[row] == 0 : divisor->floats[row] == 0;
        if (is_zero)
            slot->valid[row >> 6] &= ~(1ULL << (row & 63));
    });
    *valid = slot->valid;
    return LB_OK;
}

static inline int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t quotient = a / b;

    return quotient - (a % b != 0 && (a ^ b) < 0);
}

static inline int64_t floor_modulo(int64_t a, int64_t b)
{
    int64_t rest = a % b;

    return rest != 0 && (rest ^ b) < 0 ? rest + b : rest;
}

static inline double float_modulo(double a, double b)
{
    double rest = fmod(a, b);

    return rest * b < 0 ? rest + b : rest;
}

/* *failed: some row, perhaps a NULL one, overflowed. *zero: some divisor is 0. */
static void int_arithmetic(enum expr_arithmetic operation, const int64_t *a, const int64_t *b,
                           const struct expr_rows *rows, int64_t *out, bool *failed, bool *zero)
{
    bool bad = false;
    bool nil = false;

    switch (operation) {
    case EXPR_ADD:
        FOR_ROWS(rows, row, {
            uint64_t sum = (uint64_t)a[row] + (uint64_t)b[row];
            out[row] = (int64_t)sum;
            bad |= (int64_t)((sum ^ (uint64_t)a[row]) & (sum ^ (uint64_t)b[row])) < 0;
        });
        break;
    case EXPR_SUB:
        FOR_ROWS(rows, row, bad |= __builtin_sub_overflow(a[row], b[row], &out[row]));
        break;
    case EXPR_MUL:
        FOR_ROWS(rows, row, bad |= __builtin_mul_overflow(a[row], b[row], &out[row]));
        break;
    case EXPR_IDIV:
        FOR_ROWS(rows, row, {
            bool overflows = a[row] == INT64_MIN && b[row] == -1;
            bad |= overflows;
            nil |= b[row] == 0;
            out[row] = b[row] == 0 || overflows ? 0 : floor_divide(a[row], b[row]);
        });
        break;
    default: /* EXPR_MOD; INT64_MIN % -1 traps */
        FOR_ROWS(rows, row, {
            nil |= b[row] == 0;
            out[row] = b[row] == 0 || b[row] == -1 ? 0 : floor_modulo(a[row], b[row]);
        });
    }
    *failed = bad;
    *zero = nil;
}

static void float_arithmetic(enum expr_arithmetic operation, const double *a, const double *b,
                             const struct expr_rows *rows, double *out, bool *zero)
{
    bool nil = false;

    switch (operation) {
    case EXPR_ADD:
        FOR_ROWS(rows, row, out[row] = a[row] + b[row]);
        break;
    case EXPR_SUB:
        FOR_ROWS(rows, row, out[row] = a[row] - b[row]);
        break;
    case EXPR_MUL:
        FOR_ROWS(rows, row, out[row] = a[row] * b[row]);
        break;
    case EXPR_DIV:
        FOR_ROWS(rows, row, {
            nil |= b[row] == 0;
            out[row] = b[row] == 0 ? 0 : a[row] / b[row];
        });
        break;
    case EXPR_IDIV:
        FOR_ROWS(rows, row, {
            nil |= b[row] == 0;
            out[row] = b[row] == 0 ? 0 : floor(a[row] / b[row]);
        });
        break;
    case EXPR_MOD:
        FOR_ROWS(rows, row, {
            nil |= b[row] == 0;
            out[row] = b[row] == 0 ? 0 : float_modulo(a[row], b[row]);
        });
        break;
    }
    *zero = nil;
}

/* The class's function says what is wrong with the first row that counts and overflows, if there is one. */
static lb_status find_overflow(struct lb_expr_state *state, uint32_t number,
                               const struct lb_column *args, const struct expr_rows *rows,
                               const uint64_t *valid, struct lb_error *err)
{
    const struct expr_class *class = state->expr->steps[number].class;

    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        struct expr_call call = {.class = class, .scratch = &state->scratch, .value = {.tag = 'n'}};
        struct lb_value values[2];
        if (!counts(valid, row))
            continue;
        values[0] = lb_column_value(&args[0], row);
        values[1] = lb_column_value(&args[1], row);
        if (class->function(&call, values, 2, err) != LB_OK)
            return expr_fail(state, number, row, err);
    }
    return LB_OK;
}

static lb_status as_floats(struct lb_expr_state *state, const struct lb_column *column,
                           const struct expr_rows *rows, void **room, const double **floats,
                           struct lb_error *err)
{
    *floats = column->floats;
    if (column->type == LB_FLOAT64)
        return LB_OK;
    LB_TRY(expr_slot_part(state, room, 8, err));
    double *converted = *room;
    FOR_ROWS(rows, row, converted[row] = (double)column->ints[row]);
    *floats = converted;
    return LB_OK;
}

static bool is_number(enum lb_type type)
{
    return type == LB_INT64 || type == LB_FLOAT64;
}

lb_status expr_kernel_arithmetic(struct lb_expr_state *state, uint32_t number,
                                 const struct lb_column *args, const struct expr_rows *rows,
                                 struct lb_column *out, bool *done, struct lb_error *err)
{
    struct expr_slot *slot = &state->slots[number];
    enum expr_arithmetic operation =
        (enum expr_arithmetic)state->expr->steps[number].class->variant;
    const uint64_t *valid;
    bool zero = false;
    bool failed = false;

    if (!is_number(args[0].type) || !is_number(args[1].type))
        return LB_OK;
    LB_TRY(expr_slot_part(state, &slot->words, 8, err));
    LB_TRY(both_valid(state, slot, args[0].valid, args[1].valid, &valid, err));
    if (args[0].type == LB_INT64 && args[1].type == LB_INT64 && operation != EXPR_DIV) {
        int_arithmetic(operation, args[0].ints, args[1].ints, rows, slot->words, &failed, &zero);
        if (failed)
            LB_TRY(find_overflow(state, number, args, rows, valid, err));
        *out = (struct lb_column){.type = LB_INT64, .data = slot->words};
    } else {
        const double *a;
        const double *b;
        LB_TRY(as_floats(state, &args[0], rows, &slot->words, &a, err));
        LB_TRY(as_floats(state, &args[1], rows, &slot->more_words, &b, err));
        float_arithmetic(operation, a, b, rows, slot->words, &zero);
        *out = (struct lb_column){.type = LB_FLOAT64, .data = slot->words};
    }
    if (zero)
        LB_TRY(clear_zeros(state, slot, &args[1], rows, &valid, err));
    out->valid = valid;
    *done = true;
    return LB_OK;
}
