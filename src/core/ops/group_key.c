/* Keys of several columns: see group_key.h. */
#include "core/ops/group_key.h"

#include <math.h>

#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/column/key.h"

static const struct lb_column nil_column = {.type = LB_NULL};

lb_status lb_group_keys_init(struct lb_group_keys *keys, const uint32_t *columns, uint32_t n,
                             struct lb_error *err)
{
    memset(keys, 0, sizeof *keys);
    LB_TRY(lb_group_table_init(&keys->table, err));
    keys->columns = columns;
    keys->n = n;
    if (n > 1) {
        keys->views = lb_alloc(LB_BATCH_ROWS * sizeof *keys->views);
        if (keys->views == NULL) {
            lb_group_table_fini(&keys->table);
            return lb_error_memory(err, "keys", LB_BATCH_ROWS * sizeof *keys->views);
        }
    }
    return LB_OK;
}

void lb_group_keys_fini(struct lb_group_keys *keys)
{
    if (keys->n == 0)
        return;
    lb_group_table_fini(&keys->table);
    lb_buf_fini(&keys->bytes);
    lb_buf_fini(&keys->tables);
    lb_buf_fini(&keys->encoded);
    lb_free(keys->views, LB_BATCH_ROWS * sizeof *keys->views);
    memset(keys, 0, sizeof *keys);
}

/* ---- making ---- */

static char float_form(double value)
{
    return value == 0 && signbit(value) ? LB_FORM_MINUS_ZERO : LB_FORM_FLOAT;
}

/* Appends a table with the size of its sort key. */
static lb_status put_table(struct lb_buf *tables, size_t key_size, const char *data, size_t size,
                           struct lb_error *err)
{
    if (key_size + size + tables->size > UINT32_MAX - 64)
        return lb_error_set(err, LB_ERR_RESOURCE, "a key of %zu bytes is too large", size);
    uint32_t size32 = (uint32_t)key_size;
    LB_TRY(lb_buf_append(tables, &size32, sizeof size32, err));
    return lb_buf_append(tables, data, size, err);
}

static lb_status put_any(struct lb_group_keys *keys, const struct lb_view *view, char *form,
                         struct lb_error *err)
{
    struct lb_buf *out = &keys->bytes;
    const char *data = lb_view_data(view), *cursor = data;
    struct lb_value value;
    size_t start = out->size;
    lb_codec_next(&cursor, &value);
    LB_TRY(lb_key_put_encoded(out, data, view->size, true, err));
    switch (value.tag) {
    case 'n':
        *form = LB_FORM_NIL;
        break;
    case 'f':
        *form = LB_FORM_FALSE;
        break;
    case 't':
        *form = LB_FORM_TRUE;
        break;
    case 'i':
        *form = LB_FORM_INT;
        break;
    case 'd':
        *form = float_form(value.d);
        break;
    case 's':
        *form = LB_FORM_STRING;
        break;
    default:
        *form = LB_FORM_TABLE;
        return put_table(&keys->tables, out->size - start, data, view->size, err);
    }
    return LB_OK;
}

static inline lb_status put_column(struct lb_group_keys *keys, const struct lb_column *column,
                                   uint32_t row, char *form, struct lb_error *err)
{
    struct lb_buf *out = &keys->bytes;
    if (lb_column_is_valid(column, row)) {
        switch (column->type) {
        case LB_INT64:
            *form = LB_FORM_INT;
            return lb_key_put_int(out, column->ints[row], err);
        case LB_FLOAT64:
            *form = float_form(column->floats[row]);
            return lb_key_put_float(out, column->floats[row], err);
        case LB_BOOL:
            *form = column->bools[row] ? LB_FORM_TRUE : LB_FORM_FALSE;
            return lb_key_put_column(out, column, row, true, err);
        case LB_STRING:
            *form = LB_FORM_STRING;
            return lb_key_put_column(out, column, row, true, err);
        case LB_ANY:
            return put_any(keys, &column->views[row], form, err);
        case LB_NULL:
            break;
        }
    }
    *form = LB_FORM_NIL;
    return lb_buf_append_byte(out, LB_KEY_NIL, err);
}

/* Makes the table's string of each row. */
static lb_status make_strings(struct lb_group_keys *keys, const struct lb_batch *batch,
                              struct lb_error *err)
{
    const struct lb_column *columns[LB_MAX_COLUMNS];
    char forms[LB_MAX_COLUMNS];
    struct lb_buf *bytes = &keys->bytes;
    bytes->size = 0;
    for (uint32_t c = 0; c < keys->n; c++)
        columns[c] =
            keys->columns[c] < batch->n_columns ? &batch->columns[keys->columns[c]] : &nil_column;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        size_t start = bytes->size;
        keys->tables.size = 0;
        for (uint32_t c = 0; c < keys->n; c++)
            LB_TRY(put_column(keys, columns[c], row, &forms[c], err));
        if (keys->tables.size > 0) {
            uint32_t size = (uint32_t)keys->tables.size;
            LB_TRY(lb_buf_append(bytes, keys->tables.data, size, err));
            LB_TRY(lb_buf_append(bytes, &size, sizeof size, err));
        }
        LB_TRY(lb_buf_append(bytes, forms, keys->n, err));
        size_t size = bytes->size - start;
        if (size > UINT32_MAX)
            return lb_error_set(err, LB_ERR_RESOURCE, "a key of %zu bytes is too large", size);
        /* Where the string is: the buffer may still move. */
        keys->views[i] =
            (struct lb_view){.size = (uint32_t)size, .data = (const char *)(uintptr_t)start};
    }
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        struct lb_view *view = &keys->views[i];
        lb_view_set(view, bytes->data + (uintptr_t)view->data, view->size);
    }
    return LB_OK;
}

lb_status lb_group_keys_find(struct lb_group_keys *keys, const struct lb_batch *batch,
                             struct lb_group_entry **found, struct lb_error *err)
{
    if (keys->n == 1) {
        struct lb_batch one = *batch;
        one.n_columns = 1;
        one.columns =
            keys->columns[0] < batch->n_columns ? &batch->columns[keys->columns[0]] : &nil_column;
        return lb_group_table_find(&keys->table, &one, false, found, err);
    }
    LB_TRY(make_strings(keys, batch, err));
    struct lb_column column = {.type = LB_STRING, .views = keys->views};
    struct lb_batch strings = {.n_rows = batch->n_selected,
                               .n_columns = 1,
                               .n_selected = batch->n_selected,
                               .columns = &column};
    return lb_group_table_find(&keys->table, &strings, false, found, err);
}

/* ---- saving ---- */

static bool has_table(const char *forms, uint32_t n)
{
    return memchr(forms, LB_FORM_TABLE, n) != NULL;
}

static lb_status save_one(struct lb_group_keys *keys, const struct lb_group_entry *entry,
                          struct lb_buf *sort_key, struct lb_buf *details, struct lb_error *err)
{
    size_t start = sort_key->size;
    struct lb_value value;
    char form = LB_FORM_TABLE;
    keys->encoded.size = 0;
    LB_TRY(lb_group_entry_key(entry, sort_key, &keys->encoded, err));
    const char *cursor = keys->encoded.data;
    lb_codec_next(&cursor, &value);
    switch (value.tag) {
    case 'n':
        form = LB_FORM_NIL;
        break;
    case 'f':
        form = LB_FORM_FALSE;
        break;
    case 't':
        form = LB_FORM_TRUE;
        break;
    case 'i':
        form = LB_FORM_INT;
        break;
    case 'd':
        form = float_form(value.d);
        break;
    case 's':
        form = LB_FORM_STRING;
        break;
    default:
        break;
    }
    LB_TRY(lb_buf_append_byte(details, form, err));
    if (form != LB_FORM_TABLE)
        return LB_OK;
    uint32_t size = (uint32_t)(keys->encoded.size + 4);
    LB_TRY(lb_buf_append(details, &size, sizeof size, err));
    return put_table(details, sort_key->size - start, keys->encoded.data, keys->encoded.size, err);
}

lb_status lb_group_keys_save(struct lb_group_keys *keys, const struct lb_group_entry *entry,
                             struct lb_buf *sort_key, struct lb_buf *details, struct lb_error *err)
{
    struct lb_view view;
    if (keys->n == 1)
        return save_one(keys, entry, sort_key, details, err);
    memcpy(&view, entry, sizeof view);
    const char *data = lb_view_data(&view);
    size_t key_size = view.size - keys->n;
    const char *forms = data + key_size;
    uint32_t tables_size = 0;
    LB_TRY(lb_buf_append(details, forms, keys->n, err));
    if (has_table(forms, keys->n)) {
        memcpy(&tables_size, forms - 4, 4);
        key_size -= tables_size + 4;
        LB_TRY(lb_buf_append(details, &tables_size, 4, err));
        LB_TRY(lb_buf_append(details, data + key_size, tables_size, err));
    }
    return lb_buf_append(sort_key, data, key_size, err);
}

/* ---- reading ---- */

size_t lb_group_key_details_size(const char *details, uint32_t n)
{
    uint32_t tables_size;
    if (!has_table(details, n))
        return n;
    memcpy(&tables_size, details + n, 4);
    return (size_t)n + 4 + tables_size;
}

void lb_group_key_merge(char *into, const char *other, uint32_t n)
{
    /* Equal tables have encodings of one size. */
    char *mine = into + n + 4;
    const char *theirs = other + n + 4;
    for (uint32_t c = 0; c < n; c++) {
        if (into[c] == LB_FORM_TABLE) {
            size_t size = 4 + lb_codec_size(mine + 4);
            if (memcmp(mine, theirs, size) < 0)
                memcpy(mine, theirs, size);
            mine += size;
            theirs += size;
        } else if (other[c] < into[c]) {
            into[c] = other[c];
        }
    }
}

/* The number of a sort key, see column/key.h; *size becomes the key's. */
static double key_number(const char *key, size_t *size, int64_t *integer)
{
    uint64_t bits;
    double d;
    memcpy(&bits, key + 1, 8);
    bits = __builtin_bswap64(bits);
    bits ^= bits >> 63 ? 0x8000000000000000ULL : ~(uint64_t)0;
    memcpy(&d, &bits, 8);
    *size = 9;
    *integer = 0;
    if (d >= -9223372036854775808.0 && d < 9223372036854775808.0) {
        *integer = (int64_t)d;
        if (fabs(d) >= 9007199254740992.0) {
            *integer += (int64_t)((unsigned char)key[9] << 8 | (unsigned char)key[10]);
            *size = 11;
        }
    }
    return d;
}

/* A closed string: without its end, each 00 FF as 00; *size becomes the key's. */
static lb_status closed_string(const char *key, size_t *size, struct lb_builder *out,
                               struct lb_error *err)
{
    const char *data = key + 1;
    size_t n = strlen(data);
    if (data[n + 1] == '\0') {
        *size = n + 3;
        return lb_builder_string(out, data, n, err);
    }
    struct lb_buf text = {0};
    lb_status status = LB_OK;
    for (;;) {
        status = lb_buf_append(&text, data, n, err);
        data += n + 2;
        if (status != LB_OK || data[-1] == '\0')
            break;
        status = lb_buf_append_byte(&text, '\0', err);
        if (status != LB_OK)
            break;
        n = strlen(data);
    }
    *size = (size_t)(data - key);
    if (status == LB_OK)
        status = lb_builder_string(out, text.data, text.size, err);
    lb_buf_fini(&text);
    return status;
}

lb_status lb_group_key_decode(const char *sort_key, size_t sort_key_size, const char *details,
                              uint32_t n, struct lb_batch_builder *builder, struct lb_error *err)
{
    const char *key = sort_key, *tables = details + n + 4;
    for (uint32_t c = 0; c < n; c++) {
        struct lb_builder *out;
        size_t size = 1;
        int64_t integer;
        uint32_t key_size;
        double d;
        LB_TRY(lb_batch_builder_column(builder, c, &out, err));
        switch ((enum lb_key_form)details[c]) {
        case LB_FORM_FALSE:
        case LB_FORM_TRUE:
            LB_TRY(lb_builder_bool(out, details[c] == LB_FORM_TRUE, err));
            break;
        case LB_FORM_INT:
            key_number(key, &size, &integer);
            LB_TRY(lb_builder_int(out, integer, err));
            break;
        case LB_FORM_MINUS_ZERO:
        case LB_FORM_FLOAT:
            d = key_number(key, &size, &integer);
            LB_TRY(lb_builder_float(out, details[c] == LB_FORM_FLOAT ? d : -0.0, err));
            break;
        case LB_FORM_STRING:
            if (n == 1)
                LB_TRY(lb_builder_string(out, key + 1, sort_key_size - 1, err));
            else
                LB_TRY(closed_string(key, &size, out, err));
            break;
        case LB_FORM_TABLE:
            memcpy(&key_size, tables, 4);
            size = lb_codec_size(tables + 4);
            LB_TRY(lb_builder_encoded(out, tables + 4, size, err));
            tables += 4 + size;
            size = key_size;
            break;
        default:
            LB_TRY(lb_builder_null(out, err));
        }
        key += size;
    }
    return LB_OK;
}
