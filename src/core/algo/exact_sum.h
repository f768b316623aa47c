/* Sums of doubles from which values can be taken out again: exact, rounded once when asked for.
 *
 * IDEA   The sum is a number in base 2^32 that reaches from the least to the greatest bit of a double; a value is added to
 *        three digits of it, and subtracted likewise. Digits are signed 64 bits and carry only once in 2^29 changes. So
 *        nothing is ever lost, whatever is taken out, and the result depends on the values that are in it
 *        alone. Only the digits in use are looked at: three or four for values of like size.
 * WHY NOT lb_float_sum: its bins fall away when a great value comes, and do not come back when that is taken out. */
#ifndef LB_ALGO_EXACT_SUM_H
#define LB_ALGO_EXACT_SUM_H

#include <stdint.h>

enum { LB_EXACT_DIGITS = 70 };

/* All zero is the empty sum, but for low: call init. */
struct lb_exact_sum {
    uint64_t n_finite; /* values that are in it: not 0, */
    uint64_t n_zero;
    uint64_t n_minus_zero;
    uint64_t n_nan;
    uint64_t n_infinity;
    uint64_t n_minus_infinity;
    uint32_t n_changes; /* since digits were carried */
    int32_t low;        /* digits outside low..high are 0 */
    int32_t high;
    int64_t digits[LB_EXACT_DIGITS]; /* digit i counts 2^(32 i - 1074) */
};

void lb_exact_sum_init(struct lb_exact_sum *sum);
void lb_exact_sum_add(struct lb_exact_sum *sum, double value);
void lb_exact_sum_remove(struct lb_exact_sum *sum, double value); /* that was added */
/* Rounded to nearest even, with `more` added. */
double lb_exact_sum_value(const struct lb_exact_sum *sum, __int128 more);

#endif
