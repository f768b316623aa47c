/* Records as CSV or TSV, a batch at a time: room for all of it is reserved first, then cells are written without checks. What needs care
 * (tables, strings to be quoted) goes the way of single values. */
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/base/number.h"
#include "core/io/format_value.h"

/* Bytes that may be written behind a cell's end. */
enum { SLACK = 16 };

#ifdef __SSE2__
/* A bit for each of 16 bytes that makes quotes necessary. */
static inline unsigned special(const char *data, char separator)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)data);
    __m128i found = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(separator)),
                                              _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'))),
                                 _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')),
                                              _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r'))));
    return (unsigned)_mm_movemask_epi8(found);
}

static inline bool is_plain(const struct lb_view *view, char separator)
{
    if (view->size <=
        LB_VIEW_INLINE) /* the 4 bytes of the size do not count; behind the end are zeros */
        return view->size > 0 && special((const char *)view, separator) >> 4 == 0;
    const char *data = view->data;
    if (view->size < 16) {
        char both[16];
        memcpy(both, data, 8);
        memcpy(both + 8, data + view->size - 8, 8);
        return special(both, separator) == 0;
    }
    unsigned found = special(data + view->size - 16, separator);
    for (uint32_t i = 0; i + 16 <= view->size && found == 0; i += 16)
        found = special(data + i, separator);
    return found == 0;
}
#else
static inline bool is_plain(const struct lb_view *view, char separator)
{
    const char *data = lb_view_data(view);
    for (uint32_t i = 0; i < view->size; i++)
        if (data[i] == separator || data[i] == '"' || data[i] == '\n' || data[i] == '\r')
            return false;
    return view->size > 0;
}
#endif

/* Copies the string; may write up to SLACK bytes behind it. */
static inline char *put_view(char *to, const struct lb_view *view)
{
    const char *data = view->data;
    uint32_t size = view->size;
    if (size <= LB_VIEW_INLINE) {
        memcpy(to, view->prefix, LB_VIEW_INLINE);
    } else if (size <= 16) {
        memcpy(to, data, 8);
        memcpy(to + size - 8, data + size - 8, 8);
    } else if (size <= 32) {
        memcpy(to, data, 16);
        memcpy(to + size - 16, data + size - 16, 16);
    } else {
        memcpy(to, data, size);
    }
    return to + size;
}

static inline char *put_quoted(char *to, const struct lb_view *view)
{
    const char *data = lb_view_data(view);
    *to++ = '"';
    for (uint32_t i = 0; i < view->size; i++) {
        *to++ = data[i];
        if (data[i] == '"')
            *to++ = '"';
    }
    *to++ = '"';
    return to;
}

static inline char *put_int(char *to, int64_t value)
{
    static const char digits[] = "00010203040506070809101112131415161718192021222324"
                                 "25262728293031323334353637383940414243444546474849"
                                 "50515253545556575859606162636465666768697071727374"
                                 "75767778798081828384858687888990919293949596979899";
    if (value < 0 || value > UINT32_MAX)
        return to + lb_format_int(value, to);
    uint32_t rest = (uint32_t)value;
    char text[12];
    char *start = text + sizeof text;
    while (rest >= 100) {
        start -= 2;
        memcpy(start, digits + 2 * (rest % 100), 2);
        rest /= 100;
    }
    if (rest >= 10) {
        start -= 2;
        memcpy(start, digits + 2 * rest, 2);
    } else {
        *--start = (char)('0' + rest);
    }
    size_t size = (size_t)(text + sizeof text - start);
    memcpy(to, start, size);
    return to + size;
}

static inline size_t put_bool(char *to, bool value)
{
    memcpy(to, value ? "true " : "false", 5);
    return value ? 4 : 5;
}

/* Bytes that a column's cells may take, each with its separator. */
static size_t room_of(const struct lb_batch *batch, const struct lb_column *column)
{
    size_t n = batch->n_selected, bytes = n * 3; /* quotes, separator */
    if (column->type != LB_STRING)
        return n * (LB_NUMBER_BYTES + 1);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = lb_batch_row(batch, i);
        if (lb_column_is_valid(column, row))
            bytes += 2 * (size_t)column->views[row].size;
    }
    return bytes;
}

bool lb_format_csv_batch(char separator, const struct lb_batch *batch, struct lb_buf *out,
                         lb_status *status, struct lb_error *err)
{
    size_t room = SLACK;
    for (uint32_t c = 0; c < batch->n_columns; c++) {
        if (batch->columns[c].type == LB_ANY)
            return false;
        room += room_of(batch, &batch->columns[c]);
    }
    *status = lb_buf_reserve(out, room, err);
    if (*status != LB_OK)
        return true;
    char *to = out->data + out->size;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        for (uint32_t c = 0; c < batch->n_columns; c++) {
            const struct lb_column *column = &batch->columns[c];
            if (lb_column_is_valid(column, row)) {
                if (column->type == LB_STRING)
                    to = is_plain(&column->views[row], separator)
                             ? put_view(to, &column->views[row])
                             : put_quoted(to, &column->views[row]);
                else if (column->type == LB_INT64)
                    to = put_int(to, column->ints[row]);
                else if (column->type == LB_FLOAT64)
                    to += lb_format_float(column->floats[row], to);
                else
                    to += put_bool(to, column->bools[row] != 0);
            }
            *to++ = separator;
        }
        to[-1] = '\n';
    }
    out->size = (size_t)(to - out->data);
    return true;
}
