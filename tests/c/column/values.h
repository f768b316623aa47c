/* Random encoded values for the tests of this room, and their order computed the slow way: straight
 * from the rules of api.md, on decoded values. */
#ifndef LB_TESTS_COLUMN_VALUES_H
#define LB_TESTS_COLUMN_VALUES_H

#include "../support/support.h"

#include <math.h>

#include "core/column/codec.h"

static struct lb_error failure; /* for calls that must not fail */

#define MUST(call)                                      \
    do {                                                \
        if ((call) != LB_OK)                            \
            fail_msg("%s: %s", #call, failure.message); \
    } while (0)

static inline int64_t random_int(void)
{
    static const int64_t bases[] = {0,
                                    1,
                                    -1,
                                    INT64_MAX,
                                    INT64_MIN,
                                    (int64_t)1 << 53,
                                    -((int64_t)1 << 53),
                                    (int64_t)1 << 62,
                                    -((int64_t)1 << 62)};

    switch (random_below(4)) {
    case 0:
        return (int64_t)random_bits() >> random_below(64);
    case 1:
        return (int64_t)random_below(10) - 5;
    default:
        return (int64_t)((uint64_t)bases[random_below(9)] + random_below(7) - 3);
    }
}

static inline double random_float(void)
{
    uint64_t bits = random_bits();
    double value;

    switch (random_below(6)) {
    case 0:
        memcpy(&value, &bits, 8);
        return value;
    case 1:
        return random_below(2) ? 0.0 : -0.0;
    case 2:
        return random_below(3) == 0 ? (double)NAN : random_below(2) ? INFINITY : -INFINITY;
    case 3:
        return (double)random_int() + (random_below(2) ? 0.5 : 0);
    default: /* next to an integer that a float can or cannot hold */
        value = (double)random_int();
        return random_below(3) == 0 ? nextafter(value, random_below(2) ? INFINITY : -INFINITY)
                                    : value;
    }
}

/* Few letters, zeros among them, so that values often share a beginning. */
static inline size_t random_text(char *out, size_t room)
{
    size_t size = random_below(3) == 0 ? random_below((uint32_t)room) : random_below(5);

    for (size_t i = 0; i < size; i++)
        out[i] = "\0\0\1a\xff"[random_below(5)];
    return size;
}

/* depth: containers it may still nest */
static inline void put_random(struct lb_buf *out, int depth)
{
    char text[40];
    size_t size;
    size_t mark;
    uint32_t count = 0;

    switch (random_below(depth > 0 ? 10 : 7)) {
    case 0:
        MUST(lb_codec_put_nil(out, &failure));
        break;
    case 1:
        MUST(lb_codec_put_bool(out, random_below(2), &failure));
        break;
    case 2:
    case 3:
        MUST(lb_codec_put_int(out, random_int(), &failure));
        break;
    case 4:
        MUST(lb_codec_put_float(out, random_float(), &failure));
        break;
    case 5:
    case 6:
        size = random_text(text, sizeof text);
        MUST(lb_codec_put_string(out, text, size, &failure));
        break;
    case 7:
    case 8:
        MUST(lb_codec_begin(out, 'l', &mark, &failure));
        for (uint32_t n = random_below(4); count < n; count++)
            put_random(out, depth - 1);
        lb_codec_end(out, mark, count);
        break;
    default:
        MUST(lb_codec_begin(out, 'm', &mark, &failure));
        for (char c = 'a'; c <= 'd'; c++) {
            if (random_below(2))
                continue;
            text[0] = c;
            MUST(lb_codec_put_string(out, text, 1, &failure));
            put_random(out, depth - 1);
            count++;
        }
        lb_codec_end(out, mark, count);
        break;
    }
}

/* ---- the order of api.md, section 1 ---- */

static inline int rank_of(char tag)
{
    return (int)(strchr("nftisslm", tag == 'd' ? 'i' : tag) - "nftisslm");
}

static inline int compare_int_float(int64_t i, double d)
{
    int64_t whole;

    if (isnan(d) || d >= 0x1p63)
        return -1;
    if (d < -0x1p63)
        return 1;
    whole = (int64_t)floor(d);
    if (i != whole)
        return i < whole ? -1 : 1;
    return d > floor(d) ? -1 : 0;
}

static inline int compare_numbers(const struct lb_value *a, const struct lb_value *b)
{
    if (a->tag == 'i' && b->tag == 'i')
        return (a->i > b->i) - (a->i < b->i);
    if (a->tag == 'i')
        return compare_int_float(a->i, b->d);
    if (b->tag == 'i')
        return -compare_int_float(b->i, a->d);
    if (isnan(a->d) || isnan(b->d))
        return (isnan(a->d) != 0) - (isnan(b->d) != 0);
    return (a->d > b->d) - (a->d < b->d);
}

static inline int compare_values(const char *a, const char *b)
{
    struct lb_value x;
    struct lb_value y;
    uint32_t i;
    int order;

    lb_codec_next(&a, &x);
    lb_codec_next(&b, &y);
    order = rank_of(x.tag) - rank_of(y.tag);
    if (order != 0)
        return order;
    if (x.tag == 'i' || x.tag == 'd')
        return compare_numbers(&x, &y);
    if (x.tag == 's') {
        order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);
        return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
    }
    if (x.tag != 'l' && x.tag != 'm')
        return 0;
    x.count *= x.tag == 'm' ? 2 : 1;
    y.count *= y.tag == 'm' ? 2 : 1;
    for (i = 0; i < x.count && i < y.count; i++) {
        order = compare_values(x.data, y.data);
        if (order != 0)
            return order;
        x.data += lb_codec_size(x.data);
        y.data += lb_codec_size(y.data);
    }
    return (x.count > y.count) - (x.count < y.count);
}

#endif
