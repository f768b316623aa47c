/* Values as a join writes them to disk: the codec's (column/codec.h), except that numbers are as short as they go, so that rows
 * of small ones are hardly longer than what lz4 would make of them.
 *
 * FORMAT  LB_JOIN_INT_TAG | n: an integer in n bytes, zigzag, little-endian; LB_JOIN_HUNDREDTHS_TAG | n: likewise, a float that is
 *         exactly such an integer divided by 100 (prices are, mostly); else a codec value, whose tag is below both. */
#ifndef LB_OPS_JOIN_VALUES_H
#define LB_OPS_JOIN_VALUES_H

#include <math.h>

#include "core/column/builder.h"
#include "core/column/codec.h"

enum {
    LB_JOIN_INT_TAG = 0x80,
    LB_JOIN_HUNDREDTHS_TAG = 0xC0,
    LB_JOIN_TAG_MASK = 0xC0,
    LB_JOIN_SIZE_MASK = 0x0F
};

static inline lb_status lb_join_put_number(struct lb_buf *out, unsigned tag, int64_t value,
                                           struct lb_error *err)
{
    uint64_t bits = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    unsigned n = bits == 0 ? 0 : (71 - (unsigned)__builtin_clzll(bits)) / 8;
    LB_TRY(lb_buf_reserve(out, 1 + sizeof bits, err));
    out->data[out->size] = (char)(tag | n);
    memcpy(out->data + out->size + 1, &bits, sizeof bits);
    out->size += 1 + n;
    return LB_OK;
}

/* Whether the float is a number of hundredths; -0.0 is not, for it would come back as 0.0. */
static inline bool lb_join_hundredths(double value, int64_t *number)
{
    double scaled = value * 100;
    if (!(fabs(scaled) < 1e15))
        return false;
    *number = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
    return (double)*number / 100 == value && !(*number == 0 && signbit(value));
}

static inline lb_status lb_join_put_value(struct lb_buf *out, const struct lb_column *column,
                                          uint32_t row, struct lb_error *err)
{
    int64_t number;
    if (column->type == LB_INT64 && lb_column_is_valid(column, row))
        return lb_join_put_number(out, LB_JOIN_INT_TAG, column->ints[row], err);
    if (column->type == LB_FLOAT64 && lb_column_is_valid(column, row) &&
        lb_join_hundredths(column->floats[row], &number))
        return lb_join_put_number(out, LB_JOIN_HUNDREDTHS_TAG, number, err);
    return lb_codec_put_column(out, column, row, err);
}

static inline size_t lb_join_value_size(const char *value)
{
    unsigned tag = (unsigned char)*value;
    return tag >= LB_JOIN_INT_TAG ? 1 + (tag & LB_JOIN_SIZE_MASK) : lb_codec_size(value);
}

static inline int64_t lb_join_get_number(const char *value)
{
    uint64_t bits = 0;
    memcpy(&bits, value + 1, (unsigned char)*value & LB_JOIN_SIZE_MASK);
    return (int64_t)(bits >> 1 ^ -(bits & 1));
}

static inline lb_status lb_join_build_value(struct lb_builder *column, const char *value,
                                            struct lb_error *err)
{
    unsigned tag = (unsigned char)*value;
    if (tag < LB_JOIN_INT_TAG)
        return lb_builder_encoded(column, value, lb_codec_size(value), err);
    int64_t number = lb_join_get_number(value);
    return (tag & LB_JOIN_TAG_MASK) == LB_JOIN_INT_TAG
               ? lb_builder_int(column, number, err)
               : lb_builder_float(column, (double)number / 100, err);
}

#endif
