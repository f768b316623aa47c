/* Keys of groups in a worker: see group_key.h. */
#include "core/ops/group_key.h"

#include <math.h>

#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/column/key.h"

static const struct lb_column nil_column = {.type = LB_NULL};

lb_status lb_group_keys_init(struct lb_group_keys *keys, struct lb_group_records *records,
                             const uint32_t *columns, uint32_t n, struct lb_error *err)
{
    memset(keys, 0, sizeof *keys);
    keys->columns = columns;
    keys->records = records;
    keys->n = n;
    keys->views = lb_alloc(LB_BATCH_ROWS * sizeof *keys->views);
    keys->found = lb_alloc(LB_BATCH_ROWS * sizeof *keys->found);
    lb_status status = LB_OK;
    if (keys->views == NULL || keys->found == NULL)
        status = lb_error_memory(err, "keys", LB_BATCH_ROWS * sizeof *keys->views);
    if (status == LB_OK)
        status = lb_packed_table_init(&keys->packed, records, err);
    if (status == LB_OK)
        status = lb_group_table_init(&keys->table, err);
    if (status != LB_OK)
        lb_group_keys_fini(keys);
    return status;
}

void lb_group_keys_fini(struct lb_group_keys *keys)
{
    if (keys->n == 0)
        return;
    lb_packed_table_fini(&keys->packed);
    lb_group_table_fini(&keys->table);
    lb_buf_fini(&keys->bytes);
    lb_buf_fini(&keys->tables);
    lb_buf_fini(&keys->encoded);
    lb_free(keys->views, LB_BATCH_ROWS * sizeof *keys->views);
    lb_free(keys->found, LB_BATCH_ROWS * sizeof *keys->found);
    memset(keys, 0, sizeof *keys);
}

void lb_group_keys_reset(struct lb_group_keys *keys, size_t keep_bytes)
{
    lb_packed_table_reset(&keys->packed, keep_bytes);
    if (keys->table.n_entries > 0)
        lb_group_table_reset(&keys->table, keep_bytes);
    keys->n_groups = 0;
}

size_t lb_group_keys_next_bytes(const struct lb_group_keys *keys)
{
    return lb_packed_table_next_bytes(&keys->packed) + lb_group_table_next_bytes(&keys->table);
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

static lb_status find_general(struct lb_group_keys *keys, const struct lb_batch *batch,
                              struct lb_error *err)
{
    if (keys->n == 1) {
        struct lb_batch one = *batch;
        one.n_columns = 1;
        one.columns =
            keys->columns[0] < batch->n_columns ? &batch->columns[keys->columns[0]] : &nil_column;
        return lb_group_table_find(&keys->table, &one, false, keys->found, err);
    }
    LB_TRY(make_strings(keys, batch, err));
    struct lb_column column = {.type = LB_STRING, .views = keys->views};
    struct lb_batch strings = {.n_rows = batch->n_selected,
                               .n_columns = 1,
                               .n_selected = batch->n_selected,
                               .columns = &column};
    return lb_group_table_find(&keys->table, &strings, false, keys->found, err);
}

lb_status lb_group_keys_list(struct lb_group_keys *keys, const struct lb_batch *batch,
                             uint32_t *groups, bool *done, struct lb_error *err)
{
    enum lb_packed_result result;
    LB_TRY(lb_packed_table_list(&keys->packed, batch, keys->columns, keys->n, &keys->n_groups,
                                groups, &result, err));
    *done = result == LB_PACKED_FOUND;
    return LB_OK;
}

lb_status lb_group_keys_find(struct lb_group_keys *keys, const struct lb_batch *batch,
                             uint32_t *groups, bool *must_reset, struct lb_error *err)
{
    enum lb_packed_result result;
    *must_reset = false;
    LB_TRY(lb_packed_table_find(&keys->packed, batch, keys->columns, keys->n, &keys->n_groups,
                                groups, &result, err));
    if (result == LB_PACKED_WIDER)
        *must_reset = true;
    if (result != LB_PACKED_OTHER)
        return LB_OK;
    LB_TRY(find_general(keys, batch, err));
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        struct lb_group_entry *entry = keys->found[i];
        if (entry->state_kind == 0) {
            entry->state_kind = 1;
            entry->state = (int64_t)keys->n_groups++;
        }
        groups[i] = (uint32_t)entry->state;
    }
    return lb_group_records_use(keys->records, keys->n_groups, err);
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

/* As lb_key_put_int, of a word; returns the end. */
static inline char *put_int(char *out, uint64_t word)
{
    int64_t value = lb_packed_int(word);
    double d = (double)value;
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    bits ^= (uint64_t)((int64_t)bits >> 63) | 0x8000000000000000ULL;
    bits = __builtin_bswap64(bits);
    *out = LB_KEY_NUMBER;
    memcpy(out + 1, &bits, sizeof bits);
    return out + 9;
}

/* Whether one of the bytes is 0. */
static inline bool has_zero(enum lb_packed_kind kind, const uint64_t *words, uint32_t size)
{
    const uint64_t ones = 0x0101010101010101ULL;
    /* Bytes behind the string's end, and its size in the last one, count as FF. */
    uint64_t word = words[0] | (size < 8 ? ~(uint64_t)0 >> 8 * size : 0);
    uint64_t found = (word - ones) & ~word;
    if (kind == LB_PACKED_TEXT) {
        word = words[1] | ~(uint64_t)0 >> 8 * (size > 8 ? size - 8 : 0);
        found |= (word - ones) & ~word;
    }
    return (found & ones << 7) != 0;
}

/* As lb_key_put_column, closed when there are several columns. */
static lb_status put_packed(struct lb_buf *out, enum lb_packed_kind kind, const uint64_t *words,
                            bool closed, struct lb_error *err)
{
    const uint64_t exact = (uint64_t)1 << 53; /* integers are their own doubles up to here */
    char bytes[16];
    if (kind == LB_PACKED_INT) {
        int64_t value = lb_packed_int(*words);
        if ((uint64_t)value + exact - 1 > 2 * exact - 2)
            return lb_key_put_int(out, value, err);
        LB_TRY(lb_buf_reserve(out, 9, err));
        out->size = (size_t)(put_int(out->data + out->size, *words) - out->data);
        return LB_OK;
    }
    uint32_t size = lb_packed_string(kind, words, bytes);
    if (closed && has_zero(kind, words, size)) {
        struct lb_view view;
        lb_view_set(&view, bytes, size);
        struct lb_column column = {.type = LB_STRING, .views = &view};
        return lb_key_put_column(out, &column, 0, closed, err);
    }
    LB_TRY(lb_buf_reserve(out, sizeof bytes + 3, err));
    char *at = out->data + out->size;
    *at++ = LB_KEY_STRING;
    memcpy(at, bytes, kind == LB_PACKED_SHORT ? 8 : 16);
    at += size;
    if (closed) {
        memset(at, 0, 2);
        at += 2;
    }
    out->size = (size_t)(at - out->data);
    return LB_OK;
}

static lb_status save_packed(struct lb_group_keys *keys, const uint64_t *words,
                             struct lb_buf *sort_key, struct lb_buf *details, struct lb_error *err)
{
    const struct lb_packed_table *table = &keys->packed;
    char forms[LB_PACKED_COLUMNS];
    for (uint32_t c = 0; c < keys->n; c++) {
        enum lb_packed_kind kind = (enum lb_packed_kind)table->kinds[c];
        forms[c] = kind == LB_PACKED_INT ? LB_FORM_INT : LB_FORM_STRING;
        LB_TRY(put_packed(sort_key, kind, words, keys->n > 1, err));
        words += lb_packed_width(kind);
    }
    return lb_buf_append(details, forms, keys->n, err);
}

static lb_status save_entry(struct lb_group_keys *keys, const struct lb_group_entry *entry,
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

bool lb_group_keys_next(const struct lb_group_keys *keys, struct lb_group_at *at)
{
    const struct lb_packed_table *packed = &keys->packed;
    const struct lb_group_table *table = &keys->table;
    at->entry = NULL;
    if (table->n_entries == 0) { /* all in the packed table, one number after the other */
        at->group = at->next++;
        return at->group < packed->n_groups;
    }
    while (!at->in_table) {
        if (at->next == packed->n_slots) {
            at->in_table = true;
            at->next = 0;
        } else if (packed->slots[at->next++].group != 0) {
            at->group = packed->slots[at->next - 1].group - 1;
            return true;
        }
    }
    while (at->next < table->n_slots) {
        at->entry = &table->entries[at->next++];
        at->group = (size_t)at->entry->state;
        if (at->entry->kind != LB_KIND_EMPTY)
            return true;
    }
    return false;
}

lb_status lb_group_keys_save(struct lb_group_keys *keys, const struct lb_group_at *at,
                             struct lb_buf *sort_key, struct lb_buf *details, struct lb_error *err)
{
    if (at->entry == NULL)
        return save_packed(keys, lb_packed_words(&keys->packed, at->group), sort_key, details, err);
    return save_entry(keys, at->entry, sort_key, details, err);
}
