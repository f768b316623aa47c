/* Columns of JSON rows: texts of values become typed arrays, a loop for each type. A text that the quick conversion refuses is
 * looked at again: it may be null, have blanks behind it, or be a misfit. */
#include "core/base/utf8.h"
#include "core/io/text_view.h"
#include "core/ops/json_rows.h"

enum { VALID_WORDS = (LB_BATCH_ROWS + 63) / 64, SHOWN_BYTES = 80 };

struct text {
    const char *data;
    size_t size;
};

static inline struct text text_of(const struct lb_json_rows *rows, struct lb_json_span span)
{
    const char *end = rows->data + span.to;
    while (span.to > span.from &&
           (end[-1] == ' ' || end[-1] == '\r' || end[-1] == '\t' || end[-1] == '\n')) {
        end--;
        span.to--;
    }
    return (struct text){rows->data + span.from, span.to - span.from};
}

static inline void clear_valid(uint64_t *valid, uint32_t row)
{
    valid[row >> 6] &= ~((uint64_t)1 << (row & 63));
}

static inline bool is_null(struct text text)
{
    return text.size == 4 && memcmp(text.data, "null", 4) == 0;
}

static lb_status note_bad(struct lb_json_rows *rows, uint32_t c, uint32_t row, struct text text,
                          const char *kind, const char *reason, struct lb_error *err)
{
    const struct lb_json_column *column = &rows->schema->columns[c];
    uint64_t bit = (uint64_t)1 << (row & 63);
    if ((rows->is_bad[row >> 6] & bit) != 0)
        return LB_OK;
    rows->is_bad[row >> 6] |= bit;
    bool is_long = text.size > SHOWN_BYTES;
    return lb_bad_list_add(&rows->bad, rows->starts[row], rows->ends[row], kind, err,
                           "column %.*s: '%.*s%s': %s",
                           (int)lb_utf8_cut(column->name, column->name_size, SHOWN_BYTES),
                           column->name, (int)lb_utf8_cut(text.data, text.size, SHOWN_BYTES),
                           text.data, is_long ? "..." : "", reason);
}

static const char *const not_of_type[] = {"not a boolean", "not an integer", "not a float",
                                          "not a string", "not a value"}; /* ORDER json types */

/* A value that does not fit column c: a bad record, or the column needs another type. */
static lb_status note_misfit(struct lb_json_rows *rows, uint32_t c, uint32_t row, struct text text,
                             struct lb_error *err)
{
    const struct lb_json_column *column = &rows->schema->columns[c];
    enum lb_json_type type = lb_json_type_of(text.data, text.size);
    if (type == LB_JSON_INVALID)
        return note_bad(rows, c, row, text, "syntax", "no value of JSON", err);
    if (column->is_inferred) {
        type = lb_json_type_join(column->type, type);
        if (type == column->type) /* an integer that is no exact float */
            type = LB_JSON_ANY;
        if (!rows->is_misfit)
            for (uint32_t i = 0; i < rows->schema->n_columns; i++)
                rows->wider[i] = LB_JSON_NULL;
        rows->wider[c] = lb_json_type_join(rows->wider[c], type);
    }
    LB_TRY(note_bad(rows, c, row, text, "type", not_of_type[column->type], err));
    if (column->is_inferred && !rows->is_misfit) {
        rows->is_misfit = true;
        rows->misfit = rows->bad.items[rows->bad.n - 1];
    }
    return LB_OK;
}

/* Makes the loop of one type: CONVERT(text, size, &value) says whether it fits. */
#define CONVERT_COLUMN(name, item, CONVERT)                                                  \
    static lb_status name(struct lb_json_rows *rows, uint32_t c, item *out, uint64_t *valid, \
                          uint32_t *n_nulls, struct lb_error *err)                           \
    {                                                                                        \
        const struct lb_json_span *spans = rows->spans[c];                                   \
        for (uint32_t row = 0; row < rows->n_rows; row++) {                                  \
            struct text text = text_of(rows, spans[row]);                                    \
            if (__builtin_expect(CONVERT(text.data, text.size, &out[row]), 1))               \
                continue;                                                                    \
            out[row] = 0;                                                                    \
            if (text.size == 0 || is_null(text)) {                                           \
                clear_valid(valid, row);                                                     \
                ++*n_nulls;                                                                  \
                continue;                                                                    \
            }                                                                                \
            LB_TRY(note_misfit(rows, c, row, text, err));                                    \
        }                                                                                    \
        return LB_OK;                                                                        \
    }

static inline bool convert_boolean(const char *text, size_t size, uint8_t *value)
{
    *value = size == 4;
    return (size == 4 && memcmp(text, "true", 4) == 0) ||
           (size == 5 && memcmp(text, "false", 5) == 0);
}

CONVERT_COLUMN(convert_booleans, uint8_t, convert_boolean)
CONVERT_COLUMN(convert_integers, int64_t, lb_json_integer)
CONVERT_COLUMN(convert_floats, double, lb_json_float)

static lb_status convert_strings(struct lb_json_rows *rows, uint32_t c, struct lb_view *out,
                                 uint64_t *valid, uint32_t *n_nulls, struct lb_error *err)
{
    const struct lb_json_span *spans = rows->spans[c];
    bool is_inferred = rows->schema->columns[c].is_inferred;
    for (uint32_t row = 0; row < rows->n_rows; row++) {
        const char *data = rows->data + spans[row].from;
        size_t size = spans[row].to - spans[row].from;
        memset(&out[row], 0, sizeof out[row]);
        if (__builtin_expect(size > 0 && *data == '"', 1)) {
            const char *reason;
            data++;
            size -= 2;
            LB_TRY(lb_json_string(&data, &size, &rows->strings, &reason, err));
            if (__builtin_expect(reason == NULL, 1))
                view_put_word(&out[row], data, size);
            else
                LB_TRY(note_bad(rows, c, row, (struct text){data, size}, "syntax", reason, err));
            continue;
        }
        struct text text = text_of(rows, spans[row]);
        if (text.size == 0 || is_null(text)) {
            clear_valid(valid, row);
            ++*n_nulls;
            continue;
        }
        enum lb_json_type type = lb_json_type_of(text.data, text.size);
        /* A declared string takes any value as it is written; a number beyond all types is one. */
        if (type == LB_JSON_INVALID || (is_inferred && type != LB_JSON_STRING))
            LB_TRY(note_misfit(rows, c, row, text, err));
        else
            view_put_word(&out[row], text.data, text.size);
    }
    return LB_OK;
}

/* Values of the codec; their bytes lie in the arena. */
static lb_status convert_any(struct lb_json_rows *rows, uint32_t c, struct lb_view *out,
                             uint64_t *valid, uint32_t *n_nulls, struct lb_error *err)
{
    const struct lb_json_span *spans = rows->spans[c];
    for (uint32_t row = 0; row < rows->n_rows; row++) {
        struct text text = text_of(rows, spans[row]);
        const char *reason = NULL, *at = NULL;
        memset(&out[row], 0, sizeof out[row]);
        if (text.size == 0 || is_null(text)) {
            clear_valid(valid, row);
            ++*n_nulls;
            continue;
        }
        rows->scratch.size = 0;
        LB_TRY(lb_json_encode(text.data, text.size, &rows->scratch, &reason, &at, err));
        if (reason != NULL) {
            LB_TRY(note_bad(rows, c, row, text, "syntax", reason, err));
            clear_valid(valid, row);
            ++*n_nulls;
            continue;
        }
        char *copy = lb_arena_alloc(&rows->strings, rows->scratch.size);
        if (copy == NULL)
            return lb_error_memory(err, "a value", rows->scratch.size);
        memcpy(copy, rows->scratch.data, rows->scratch.size);
        lb_view_set(&out[row], copy, rows->scratch.size);
    }
    return LB_OK;
}

static lb_status convert_column(struct lb_json_rows *rows, uint32_t c, struct lb_error *err)
{
    struct lb_column *column = &rows->columns[c];
    void *data = (void *)column->data;
    uint32_t n_nulls = 0;
    /* The array stays; whether the column has it depends on the batch. */
    uint64_t *valid = rows->valids[c];
    memset(valid, 0xff, VALID_WORDS * sizeof *valid);
    switch (rows->schema->columns[c].type) {
    case LB_JSON_BOOLEAN:
        LB_TRY(convert_booleans(rows, c, data, valid, &n_nulls, err));
        break;
    case LB_JSON_INTEGER:
        LB_TRY(convert_integers(rows, c, data, valid, &n_nulls, err));
        break;
    case LB_JSON_FLOAT:
        LB_TRY(convert_floats(rows, c, data, valid, &n_nulls, err));
        break;
    case LB_JSON_STRING:
        LB_TRY(convert_strings(rows, c, data, valid, &n_nulls, err));
        break;
    default:
        LB_TRY(convert_any(rows, c, data, valid, &n_nulls, err));
        break;
    }
    column->valid = n_nulls > 0 ? valid : NULL;
    return LB_OK;
}

lb_status lb_json_rows_convert(struct lb_json_rows *rows, struct lb_error *err)
{
    uint32_t n_before = rows->bad.n;
    rows->is_misfit = false;
    memset(rows->is_bad, 0, VALID_WORDS * sizeof *rows->is_bad);
    for (uint32_t c = 0; c < rows->schema->n_columns; c++)
        LB_TRY(convert_column(rows, c, err));
    rows->n_good = rows->n_rows;
    if (rows->bad.n == n_before)
        return LB_OK;
    rows->n_good = 0;
    for (uint32_t row = 0; row < rows->n_rows; row++)
        if ((rows->is_bad[row >> 6] >> (row & 63) & 1) == 0)
            rows->select[rows->n_good++] = row;
    return LB_OK;
}
