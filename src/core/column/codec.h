/* The value codec: any Lua value as bytes, for `any` columns, spill files, native files and plans.
 *
 * FORMAT  one tag byte, then
 *   'n' nil   'f' false   't' true
 *   'i' int64, 8 bytes little-endian
 *   'd' double, 8 bytes little-endian
 *   's' uint32 size, bytes                 (little-endian, as all sizes here)
 *   'l' uint32 bytes of what follows, uint32 count, count values
 *   'm' uint32 bytes of what follows, uint32 count, count times (string value as 's', value), keys
 *       in ascending byte order, so that equal maps have equal bytes
 * Nested at most LB_CODEC_DEPTH containers deep. An empty Lua table is an empty list: lb_codec_end
 * makes an empty map one. A buffer that values are put into stays below 4 GiB (LB_ERR_RESOURCE
 * beyond), so every size fits its 4 bytes. */
#ifndef LB_COLUMN_CODEC_H
#define LB_COLUMN_CODEC_H

#include "core/base/buf.h"
#include "core/column/batch.h"

enum { LB_CODEC_DEPTH = 100 };

lb_status lb_codec_put_nil(struct lb_buf *out, struct lb_error *err) LB_MUST_USE;
lb_status lb_codec_put_bool(struct lb_buf *out, bool value, struct lb_error *err) LB_MUST_USE;
lb_status lb_codec_put_int(struct lb_buf *out, int64_t value, struct lb_error *err) LB_MUST_USE;
lb_status lb_codec_put_float(struct lb_buf *out, double value, struct lb_error *err) LB_MUST_USE;
lb_status lb_codec_put_string(struct lb_buf *out, const char *data, size_t size,
                              struct lb_error *err) LB_MUST_USE;
/* Row of a column as one encoded value. */
lb_status lb_codec_put_column(struct lb_buf *out, const struct lb_column *column, uint32_t row,
                              struct lb_error *err) LB_MUST_USE;

/* Containers: begin writes the head and returns a mark; end patches it. Between them the caller
 * puts `count` values (list) or key/value puts with keys already sorted (map). */
lb_status lb_codec_begin(struct lb_buf *out, char tag, size_t *mark,
                         struct lb_error *err) LB_MUST_USE;
void lb_codec_end(struct lb_buf *out, size_t mark, uint32_t count);

/* One decoded value; strings and containers point into the encoded bytes. */
struct lb_value {
    char tag; /* as in FORMAT */
    union {
        int64_t i;
        double d;
        struct {
            const char *data; /* string bytes, or the first element of a container */
            size_t size;      /* bytes of the string, or of all elements */
            uint32_t count;   /* elements (pairs for a map) */
        };
    };
};

/* Appends a decoded value. */
lb_status lb_codec_put_value(struct lb_buf *out, const struct lb_value *value,
                             struct lb_error *err) LB_MUST_USE;
/* The encoded bytes of a decoded list or map. */
static inline const char *lb_value_encoded(const struct lb_value *value, size_t *size)
{
    enum { HEAD_BYTES = 9 }; /* see FORMAT */
    *size = value->size + HEAD_BYTES;
    return value->data - HEAD_BYTES;
}

/* Reads the value at *cursor (before end) and moves the cursor behind it (behind the whole
 * container). Never reads past end; malformed bytes give LB_ERR_DATA. */
lb_status lb_codec_get(const char **cursor, const char *end, struct lb_value *value,
                       struct lb_error *err) LB_MUST_USE;
/* Trusting variant for bytes this process wrote in memory or that passed a checksum. */
void lb_codec_next(const char **cursor, struct lb_value *value);
/* The value of a row; strings and containers borrow from the column. */
static inline struct lb_value lb_column_value(const struct lb_column *column, uint32_t row)
{
    struct lb_value value = {.tag = 'n'};
    if (!lb_column_is_valid(column, row))
        return value;
    switch (column->type) {
    case LB_INT64:
        value.tag = 'i';
        value.i = column->ints[row];
        break;
    case LB_FLOAT64:
        value.tag = 'd';
        value.d = column->floats[row];
        break;
    case LB_BOOL:
        value.tag = column->bools[row] ? 't' : 'f';
        break;
    case LB_STRING:
        value.tag = 's';
        value.data = lb_view_data(&column->views[row]);
        value.size = column->views[row].size;
        value.count = 0;
        break;
    case LB_ANY: {
        const char *cursor = lb_view_data(&column->views[row]);
        lb_codec_next(&cursor, &value);
        break;
    }
    case LB_NULL:
        break;
    }
    return value;
}
/* Bytes of the value at data, trusting. */
size_t lb_codec_size(const char *data);
/* Checks exactly one whole well-formed value, depth and key order included. */
lb_status lb_codec_verify(const char *data, size_t size, struct lb_error *err) LB_MUST_USE;

/* Looks a key up in a map value. False when absent or when map is no map. */
bool lb_value_field(const struct lb_value *map, const char *key, struct lb_value *value);

#endif
