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

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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

/* The same sum in half a cache line, with bins of 64 bits, for at most LB_SHORT_SUM_MOST values. Zero bytes are
 * the sum of none. */
struct lb_short_sum {
    int64_t bins[LB_FLOAT_SUM_FOLDS]; /* each less than n * 2^40 */
    uint32_t n;                       /* values since it was empty */
    uint16_t top;                     /* as in lb_float_sum, plus one */
    uint8_t seen;
    uint8_t owner; /* for whoever keeps it; add does not look at it */
};
#ifdef LB_TINY
enum { LB_SHORT_SUM_MOST = 9 };
#else
enum { LB_SHORT_SUM_MOST = 1 << 22 };
#endif

void lb_short_sum_add_odd(struct lb_short_sum *sum, double value); /* any value */
/* sum->n + other->n must not be above LB_SHORT_SUM_MOST. */
void lb_short_sum_merge(struct lb_short_sum *sum, const struct lb_short_sum *other);
/* Adds a short sum to a long one. */
void lb_float_sum_merge_short(struct lb_float_sum *sum, const struct lb_short_sum *other);

/* sum->n must be below LB_SHORT_SUM_MOST. Here are the values whose lowest piece falls into the last bin or the one before. */
static inline void lb_short_sum_add(struct lb_short_sum *sum, double value)
{
    const uint64_t mask = ((uint64_t)1 << LB_FLOAT_SUM_BITS) - 1;
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t low = ((uint32_t)(bits >> 52) & 2047) - 1;
    uint32_t bin = low / LB_FLOAT_SUM_BITS, shift = low % LB_FLOAT_SUM_BITS;
    uint32_t place = sum->top - 1 - bin;
    bool is_last = place == 2;
    /* 53 bits from `shift` on reach into the second next bin when that is 28 or more. */
    if (__builtin_expect(low >= 2046 || !(is_last || (place == 1 && shift < 28)), 0)) {
        lb_short_sum_add_odd(sum, value);
        return;
    }
    uint64_t mantissa = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)1 << 52;
    uint64_t sign = (uint64_t)((int64_t)bits >> 63);
    uint64_t first = mantissa << shift & mask;
    uint64_t second = mantissa >> (LB_FLOAT_SUM_BITS - shift) & mask;
    uint64_t third = mantissa >> LB_FLOAT_SUM_BITS >> (LB_FLOAT_SUM_BITS - shift);
    sum->bins[2] += (int64_t)(((is_last ? first : 0) ^ sign) - sign);
    sum->bins[1] += (int64_t)(((is_last ? second : first) ^ sign) - sign);
    sum->bins[0] += (int64_t)(((is_last ? third : second) ^ sign) - sign);
    sum->n++;
}

#endif
