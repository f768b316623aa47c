/* Sort keys: any value as bytes whose memcmp order (shorter first on a tie) is the order of api.md
 * section 1, and whose equality is its equality. So sorting, grouping and hashing look at no types.
 *
 * nil < false < true < numbers < strings < lists < maps. 1 and 1.0 have the same key, -0.0 is 0,
 * all NaNs are one and sort after +inf. Integers and floats compare exactly (2^53+1 is above 2^53
 * as a float).
 *
 * FORMAT  a tag byte ascending in the order above, then
 *   number: 8 bytes big-endian: the greatest double that is not above the number, its bits changed
 *           so that they order as unsigned; then, only when that double d is in [-2^63, 2^63) and
 *           |d| >= 2^53, 2 bytes big-endian: number - d, which tells the integers between two
 *           doubles apart (0 for a float)
 *   string: open: the raw bytes (the key ends where it ends); nested or `closed`: each 00 as
 *           00 FF, then 00 00, so that no key is a prefix of another
 *   list:   its elements closed, then a byte below every tag;  map: likewise, key and value in turn
 *           (an empty map has the key of an empty list: they are one value)
 * An open string key is therefore tag + the string itself. All other keys are prefix-free. */
#ifndef LB_COLUMN_KEY_H
#define LB_COLUMN_KEY_H

#include "core/base/buf.h"
#include "core/column/batch.h"

enum { LB_KEY_NIL = 0x10, LB_KEY_NUMBER = 0x40, LB_KEY_STRING = 0x50 }; /* tag bytes of keys */

/* Appends the key of a value. closed: prefix-free, for composite keys. */
lb_status lb_key_put_column(struct lb_buf *out, const struct lb_column *column, uint32_t row,
                            bool closed, struct lb_error *err) LB_MUST_USE;
lb_status lb_key_put_encoded(struct lb_buf *out, const char *data, size_t size, bool closed,
                             struct lb_error *err) LB_MUST_USE;
lb_status lb_key_put_int(struct lb_buf *out, int64_t value, struct lb_error *err) LB_MUST_USE;
lb_status lb_key_put_float(struct lb_buf *out, double value, struct lb_error *err) LB_MUST_USE;

/* Appends one encoded value that has this key, which is a whole one; `closed` as it was made. Of numbers that
 * have one key it is the integer. Malformed bytes give LB_ERR_DATA. */
lb_status lb_key_decode(const char *key, size_t size, bool closed, struct lb_buf *out,
                        struct lb_error *err) LB_MUST_USE;

/* The same for the key at *cursor, which moves behind it. Such as are not closed end at `end`. */
lb_status lb_key_decode_next(const char **cursor, const char *end, bool closed, struct lb_buf *out,
                             struct lb_error *err) LB_MUST_USE;

/* True when `value` is an integer in int64 range: then *integer is it, and both have one key. */
bool lb_float_as_int(double value, int64_t *integer);

static inline int lb_key_compare(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t size = a_size < b_size ? a_size : b_size;
    int order = size > 0 ? memcmp(a, b, size) : 0;
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

#endif
