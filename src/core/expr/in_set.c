/* `in` with literals: the candidates as a set.
 *
 * IDEA  Integral floats among the candidates count as the integers that they equal, so a number is looked up by its
 *       bits: integers, and floats that equal no integer (NaN made one). Few candidates are compared one after the
 *       other, many are hashed (open addressing, at most half full). */
#include <math.h>

#include "core/base/hash.h"
#include "core/column/key.h"
#include "core/expr/expr_private.h"

enum { MAX_LINEAR = 8 };

struct expr_set {
    bool has_null;
    bool is_strings;       /* else numbers; an empty set is both */
    uint32_t n;            /* without NULLs */
    struct lb_view *views; /* strings */
    uint64_t *bits;        /* numbers */
    bool *is_float;        /* numbers: bits are those of a double */
    uint32_t *slots;       /* hashed: 1-based candidates, 0 is free; NULL: linear */
    uint32_t mask;
};

static void number_bits(const struct lb_value *value, uint64_t *bits, bool *is_float)
{
    int64_t integer = value->i;
    double d = value->d;

    *is_float = value->tag == 'd' && !lb_float_as_int(d, &integer);
    if (*is_float && isnan(d))
        d = (double)NAN;
    if (*is_float)
        memcpy(bits, &d, 8);
    else
        *bits = (uint64_t)integer;
}

static uint64_t hash_view(const struct lb_view *view)
{
    uint64_t words[2];

    if (view->size > LB_VIEW_INLINE)
        return lb_hash_bytes(view->data, view->size);
    memcpy(words, view, 16);
    return lb_hash_pair(words[0], words[1]);
}

static bool has_string(const struct expr_set *set, const struct lb_view *view)
{
    if (set->slots == NULL) {
        for (uint32_t i = 0; i < set->n; i++)
            if (lb_view_equal(view, &set->views[i]))
                return true;
        return false;
    }
    for (uint64_t at = hash_view(view);; at++) {
        uint32_t slot = set->slots[at & set->mask];
        if (slot == 0)
            return false;
        if (lb_view_equal(view, &set->views[slot - 1]))
            return true;
    }
}

static bool has_number(const struct expr_set *set, uint64_t bits, bool is_float)
{
    if (set->slots == NULL) {
        for (uint32_t i = 0; i < set->n; i++)
            if (set->bits[i] == bits && set->is_float[i] == is_float)
                return true;
        return false;
    }
    for (uint64_t at = lb_hash_pair(bits, is_float);; at++) {
        uint32_t slot = set->slots[at & set->mask];
        if (slot == 0)
            return false;
        if (set->bits[slot - 1] == bits && set->is_float[slot - 1] == is_float)
            return true;
    }
}

static lb_status make_slots(struct expr_set *set, struct lb_arena *arena, struct lb_error *err)
{
    uint32_t n_slots = 4;

    if (set->n <= MAX_LINEAR)
        return LB_OK;
    while (n_slots < 2 * set->n)
        n_slots *= 2;
    set->slots = lb_arena_alloc(arena, n_slots * sizeof *set->slots);
    if (set->slots == NULL)
        return lb_error_memory(err, "an expression", n_slots * sizeof *set->slots);
    memset(set->slots, 0, n_slots * sizeof *set->slots);
    set->mask = n_slots - 1;
    for (uint32_t i = 0; i < set->n; i++) {
        uint64_t at = set->is_strings ? hash_view(&set->views[i])
                                      : lb_hash_pair(set->bits[i], set->is_float[i]);
        while (set->slots[at & set->mask] != 0)
            at++;
        set->slots[at & set->mask] = i + 1;
    }
    return LB_OK;
}

lb_status expr_set_new(const struct lb_value *values, uint32_t n, struct lb_arena *arena,
                       struct expr_set **set, struct lb_error *err)
{
    uint32_t n_strings = 0;
    uint32_t n_numbers = 0;
    size_t bytes = (size_t)n * sizeof(struct lb_view);

    for (uint32_t i = 0; i < n; i++) {
        n_strings += values[i].tag == 's';
        n_numbers += expr_is_number(&values[i]);
        if (values[i].tag == 'f' || values[i].tag == 't')
            return LB_OK;
    }
    if (n_strings > 0 && n_numbers > 0)
        return LB_OK;
    struct expr_set *made = lb_arena_alloc(arena, sizeof *made);
    struct lb_view *views = lb_arena_alloc(arena, bytes);
    bool *is_float = lb_arena_alloc(arena, n);
    if (made == NULL || views == NULL || is_float == NULL)
        return lb_error_memory(err, "an expression", bytes);
    *made = (struct expr_set){.is_strings = n_strings > 0,
                              .has_null = n_strings + n_numbers < n,
                              .views = views,
                              .bits = (uint64_t *)views,
                              .is_float = is_float};
    for (uint32_t i = 0; i < n; i++) {
        if (values[i].tag == 'n')
            continue;
        if (made->is_strings)
            lb_view_set(&views[made->n], values[i].data, values[i].size);
        else
            number_bits(&values[i], &made->bits[made->n], &is_float[made->n]);
        made->n++;
    }
    LB_TRY(make_slots(made, arena, err));
    *set = made;
    return LB_OK;
}

static bool is_in(const struct expr_set *set, const struct lb_column *column, uint32_t row)
{
    struct lb_value value;
    uint64_t bits;
    bool is_float;

    if (column->type == LB_STRING)
        return has_string(set, &column->views[row]);
    if (column->type == LB_INT64)
        return has_number(set, (uint64_t)column->ints[row], false);
    value.tag = 'd';
    value.d = column->floats[row];
    number_bits(&value, &bits, &is_float);
    return has_number(set, bits, is_float);
}

/* Few short strings: without branches, as a wrong guess costs more than all comparisons. NULL rows get anything. */
static bool find_short(const struct expr_set *set, const struct lb_column *column,
                       const struct expr_rows *rows, uint8_t *truths)
{
    if (!set->is_strings || set->slots != NULL || set->has_null)
        return false;
    for (uint32_t i = 0; i < set->n; i++)
        if (set->views[i].size > LB_VIEW_INLINE)
            return false;
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        uint64_t words[2];
        bool found = false;
        memcpy(words, &column->views[row], 16);
        for (uint32_t j = 0; j < set->n; j++) {
            uint64_t candidate[2];
            memcpy(candidate, &set->views[j], 16);
            found |= ((words[0] ^ candidate[0]) | (words[1] ^ candidate[1])) == 0;
        }
        truths[row] = found;
    }
    return true;
}

lb_status expr_kernel_in(struct lb_expr_state *state, uint32_t step, const struct lb_column *column,
                         const struct expr_rows *rows, struct lb_column *out, bool *done,
                         struct lb_error *err)
{
    const struct expr_set *set = state->expr->steps[step].set;
    struct expr_slot *slot = &state->slots[step];
    bool is_strings = column->type == LB_STRING;
    bool is_numbers = column->type == LB_INT64 || column->type == LB_FLOAT64;

    if (set->n == 0 ? !is_strings && !is_numbers : !(set->is_strings ? is_strings : is_numbers))
        return LB_OK;
    LB_TRY(expr_slot_part(state, (void **)&slot->truths, 1, err));
    uint8_t *truths = slot->truths;
    *out = (struct lb_column){.type = LB_BOOL, .valid = column->valid, .bools = truths};
    if (set->has_null) { /* what is not found may be the NULL */
        LB_TRY(expr_slot_part(state, (void **)&slot->valid, 1, err));
        memset(slot->valid, 0, EXPR_BITMAP_WORDS * 8);
        out->valid = slot->valid;
    }
    *done = true;
    if (find_short(set, column, rows, truths))
        return LB_OK;
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t row = expr_row(rows, i);
        if (!lb_column_is_valid(column, row))
            continue;
        truths[row] = is_in(set, column, row);
        if (set->has_null && truths[row])
            slot->valid[row >> 6] |= 1ULL << (row & 63);
    }
    return LB_OK;
}
