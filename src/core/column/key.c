/* Sort keys: see key.h for the format.
 *
 * IDEA  A number is split into d, the greatest double not above it, and an exact rest. Two numbers
 * with different d are ordered by d; with the same d by the rest. Below 2^53 in magnitude every
 * integer is a double, so the rest is always 0 and is left out; from 2^63 on only floats exist,
 * with the same effect. In between neighbouring doubles are at most 2^10 apart, so 2 bytes hold the
 * rest. Whether they follow depends on d alone, hence on bytes already compared.
 *
 * Double bits order as unsigned numbers once the sign bit is flipped, and all bits of negative
 * ones. */
#include "core/column/key.h"

#include <math.h>

#include "core/column/codec.h"

/* ORDER keys. A terminator must be below them all. */
enum {
    KEY_END = 0x00,
    KEY_NIL = LB_KEY_NIL,
    KEY_FALSE = 0x20,
    KEY_TRUE = 0x30,
    KEY_NUMBER = LB_KEY_NUMBER,
    KEY_STRING = LB_KEY_STRING,
    KEY_LIST = 0x60,
    KEY_MAP = 0x70
};

static const double TWO_53 = 9007199254740992.0;
static const double TWO_63 = 9223372036854775808.0;

/* d and whether a rest follows are as the FORMAT says; rest is ignored when none follows. */
static lb_status put_number(struct lb_buf *out, double d, uint32_t rest, struct lb_error *err)
{
    uint64_t bits;
    char *bytes;

    LB_TRY(lb_buf_reserve(out, 11, err));
    memcpy(&bits, &d, 8);
    bits ^= (uint64_t)((int64_t)bits >> 63) | 0x8000000000000000ULL;
    bits = __builtin_bswap64(bits);
    bytes = out->data + out->size;
    bytes[0] = KEY_NUMBER;
    memcpy(bytes + 1, &bits, 8);
    out->size += 9;
    if (fabs(d) >= TWO_53 && d >= -TWO_63 && d < TWO_63) {
        bytes[9] = (char)(rest >> 8);
        bytes[10] = (char)rest;
        out->size += 2;
    }
    return LB_OK;
}

lb_status lb_key_put_int(struct lb_buf *out, int64_t value, struct lb_error *err)
{
    double d = (double)value;

    if (__builtin_expect(fabs(d) < TWO_53, 1))
        return put_number(out, d, 0, err);
    /* The conversion may have rounded up, to 2^63 at most. */
    if (d >= TWO_63 || (int64_t)d > value)
        d = nextafter(d, -INFINITY);
    return put_number(out, d, (uint32_t)((uint64_t)value - (uint64_t)(int64_t)d), err);
}

lb_status lb_key_put_float(struct lb_buf *out, double value, struct lb_error *err)
{
    if (isnan(value))
        value = (double)NAN;                     /* one NaN, positive: above infinity */
    return put_number(out, value + 0.0, 0, err); /* -0.0 + 0.0 is 0.0 */
}

bool lb_float_as_int(double value, int64_t *integer)
{
    if (!(value >= -TWO_63 && value < TWO_63))
        return false;
    if ((double)(int64_t)value != value)
        return false;
    *integer = (int64_t)value;
    return true;
}

static lb_status put_string(struct lb_buf *out, const char *data, size_t size, bool closed,
                            struct lb_error *err)
{
    LB_TRY(lb_buf_reserve(out, size + 3, err));
    out->data[out->size++] = (char)KEY_STRING;
    if (!closed)
        return lb_buf_append(out, data, size, err);
    while (size > 0) {
        const char *zero = memchr(data, 0, size);
        size_t n = zero != NULL ? (size_t)(zero - data) + 1 : size;

        LB_TRY(lb_buf_append(out, data, n, err));
        if (zero != NULL)
            LB_TRY(lb_buf_append_byte(out, (char)0xFF, err));
        data += n;
        size -= n;
    }
    return lb_buf_append(out, "\0", 2, err);
}

/* One encoded value, moving the cursor behind it; depth: containers that may still be entered. */
static lb_status put_value(struct lb_buf *out, const char **cursor, const char *end, bool closed,
                           unsigned depth, struct lb_error *err)
{
    struct lb_value value;
    const char *element;

    LB_TRY(lb_codec_get(cursor, end, &value, err));
    switch (value.tag) {
    case 'f':
        return lb_buf_append_byte(out, KEY_FALSE, err);
    case 't':
        return lb_buf_append_byte(out, KEY_TRUE, err);
    case 'i':
        return lb_key_put_int(out, value.i, err);
    case 'd':
        return lb_key_put_float(out, value.d, err);
    case 's':
        return put_string(out, value.data, value.size, closed, err);
    case 'l':
    case 'm':
        break;
    default:
        return lb_buf_append_byte(out, KEY_NIL, err);
    }

    if (depth == 0)
        return lb_error_set(err, LB_ERR_DATA, "malformed value: nested too deep");
    LB_TRY(lb_buf_append_byte(out, value.tag == 'l' || value.count == 0 ? KEY_LIST : KEY_MAP, err));
    element = value.data;
    end = value.data + value.size;
    for (uint32_t i = 0; i < value.count; i++) {
        if (value.tag == 'm')
            LB_TRY(put_value(out, &element, end, true, depth - 1, err));
        LB_TRY(put_value(out, &element, end, true, depth - 1, err));
    }
    return lb_buf_append_byte(out, KEY_END, err);
}

lb_status lb_key_put_encoded(struct lb_buf *out, const char *data, size_t size, bool closed,
                             struct lb_error *err)
{
    return put_value(out, &data, data + size, closed, LB_CODEC_DEPTH, err);
}

lb_status lb_key_put_column(struct lb_buf *out, const struct lb_column *column, uint32_t row,
                            bool closed, struct lb_error *err)
{
    const struct lb_view *view;

    if (!lb_column_is_valid(column, row))
        return lb_buf_append_byte(out, KEY_NIL, err);
    switch (column->type) {
    case LB_NULL:
        break;
    case LB_BOOL:
        return lb_buf_append_byte(out, column->bools[row] ? KEY_TRUE : KEY_FALSE, err);
    case LB_INT64:
        return lb_key_put_int(out, column->ints[row], err);
    case LB_FLOAT64:
        return lb_key_put_float(out, column->floats[row], err);
    case LB_STRING:
        view = &column->views[row];
        return put_string(out, lb_view_data(view), view->size, closed, err);
    case LB_ANY:
        view = &column->views[row];
        return lb_key_put_encoded(out, lb_view_data(view), view->size, closed, err);
    }
    return lb_buf_append_byte(out, KEY_NIL, err);
}

/* ---- back to values ---- */

static lb_status bad_key(struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_DATA, "malformed sort key");
}

static lb_status get_number(const char **cursor, const char *end, struct lb_buf *out,
                            struct lb_error *err)
{
    uint64_t bits;
    double d;
    if (end - *cursor < 8)
        return bad_key(err);
    memcpy(&bits, *cursor, 8);
    *cursor += 8;
    bits = __builtin_bswap64(bits);
    bits ^= bits >> 63 ? 0x8000000000000000ULL : ~(uint64_t)0;
    memcpy(&d, &bits, 8);
    if (!(d >= -TWO_63 && d < TWO_63) || d != trunc(d))
        return lb_codec_put_float(out, d, err);
    uint64_t rest = 0;
    if (fabs(d) >= TWO_53) {
        if (end - *cursor < 2)
            return bad_key(err);
        rest = (uint64_t)((unsigned char)(*cursor)[0] << 8 | (unsigned char)(*cursor)[1]);
        *cursor += 2;
    }
    return lb_codec_put_int(out, (int64_t)((uint64_t)(int64_t)d + rest), err);
}

static lb_status get_string(const char **cursor, const char *end, bool closed, struct lb_buf *out,
                            struct lb_error *err)
{
    if (!closed) {
        LB_TRY(lb_codec_put_string(out, *cursor, (size_t)(end - *cursor), err));
        *cursor = end;
        return LB_OK;
    }
    struct lb_buf text = {0};
    lb_status status = LB_OK;
    for (;;) {
        const char *zero = *cursor < end ? memchr(*cursor, 0, (size_t)(end - *cursor)) : NULL;
        if (zero == NULL || zero + 1 == end) {
            status = bad_key(err);
            break;
        }
        bool goes_on = zero[1] != 0; /* 00 FF is a zero of the string */
        status = lb_buf_append(&text, *cursor, (size_t)(zero - *cursor) + goes_on, err);
        *cursor = zero + 2;
        if (status != LB_OK || !goes_on)
            break;
    }
    if (status == LB_OK)
        status = lb_codec_put_string(out, text.data, text.size, err);
    lb_buf_fini(&text);
    return status;
}

static lb_status get_value(const char **cursor, const char *end, bool closed, unsigned depth,
                           struct lb_buf *out, struct lb_error *err)
{
    if (*cursor == end)
        return bad_key(err);
    unsigned char tag = (unsigned char)*(*cursor)++;
    size_t mark;
    switch (tag) {
    case KEY_NIL:
        return lb_codec_put_nil(out, err);
    case KEY_FALSE:
    case KEY_TRUE:
        return lb_codec_put_bool(out, tag == KEY_TRUE, err);
    case KEY_NUMBER:
        return get_number(cursor, end, out, err);
    case KEY_STRING:
        return get_string(cursor, end, closed, out, err);
    case KEY_LIST:
    case KEY_MAP:
        break;
    default:
        return bad_key(err);
    }
    if (depth == 0)
        return bad_key(err);
    LB_TRY(lb_codec_begin(out, tag == KEY_LIST ? 'l' : 'm', &mark, err));
    uint32_t n = 0;
    const char *last = NULL; /* name of a map, which are strings and ascend */
    size_t last_size = 0;
    for (; *cursor < end && **cursor != KEY_END; n++) {
        const char *start = *cursor;
        bool is_name = tag == KEY_MAP && n % 2 == 0;
        if (is_name && *start != KEY_STRING)
            return bad_key(err);
        LB_TRY(get_value(cursor, end, true, depth - 1, out, err));
        size_t size = (size_t)(*cursor - start);
        if (is_name && last != NULL && lb_key_compare(last, last_size, start, size) >= 0)
            return bad_key(err);
        if (is_name) {
            last = start;
            last_size = size;
        }
    }
    if (*cursor == end || (tag == KEY_MAP && n % 2 != 0))
        return bad_key(err);
    *cursor += 1;
    lb_codec_end(out, mark, tag == KEY_MAP ? n / 2 : n);
    return LB_OK;
}

lb_status lb_key_decode_next(const char **cursor, const char *end, bool closed, struct lb_buf *out,
                             struct lb_error *err)
{
    return get_value(cursor, end, closed, LB_CODEC_DEPTH, out, err);
}

lb_status lb_key_decode(const char *key, size_t size, bool closed, struct lb_buf *out,
                        struct lb_error *err)
{
    const char *end = key + size;
    LB_TRY(get_value(&key, end, closed, LB_CODEC_DEPTH, out, err));
    return key == end ? LB_OK : bad_key(err);
}
