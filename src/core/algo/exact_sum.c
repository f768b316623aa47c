/* Exact sums with removal: see exact_sum.h for the idea. */
#include "core/algo/exact_sum.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { CARRY_CHANGES = 1 << 29, UNIT = -1074 };

void lb_exact_sum_init(struct lb_exact_sum *sum)
{
    /* After use only low..high need clearing, but who asks for init may hand in anything. */
    memset(sum, 0, sizeof *sum);
    sum->low = LB_EXACT_DIGITS;
    sum->high = -1;
}

static void carry(int64_t *digits, int from, int to)
{
    for (int i = from; i < to; i++) {
        int64_t up = digits[i] >> 32; /* rounds down */
        digits[i] -= up * ((int64_t)1 << 32);
        digits[i + 1] += up;
    }
}

static void change_special(struct lb_exact_sum *sum, double value, uint64_t by)
{
    if (isnan(value))
        sum->n_nan += by;
    else if (isinf(value) && value > 0)
        sum->n_infinity += by;
    else if (isinf(value))
        sum->n_minus_infinity += by;
    else if (signbit(value))
        sum->n_minus_zero += by;
    else
        sum->n_zero += by;
}

static inline void change(struct lb_exact_sum *sum, double value, int64_t by)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t exponent = (uint32_t)(bits >> 52) & 2047;
    uint64_t mantissa = bits & (((uint64_t)1 << 52) - 1);
    if (__builtin_expect(exponent == 2047 || (exponent == 0 && mantissa == 0), 0)) {
        change_special(sum, value, (uint64_t)by);
        return;
    }
    sum->n_finite += (uint64_t)by;
    uint32_t at = exponent > 0 ? exponent - 1 : 0;
    mantissa |= exponent > 0 ? (uint64_t)1 << 52 : 0;
    unsigned __int128 wide = (unsigned __int128)mantissa << (at % 32);
    int32_t digit = (int32_t)(at / 32);
    int64_t sign = bits >> 63 ? -by : by;
    sum->digits[digit] += sign * (int64_t)(uint32_t)wide;
    sum->digits[digit + 1] += sign * (int64_t)(uint32_t)(wide >> 32);
    sum->digits[digit + 2] += sign * (int64_t)(uint32_t)(wide >> 64);
    sum->low = digit < sum->low ? digit : sum->low;
    sum->high = digit + 2 > sum->high ? digit + 2 : sum->high;
    if (__builtin_expect(++sum->n_changes == CARRY_CHANGES, 0)) {
        carry(sum->digits, sum->low, LB_EXACT_DIGITS - 1);
        sum->high = LB_EXACT_DIGITS - 1;
        sum->n_changes = 0;
    }
}

void lb_exact_sum_add(struct lb_exact_sum *sum, double value)
{
    change(sum, value, 1);
}

void lb_exact_sum_remove(struct lb_exact_sum *sum, double value)
{
    change(sum, value, -1);
}

/* Non-negative digits below 2^32 as a double. */
static double round_digits(const int64_t *digits, int high)
{
    while (high >= 0 && digits[high] == 0)
        high--;
    if (high < 0)
        return 0.0;
    /* 96 bits from the top, of which at least 65 count; what is below only says whether it is 0. */
    unsigned __int128 top = 0;
    int low = high - 2 > 0 ? high - 2 : 0;
    for (int i = high; i >= low; i--)
        top = top << 32 | (unsigned __int128)digits[i];
    bool more = false;
    for (int i = 0; i < low; i++)
        more = more || digits[i] != 0;
    return ldexp((double)(top | more), 32 * low + UNIT);
}

double lb_exact_sum_value(const struct lb_exact_sum *sum, __int128 more)
{
    if (sum->n_nan > 0 || (sum->n_infinity > 0 && sum->n_minus_infinity > 0))
        return NAN;
    if (sum->n_infinity > 0 || sum->n_minus_infinity > 0)
        return sum->n_infinity > 0 ? INFINITY : -INFINITY;
    if (sum->n_finite == 0 && more == 0)
        return sum->n_minus_zero > 0 && sum->n_zero == 0 ? -0.0 : 0.0;
    int width = sum->high - sum->low;
    if (more == 0 && width <= 3 && sum->low >= 2 && sum->low <= 64) {
        const int64_t *d = sum->digits + sum->low;
        int64_t top = width == 3 ? d[3] : 0;
        if (top > -((int64_t)1 << 29) && top < (int64_t)1 << 29) {
            __int128 whole = (__int128)top * ((__int128)1 << 96);
            for (int i = width < 2 ? width : 2; i >= 0; i--)
                whole += (__int128)d[i] * ((__int128)1 << (32 * i));
            uint64_t bits = (uint64_t)(1023 + 32 * sum->low + UNIT) << 52;
            double unit;
            memcpy(&unit, &bits, sizeof unit);
            return (double)whole * unit; /* a normal number: rounded just once */
        }
    }
    int64_t digits[LB_EXACT_DIGITS + 4];
    memcpy(digits, sum->digits, sizeof sum->digits);
    memset(digits + LB_EXACT_DIGITS, 0, 4 * sizeof *digits);
    if (more != 0) {
        /* 2^0 is bit 1074 = 33 * 32 + 18. */
        bool is_negative = more < 0;
        unsigned __int128 rest = is_negative ? -(unsigned __int128)more : (unsigned __int128)more;
        for (int i = 33; rest != 0; i++) {
            uint64_t part = (uint64_t)(rest & 0xFFFFFFFF) << 18;
            digits[i] += is_negative ? -(int64_t)part : (int64_t)part;
            rest >>= 32;
        }
    }
    int last = LB_EXACT_DIGITS + 3;
    carry(digits, 0, last);
    bool negative = digits[last] < 0;
    if (negative) {
        for (int i = 0; i <= last; i++)
            digits[i] = -digits[i];
        carry(digits, 0, last);
    }
    double value = round_digits(digits, last);
    return negative ? -value : value;
}
