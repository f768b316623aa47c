/* Sums of doubles that do not depend on order or grouping, to the bit.
 *
 * IDEA   After Demmel and Nguyen, "Parallel Reproducible Summation" (IEEE Transactions on
 *        Computers, 2015): the range of exponents is cut into fixed bins of W = 40 bits. A value is
 *        cut at the borders of the bins, and the K = 3 highest bins that any value reached are
 *        kept, each the exact sum of all pieces in it. What a value adds to a bin depends on the
 *        value alone; which bins are kept in the end depends on the largest value alone; so the
 *        result depends on the set of values alone. The largest value keeps at least 80 bits below
 *        its first one, so the error is at most n * 2^-80 of the largest value, before one
 *        rounding.
 * BINS   are 128-bit integers rather than doubles as in the paper: 40-bit pieces then never
 *        overflow (2^87 of them fit), no renormalisation is needed, and a deposit is three adds
 *        with carry.
 * SPECIAL NaN, or infinities of both signs, give NaN; else an infinity gives itself. Only negative
 *         zeros give -0.0. */
#ifndef LB_ALGO_FLOAT_SUM_H
#define LB_ALGO_FLOAT_SUM_H

#include <stdint.h>

enum { LB_FLOAT_SUM_FOLDS = 3, LB_FLOAT_SUM_BITS = 40 };

/* All zero is not valid: call init. Plain bytes otherwise: may be copied and stored. */
struct lb_float_sum {
    __int128 bins[LB_FLOAT_SUM_FOLDS]; /* bins[0] is the highest one */
    int32_t top;                       /* its number: bin b begins at bit 2^(40 b - 1074); -1: no
                                          value yet */
    uint32_t seen;                     /* special values, float_sum.c */
    uint64_t spare;
};

void lb_float_sum_init(struct lb_float_sum *sum);
void lb_float_sum_add(struct lb_float_sum *sum, double value);
void lb_float_sum_add_int(struct lb_float_sum *sum, int64_t value); /* exact also beyond 2^53 */
void lb_float_sum_merge(struct lb_float_sum *sum, const struct lb_float_sum *other);
/* The sum of the bins, rounded once, to nearest even. */
double lb_float_sum_value(const struct lb_float_sum *sum);

#endif
