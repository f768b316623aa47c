/* approx_count_distinct: HyperLogLog.
 *
 * IDEA   Each value's hash names one of 4096 registers, which keeps the greatest number of leading zeros seen in the rest of
 *        it. The estimate is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017, the improved
 *        raw estimator), good from 0 values on without tables of corrections.
 * STATES A few registers are a list of (register, rank); beyond MOST_SPARSE all of them, one byte each.
 * FORMAT of a partial: uint16 number of list entries, each uint16 register and byte rank; 65535: all registers follow. */
#include <math.h>

#include "core/algo/group_state_private.h"
#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/key.h"

enum {
    BITS = 12,
    N_REGISTERS = 1 << BITS,
    Q = 64 - BITS,
    FIRST_SPARSE = 4,
    MOST_SPARSE = 64,
    ALL = 65535
};

struct sketch_state {
    union {
        uint32_t *list;     /* register << 8 | rank */
        uint8_t *registers; /* when capacity is ALL */
    };
    uint16_t n;
    uint16_t capacity;
    uint32_t spare;
};

struct sketch_extra {
    struct lb_arena arena;
    struct lb_buf key;
};

#ifdef LB_TINY
enum { ARENA_BYTES = 256 };
#else
enum { ARENA_BYTES = 64 << 10 };
#endif

static lb_status sketch_open(struct lb_group_state *self, struct lb_error *err)
{
    struct sketch_extra *extra = self->extra = lb_alloc_zero(sizeof *extra);
    if (extra == NULL)
        return lb_error_memory(err, self->label, sizeof *extra);
    lb_arena_init(&extra->arena, ARENA_BYTES);
    return LB_OK;
}

static void sketch_close(struct lb_group_state *self)
{
    struct sketch_extra *extra = self->extra;
    lb_arena_fini(&extra->arena);
    lb_buf_fini(&extra->key);
    lb_free(extra, sizeof *extra);
    self->extra = NULL;
}

static void sketch_forget(struct lb_group_state *self)
{
    struct sketch_extra *extra = self->extra;
    if (extra->arena.held_bytes > 0)
        lb_arena_reset(&extra->arena);
}

static size_t sketch_bytes(const struct lb_group_state *self)
{
    return ((const struct sketch_extra *)self->extra)->arena.held_bytes;
}

static lb_status grow(struct lb_group_state *self, struct sketch_state *state, struct lb_error *err)
{
    struct sketch_extra *extra = self->extra;
    uint32_t capacity = state->capacity == 0 ? FIRST_SPARSE : 4u * state->capacity;
    bool all = capacity > MOST_SPARSE;
    size_t bytes = all ? (size_t)N_REGISTERS : capacity * sizeof *state->list;
    void *grown = lb_arena_alloc(&extra->arena, bytes);
    if (grown == NULL)
        return lb_error_memory(err, self->label, bytes);
    if (all) {
        memset(grown, 0, bytes);
        for (uint32_t i = 0; i < state->n; i++)
            ((uint8_t *)grown)[state->list[i] >> 8] = (uint8_t)state->list[i];
        state->registers = grown;
        state->capacity = ALL;
    } else {
        if (state->n > 0)
            memcpy(grown, state->list, state->n * sizeof *state->list);
        state->list = grown;
        state->capacity = (uint16_t)capacity;
    }
    return LB_OK;
}

static lb_status add_rank(struct lb_group_state *self, struct sketch_state *state, uint32_t at,
                          uint32_t rank, struct lb_error *err)
{
    if (state->capacity != ALL) {
        for (uint32_t i = 0; i < state->n; i++) {
            if (state->list[i] >> 8 != at)
                continue;
            if ((state->list[i] & 255) < rank)
                state->list[i] = at << 8 | rank;
            return LB_OK;
        }
        if (state->n == state->capacity)
            LB_TRY(grow(self, state, err));
    }
    if (state->capacity != ALL)
        state->list[state->n++] = at << 8 | rank;
    else if (state->registers[at] < rank)
        state->registers[at] = (uint8_t)rank;
    return LB_OK;
}

static lb_status hash_value(struct sketch_extra *extra, const struct lb_value *value,
                            uint64_t *hash, struct lb_error *err)
{
    int64_t integer = value->i;
    size_t size;
    if (value->tag == 's') {
        *hash = lb_hash_bytes(value->data, value->size);
        return LB_OK;
    }
    if (value->tag == 'i' || (value->tag == 'd' && lb_float_as_int(value->d, &integer))) {
        char bytes[9] = {'i'};
        memcpy(bytes + 1, &integer, 8);
        *hash = lb_hash_bytes(bytes, sizeof bytes);
        return LB_OK;
    }
    extra->key.size = 0;
    if (value->tag == 'd') {
        LB_TRY(lb_key_put_float(&extra->key, value->d, err));
    } else if (value->tag == 'l' || value->tag == 'm') {
        const char *data = lb_value_encoded(value, &size);
        LB_TRY(lb_key_put_encoded(&extra->key, data, size, false, err));
    } else {
        LB_TRY(lb_buf_append_byte(&extra->key, value->tag, err));
        LB_TRY(lb_buf_append_byte(&extra->key, 1, err));
    }
    *hash = lb_hash_bytes(extra->key.data, extra->key.size);
    return LB_OK;
}

static lb_status sketch_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                               struct lb_error *err)
{
    const struct lb_batch *batch = rows->batch;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        struct lb_value value =
            lb_column_value(&batch->columns[self->column], lb_batch_row(batch, i));
        uint64_t hash;
        if (value.tag == 'n')
            continue;
        LB_TRY(hash_value(self->extra, &value, &hash, err));
        uint64_t rest = hash << BITS;
        uint32_t rank = rest == 0 ? Q + 1 : (uint32_t)__builtin_clzll(rest) + 1;
        LB_TRY(
            add_rank(self, lb_group_slot(self, rows->slots[i]), (uint32_t)(hash >> Q), rank, err));
    }
    return LB_OK;
}

static lb_status sketch_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                             struct lb_error *err)
{
    const struct sketch_state *state = lb_group_slot(self, slot);
    uint16_t n = state->capacity == ALL ? (uint16_t)ALL : state->n;
    LB_TRY(lb_buf_append(out, &n, sizeof n, err));
    if (n == ALL)
        return lb_buf_append(out, state->registers, N_REGISTERS, err);
    for (uint32_t i = 0; i < n; i++) {
        uint16_t at = (uint16_t)(state->list[i] >> 8);
        LB_TRY(lb_buf_append(out, &at, sizeof at, err));
        LB_TRY(lb_buf_append_byte(out, (char)state->list[i], err));
    }
    return LB_OK;
}

static lb_status sketch_merge(struct lb_group_state *self, const char **cursor, const char *end,
                              struct lb_error *err)
{
    struct sketch_state *state = (struct sketch_state *)self->states;
    uint16_t n, at;
    unsigned char rank;
    LB_GROUP_LOAD(self, cursor, end, n, err);
    uint32_t n_ranks = n == ALL ? N_REGISTERS : n;
    for (uint32_t i = 0; i < n_ranks; i++) {
        at = (uint16_t)i;
        if (n != ALL)
            LB_GROUP_LOAD(self, cursor, end, at, err);
        LB_GROUP_LOAD(self, cursor, end, rank, err);
        if (at >= N_REGISTERS)
            return lb_group_bad_partial(self, err);
        if (rank > 0)
            LB_TRY(add_rank(self, state, at, rank, err));
    }
    return LB_OK;
}

static double sigma(double x)
{
    double y = 1, z = x, last;
    if (x == 1)
        return INFINITY;
    do {
        x *= x;
        last = z;
        z += x * y;
        y += y;
    } while (z != last);
    return z;
}

static double tau(double x)
{
    double y = 1, z = 1 - x, last;
    if (x == 0 || x == 1)
        return 0;
    do {
        x = sqrt(x);
        last = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (z != last);
    return z / 3;
}

static lb_status sketch_result(struct lb_group_state *self, struct lb_builder *out,
                               struct lb_error *err)
{
    const struct sketch_state *state = (const struct sketch_state *)self->states;
    uint32_t counts[Q + 2] = {0};
    const double m = N_REGISTERS;
    if (state->capacity == ALL) {
        for (uint32_t i = 0; i < N_REGISTERS; i++)
            counts[state->registers[i]]++;
    } else {
        counts[0] = N_REGISTERS - state->n;
        for (uint32_t i = 0; i < state->n; i++)
            counts[state->list[i] & 255]++;
    }
    double z = m * tau(1 - counts[Q + 1] / m);
    for (int k = Q; k >= 1; k--)
        z = 0.5 * (z + counts[k]);
    z += m * sigma(counts[0] / m);
    double estimate = m * m / (2 * log(2)) / z;
    return lb_builder_int(out, (int64_t)(estimate + 0.5), err);
}

const struct lb_group_state_class lb_group_approx_count_distinct = {.name = "approx_count_distinct",
                                                                    .state_bytes =
                                                                        sizeof(struct sketch_state),
                                                                    .n_columns = 1,
                                                                    .open = sketch_open,
                                                                    .close = sketch_close,
                                                                    .update = sketch_update,
                                                                    .saves_merged = true,
                                                                    .save = sketch_save,
                                                                    .merge = sketch_merge,
                                                                    .result = sketch_result,
                                                                    .forget = sketch_forget,
                                                                    .extra_bytes = sketch_bytes};
