/* variance, stddev and corr, from sums of x, y and their products.
 *
 * IDEA   The textbook's sums of squares lose all digits to cancellation only when they are rounded. Here rows of integers below 2^30
 *        are summed exactly, in 128 bits. Of other rows each product enters as its rounded value and the exact error of that, and
 *        the sums (algo/float_sum.h) keep at least 80 bits below the largest value. The last subtraction is done in
 *        113 bits. So the result does not depend on the order of rows, and a variance is exact to about n * 2^-80 of the largest
 *        square: a standard deviation of a billionth of the mean still has some 6 correct digits of its variance.
 * STATES The sums of integers are in the state; groups with other rows also have short sums, and when one of these was full, long
 *        ones, in an array of their own. The short ones are in an array too, but for variances of a column of floats: there
 *        they are in the state, before those of integers.
 * FORMAT of a partial: uint64 number of rows; unless it is 0, a byte that says which sums follow, and these. */
#include <math.h>

#include "core/algo/float_sum.h"
#include "core/algo/group_state_private.h"
#include "core/base/sys.h"

enum { SUM_X, SUM_XX, SUM_Y, SUM_YY, SUM_XY, N_SUMS };
enum { HAS_INTS = 1, HAS_SHORTS = 2, HAS_LONGS = 4 };

/* Of variances only the first two sums are there. */
struct moments {
    uint64_t n;    /* rows */
    uint64_t slot; /* in shorts and longs, plus one; 0: none */
    __int128 ints[N_SUMS];
};

/* A variance as fitted to a column of floats. */
struct float_moments {
    uint64_t n;
    uint64_t slot; /* in longs, plus one; 0: none */
    struct lb_short_sum shorts[2];
    __int128 ints[2];
};

enum {
    VARIANCE_BYTES = offsetof(struct moments, ints) + 2 * sizeof(__int128),
    CORR_BYTES = sizeof(struct moments),
    KEEP_BYTES = 512 << 10
};
static const int64_t SMALL = (int64_t)1 << 30;

struct moment_extra {
    struct lb_short_sum *shorts; /* n_sums per slot; with float_moments not used */
    struct lb_float_sum *longs;  /* likewise; NULL: no short sum was full yet */
    size_t n, capacity;          /* slots */
};

static inline size_t n_sums(const struct lb_group_state *self)
{
    return self->class == &lb_group_corr ? N_SUMS : 2;
}

static inline bool has_floats(const struct lb_group_state *self)
{
    return self->state_bytes == sizeof(struct float_moments);
}

static uint32_t variance_fit(const struct lb_group_state *self, const struct lb_batch *batch)
{
    bool is_float = batch->columns[self->column].type == LB_FLOAT64;
    return is_float ? (uint32_t)sizeof(struct float_moments) : self->class->state_bytes;
}

/* The sums of integers. */
static inline __int128 *ints_of(const struct lb_group_state *self, struct moments *moments)
{
    return has_floats(self) ? ((struct float_moments *)(void *)moments)->ints : moments->ints;
}

static inline struct moments *moments_at(const struct lb_group_state *self, size_t slot)
{
    return lb_group_slot(self, slot);
}

static lb_status moment_open(struct lb_group_state *self, struct lb_error *err)
{
    self->extra = lb_alloc_zero(sizeof(struct moment_extra));
    return self->extra != NULL ? LB_OK
                               : lb_error_memory(err, self->label, sizeof(struct moment_extra));
}

static void free_sums(struct lb_group_state *self)
{
    struct moment_extra *extra = self->extra;
    size_t n = extra->capacity * n_sums(self);
    lb_free(extra->shorts, n * sizeof *extra->shorts);
    if (extra->longs != NULL)
        lb_free(extra->longs, n * sizeof *extra->longs);
    memset(extra, 0, sizeof *extra);
}

static void moment_close(struct lb_group_state *self)
{
    free_sums(self);
    lb_free(self->extra, sizeof(struct moment_extra));
    self->extra = NULL;
}

static size_t sums_bytes(const struct lb_group_state *self)
{
    const struct moment_extra *extra = self->extra;
    return extra->capacity * n_sums(self) *
           (sizeof *extra->shorts + (extra->longs != NULL ? sizeof *extra->longs : 0));
}

static void moment_forget(struct lb_group_state *self)
{
    struct moment_extra *extra = self->extra;
    if (sums_bytes(self) > KEEP_BYTES)
        free_sums(self);
    /* Long sums are rare: the next groups should not carry them along. */
    if (extra->longs != NULL)
        lb_free(extra->longs, extra->capacity * n_sums(self) * sizeof *extra->longs);
    extra->longs = NULL;
    extra->n = 0;
}

static size_t moment_bytes(const struct lb_group_state *self)
{
    const struct moment_extra *extra = self->extra;
    /* As if it had to grow with the next batch. */
    size_t bytes = sums_bytes(self);
    return extra->n + LB_BATCH_ROWS > extra->capacity && extra->n > 0 ? 3 * bytes : bytes;
}

/* ---- sums of floats ---- */

/* The short sums of a state; they hold until another state gets some. */
static inline struct lb_short_sum *shorts_of(const struct lb_group_state *self,
                                             struct moments *moments)
{
    const struct moment_extra *extra = self->extra;
    if (has_floats(self))
        return ((struct float_moments *)(void *)moments)->shorts;
    return extra->shorts + (moments->slot - 1) * n_sums(self);
}

/* A place in the arrays. */
static lb_status give_slot(struct lb_group_state *self, struct moments *moments,
                           struct lb_error *err)
{
    struct moment_extra *extra = self->extra;
    size_t n = n_sums(self);
    if (moments->slot != 0)
        return LB_OK;
    if (extra->n == extra->capacity) {
        size_t old = extra->capacity * n, new = old > 0 ? 2 * old : 16 * n;
        if (extra->longs != NULL) {
            struct lb_float_sum *longs =
                lb_realloc(extra->longs, old * sizeof *extra->longs, new * sizeof *extra->longs);
            if (longs == NULL)
                return lb_error_memory(err, self->label, new * sizeof *longs);
            extra->longs = longs;
        }
        struct lb_short_sum *shorts =
            lb_realloc(extra->shorts, old * sizeof *shorts, new * sizeof *shorts);
        if (shorts == NULL) {
            /* Both arrays have one size. */
            if (extra->longs != NULL)
                extra->longs = lb_realloc(extra->longs, new * sizeof *extra->longs,
                                          old * sizeof *extra->longs);
            return lb_error_memory(err, self->label, new * sizeof *shorts);
        }
        extra->shorts = shorts;
        extra->capacity = new / n;
    }
    memset(extra->shorts + extra->n * n, 0, n * sizeof *extra->shorts);
    for (size_t i = 0; i < n && extra->longs != NULL; i++)
        lb_float_sum_init(&extra->longs[extra->n * n + i]);
    moments->slot = ++extra->n;
    return LB_OK;
}

static inline lb_status give_shorts(struct lb_group_state *self, struct moments *moments,
                                    struct lb_error *err)
{
    return has_floats(self) ? LB_OK : give_slot(self, moments, err);
}

/* *longs are those of a state that has short ones. */
static lb_status give_longs(struct lb_group_state *self, struct moments *moments,
                            struct lb_float_sum **longs, struct lb_error *err)
{
    struct moment_extra *extra = self->extra;
    size_t n = n_sums(self);
    LB_TRY(give_slot(self, moments, err));
    if (extra->longs == NULL) {
        extra->longs = lb_alloc(extra->capacity * n * sizeof *extra->longs);
        if (extra->longs == NULL)
            return lb_error_memory(err, self->label, extra->capacity * n * sizeof *extra->longs);
        for (size_t i = 0; i < extra->n * n; i++)
            lb_float_sum_init(&extra->longs[i]);
    }
    *longs = extra->longs + (moments->slot - 1) * n;
    return LB_OK;
}

/* Empties short sums that could not take n more values. */
static lb_status make_room(struct lb_group_state *self, struct moments *moments, uint32_t n,
                           struct lb_error *err)
{
    struct lb_short_sum *shorts = shorts_of(self, moments);
    struct lb_float_sum *longs;
    for (size_t i = 0; i < n_sums(self); i++) {
        if (__builtin_expect(shorts[i].n <= LB_SHORT_SUM_MOST - n, 1))
            continue;
        LB_TRY(give_longs(self, moments, &longs, err));
        lb_float_sum_merge_short(&longs[i], &shorts[i]);
        memset(&shorts[i], 0, sizeof shorts[i]);
    }
    return LB_OK;
}

/* ---- updating ---- */

/* A number as a sum of two doubles; the second is 0 but for integers beyond 2^53. */
struct pair {
    double high;
    double low;
};

static inline struct pair split(const struct lb_value *value)
{
    if (value->tag == 'd')
        return (struct pair){value->d, 0};
    struct pair pair = {(double)value->i, 0};
    if (pair.high != (double)(int32_t)value->i)
        pair.low = (double)(int64_t)((__int128)value->i - (__int128)pair.high);
    return pair;
}

static inline void add_product(struct lb_short_sum *sum, double a, double b)
{
    double product = a * b;
    lb_short_sum_add(sum, product);
    if (isfinite(product)) {
        double rest = fma(a, b, -product);
        if (rest != 0)
            lb_short_sum_add(sum, rest);
    }
}

static inline void add_products(struct lb_short_sum *sum, struct pair a, struct pair b)
{
    add_product(sum, a.high, b.high);
    if (a.low != 0)
        add_product(sum, a.low, b.high);
    if (b.low != 0)
        add_product(sum, a.high, b.low);
    if (a.low != 0 && b.low != 0)
        add_product(sum, a.low, b.low);
}

static inline void add_pair(struct lb_short_sum *sum, struct pair a)
{
    lb_short_sum_add(sum, a.high);
    if (a.low != 0)
        lb_short_sum_add(sum, a.low);
}

static inline bool is_small(const struct lb_value *value)
{
    return value->tag == 'i' && value->i < SMALL && value->i > -SMALL;
}

enum { MOST_ADDS = 8 }; /* of one row to one sum */

/* Two numbers; of variances y is 0. */
static inline lb_status add_row(struct lb_group_state *self, struct moments *moments,
                                const struct lb_value *x, const struct lb_value *y, bool has_y,
                                struct lb_error *err)
{
    moments->n++;
    if (is_small(x) && is_small(y)) {
        __int128 *ints = ints_of(self, moments);
        ints[SUM_X] += x->i;
        ints[SUM_XX] += x->i * x->i;
        if (has_y) {
            ints[SUM_Y] += y->i;
            ints[SUM_YY] += y->i * y->i;
            ints[SUM_XY] += x->i * y->i;
        }
        return LB_OK;
    }
    LB_TRY(give_shorts(self, moments, err));
    LB_TRY(make_room(self, moments, MOST_ADDS, err));
    struct lb_short_sum *sums = shorts_of(self, moments);
    struct pair a = split(x), b = split(y);
    add_pair(&sums[SUM_X], a);
    add_products(&sums[SUM_XX], a, a);
    if (has_y) {
        add_pair(&sums[SUM_Y], b);
        add_products(&sums[SUM_YY], b, b);
        add_products(&sums[SUM_XY], a, b);
    }
    return LB_OK;
}

/* A number of a column without nils of this type. */
static inline struct lb_value number_at(const struct lb_column *column, uint32_t row, bool is_int)
{
    struct lb_value value = {.tag = is_int ? 'i' : 'd', .i = column->ints[row]};
    return value;
}

static inline bool is_plain(const struct lb_column *column)
{
    return (column->type == LB_INT64 || column->type == LB_FLOAT64) && column->valid == NULL;
}

/* Calls into the cache the state of a later row, and the sums of one whose state has come. */
static inline void call_sums(const struct lb_group_state *self, const uint32_t *slots, uint32_t i,
                             uint32_t n)
{
    enum { NEAR = LB_GROUP_AHEAD / 2 };
    lb_group_call(self, slots, i, n);
    struct moments *near = moments_at(self, slots[i + NEAR < n ? i + NEAR : n - 1]);
    if (has_floats(self) || near->slot == 0)
        return;
    const char *sums = (const char *)shorts_of(self, near);
    for (size_t at = 0; at < n_sums(self) * sizeof(struct lb_short_sum); at += 64)
        __builtin_prefetch(sums + at, 1);
}

/* Columns without nils; inlined with constants, so that a sum of integers is a few additions. */
static inline lb_status update_plain(struct lb_group_state *self, const struct lb_group_rows *rows,
                                     const struct lb_column *xs, const struct lb_column *ys,
                                     bool x_is_int, bool y_is_int, bool has_y, struct lb_error *err)
{
    uint32_t n = rows->batch->n_selected;
    struct lb_value x, y = {.tag = 'i'};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = lb_batch_row(rows->batch, i);
        call_sums(self, rows->slots, i, n);
        x = number_at(xs, row, x_is_int);
        if (has_y)
            y = number_at(ys, row, y_is_int);
        LB_TRY(add_row(self, moments_at(self, rows->slots[i]), &x, &y, has_y, err));
    }
    return LB_OK;
}

/* Floats without nils, in states fitted to them. */
static lb_status update_floats(struct lb_group_state *self, const struct lb_group_rows *rows,
                               const struct lb_column *column, struct lb_error *err)
{
    uint32_t n = rows->batch->n_selected;
    for (uint32_t i = 0; i < n; i++) {
        struct float_moments *moments = lb_group_slot(self, rows->slots[i]);
        struct lb_short_sum *sums = moments->shorts;
        double value = column->floats[lb_batch_row(rows->batch, i)];
        lb_group_call(self, rows->slots, i, n);
        if (__builtin_expect(sums[SUM_X].n > LB_SHORT_SUM_MOST - MOST_ADDS ||
                                 sums[SUM_XX].n > LB_SHORT_SUM_MOST - MOST_ADDS,
                             0))
            LB_TRY(make_room(self, (struct moments *)(void *)moments, MOST_ADDS, err));
        moments->n++;
        lb_short_sum_add(&sums[SUM_X], value);
        add_product(&sums[SUM_XX], value, value);
    }
    return LB_OK;
}

static lb_status moment_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                               struct lb_error *err)
{
    const struct lb_batch *batch = rows->batch;
    const struct lb_column *xs = &batch->columns[self->column], *ys = NULL;
    bool has_y = self->column2 != LB_NO_COLUMN;
    uint32_t n = batch->n_selected;
    struct lb_value x, y = {.tag = 'i'};
    if (has_y)
        ys = &batch->columns[self->column2];
    if (is_plain(xs) && (!has_y || is_plain(ys))) {
        bool x_is_int = xs->type == LB_INT64;
        if (!x_is_int && has_floats(self))
            return update_floats(self, rows, xs, err);
        if (!has_y)
            return x_is_int ? update_plain(self, rows, xs, xs, true, true, false, err)
                            : update_plain(self, rows, xs, xs, false, true, false, err);
        bool y_is_int = ys->type == LB_INT64;
        return x_is_int && y_is_int
                   ? update_plain(self, rows, xs, ys, true, true, true, err)
                   : update_plain(self, rows, xs, ys, x_is_int, y_is_int, true, err);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = lb_batch_row(batch, i);
        x = lb_column_value(xs, row);
        if (has_y)
            y = lb_column_value(ys, row);
        if (x.tag == 'n' || y.tag == 'n')
            continue;
        if ((x.tag != 'i' && x.tag != 'd') || (y.tag != 'i' && y.tag != 'd'))
            return lb_group_wrong_type(self, batch, row, err);
        LB_TRY(add_row(self, moments_at(self, rows->slots[i]), &x, &y, has_y, err));
    }
    return LB_OK;
}

static lb_status moment_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                             struct lb_error *err)
{
    struct moments *moments = moments_at(self, slot);
    const struct moment_extra *extra = self->extra;
    const __int128 *ints = ints_of(self, moments);
    size_t n = n_sums(self);
    LB_TRY(lb_buf_append(out, &moments->n, sizeof moments->n, err));
    if (moments->n == 0)
        return LB_OK;
    char forms = moments->slot != 0 || has_floats(self) ? HAS_SHORTS : 0;
    if (moments->slot != 0 && extra->longs != NULL)
        forms |= HAS_LONGS;
    for (size_t i = 0; i < n; i++)
        forms |= ints[i] != 0 ? HAS_INTS : 0;
    LB_TRY(lb_buf_append_byte(out, forms, err));
    if (forms & HAS_INTS)
        LB_TRY(lb_buf_append(out, ints, n * sizeof *ints, err));
    if (forms & HAS_SHORTS)
        LB_TRY(lb_buf_append(out, shorts_of(self, moments), n * sizeof *extra->shorts, err));
    if (forms & HAS_LONGS)
        LB_TRY(lb_buf_append(out, extra->longs + (moments->slot - 1) * n, n * sizeof *extra->longs,
                             err));
    return LB_OK;
}

static lb_status moment_merge(struct lb_group_state *self, const char **cursor, const char *end,
                              struct lb_error *err)
{
    struct moments *moments = moments_at(self, 0);
    uint64_t n;
    unsigned char forms;
    LB_GROUP_LOAD(self, cursor, end, n, err);
    if (n == 0)
        return LB_OK;
    moments->n += n;
    LB_GROUP_LOAD(self, cursor, end, forms, err);
    for (size_t i = 0; i < n_sums(self) && (forms & HAS_INTS); i++) {
        __int128 sum;
        LB_GROUP_LOAD(self, cursor, end, sum, err);
        ints_of(self, moments)[i] += sum;
    }
    if ((forms & HAS_SHORTS) == 0)
        return LB_OK;
    LB_TRY(give_shorts(self, moments, err));
    for (size_t i = 0; i < n_sums(self); i++) {
        struct lb_short_sum sum;
        LB_GROUP_LOAD(self, cursor, end, sum, err);
        LB_TRY(make_room(self, moments, sum.n, err));
        lb_short_sum_merge(&shorts_of(self, moments)[i], &sum);
    }
    for (size_t i = 0; i < n_sums(self) && (forms & HAS_LONGS); i++) {
        struct lb_float_sum sum, *longs;
        LB_GROUP_LOAD(self, cursor, end, sum, err);
        LB_TRY(give_longs(self, moments, &longs, err));
        lb_float_sum_merge(&longs[i], &sum);
    }
    return LB_OK;
}

/* ---- results ---- */

static __float128 sum_value(const struct lb_group_state *self, struct moments *moments, int which)
{
    const struct moment_extra *extra = self->extra;
    __float128 value = (__float128)ints_of(self, moments)[which];
    if (moments->slot == 0 && !has_floats(self))
        return value;
    struct lb_float_sum rest;
    lb_float_sum_init(&rest);
    lb_float_sum_merge_short(&rest, &shorts_of(self, moments)[which]);
    if (moments->slot != 0 && extra->longs != NULL)
        lb_float_sum_merge(&rest, &extra->longs[(moments->slot - 1) * n_sums(self) + which]);
    __float128 floats = 0;
    for (int i = 0; i < 3; i++) {
        double part = lb_float_sum_value(&rest);
        floats += part;
        if (part == 0 || !isfinite(part))
            break;
        lb_float_sum_add(&rest, -part);
    }
    return value + floats;
}

/* The sum of (x - mean x) * (y - mean y). */
static __float128 central(const struct lb_group_state *self, struct moments *moments, int x, int y,
                          int xy)
{
    __float128 n = (__float128)moments->n;
    return sum_value(self, moments, xy) -
           sum_value(self, moments, x) * sum_value(self, moments, y) / n;
}

static lb_status moment_result(struct lb_group_state *self, struct lb_builder *out,
                               struct lb_error *err)
{
    struct moments *moments = moments_at(self, 0);
    uint64_t divisor = self->population ? moments->n : moments->n - 1;
    if (moments->n == 0 || divisor == 0)
        return lb_builder_null(out, err);
    double variance = (double)(central(self, moments, SUM_X, SUM_X, SUM_XX) / (__float128)divisor);
    if (variance < 0) /* rounding, of values that are all the same */
        variance = 0;
    return lb_builder_float(out, self->class == &lb_group_stddev ? sqrt(variance) : variance, err);
}

static lb_status corr_result(struct lb_group_state *self, struct lb_builder *out,
                             struct lb_error *err)
{
    struct moments *moments = moments_at(self, 0);
    if (moments->n < 2)
        return lb_builder_null(out, err);
    __float128 xx = central(self, moments, SUM_X, SUM_X, SUM_XX);
    __float128 yy = central(self, moments, SUM_Y, SUM_Y, SUM_YY);
    __float128 xy = central(self, moments, SUM_X, SUM_Y, SUM_XY);
    if (xx <= 0 || yy <= 0)
        return lb_builder_null(out, err);
    if (xx - xx != 0 || yy - yy != 0 || xy - xy != 0) /* a square was beyond a double */
        return lb_builder_float(out, NAN, err);
    /* One root of what is in [0, 1]: a column with itself is exactly 1. */
    double corr = sqrt((double)(xy / xx * (xy / yy)));
    if (corr > 1)
        corr = 1;
    return lb_builder_float(out, xy < 0 ? -corr : corr, err);
}

#define MOMENT_FUNCTIONS                                                           \
    .takes = LB_GROUP_TAKES_NUMBERS, .open = moment_open, .close = moment_close,   \
    .forget = moment_forget, .extra_bytes = moment_bytes, .update = moment_update, \
    .saves_merged = true, .save = moment_save, .merge = moment_merge
const struct lb_group_state_class lb_group_variance = {.name = "variance",
                                                       .state_bytes = VARIANCE_BYTES,
                                                       .fit = variance_fit,
                                                       .n_columns = 1,
                                                       .result = moment_result,
                                                       MOMENT_FUNCTIONS};
const struct lb_group_state_class lb_group_stddev = {.name = "stddev",
                                                     .state_bytes = VARIANCE_BYTES,
                                                     .fit = variance_fit,
                                                     .n_columns = 1,
                                                     .result = moment_result,
                                                     MOMENT_FUNCTIONS};
const struct lb_group_state_class lb_group_corr = {.name = "corr",
                                                   .state_bytes = CORR_BYTES,
                                                   .n_columns = 2,
                                                   .result = corr_result,
                                                   MOMENT_FUNCTIONS};
