/* sum and avg.
 *
 * STATES Integers are summed in 128 bits, which 2^64 of them cannot overflow. The first float of a group without integers is kept
 *        as it is; a second number next to a float makes a struct lb_float_sum, in an array of its own.
 * FORMAT of a partial: a byte of enum form, then what it says. */
#include <math.h>

#include "core/algo/advise.h"
#include "core/algo/float_sum.h"
#include "core/algo/group_state_private.h"
#include "core/base/sys.h"

enum form {
    FORM_EMPTY,
    FORM_ONE_INT,   /* int64 */
    FORM_INT,       /* int64 sum, uint64 number of values */
    FORM_WIDE,      /* int128 sum, uint64 number */
    FORM_ONE_FLOAT, /* double */
    FORM_FLOAT      /* int128 sum, uint64 number of all values, struct lb_float_sum */
};

enum kind { KIND_INTS, KIND_ONE_FLOAT, KIND_FLOATS };

struct sum_state {
    uint64_t low; /* sum of the integers; of KIND_ONE_FLOAT the double */
    int64_t high;
    uint64_t n;    /* values, integers and floats */
    uint32_t kind; /* enum kind */
    uint32_t slot; /* of KIND_FLOATS: in floats */
};

struct sum_extra {
    struct lb_float_sum *floats;
    size_t n;
    size_t capacity;
};

enum { KEEP_BYTES = 512 << 10 };

static lb_status sum_open(struct lb_group_state *self, struct lb_error *err)
{
    self->extra = lb_alloc_zero(sizeof(struct sum_extra));
    return self->extra != NULL ? LB_OK : lb_error_memory(err, "a sum", sizeof(struct sum_extra));
}

static void sum_close(struct lb_group_state *self)
{
    struct sum_extra *extra = self->extra;
    lb_free(extra->floats, extra->capacity * sizeof *extra->floats);
    lb_free(extra, sizeof *extra);
    self->extra = NULL;
}

static void sum_forget(struct lb_group_state *self)
{
    struct sum_extra *extra = self->extra;
    extra->n = 0;
    if (extra->capacity * sizeof *extra->floats > KEEP_BYTES) {
        lb_free(extra->floats, extra->capacity * sizeof *extra->floats);
        extra->floats = NULL;
        extra->capacity = 0;
    }
}

static size_t sum_bytes(const struct lb_group_state *self)
{
    const struct sum_extra *extra = self->extra;
    /* As if it had to grow with the next batch. */
    size_t bytes = extra->capacity * sizeof *extra->floats;
    return extra->n + LB_BATCH_ROWS > extra->capacity && extra->n > 0 ? 3 * bytes : bytes;
}

static inline __int128 whole(const struct sum_state *state)
{
    return (__int128)((unsigned __int128)(uint64_t)state->high << 64 | state->low);
}

static inline void set_whole(struct sum_state *state, __int128 sum)
{
    state->low = (uint64_t)sum;
    state->high = (int64_t)(sum >> 64);
}

static inline void add_int(struct sum_state *state, int64_t value)
{
    uint64_t low = state->low + (uint64_t)value;
    state->high += (value >> 63) + (low < state->low);
    state->low = low;
    state->n++;
}

/* Gives the state a sum of floats. */
static lb_status turn_to_floats(struct lb_group_state *self, struct sum_state *state,
                                struct lb_error *err)
{
    struct sum_extra *extra = self->extra;
    if (state->kind == KIND_FLOATS)
        return LB_OK;
    if (extra->n == extra->capacity) {
        size_t old = extra->capacity * sizeof *extra->floats;
        size_t capacity = extra->capacity > 0 ? 2 * extra->capacity : 16;
        struct lb_float_sum *floats = lb_alloc(capacity * sizeof *floats);
        if (floats == NULL)
            return lb_error_memory(err, "sums", capacity * sizeof *floats);
        lb_advise_huge(floats, capacity * sizeof *floats);
        if (old > 0)
            memcpy(floats, extra->floats, old);
        lb_free(extra->floats, old);
        extra->floats = floats;
        extra->capacity = capacity;
    }
    struct lb_float_sum *sum = &extra->floats[extra->n];
    lb_float_sum_init(sum);
    if (state->kind == KIND_ONE_FLOAT) {
        double first;
        memcpy(&first, &state->low, sizeof first);
        lb_float_sum_add(sum, first);
        state->low = 0;
    }
    state->kind = KIND_FLOATS;
    state->slot = (uint32_t)extra->n++;
    return LB_OK;
}

static inline lb_status add_float(struct lb_group_state *self, struct sum_state *state,
                                  double value, struct lb_error *err)
{
    if (state->n == 0) {
        memcpy(&state->low, &value, sizeof value);
        state->kind = KIND_ONE_FLOAT;
        state->n = 1;
        return LB_OK;
    }
    if (state->kind != KIND_FLOATS)
        LB_TRY(turn_to_floats(self, state, err));
    lb_float_sum_add(&((struct sum_extra *)self->extra)->floats[state->slot], value);
    state->n++;
    return LB_OK;
}

static lb_status add_value(struct lb_group_state *self, struct sum_state *state,
                           const struct lb_value *value, struct lb_error *err)
{
    if (value->tag == 'd')
        return add_float(self, state, value->d, err);
    if (state->kind == KIND_ONE_FLOAT)
        LB_TRY(turn_to_floats(self, state, err));
    add_int(state, value->i);
    return LB_OK;
}

static lb_status sum_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                            struct lb_error *err)
{
    struct sum_state *states = (struct sum_state *)self->states;
    const struct lb_batch *batch = rows->batch;
    const struct lb_column *column = &batch->columns[self->column];
    const uint32_t *slots = rows->slots;
    uint32_t n = batch->n_selected;
    if (column->type == LB_INT64 && column->valid == NULL) {
        for (uint32_t i = 0; i < n; i++) {
            struct sum_state *state = &states[slots[i]];
            if (__builtin_expect(state->kind == KIND_ONE_FLOAT, 0))
                LB_TRY(turn_to_floats(self, state, err));
            add_int(state, column->ints[lb_batch_row(batch, i)]);
        }
        return LB_OK;
    }
    if (column->type == LB_FLOAT64 && column->valid == NULL) {
        for (uint32_t i = 0; i < n; i++)
            LB_TRY(add_float(self, &states[slots[i]], column->floats[lb_batch_row(batch, i)], err));
        return LB_OK;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct lb_value value = lb_group_value(column, row);
        if (value.tag == 'n')
            continue;
        if (value.tag != 'i' && value.tag != 'd')
            return lb_group_wrong_type(self, rows, row, "a number", err);
        LB_TRY(add_value(self, &states[slots[i]], &value, err));
    }
    return LB_OK;
}

static lb_status sum_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                          struct lb_error *err)
{
    const struct sum_state *state = (const struct sum_state *)self->states + slot;
    const struct sum_extra *extra = self->extra;
    enum form form = FORM_FLOAT;
    if (state->n == 0)
        form = FORM_EMPTY;
    else if (state->kind == KIND_ONE_FLOAT)
        form = FORM_ONE_FLOAT;
    else if (state->kind == KIND_INTS && state->high != (int64_t)state->low >> 63)
        form = FORM_WIDE;
    else if (state->kind == KIND_INTS)
        form = state->n == 1 ? FORM_ONE_INT : FORM_INT;
    LB_TRY(lb_buf_append_byte(out, (char)form, err));
    if (form == FORM_EMPTY)
        return LB_OK;
    LB_TRY(lb_buf_append(out, &state->low, sizeof state->low, err));
    if (form == FORM_WIDE || form == FORM_FLOAT)
        LB_TRY(lb_buf_append(out, &state->high, sizeof state->high, err));
    if (form != FORM_ONE_INT && form != FORM_ONE_FLOAT)
        LB_TRY(lb_buf_append(out, &state->n, sizeof state->n, err));
    if (form == FORM_FLOAT)
        return lb_buf_append(out, &extra->floats[state->slot], sizeof *extra->floats, err);
    return LB_OK;
}

static lb_status sum_merge(struct lb_group_state *self, const char **cursor, const char *end,
                           struct lb_error *err)
{
    struct sum_state *state = (struct sum_state *)self->states;
    struct sum_state more = {0};
    struct lb_value value;
    unsigned char form;
    LB_GROUP_LOAD(self, cursor, end, form, err);
    if (form == FORM_EMPTY)
        return LB_OK;
    LB_GROUP_LOAD(self, cursor, end, more.low, err);
    if (form == FORM_ONE_INT || form == FORM_ONE_FLOAT) {
        value.tag = form == FORM_ONE_INT ? 'i' : 'd';
        value.i = (int64_t)more.low;
        return add_value(self, state, &value, err);
    }
    more.high = (int64_t)more.low >> 63;
    if (form == FORM_WIDE || form == FORM_FLOAT)
        LB_GROUP_LOAD(self, cursor, end, more.high, err);
    LB_GROUP_LOAD(self, cursor, end, more.n, err);
    if (form == FORM_FLOAT || state->kind == KIND_ONE_FLOAT)
        LB_TRY(turn_to_floats(self, state, err));
    set_whole(state, (__int128)((unsigned __int128)whole(state) + (unsigned __int128)whole(&more)));
    state->n += more.n;
    if (form == FORM_FLOAT) {
        struct lb_float_sum floats;
        LB_GROUP_LOAD(self, cursor, end, floats, err);
        lb_float_sum_merge(&((struct sum_extra *)self->extra)->floats[state->slot], &floats);
    }
    return LB_OK;
}

/* The sum of a group that has a float. */
static double float_result(const struct lb_group_state *self, const struct sum_state *state)
{
    struct lb_float_sum sum;
    if (state->kind == KIND_ONE_FLOAT) {
        double first;
        memcpy(&first, &state->low, sizeof first);
        return first;
    }
    sum = ((const struct sum_extra *)self->extra)->floats[state->slot];
    if (state->low != 0 || state->high != 0) {
        const uint64_t words[2] = {(uint64_t)state->high, state->low};
        lb_float_sum_add(&sum, ldexp((double)((int64_t)words[0] >> 32), 96));
        lb_float_sum_add(&sum, ldexp((double)(uint32_t)words[0], 64));
        lb_float_sum_add(&sum, ldexp((double)(words[1] >> 32), 32));
        lb_float_sum_add(&sum, (double)(uint32_t)words[1]);
    }
    return lb_float_sum_value(&sum);
}

static lb_status sum_result(struct lb_group_state *self, struct lb_builder *out,
                            struct lb_error *err)
{
    const struct sum_state *state = (const struct sum_state *)self->states;
    if (state->n == 0)
        return lb_builder_null(out, err);
    if (state->kind != KIND_INTS)
        return lb_builder_float(out, float_result(self, state), err);
    if (state->high != (int64_t)state->low >> 63)
        return lb_error_set(err, LB_ERR_DATA,
                            "%s: integer overflow: the sum does not fit 64 bits; add 0.0 to the "
                            "values for a float",
                            self->label);
    return lb_builder_int(out, (int64_t)state->low, err);
}

/* sum / n, rounded once. The quotient is made 55 bits long or longer; what is left over only says whether it was exact. */
static double quotient(__int128 sum, uint64_t n)
{
    unsigned __int128 magnitude = sum < 0 ? -(unsigned __int128)sum : (unsigned __int128)sum;
    unsigned __int128 q = magnitude / n;
    unsigned __int128 rest = magnitude % n;
    int unit = 0;
    while (q < (unsigned __int128)1 << 55 && rest != 0) {
        rest <<= 64;
        q = q << 64 | rest / n;
        rest %= n;
        unit -= 64;
    }
    double value = ldexp((double)(q | (rest != 0)), unit);
    return sum < 0 ? -value : value;
}

static lb_status avg_result(struct lb_group_state *self, struct lb_builder *out,
                            struct lb_error *err)
{
    const struct sum_state *state = (const struct sum_state *)self->states;
    if (state->n == 0)
        return lb_builder_null(out, err);
    if (state->kind != KIND_INTS)
        return lb_builder_float(out, float_result(self, state) / (double)state->n, err);
    return lb_builder_float(out, quotient(whole(state), state->n), err);
}

#define SUM_CLASS(text, result_)                                                                 \
    {                                                                                            \
        .name = text, .state_bytes = sizeof(struct sum_state), .n_columns = 1, .open = sum_open, \
        .close = sum_close, .update = sum_update, .save = sum_save, .merge = sum_merge,          \
        .result = result_, .forget = sum_forget, .extra_bytes = sum_bytes                        \
    }

const struct lb_group_state_class lb_group_sum = SUM_CLASS("sum", sum_result);
const struct lb_group_state_class lb_group_avg = SUM_CLASS("avg", avg_result);
