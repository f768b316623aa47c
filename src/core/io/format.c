/* Records as text: see format.h. Rows of strings and (string, integer) pairs, which most output is,
 * go straight into the buffer: room for a whole batch is reserved first, then no check. */
#include "core/io/format.h"

#include <string.h>

#include "core/base/number.h"
#include "core/io/format_value.h"

bool lb_format_parse_name(const char *name, enum lb_format *format)
{
    static const char *const names[] = {"text", "json", "csv", "lua", "tsv"}; /* ORDER formats */
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *format = (enum lb_format)i;
            return true;
        }
    }
    return false;
}

lb_status lb_format_encoded(enum lb_format format, const char *data, size_t size,
                            struct lb_buf *out, struct lb_error *err)
{
    struct lb_value value;
    LB_TRY(lb_codec_get(&data, data + size, &value, err));
    return lb_format_value(format, &value, out, err);
}

/* ---- text: the common shapes ---- */

/* Bytes that the selected strings take. */
static size_t strings_size(const struct lb_batch *batch, const struct lb_column *column)
{
    size_t total = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++)
        total += column->views[lb_batch_row(batch, i)].size;
    return total;
}

/* Copies the string; to must have LB_VIEW_INLINE bytes of room even when it is shorter. */
static inline char *copy_view(char *to, const struct lb_view *view)
{
    if (view->size <= LB_VIEW_INLINE)
        memcpy(to, view->prefix, LB_VIEW_INLINE);
    else
        memcpy(to, view->data, view->size);
    return to + view->size;
}

static inline char *put_small_int(char *to, int64_t value)
{
    if (value >= 0 && value < 10) { /* counts: mostly */
        *to = (char)('0' + value);
        return to + 1;
    }
    return to + lb_format_int(value, to);
}

static lb_status text_strings(const struct lb_batch *batch, struct lb_buf *out,
                              struct lb_error *err)
{
    const struct lb_column *column = &batch->columns[0];
    size_t room = strings_size(batch, column) + batch->n_selected + LB_VIEW_INLINE;
    LB_TRY(lb_buf_reserve(out, room, err));
    char *to = out->data + out->size;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        to = copy_view(to, &column->views[lb_batch_row(batch, i)]);
        *to++ = '\n';
    }
    out->size = (size_t)(to - out->data);
    return LB_OK;
}

static lb_status text_string_ints(const struct lb_batch *batch, struct lb_buf *out,
                                  struct lb_error *err)
{
    const struct lb_column *strings = &batch->columns[0];
    const int64_t *ints = batch->columns[1].ints;
    size_t room = strings_size(batch, strings) + (size_t)batch->n_selected * (LB_NUMBER_BYTES + 2) +
                  LB_VIEW_INLINE;
    LB_TRY(lb_buf_reserve(out, room, err));
    char *to = out->data + out->size;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        to = copy_view(to, &strings->views[row]);
        *to++ = '\t';
        to = put_small_int(to, ints[row]);
        *to++ = '\n';
    }
    out->size = (size_t)(to - out->data);
    return LB_OK;
}

/* ---- all shapes and formats ---- */

static lb_status put_cell(enum lb_format format, const struct lb_column *column, uint32_t row,
                          struct lb_buf *out, struct lb_error *err)
{
    if (column->type == LB_ANY && lb_column_is_valid(column, row)) {
        const struct lb_view *view = &column->views[row];
        return lb_format_encoded(format, lb_view_data(view), view->size, out, err);
    }
    struct lb_value value = lb_column_value(column, row);
    return lb_format_value(format, &value, out, err);
}

static lb_status put_row(enum lb_format format, const struct lb_batch *batch, uint32_t row,
                         struct lb_buf *out, struct lb_error *err)
{
    static const char *const separators[] = {"\t", ",", ",", ", ", "\t"}; /* ORDER formats */
    const char *separator = separators[format];
    size_t separator_size = strlen(separator);
    uint32_t length = batch->n_columns;
    bool is_array = format == LB_FORMAT_JSON && length > 1;
    if (is_array)
        LB_TRY(lb_buf_append_byte(out, '[', err));
    for (uint32_t i = 0; i < length; i++) {
        if (i > 0)
            LB_TRY(lb_buf_append(out, separator, separator_size, err));
        LB_TRY(put_cell(format, &batch->columns[i], row, out, err));
    }
    if (is_array)
        LB_TRY(lb_buf_append_byte(out, ']', err));
    return lb_buf_append_byte(out, '\n', err);
}

static bool is_full(const struct lb_column *column, enum lb_type type)
{
    return column->type == type && column->valid == NULL;
}

lb_status lb_format_batch(enum lb_format format, const struct lb_batch *batch, struct lb_buf *out,
                          struct lb_error *err)
{
    if (format == LB_FORMAT_TEXT && is_full(&batch->columns[0], LB_STRING)) {
        if (batch->n_columns == 1)
            return text_strings(batch, out, err);
        if (batch->n_columns == 2 && is_full(&batch->columns[1], LB_INT64))
            return text_string_ints(batch, out, err);
    }
    lb_status status = LB_OK;
    if ((format == LB_FORMAT_CSV || format == LB_FORMAT_TSV) &&
        lb_format_csv_batch(format == LB_FORMAT_CSV ? ',' : '\t', batch, out, &status, err))
        return status;
    for (uint32_t i = 0; i < batch->n_selected; i++)
        LB_TRY(put_row(format, batch, lb_batch_row(batch, i), out, err));
    return LB_OK;
}

lb_status lb_format_objects(const struct lb_batch *batch, const char *keys, size_t keys_size,
                            struct lb_buf *out, struct lb_error *err)
{
    static const struct lb_column absent = {.type = LB_NULL};
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i), c = 0;
        for (const char *key = keys; key < keys + keys_size; c++) {
            size_t size = strlen(key);
            LB_TRY(lb_buf_append(out, key, size, err));
            LB_TRY(put_cell(LB_FORMAT_JSON, c < batch->n_columns ? &batch->columns[c] : &absent,
                            row, out, err));
            key += size + 1;
        }
        LB_TRY(lb_buf_append(out, "}\n", 2, err));
    }
    return LB_OK;
}
