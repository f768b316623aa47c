/* Rows of CSV records: see csv_rows.h.
 *
 * IDEA   One index call finds the field ends of as many records as a batch takes. Then each wanted column is converted in a
 *        loop of its own, straight into its typed array; other columns are never looked at, but for the quotes of records
 *        that have some. A value that the quick conversion refuses is looked at again: it may be nil, quoted, or a misfit.
 * MEMORY Strings point into the block; only those with doubled quotes are copied. */
#include "core/ops/csv_rows.h"

#include <stdio.h>

#include "core/base/sys.h"
#include "core/base/utf8.h"
#include "core/io/text_view.h"

#ifdef LB_TINY
enum { LEAST_POSITIONS = 128, MOST_POSITIONS = 256 };
#else
enum { LEAST_POSITIONS = 8192, MOST_POSITIONS = 64 << 10 };
#endif
enum { SPARE_POSITIONS = 64, VALID_WORDS = (LB_BATCH_ROWS + 63) / 64, SHOWN_BYTES = 80 };

/* ---- parameters ---- */

static lb_status param_dialect(const struct lb_op *op, struct lb_csv_schema *schema,
                               struct lb_error *err)
{
    struct lb_value separator = {.tag = 's'}, quote = {.tag = 's'};
    separator.data = ",";
    separator.size = 1;
    quote.data = "\"";
    quote.size = 1;
    (void)lb_value_field(&op->params, "sep", &separator);
    (void)lb_value_field(&op->params, "quote", &quote);
    if (separator.tag != 's' || quote.tag != 's')
        return lb_param_wrong(op, separator.tag != 's' ? "sep" : "quote", err);
    return lb_csv_dialect_set(&schema->dialect, separator.data, separator.size, quote.data,
                              quote.size, err);
}

static lb_status param_columns(const struct lb_op *op, struct lb_csv_schema *schema,
                               struct lb_error *err)
{
    struct lb_value columns, types, inferred, labels, item;
    LB_TRY(lb_param_list(op, "columns", 'i', true, &columns, err));
    LB_TRY(lb_param_list(op, "types", 's', true, &types, err));
    LB_TRY(lb_param_list(op, "inferred", 'b', false, &inferred, err));
    LB_TRY(lb_param_list(op, "labels", 's', false, &labels, err));
    if (types.count != columns.count || columns.count > LB_MAX_COLUMNS ||
        (inferred.count > 0 && inferred.count != columns.count) ||
        (labels.count > 0 && labels.count != columns.count))
        return lb_param_wrong(op, "columns", err);
    schema->n_columns = columns.count;
    if (columns.count == 0)
        return LB_OK;
    schema->columns = lb_alloc_zero(columns.count * sizeof *schema->columns);
    if (schema->columns == NULL)
        return lb_error_memory(err, op->label, columns.count * sizeof *schema->columns);
    for (uint32_t i = 0; i < columns.count; i++) {
        struct lb_csv_column *column = &schema->columns[i];
        lb_codec_next(&columns.data, &item);
        if (item.i < 1 || item.i > schema->n_fields)
            return lb_param_wrong(op, "columns", err);
        column->field = (uint32_t)item.i - 1;
        lb_codec_next(&types.data, &item);
        if (!lb_csv_type_parse(item.data, item.size, &column->type))
            return lb_param_wrong(op, "types", err);
        if (inferred.count > 0) {
            lb_codec_next(&inferred.data, &item);
            column->is_inferred = item.tag == 't' && column->type != LB_CSV_STRING;
        }
        const char *names = labels.count > 0 ? labels.data : schema->file_names.data;
        for (uint32_t k = 0; k <= (labels.count > 0 ? i : column->field); k++)
            lb_codec_next(&names, &item);
        column->name = item.data;
        column->name_size = item.size;
    }
    return LB_OK;
}

lb_status lb_csv_schema_init(const struct lb_op *op, struct lb_csv_schema *schema,
                             struct lb_error *err)
{
    struct lb_value item;
    LB_TRY(param_dialect(op, schema, err));
    LB_TRY(lb_param_list(op, "file_names", 's', true, &schema->file_names, err));
    schema->n_fields = schema->file_names.count;
    if (schema->n_fields == 0)
        return lb_param_wrong(op, "file_names", err);
    LB_TRY(param_columns(op, schema, err));
    LB_TRY(lb_param_list(op, "null", 's', false, &schema->nulls, err));
    if (!lb_value_field(&op->params, "null", &item))
        schema->null_sizes = 1; /* the empty text, in no list */
    const char *cursor = schema->nulls.data;
    for (uint32_t i = 0; i < schema->nulls.count; i++) {
        lb_codec_next(&cursor, &item);
        schema->null_sizes |= (uint64_t)1 << (item.size < 63 ? item.size : 63);
    }
    LB_TRY(lb_param_bool(op, "header", true, &schema->has_header, err));
    LB_TRY(lb_param_bool(op, "check_header", true, &schema->checks_header, err));
    return LB_OK;
}

void lb_csv_schema_fini(struct lb_csv_schema *schema)
{
    lb_free(schema->columns, schema->n_columns * sizeof *schema->columns);
    schema->columns = NULL;
}

/* ---- memory ---- */

static const enum lb_type column_types[] = {LB_NULL, LB_BOOL, LB_INT64, LB_FLOAT64,
                                            LB_STRING}; /* ORDER csv types */
static const size_t item_bytes[] = {0, 1, 8, 8, sizeof(struct lb_view)};

static uint32_t n_made_columns(const struct lb_csv_schema *schema)
{
    return schema->n_columns > 0 ? schema->n_columns : 1;
}

static lb_status make_index(struct lb_csv_rows *rows, size_t capacity, struct lb_error *err)
{
    uint32_t *positions = lb_alloc((capacity + SPARE_POSITIONS) * sizeof *positions);
    if (positions == NULL)
        return lb_error_memory(err, "positions of fields", capacity * sizeof *positions);
    if (rows->index.positions != NULL)
        lb_free(rows->index.positions,
                (rows->index.capacity + SPARE_POSITIONS) * sizeof *positions);
    rows->index.positions = positions;
    rows->index.capacity = capacity;
    return LB_OK;
}

lb_status lb_csv_rows_init(struct lb_csv_rows *rows, const struct lb_csv_schema *schema,
                           struct lb_error *err)
{
    uint32_t n = n_made_columns(schema);
    size_t capacity = (size_t)schema->n_fields * LB_BATCH_ROWS + SPARE_POSITIONS;
    if (capacity > MOST_POSITIONS)
        capacity = MOST_POSITIONS;
    if (capacity < LEAST_POSITIONS)
        capacity = LEAST_POSITIONS;
    rows->schema = schema;
    lb_arena_init(&rows->strings, 16 << 10);
    LB_TRY(make_index(rows, capacity, err));
    rows->index.max_records = LB_BATCH_ROWS;
    rows->index.ends = lb_alloc(LB_BATCH_ROWS * sizeof(uint32_t));
    rows->starts = lb_alloc(LB_BATCH_ROWS * sizeof(uint32_t));
    rows->firsts = lb_alloc(LB_BATCH_ROWS * sizeof(uint32_t));
    rows->select = lb_alloc(LB_BATCH_ROWS * sizeof(uint32_t));
    lb_bad_list_init(&rows->bad);
    rows->is_bad = lb_alloc_zero(VALID_WORDS * sizeof(uint64_t));
    rows->wider = lb_alloc_zero(n * sizeof *rows->wider);
    rows->columns = lb_alloc_zero(n * sizeof *rows->columns);
    rows->valids = lb_alloc_zero(n * sizeof *rows->valids);
    if (rows->index.ends == NULL || rows->starts == NULL || rows->firsts == NULL ||
        rows->select == NULL || rows->is_bad == NULL || rows->wider == NULL ||
        rows->columns == NULL || rows->valids == NULL)
        return lb_error_memory(err, "rows", LB_BATCH_ROWS * sizeof(uint32_t));
    for (uint32_t i = 0; i < schema->n_columns; i++) {
        enum lb_csv_type type = schema->columns[i].type;
        struct lb_column *column = &rows->columns[i];
        column->type = column_types[type];
        rows->valids[i] = lb_alloc(VALID_WORDS * sizeof(uint64_t));
        if (type != LB_CSV_NIL)
            column->data = lb_alloc(LB_BATCH_ROWS * item_bytes[type]);
        if ((type != LB_CSV_NIL && column->data == NULL) || rows->valids[i] == NULL)
            return lb_error_memory(err, "a column", LB_BATCH_ROWS * item_bytes[type]);
    }
    return LB_OK;
}

void lb_csv_rows_fini(struct lb_csv_rows *rows)
{
    const struct lb_csv_schema *schema = rows->schema;
    if (schema == NULL)
        return;
    uint32_t n = n_made_columns(schema);
    for (uint32_t i = 0; rows->columns != NULL && i < schema->n_columns; i++)
        if (rows->columns[i].data != NULL)
            lb_free((void *)rows->columns[i].data,
                    LB_BATCH_ROWS * item_bytes[schema->columns[i].type]);
    for (uint32_t i = 0; rows->valids != NULL && i < schema->n_columns; i++)
        lb_free(rows->valids[i], rows->valids[i] != NULL ? VALID_WORDS * sizeof(uint64_t) : 0);
    struct {
        void *data;
        size_t size;
    } parts[] = {
        {rows->columns, n * sizeof *rows->columns},
        {rows->valids, n * sizeof *rows->valids},
        {rows->wider, n * sizeof *rows->wider},
        {rows->is_bad, VALID_WORDS * sizeof(uint64_t)},
        {rows->select, LB_BATCH_ROWS * sizeof(uint32_t)},
        {rows->firsts, LB_BATCH_ROWS * sizeof(uint32_t)},
        {rows->starts, LB_BATCH_ROWS * sizeof(uint32_t)},
        {rows->index.ends, LB_BATCH_ROWS * sizeof(uint32_t)},
        {rows->index.positions, (rows->index.capacity + SPARE_POSITIONS) * sizeof(uint32_t)},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].data != NULL)
            lb_free(parts[i].data, parts[i].size);
    lb_arena_fini(&rows->strings);
    lb_bad_list_fini(&rows->bad);
}

/* ---- fields ---- */

struct text {
    const char *data;
    size_t size;
};

/* Field `field` of the record whose first field's end is position `first` and which has n fields. */
static inline struct text field_at(const struct lb_csv_rows *rows, uint32_t start, uint32_t first,
                                   uint32_t field, uint32_t n)
{
    const uint32_t *positions = rows->index.positions + first;
    uint32_t from =
        field == 0 ? start : positions[field - 1] + (uint32_t)rows->schema->dialect.separator_size;
    uint32_t to = positions[field];
    if (field + 1 == n && to > from && rows->data[to - 1] == '\r')
        to--;
    return (struct text){rows->data + from, to - from};
}

uint32_t lb_csv_rows_end(const struct lb_csv_rows *rows, uint32_t row)
{
    uint32_t end = rows->index.positions[rows->firsts[row] + rows->schema->n_fields - 1];
    return end > rows->starts[row] && rows->data[end - 1] == '\r' ? end - 1 : end;
}

lb_status lb_csv_check_header(struct lb_csv_rows *rows, const char *data, size_t size,
                              struct lb_error *err)
{
    const struct lb_csv_schema *schema = rows->schema;
    rows->data = data;
    for (;;) {
        lb_csv_index(&schema->dialect, data, size, &rows->index);
        if (rows->index.n_records > 0 || !rows->index.is_full)
            break;
        LB_TRY(make_index(rows, rows->index.capacity * 2, err));
    }
    uint32_t n = rows->index.n_records > 0 ? rows->index.ends[0] & ~LB_CSV_QUOTED : 0;
    if (n != schema->n_fields)
        return lb_error_set(err, LB_ERR_DATA, "the header names %u columns, not %u", n,
                            schema->n_fields);
    const char *cursor = schema->file_names.data;
    for (uint32_t i = 0; i < n; i++) {
        struct lb_value name;
        struct text text = field_at(rows, 0, 0, i, n);
        bool is_quoted;
        char made[32];
        lb_codec_next(&cursor, &name);
        if (!lb_csv_field_is_sound(&schema->dialect, text.data, text.size))
            return lb_error_set(err, LB_ERR_DATA, "the header has a misplaced quote");
        LB_TRY(lb_csv_field_text(&schema->dialect, &text.data, &text.size, &is_quoted,
                                 &rows->strings, err));
        if (text.size == 0) { /* as the sniffer names them */
            text.size = (size_t)snprintf(made, sizeof made, "column%u", i + 1);
            text.data = made;
        }
        if (text.size != name.size || memcmp(text.data, name.data, name.size) != 0)
            return lb_error_set(err, LB_ERR_DATA,
                                "column %u of the header is '%.*s', but '%.*s' was expected", i + 1,
                                (int)text.size, text.data, (int)name.size, name.data);
    }
    return LB_OK;
}

static bool is_integer_text(struct text text)
{
    size_t at = text.size > 1 && text.data[0] == '-';
    while (at < text.size && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    return text.size > 0 && at == text.size;
}

/* ---- cutting ---- */

/* *is_row: whether the record is one; else it is bad. */
static lb_status check_record(struct lb_csv_rows *rows, uint32_t start, uint32_t first, uint32_t n,
                              bool has_quotes, bool *is_row, struct lb_error *err)
{
    const struct lb_csv_schema *schema = rows->schema;
    bool is_sound = true;
    for (uint32_t i = 0; has_quotes && is_sound && i < n; i++) {
        struct text text = field_at(rows, start, first, i, n);
        is_sound = lb_csv_field_is_sound(&schema->dialect, text.data, text.size);
    }
    *is_row = is_sound && n == schema->n_fields;
    if (*is_row)
        return LB_OK;
    uint32_t end = rows->index.positions[first + n - 1];
    if (end > start && rows->data[end - 1] == '\r')
        end--;
    if (!is_sound)
        return lb_bad_list_add(&rows->bad, start, end, "quote", err,
                               "a quote stands neither around a whole field nor doubled in one "
                               "(quote = \"\" takes quotes as text)");
    return lb_bad_list_add(&rows->bad, start, end, "fields", err, "%u field%s, not %u", n,
                           n == 1 ? "" : "s", schema->n_fields);
}

static bool is_blank(const char *start, const char *newline)
{
    return start == newline || (newline - start == 1 && *start == '\r');
}

lb_status lb_csv_rows_cut(struct lb_csv_rows *rows, const char *data, size_t size, size_t limit,
                          size_t *used, struct lb_error *err)
{
    const struct lb_csv_schema *schema = rows->schema;
    struct lb_csv_index *index = &rows->index;
    rows->data = data;
    rows->n_rows = 0;
    lb_bad_list_reset(&rows->bad);
    rows->is_misfit = false;
    *used = 0;
    for (;;) {
        lb_csv_index(&schema->dialect, data, size, index);
        if (index->n_records > 0)
            break;
        if (!index->is_full)
            return LB_OK;
        LB_TRY(make_index(rows, index->capacity * 2, err));
    }
    uint32_t n_rows = 0, start = 0, first = 0;
    for (uint32_t i = 0; i < index->n_records && start < limit; i++) {
        uint32_t end = index->ends[i] & ~LB_CSV_QUOTED;
        uint32_t newline = index->positions[end - 1];
        bool has_quotes = (index->ends[i] & LB_CSV_QUOTED) != 0;
        bool is_row = end - first == schema->n_fields && !has_quotes;
        if (__builtin_expect(!is_row, 0) &&
            (schema->n_fields == 1 || !is_blank(data + start, data + newline)))
            LB_TRY(check_record(rows, start, first, end - first, has_quotes, &is_row, err));
        rows->starts[n_rows] = start;
        rows->firsts[n_rows] = first;
        n_rows += is_row;
        start = newline + 1;
        first = end;
        if (rows->bad.n > 0 && schema->fails_on_bad)
            break;
    }
    rows->n_rows = n_rows;
    *used = start;
    return LB_OK;
}

/* ---- converting ---- */

static bool is_in_nulls(const struct lb_csv_schema *schema, struct text text)
{
    if (text.size == 0)
        return true;
    const char *cursor = schema->nulls.data;
    for (uint32_t i = 0; i < schema->nulls.count; i++) {
        struct lb_value item;
        lb_codec_next(&cursor, &item);
        if (item.size == text.size && memcmp(item.data, text.data, text.size) == 0)
            return true;
    }
    return false;
}

static inline bool is_null(const struct lb_csv_schema *schema, struct text text)
{
    return (schema->null_sizes >> (text.size < 63 ? text.size : 63) & 1) != 0 &&
           is_in_nulls(schema, text);
}

/* A value that does not fit column c: a bad record, or the column needs a wider type. */
static lb_status note_misfit(struct lb_csv_rows *rows, uint32_t c, uint32_t row, struct text text,
                             struct lb_error *err)
{
    const struct lb_csv_column *column = &rows->schema->columns[c];
    uint64_t bit = (uint64_t)1 << (row & 63);
    bool is_first = column->is_inferred && !rows->is_misfit;
    if (column->is_inferred) {
        enum lb_csv_type type =
            lb_csv_type_join(column->type, lb_csv_type_of(text.data, text.size));
        if (type <= column->type) /* an integer that is no exact float */
            type = LB_CSV_STRING;
        if (is_first)
            memset(rows->wider, 0, n_made_columns(rows->schema) * sizeof *rows->wider);
        rows->is_misfit = true;
        rows->wider[c] = lb_csv_type_join(rows->wider[c], type);
    }
    if ((rows->is_bad[row >> 6] & bit) == 0 || is_first) {
        bool is_long = text.size > SHOWN_BYTES;
        LB_TRY(lb_bad_list_add(
            &rows->bad, rows->starts[row], lb_csv_rows_end(rows, row), "type", err,
            column->type == LB_CSV_NIL
                ? "column %.*s: '%.*s%s' is its first value: the sample of the input "
                  "has none%s"
                : "column %.*s: '%.*s%s' is no %s%s",
            (int)lb_utf8_cut(column->name, column->name_size, SHOWN_BYTES), column->name,
            (int)lb_utf8_cut(text.data, text.size, SHOWN_BYTES), text.data, is_long ? "..." : "",
            column->type == LB_CSV_NIL ? "" : lb_csv_type_name(column->type),
            column->type == LB_CSV_FLOAT && is_integer_text(text)
                ? ", which cannot hold it exactly (\"string\" can)"
                : ""));
        if (is_first)
            rows->misfit = rows->bad.items[rows->bad.n - 1];
    }
    rows->is_bad[row >> 6] |= bit;
    return LB_OK;
}

static inline void clear_valid(uint64_t *valid, uint32_t row)
{
    valid[row >> 6] &= ~((uint64_t)1 << (row & 63));
}

/* Makes the loop of one type: CONVERT(text, size, &value) says whether it fits. */
#define CONVERT_COLUMN(name, item, CONVERT)                                                    \
    static lb_status name(struct lb_csv_rows *rows, uint32_t c, item *out, uint64_t *valid,    \
                          uint32_t *n_nulls, struct lb_error *err)                             \
    {                                                                                          \
        const struct lb_csv_schema *schema = rows->schema;                                     \
        uint32_t field = schema->columns[c].field;                                             \
        for (uint32_t row = 0; row < rows->n_rows; row++) {                                    \
            struct text text =                                                                 \
                field_at(rows, rows->starts[row], rows->firsts[row], field, schema->n_fields); \
            bool is_quoted;                                                                    \
            if (is_null(schema, text)) {                                                       \
                out[row] = 0;                                                                  \
                clear_valid(valid, row);                                                       \
                ++*n_nulls;                                                                    \
                continue;                                                                      \
            }                                                                                  \
            if (__builtin_expect(CONVERT(text.data, text.size, &out[row]), 1))                 \
                continue;                                                                      \
            LB_TRY(lb_csv_field_text(&schema->dialect, &text.data, &text.size, &is_quoted,     \
                                     &rows->strings, err));                                    \
            if (is_quoted && CONVERT(text.data, text.size, &out[row]))                         \
                continue;                                                                      \
            out[row] = 0;                                                                      \
            LB_TRY(note_misfit(rows, c, row, text, err));                                      \
        }                                                                                      \
        return LB_OK;                                                                          \
    }

static inline bool convert_boolean(const char *text, size_t size, uint8_t *value)
{
    bool result;
    if (!lb_csv_boolean(text, size, &result))
        return false;
    *value = result;
    return true;
}

CONVERT_COLUMN(convert_booleans, uint8_t, convert_boolean)
static inline bool convert_integer(const char *text, size_t size, int64_t *value)
{
    return lb_csv_short_integer(text, size, value) || lb_csv_integer(text, size, value);
}

static inline bool convert_float(const char *text, size_t size, double *value)
{
    return lb_csv_short_float(text, size, value) || lb_csv_float(text, size, value);
}

CONVERT_COLUMN(convert_integers, int64_t, convert_integer)
CONVERT_COLUMN(convert_floats, double, convert_float)

static lb_status convert_strings(struct lb_csv_rows *rows, uint32_t c, struct lb_view *out,
                                 uint64_t *valid, uint32_t *n_nulls, struct lb_error *err)
{
    const struct lb_csv_schema *schema = rows->schema;
    uint32_t field = schema->columns[c].field;
    int quote = schema->dialect.quote;
    for (uint32_t row = 0; row < rows->n_rows; row++) {
        struct text text =
            field_at(rows, rows->starts[row], rows->firsts[row], field, schema->n_fields);
        if (__builtin_expect(is_null(schema, text), 0)) {
            memset(&out[row], 0, sizeof out[row]);
            clear_valid(valid, row);
            ++*n_nulls;
            continue;
        }
        if (__builtin_expect(text.size > 0 && (unsigned char)text.data[0] == quote, 0)) {
            bool is_quoted;
            LB_TRY(lb_csv_field_text(&schema->dialect, &text.data, &text.size, &is_quoted,
                                     &rows->strings, err));
        }
        view_put_word(&out[row], text.data, text.size);
    }
    return LB_OK;
}

/* A column in which the sample had no value. */
static lb_status convert_nils(struct lb_csv_rows *rows, uint32_t c, struct lb_error *err)
{
    const struct lb_csv_schema *schema = rows->schema;
    for (uint32_t row = 0; row < rows->n_rows; row++) {
        struct text text = field_at(rows, rows->starts[row], rows->firsts[row],
                                    schema->columns[c].field, schema->n_fields);
        bool is_quoted;
        if (is_null(schema, text))
            continue;
        LB_TRY(lb_csv_field_text(&schema->dialect, &text.data, &text.size, &is_quoted,
                                 &rows->strings, err));
        LB_TRY(note_misfit(rows, c, row, text, err));
    }
    return LB_OK;
}

lb_status lb_csv_rows_convert(struct lb_csv_rows *rows, struct lb_error *err)
{
    const struct lb_csv_schema *schema = rows->schema;
    uint32_t n_before = rows->bad.n; /* records that are no rows at all */
    lb_arena_reset(&rows->strings);
    memset(rows->is_bad, 0, VALID_WORDS * sizeof *rows->is_bad);
    for (uint32_t c = 0; c < schema->n_columns; c++) {
        struct lb_column *column = &rows->columns[c];
        uint32_t n_nulls = 0;
        void *data = (void *)column->data;
        /* The array stays; whether the column has it depends on the batch. */
        uint64_t *valid = rows->valids[c];
        memset(valid, 0xff, VALID_WORDS * sizeof *valid);
        switch (schema->columns[c].type) {
        case LB_CSV_NIL:
            LB_TRY(convert_nils(rows, c, err));
            break;
        case LB_CSV_BOOLEAN:
            LB_TRY(convert_booleans(rows, c, data, valid, &n_nulls, err));
            break;
        case LB_CSV_INTEGER:
            LB_TRY(convert_integers(rows, c, data, valid, &n_nulls, err));
            break;
        case LB_CSV_FLOAT:
            LB_TRY(convert_floats(rows, c, data, valid, &n_nulls, err));
            break;
        case LB_CSV_STRING:
            LB_TRY(convert_strings(rows, c, data, valid, &n_nulls, err));
            break;
        }
        column->valid = n_nulls > 0 ? valid : NULL;
    }
    rows->n_good = rows->n_rows;
    if (rows->bad.n == n_before)
        return LB_OK;
    uint32_t n_good = 0;
    for (uint32_t row = 0; row < rows->n_rows; row++)
        if ((rows->is_bad[row >> 6] >> (row & 63) & 1) == 0)
            rows->select[n_good++] = row;
    rows->n_good = n_good;
    return LB_OK;
}
