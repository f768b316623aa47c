/* The hash table of packed keys: see packed_table.h. */
#include "core/algo/packed_table.h"

#include "core/algo/lines.h"
#include "core/base/hash.h"

#ifdef LB_TINY
enum { FIRST_SLOTS = 16 };
#else
enum { FIRST_SLOTS = 8192 };
#endif
enum { SHORT_BYTES = 7 };

lb_status lb_packed_table_init(struct lb_packed_table *table, struct lb_group_records *records,
                               struct lb_error *err)
{
    memset(table, 0, sizeof *table);
    table->records = records;
    table->slots = lb_lines_new(FIRST_SLOTS * sizeof *table->slots, NULL, 0, 0);
    table->n_slots = FIRST_SLOTS;
    table->hashes = lb_alloc(LB_BATCH_ROWS * sizeof *table->hashes);
    table->expected = lb_alloc(LB_BATCH_ROWS * sizeof *table->expected);
    if (table->slots == NULL || table->hashes == NULL || table->expected == NULL) {
        lb_packed_table_fini(table);
        return lb_error_memory(err, "a group table", FIRST_SLOTS * sizeof *table->slots);
    }
    return LB_OK;
}

static void free_packed(struct lb_packed_table *table)
{
    lb_lines_free(table->packed, LB_BATCH_ROWS * table->width * sizeof *table->packed);
    table->packed = NULL;
}

void lb_packed_table_fini(struct lb_packed_table *table)
{
    lb_lines_free(table->slots, table->n_slots * sizeof *table->slots);
    if (table->hashes != NULL)
        lb_free(table->hashes, LB_BATCH_ROWS * sizeof *table->hashes);
    if (table->expected != NULL)
        lb_free(table->expected, LB_BATCH_ROWS * sizeof *table->expected);
    free_packed(table);
    memset(table, 0, sizeof *table);
}

void lb_packed_table_reset(struct lb_packed_table *table, size_t keep_bytes)
{
    size_t bytes = table->n_slots * sizeof *table->slots;
    bool is_empty = table->n_groups == 0 || table->is_list;
    table->n_groups = 0;
    table->is_list = false;
    if (bytes > keep_bytes && table->n_slots > FIRST_SLOTS) {
        struct lb_packed_slot *few = lb_lines_new(FIRST_SLOTS * sizeof *few, NULL, 0, 0);
        if (few != NULL) { /* else the many serve */
            lb_lines_free(table->slots, bytes);
            table->slots = few;
            table->n_slots = FIRST_SLOTS;
            return;
        }
    }
    if (!is_empty)
        memset(table->slots, 0, bytes);
}

/* Slots for so many groups, at most half of them used. */
static size_t slots_for(const struct lb_packed_table *table, size_t n_groups)
{
    size_t n_slots = table->n_slots;
    while (n_slots < 2 * n_groups)
        n_slots *= 2;
    return n_slots;
}

size_t lb_packed_table_next_bytes(const struct lb_packed_table *table)
{
    size_t n_slots = slots_for(table, table->n_groups + LB_BATCH_ROWS);
    size_t bytes = n_slots * sizeof *table->slots;
    /* Old and new are there while it grows. */
    return n_slots > table->n_slots ? bytes + table->n_slots * sizeof *table->slots : bytes;
}

static lb_status grow(struct lb_packed_table *table, uint32_t n_keys, struct lb_error *err)
{
    size_t n_slots = slots_for(table, table->n_groups + n_keys);
    if (n_slots == table->n_slots)
        return LB_OK;
    struct lb_packed_slot *slots = lb_lines_new(n_slots * sizeof *slots, NULL, 0, 0);
    if (slots == NULL)
        return lb_error_memory(err, "a group table", n_slots * sizeof *slots);
    for (size_t i = 0; i < table->n_slots; i++) {
        if (table->slots[i].group == 0)
            continue;
        size_t at = table->slots[i].hash & (n_slots - 1);
        while (slots[at].group != 0)
            at = (at + 1) & (n_slots - 1);
        slots[at] = table->slots[i];
    }
    lb_lines_free(table->slots, table->n_slots * sizeof *table->slots);
    table->slots = slots;
    table->n_slots = n_slots;
    return LB_OK;
}

/* ---- packing ---- */

/* The kind of a column's selected rows; false: it has none. */
static bool kind_of(const struct lb_batch *batch, const struct lb_column *column, uint8_t *kind)
{
    uint32_t longest = 0;
    if (column->valid != NULL || (column->type != LB_INT64 && column->type != LB_STRING))
        return false;
    *kind = LB_PACKED_INT;
    if (column->type == LB_INT64)
        return true;
    if (batch->select == NULL) {
        for (uint32_t i = 0; i < batch->n_rows; i++)
            longest = column->views[i].size > longest ? column->views[i].size : longest;
    } else {
        for (uint32_t i = 0; i < batch->n_selected; i++) {
            uint32_t size = column->views[batch->select[i]].size;
            longest = size > longest ? size : longest;
        }
    }
    *kind = longest <= SHORT_BYTES ? LB_PACKED_SHORT : LB_PACKED_TEXT;
    return longest <= LB_VIEW_INLINE;
}

/* Sets the layout for this batch, if it may be changed: no record is in use. */
static lb_status choose_layout(struct lb_packed_table *table, const struct lb_batch *batch,
                               const uint32_t *columns, uint32_t n, size_t n_numbers,
                               enum lb_packed_result *result, struct lb_error *err)
{
    uint8_t kinds[LB_PACKED_COLUMNS];
    uint32_t width = 0;
    *result = LB_PACKED_OTHER;
    if (n > LB_PACKED_COLUMNS)
        return LB_OK;
    for (uint32_t c = 0; c < n; c++) {
        if (columns[c] >= batch->n_columns ||
            !kind_of(batch, &batch->columns[columns[c]], &kinds[c]))
            return LB_OK;
        if (table->n_columns > 0) {
            if ((table->kinds[c] == LB_PACKED_INT) != (kinds[c] == LB_PACKED_INT))
                return LB_OK;
            if (table->kinds[c] > kinds[c])
                kinds[c] = table->kinds[c];
        }
        width += lb_packed_width((enum lb_packed_kind)kinds[c]);
    }
    if (width > LB_PACKED_WORDS)
        return LB_OK;
    *result = LB_PACKED_FOUND;
    if (table->n_columns > 0 && memcmp(kinds, table->kinds, n) == 0)
        return LB_OK;
    *result = LB_PACKED_WIDER;
    if (n_numbers > 0)
        return LB_OK;
    uint64_t *packed = lb_lines_new(LB_BATCH_ROWS * width * sizeof *packed, NULL, 0, 0);
    if (packed == NULL)
        return lb_error_memory(err, "packed keys", LB_BATCH_ROWS * width * sizeof *packed);
    free_packed(table);
    table->packed = packed;
    memcpy(table->kinds, kinds, n);
    table->n_columns = n;
    table->width = width;
    lb_group_records_set_key_bytes(table->records, width * (uint32_t)sizeof *table->packed);
    *result = LB_PACKED_FOUND;
    return LB_OK;
}

static void pack_ints(const struct lb_batch *batch, const int64_t *ints, uint64_t *out,
                      uint32_t width)
{
    for (uint32_t i = 0; i < batch->n_selected; i++, out += width)
        *out = (uint64_t)ints[lb_batch_row(batch, i)] ^ 0x8000000000000000ULL;
}

static void pack_strings(const struct lb_batch *batch, const struct lb_view *views, bool is_short,
                         uint64_t *out, uint32_t width)
{
    for (uint32_t i = 0; i < batch->n_selected; i++, out += width) {
        uint64_t words[2];
        memcpy(words, &views[lb_batch_row(batch, i)], sizeof words);
        uint64_t head = __builtin_bswap64(words[0] >> 32 | words[1] << 32);
        if (is_short) {
            out[0] = head | (uint32_t)words[0];
        } else {
            out[0] = head;
            out[1] = __builtin_bswap64(words[1] >> 32) | (uint32_t)words[0];
        }
    }
}

static void pack(struct lb_packed_table *table, const struct lb_batch *batch,
                 const uint32_t *columns)
{
    uint64_t *out = table->packed;
    for (uint32_t c = 0; c < table->n_columns; c++) {
        const struct lb_column *column = &batch->columns[columns[c]];
        enum lb_packed_kind kind = (enum lb_packed_kind)table->kinds[c];
        if (kind == LB_PACKED_INT)
            pack_ints(batch, column->ints, out, table->width);
        else
            pack_strings(batch, column->views, kind == LB_PACKED_SHORT, out, table->width);
        out += lb_packed_width(kind);
    }
}

/* ---- finding ---- */

static inline uint32_t hash_words(const uint64_t *words, uint32_t width)
{
    uint64_t hash = lb_hash_pair(words[0], width > 1 ? words[1] : 0x9e3779b97f4a7c15ULL);
    for (uint32_t i = 2; i < width; i += 2)
        hash = lb_hash_pair(hash ^ words[i], i + 1 < width ? words[i + 1] : hash);
    return (uint32_t)(hash >> 32);
}

static inline bool same_words(const uint64_t *a, const uint64_t *b, uint32_t width)
{
    uint64_t difference = 0;
    for (uint32_t i = 0; i < width; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

/* The whole probe; a key that is not there becomes a group. */
static uint32_t probe(struct lb_packed_table *table, uint32_t row, uint32_t width,
                      size_t *n_numbers)
{
    const uint64_t *key = table->packed + (size_t)row * width;
    uint32_t hash = table->hashes[row];
    size_t mask = table->n_slots - 1, at = hash & mask;
    for (;; at = (at + 1) & mask) {
        struct lb_packed_slot *slot = &table->slots[at];
        if (slot->group == 0) {
            uint32_t group = (uint32_t)(*n_numbers)++;
            *slot = (struct lb_packed_slot){hash, group + 1};
            memcpy(lb_group_record(table->records, group), key, width * sizeof *key);
            table->n_groups++;
            return group;
        }
        if (slot->hash == hash && same_words(lb_packed_words(table, slot->group - 1), key, width))
            return slot->group - 1;
    }
}

/* Always inlined with a constant width where that is small. */
static inline void find_groups(struct lb_packed_table *table, uint32_t n, uint32_t width,
                               size_t *n_numbers, uint32_t *groups)
{
    const uint64_t *keys = table->packed;
    const struct lb_group_records *records = table->records;
    size_t mask = table->n_slots - 1;
    uint32_t stride = records->stride;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t hash = hash_words(keys + (size_t)i * width, width);
        table->hashes[i] = hash;
        __builtin_prefetch(&table->slots[hash & mask], 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t hash = table->hashes[i];
        size_t place = hash & mask;
        while (table->slots[place].group != 0 && table->slots[place].hash != hash)
            place = (place + 1) & mask;
        uint32_t expected = table->slots[place].group;
        table->expected[i] = expected;
        const char *record = lb_group_record(records, expected > 0 ? expected - 1 : 0);
        for (uint32_t at = 0; at < stride; at += LB_LINE_BYTES)
            __builtin_prefetch(record + at, 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t expected = table->expected[i];
        if (__builtin_expect(expected > 0 && same_words(lb_packed_words(table, expected - 1),
                                                        keys + (size_t)i * width, width),
                             1))
            groups[i] = expected - 1;
        else
            groups[i] = probe(table, i, width, n_numbers);
    }
}

lb_status lb_packed_table_find(struct lb_packed_table *table, const struct lb_batch *batch,
                               const uint32_t *columns, uint32_t n, size_t *n_numbers,
                               uint32_t *groups, enum lb_packed_result *result,
                               struct lb_error *err)
{
    uint32_t n_rows = batch->n_selected;
    LB_TRY(choose_layout(table, batch, columns, n, *n_numbers, result, err));
    if (*result != LB_PACKED_FOUND)
        return LB_OK;
    /* As if all were new. */
    LB_TRY(grow(table, n_rows, err));
    LB_TRY(lb_group_records_reserve(table->records, *n_numbers + n_rows, err));
    pack(table, batch, columns);
    switch (table->width) {
    case 1:
        find_groups(table, n_rows, 1, n_numbers, groups);
        break;
    case 2:
        find_groups(table, n_rows, 2, n_numbers, groups);
        break;
    case 3:
        find_groups(table, n_rows, 3, n_numbers, groups);
        break;
    default:
        find_groups(table, n_rows, table->width, n_numbers, groups);
    }
    return lb_group_records_use(table->records, *n_numbers, err);
}

lb_status lb_packed_table_list(struct lb_packed_table *table, const struct lb_batch *batch,
                               const uint32_t *columns, uint32_t n, size_t *n_numbers,
                               uint32_t *groups, enum lb_packed_result *result,
                               struct lb_error *err)
{
    uint32_t n_rows = batch->n_selected;
    LB_TRY(choose_layout(table, batch, columns, n, *n_numbers, result, err));
    if (*result != LB_PACKED_FOUND)
        return LB_OK;
    LB_TRY(lb_group_records_use(table->records, n_rows, err));
    pack(table, batch, columns);
    for (uint32_t i = 0; i < n_rows; i++) {
        uint64_t *words = (uint64_t *)(void *)lb_group_record(table->records, i);
        for (uint32_t w = 0; w < table->width; w++)
            words[w] = table->packed[(size_t)i * table->width + w];
        groups[i] = i;
    }
    table->is_list = true;
    table->n_groups = *n_numbers = n_rows;
    return LB_OK;
}
