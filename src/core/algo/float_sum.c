/* Reproducible sums: see float_sum.h for the idea. */
#include "core/algo/float_sum.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
    SEEN_NAN = 1,
    SEEN_INFINITY = 2,
    SEEN_MINUS_INFINITY = 4,
    SEEN_ZERO = 8, /* +0.0 */
    SEEN_MINUS_ZERO = 16
};

static const uint64_t PIECE_MASK = ((uint64_t)1 << LB_FLOAT_SUM_BITS) - 1;

void lb_float_sum_init(struct lb_float_sum *sum)
{
    memset(sum, 0, sizeof *sum);
    sum->top = -1;
}

/* Makes `top` the highest bin; the lowest ones fall away. */
static void raise_top(struct lb_float_sum *sum, int32_t top)
{
    int32_t by = top - sum->top;
    for (int32_t i = LB_FLOAT_SUM_FOLDS - 1; i >= 0; i--)
        sum->bins[i] = i >= by && sum->top >= 0 ? sum->bins[i - by] : 0;
    sum->top = top;
}

static void add_special(struct lb_float_sum *sum, double value)
{
    if (isnan(value))
        sum->seen |= SEEN_NAN;
    else if (isinf(value))
        sum->seen |= value > 0 ? SEEN_INFINITY : SEEN_MINUS_INFINITY;
    else
        sum->seen |= signbit(value) ? SEEN_MINUS_ZERO : SEEN_ZERO;
}

void lb_float_sum_add(struct lb_float_sum *sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t exponent = (uint32_t)(bits >> 52) & 2047;
    uint64_t mantissa = bits & (((uint64_t)1 << 52) - 1);
    if (exponent == 2047 || (exponent == 0 && mantissa == 0)) {
        add_special(sum, value);
        return;
    }
    /* |value| is mantissa * 2^(low - 1074). */
    uint32_t low = exponent > 0 ? exponent - 1 : 0;
    mantissa |= exponent > 0 ? (uint64_t)1 << 52 : 0;
    int32_t top = (int32_t)((low + 52) / LB_FLOAT_SUM_BITS);
    if (top > sum->top)
        raise_top(sum, top);
    int32_t bin = (int32_t)(low / LB_FLOAT_SUM_BITS); /* of the lowest piece */
    unsigned __int128 wide = (unsigned __int128)mantissa << (low % LB_FLOAT_SUM_BITS);
    int64_t sign = bits >> 63 ? -1 : 1;
    int32_t place = sum->top - bin; /* at least 1: 53 bits reach into the next bin or begin low in
                                       this one */
    for (int piece = 0; piece < 3; piece++, place--) {
        int64_t part = (int64_t)((uint64_t)wide & PIECE_MASK) * sign;
        wide >>= LB_FLOAT_SUM_BITS;
        if (place >= 0 && place < LB_FLOAT_SUM_FOLDS)
            sum->bins[place] += part;
    }
}

void lb_float_sum_add_int(struct lb_float_sum *sum, int64_t value)
{
    int64_t high = value >> 32;
    lb_float_sum_add(sum, (double)high * 4294967296.0);
    lb_float_sum_add(sum, (double)(uint32_t)value);
}

void lb_float_sum_merge(struct lb_float_sum *sum, const struct lb_float_sum *other)
{
    sum->seen |= other->seen;
    if (other->top < 0)
        return;
    if (other->top > sum->top)
        raise_top(sum, other->top);
    int32_t place = sum->top - other->top;
    for (int32_t i = 0; i + place < LB_FLOAT_SUM_FOLDS; i++)
        sum->bins[i + place] += other->bins[i];
}

/* words += value << shift, in two's complement of 256 bits; shift < 128. */
static void add_shifted(uint64_t words[4], __int128 value, unsigned shift)
{
    unsigned __int128 low = (unsigned __int128)value << shift;
    unsigned __int128 high =
        (unsigned __int128)(shift > 0 ? value >> (128 - shift) : (value < 0 ? -1 : 0));
    const uint64_t parts[4] = {(uint64_t)low, (uint64_t)(low >> 64), (uint64_t)high,
                               (uint64_t)(high >> 64)};
    unsigned __int128 carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (unsigned __int128)words[i] + parts[i];
        words[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

/* Magnitude * 2^unit rounded to nearest even. All bits of value are at or above 2^-1074, so one
 * that ends below the normal numbers has few enough bits to be exact, and nothing is rounded twice.
 * */
static double round_words(const uint64_t words[4], int unit)
{
    int word = 3;
    while (word >= 0 && words[word] == 0)
        word--;
    if (word < 0)
        return 0.0;
    int top = 64 * word + 63 - __builtin_clzll(words[word]);
    if (top <= 52)
        return ldexp((double)words[0], unit);
    int lowest = top - 52; /* of the bits that fit */
    int at = lowest / 64, shift = lowest % 64;
    uint64_t mantissa = words[at] >> shift;
    if (shift > 0 && at < 3)
        mantissa |= words[at + 1] << (64 - shift);
    mantissa &= ((uint64_t)1 << 53) - 1;
    int half_at = (lowest - 1) / 64, half_shift = (lowest - 1) % 64;
    if (words[half_at] >> half_shift & 1) {
        bool more = mantissa & 1;
        more = more || (words[half_at] & (((uint64_t)1 << half_shift) - 1)) != 0;
        for (int i = 0; i < half_at && !more; i++)
            more = words[i] != 0;
        mantissa += more;
    }
    return ldexp((double)mantissa, lowest + unit);
}

double lb_float_sum_value(const struct lb_float_sum *sum)
{
    const uint32_t both = SEEN_INFINITY | SEEN_MINUS_INFINITY;
    if ((sum->seen & SEEN_NAN) || (sum->seen & both) == both)
        return NAN;
    if (sum->seen & both)
        return sum->seen & SEEN_INFINITY ? INFINITY : -INFINITY;
    if (sum->top < 0)
        return (sum->seen & SEEN_MINUS_ZERO) && !(sum->seen & SEEN_ZERO) ? -0.0 : 0.0;
    uint64_t words[4] = {0, 0, 0, 0};
    for (int i = 0; i < LB_FLOAT_SUM_FOLDS; i++)
        add_shifted(words, sum->bins[i],
                    (unsigned)(LB_FLOAT_SUM_FOLDS - 1 - i) * LB_FLOAT_SUM_BITS);
    bool negative = words[3] >> 63;
    if (negative) {
        unsigned __int128 carry = 1;
        for (int i = 0; i < 4; i++) {
            carry += (uint64_t)~words[i];
            words[i] = (uint64_t)carry;
            carry >>= 64;
        }
    }
    int unit = LB_FLOAT_SUM_BITS * (sum->top - (LB_FLOAT_SUM_FOLDS - 1)) - 1074;
    double value = round_words(words, unit);
    return negative ? -value : value;
}

/* ---- short sums ---- */

static void raise_short(struct lb_short_sum *sum, int32_t top)
{
    int32_t by = top + 1 - sum->top;
    for (int32_t i = LB_FLOAT_SUM_FOLDS - 1; i >= 0; i--)
        sum->bins[i] = i >= by && sum->top > 0 ? sum->bins[i - by] : 0;
    sum->top = (uint16_t)(top + 1);
}

void lb_short_sum_merge(struct lb_short_sum *sum, const struct lb_short_sum *other)
{
    sum->n += other->n;
    sum->seen |= other->seen;
    if (other->top == 0)
        return;
    if (other->top > sum->top)
        raise_short(sum, other->top - 1);
    int32_t place = sum->top - other->top;
    for (int32_t i = 0; i + place < LB_FLOAT_SUM_FOLDS; i++)
        sum->bins[i + place] += other->bins[i];
}

/* A value that lies far below the first bins, as errors of products do: only its upper pieces are kept. Returns whether it is one. */
static bool add_low(struct lb_short_sum *sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t low = ((uint32_t)(bits >> 52) & 2047) - 1;
    uint32_t bin = low / LB_FLOAT_SUM_BITS, shift = low % LB_FLOAT_SUM_BITS;
    if (low >= 2046 || bin + 3 >= sum->top)
        return false;
    uint32_t place = sum->top - 1 - bin; /* of the lowest piece: 3 or more */
    uint64_t mantissa = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)1 << 52;
    int64_t sign = (int64_t)bits >> 63;
    int64_t second = (int64_t)(mantissa >> (LB_FLOAT_SUM_BITS - shift) & PIECE_MASK);
    int64_t third = (int64_t)(mantissa >> LB_FLOAT_SUM_BITS >> (LB_FLOAT_SUM_BITS - shift));
    if (place == 3) {
        sum->bins[2] += (second ^ sign) - sign;
        sum->bins[1] += (third ^ sign) - sign;
    } else if (place == 4) {
        sum->bins[2] += (third ^ sign) - sign;
    }
    sum->n++;
    return true;
}

void lb_short_sum_add_odd(struct lb_short_sum *sum, double value)
{
    if (add_low(sum, value))
        return;
    struct lb_float_sum one;
    lb_float_sum_init(&one);
    lb_float_sum_add(&one, value);
    struct lb_short_sum other = {.n = 1, .top = (uint16_t)(one.top + 1), .seen = (uint8_t)one.seen};
    for (int i = 0; i < LB_FLOAT_SUM_FOLDS; i++)
        other.bins[i] = (int64_t)one.bins[i];
    lb_short_sum_merge(sum, &other);
}

void lb_float_sum_merge_short(struct lb_float_sum *sum, const struct lb_short_sum *other)
{
    struct lb_float_sum more;
    lb_float_sum_init(&more);
    more.top = (int32_t)other->top - 1;
    more.seen = other->seen;
    for (int i = 0; i < LB_FLOAT_SUM_FOLDS; i++)
        more.bins[i] = other->bins[i];
    lb_float_sum_merge(sum, &more);
}
