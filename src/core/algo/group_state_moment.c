/* variance, stddev and corr, from sums of x, y and their products.
 *
 * IDEA   The textbook's sums of squares lose all digits to cancellation only when they are rounded. Here each product enters as
 *        its rounded value and the exact error of that, and the sums (algo/float_sum.h) keep at least 80 bits below the
 *        largest value; the last subtraction is done in 113 bits. So the result does not depend on the order of rows,
 *        and a variance is exact to about n * 2^-80 of the largest square: a standard deviation of a billionth of the
 *        mean still has some 6 correct digits of its variance.
 * FORMAT of a partial: uint64 number of values, then the sums unless it is 0. */
#include <math.h>

#include "core/algo/float_sum.h"
#include "core/algo/group_state_private.h"

enum { SUM_X, SUM_XX, SUM_Y, SUM_YY, SUM_XY, N_SUMS };

/* Of variances only the first two sums are there. */
struct moments {
    uint64_t n; /* 0: the sums are not there yet */
    uint64_t spare;
    struct lb_float_sum sums[N_SUMS];
};

enum {
    VARIANCE_BYTES = offsetof(struct moments, sums) + 2 * sizeof(struct lb_float_sum),
    CORR_BYTES = sizeof(struct moments)
};

static inline int n_sums(const struct lb_group_state *self)
{
    return self->class == &lb_group_corr ? N_SUMS : 2;
}

static inline struct moments *moments_at(const struct lb_group_state *self, size_t slot)
{
    return (struct moments *)(void *)(self->states + slot * self->class->state_bytes);
}

/* A number as a sum of two doubles; the second is 0 but for integers beyond 2^53. */
struct pair {
    double high;
    double low;
};

static struct pair split(const struct lb_value *value)
{
    if (value->tag == 'd')
        return (struct pair){value->d, 0};
    struct pair pair = {(double)value->i, 0};
    if (pair.high != (double)(int32_t)value->i)
        pair.low = (double)(int64_t)((__int128)value->i - (__int128)pair.high);
    return pair;
}

static inline void add_product(struct lb_float_sum *sum, double a, double b)
{
    double product = a * b;
    lb_float_sum_add(sum, product);
    if (isfinite(product)) {
        double rest = fma(a, b, -product);
        if (rest != 0)
            lb_float_sum_add(sum, rest);
    }
}

static void add_products(struct lb_float_sum *sum, struct pair a, struct pair b)
{
    add_product(sum, a.high, b.high);
    if (a.low != 0)
        add_product(sum, a.low, b.high);
    if (b.low != 0)
        add_product(sum, a.high, b.low);
    if (a.low != 0 && b.low != 0)
        add_product(sum, a.low, b.low);
}

static void add_pair(struct lb_float_sum *sum, struct pair a)
{
    lb_float_sum_add(sum, a.high);
    if (a.low != 0)
        lb_float_sum_add(sum, a.low);
}

static void begin(struct moments *moments, int n)
{
    for (int i = 0; i < n; i++)
        lb_float_sum_init(&moments->sums[i]);
}

static lb_status moment_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                               struct lb_error *err)
{
    const struct lb_batch *batch = rows->batch;
    bool has_y = self->column2 != LB_NO_COLUMN;
    struct lb_value x, y = {.tag = 'i'};
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        x = lb_group_value(&batch->columns[self->column], row);
        if (has_y)
            y = lb_group_value(&batch->columns[self->column2], row);
        if (x.tag == 'n' || y.tag == 'n')
            continue;
        if ((x.tag != 'i' && x.tag != 'd') || (y.tag != 'i' && y.tag != 'd'))
            return lb_group_wrong_type(self, rows, row, "a number", err);
        struct moments *moments = moments_at(self, rows->slots[i]);
        if (moments->n++ == 0)
            begin(moments, n_sums(self));
        struct pair a = split(&x);
        add_pair(&moments->sums[SUM_X], a);
        add_products(&moments->sums[SUM_XX], a, a);
        if (has_y) {
            struct pair b = split(&y);
            add_pair(&moments->sums[SUM_Y], b);
            add_products(&moments->sums[SUM_YY], b, b);
            add_products(&moments->sums[SUM_XY], a, b);
        }
    }
    return LB_OK;
}

static lb_status moment_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                             struct lb_error *err)
{
    const struct moments *moments = moments_at(self, slot);
    LB_TRY(lb_buf_append(out, &moments->n, sizeof moments->n, err));
    if (moments->n == 0)
        return LB_OK;
    return lb_buf_append(out, moments->sums, (size_t)n_sums(self) * sizeof *moments->sums, err);
}

static lb_status moment_merge(struct lb_group_state *self, const char **cursor, const char *end,
                              struct lb_error *err)
{
    struct moments *moments = moments_at(self, 0);
    uint64_t n;
    LB_GROUP_LOAD(self, cursor, end, n, err);
    if (n == 0)
        return LB_OK;
    if (moments->n == 0)
        begin(moments, n_sums(self));
    moments->n += n;
    for (int i = 0; i < n_sums(self); i++) {
        struct lb_float_sum sum;
        LB_GROUP_LOAD(self, cursor, end, sum, err);
        lb_float_sum_merge(&moments->sums[i], &sum);
    }
    return LB_OK;
}

/* ---- results ---- */

static __float128 wide_value(const struct lb_float_sum *sum)
{
    struct lb_float_sum rest = *sum;
    __float128 value = 0;
    for (int i = 0; i < 3; i++) {
        double part = lb_float_sum_value(&rest);
        value += part;
        if (part == 0 || !isfinite(part))
            break;
        lb_float_sum_add(&rest, -part);
    }
    return value;
}

/* The sum of (x - mean x) * (y - mean y). */
static __float128 central(const struct moments *moments, int x, int y, int xy)
{
    __float128 n = (__float128)moments->n;
    return wide_value(&moments->sums[xy]) -
           wide_value(&moments->sums[x]) * wide_value(&moments->sums[y]) / n;
}

static lb_status moment_result(struct lb_group_state *self, struct lb_builder *out,
                               struct lb_error *err)
{
    const struct moments *moments = moments_at(self, 0);
    uint64_t divisor = self->population ? moments->n : moments->n - 1;
    if (moments->n == 0 || divisor == 0)
        return lb_builder_null(out, err);
    double variance = (double)(central(moments, SUM_X, SUM_X, SUM_XX) / (__float128)divisor);
    if (variance < 0) /* rounding, of values that are all the same */
        variance = 0;
    return lb_builder_float(out, self->class == &lb_group_stddev ? sqrt(variance) : variance, err);
}

static lb_status corr_result(struct lb_group_state *self, struct lb_builder *out,
                             struct lb_error *err)
{
    const struct moments *moments = moments_at(self, 0);
    if (moments->n < 2)
        return lb_builder_null(out, err);
    double xx = (double)central(moments, SUM_X, SUM_X, SUM_XX);
    double yy = (double)central(moments, SUM_Y, SUM_Y, SUM_YY);
    double xy = (double)central(moments, SUM_X, SUM_Y, SUM_XY);
    if (xx <= 0 || yy <= 0)
        return lb_builder_null(out, err);
    double corr = xy / sqrt(xx) / sqrt(yy);
    if (corr > 1 || corr < -1)
        corr = corr > 0 ? 1 : -1;
    return lb_builder_float(out, corr, err);
}

const struct lb_group_state_class lb_group_variance = {.name = "variance",
                                                       .state_bytes = VARIANCE_BYTES,
                                                       .n_columns = 1,
                                                       .update = moment_update,
                                                       .save = moment_save,
                                                       .merge = moment_merge,
                                                       .result = moment_result};
const struct lb_group_state_class lb_group_stddev = {.name = "stddev",
                                                     .state_bytes = VARIANCE_BYTES,
                                                     .n_columns = 1,
                                                     .update = moment_update,
                                                     .save = moment_save,
                                                     .merge = moment_merge,
                                                     .result = moment_result};
const struct lb_group_state_class lb_group_corr = {.name = "corr",
                                                   .state_bytes = CORR_BYTES,
                                                   .n_columns = 2,
                                                   .update = moment_update,
                                                   .save = moment_save,
                                                   .merge = moment_merge,
                                                   .result = corr_result};
