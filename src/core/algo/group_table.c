/* The pre-aggregation hash table.
 *
 * IDEA   find goes over the batch twice: first it hashes all keys and calls their slots into the cache, then
 *        it probes. Strings and integers without nils, nearly all there is in practice, have loops of their own; so an
 *        integer key costs a multiplication, one cache line and one comparison.
 * SLOTS  Linear probing, at most half full, so that a key is nearly always in the cache line that was called.
 *        The 32 hash bits kept in an entry name its slot too: growing never looks at keys, and goes through old and new
 *        table in order.
 * KEYS   Whatever type of column a key comes in, it has one kind: a string is LB_KIND_STRING also from an `any` column,
 *        a float that is an integer is found as that integer. All others are compared by their sort key. */
#include "core/algo/group_table.h"

#include "core/algo/lines.h"
#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/column/key.h"

enum {
#ifdef LB_TINY
    FIRST_SLOTS = 16,
    ARENA_BYTES = 256,
#else
    FIRST_SLOTS = 8192,
    ARENA_BYTES = 256 * 1024,
#endif
};

_Static_assert(sizeof(struct lb_group_entry) == 32, "two entries a cache line");

lb_status lb_group_table_init(struct lb_group_table *table, struct lb_error *err)
{
    memset(table, 0, sizeof *table);
    lb_arena_init(&table->keys, ARENA_BYTES);
    table->entries = lb_lines_new(FIRST_SLOTS * sizeof *table->entries, NULL, 0, 0);
    table->hashes = lb_alloc(LB_BATCH_ROWS * sizeof *table->hashes);
    table->n_slots = FIRST_SLOTS;
    if (table->entries == NULL || table->hashes == NULL) {
        lb_group_table_fini(table);
        return lb_error_memory(err, "a group table", FIRST_SLOTS * sizeof *table->entries);
    }
    return LB_OK;
}

void lb_group_table_fini(struct lb_group_table *table)
{
    if (table->entries != NULL)
        lb_lines_free(table->entries, table->n_slots * sizeof *table->entries);
    if (table->hashes != NULL)
        lb_free(table->hashes, LB_BATCH_ROWS * sizeof *table->hashes);
    lb_buf_fini(&table->scratch);
    lb_buf_fini(&table->key_scratch);
    lb_arena_fini(&table->keys);
    memset(table, 0, sizeof *table);
}

void lb_group_table_reset(struct lb_group_table *table, size_t keep_bytes)
{
    lb_arena_reset(&table->keys);
    table->n_entries = 0;
    if (lb_group_table_bytes(table) > keep_bytes && table->n_slots > FIRST_SLOTS) {
        struct lb_group_entry *small = lb_lines_new(FIRST_SLOTS * sizeof *small, NULL, 0, 0);
        if (small != NULL) { /* else the large one serves */
            lb_lines_free(table->entries, table->n_slots * sizeof *table->entries);
            table->entries = small;
            table->n_slots = FIRST_SLOTS;
            return;
        }
    }
    memset(table->entries, 0, table->n_slots * sizeof *table->entries);
}

size_t lb_group_table_bytes(const struct lb_group_table *table)
{
    return table->n_slots * sizeof *table->entries + table->keys.held_bytes +
           table->scratch.capacity + table->key_scratch.capacity +
           LB_BATCH_ROWS * sizeof *table->hashes;
}

/* Slots needed for so many entries. */
static size_t slots_for(const struct lb_group_table *table, size_t n_entries)
{
    size_t n_slots = table->n_slots;
    while (n_slots < 2 * n_entries)
        n_slots *= 2;
    return n_slots;
}

size_t lb_group_table_next_bytes(const struct lb_group_table *table)
{
    size_t n_slots = slots_for(table, table->n_entries + LB_BATCH_ROWS);
    size_t bytes = lb_group_table_bytes(table);
    if (n_slots > table->n_slots)
        bytes += n_slots * sizeof *table->entries; /* both live while growing */
    return bytes;
}

/* Makes room for a batch of new keys. */
static lb_status make_room(struct lb_group_table *table, size_t n_keys, struct lb_error *err)
{
    size_t n_slots = slots_for(table, table->n_entries + n_keys);
    if (n_slots == table->n_slots)
        return LB_OK;
    size_t bytes = n_slots * sizeof *table->entries;
    struct lb_group_entry *entries = lb_lines_new(bytes, NULL, 0, 0);
    if (entries == NULL)
        return lb_error_memory(err, "a group table", bytes);
    for (size_t i = 0; i < table->n_slots; i++) {
        const struct lb_group_entry *entry = &table->entries[i];
        if (entry->kind == LB_KIND_EMPTY)
            continue;
        size_t slot = entry->hash & (n_slots - 1);
        while (entries[slot].kind != LB_KIND_EMPTY)
            slot = (slot + 1) & (n_slots - 1);
        entries[slot] = *entry;
    }
    lb_lines_free(table->entries, table->n_slots * sizeof *table->entries);
    table->entries = entries;
    table->n_slots = n_slots;
    return LB_OK;
}

/* ---- probing ---- */

static inline uint32_t kept_hash(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static inline void call_slot(const struct lb_group_table *table, uint64_t hash)
{
    __builtin_prefetch(&table->entries[kept_hash(hash) & (table->n_slots - 1)], 1);
}

/* The two words of a view, as entries keep them. */
struct words {
    uint64_t a;
    uint64_t b;
};

static inline struct words view_words(const struct lb_view *view)
{
    struct words words;
    memcpy(&words, view, sizeof words);
    return words;
}

static inline struct lb_view entry_view(const struct lb_group_entry *entry)
{
    struct lb_view view;
    memcpy(&view, entry, sizeof view);
    return view;
}

static inline uint64_t hash_view(const struct lb_view *view)
{
    struct words words = view_words(view);
    return view->size <= LB_VIEW_INLINE ? lb_hash_pair(words.a, words.b)
                                        : lb_hash_bytes(view->data, view->size);
}

static inline uint64_t hash_int(int64_t value)
{
    return lb_hash_pair((uint64_t)value, 0x9e3779b97f4a7c15ULL);
}

static void fill_entry(struct lb_group_table *table, struct lb_group_entry *entry, uint64_t hash,
                       enum lb_key_kind kind, struct words words)
{
    *entry = (struct lb_group_entry){
        .a = words.a, .b = words.b, .hash = kept_hash(hash), .kind = (uint8_t)kind};
    table->n_entries++;
}

/* The view with bytes that live as long as the table's entries. */
static lb_status keep_view(struct lb_group_table *table, struct lb_view *view, struct lb_error *err)
{
    if (view->size <= LB_VIEW_INLINE)
        return LB_OK;
    char *copy = lb_arena_alloc(&table->keys, view->size);
    if (copy == NULL)
        return lb_error_memory(err, "the keys of a group table", view->size);
    memcpy(copy, view->data, view->size);
    view->data = copy;
    return LB_OK;
}

static inline lb_status find_string(struct lb_group_table *table, const struct lb_view *view,
                                    uint64_t hash, struct lb_group_entry **found,
                                    struct lb_error *err)
{
    size_t mask = table->n_slots - 1;
    size_t slot = kept_hash(hash) & mask;
    struct words words = view_words(view);
    bool is_inline = view->size <= LB_VIEW_INLINE;
    for (;; slot = (slot + 1) & mask) {
        struct lb_group_entry *entry = &table->entries[slot];
        if (entry->hash == kept_hash(hash) && entry->a == words.a &&
            entry->kind == LB_KIND_STRING &&
            (entry->b == words.b || (!is_inline && memcmp((const char *)(uintptr_t)entry->b,
                                                          view->data, view->size) == 0))) {
            *found = entry;
            return LB_OK;
        }
        if (entry->kind != LB_KIND_EMPTY)
            continue;
        struct lb_view kept = *view;
        LB_TRY(keep_view(table, &kept, err));
        fill_entry(table, entry, hash, LB_KIND_STRING, view_words(&kept));
        *found = entry;
        return LB_OK;
    }
}

/* words.a is the integer. */
static inline struct lb_group_entry *find_int(struct lb_group_table *table, struct words words,
                                              uint64_t hash, enum lb_key_kind kind)
{
    size_t mask = table->n_slots - 1;
    size_t slot = kept_hash(hash) & mask;
    for (;; slot = (slot + 1) & mask) {
        struct lb_group_entry *entry = &table->entries[slot];
        if (entry->a == words.a &&
            (entry->kind == LB_KIND_INT || entry->kind == LB_KIND_INT_FLOAT)) {
            /* The integer stands for the key if there is one: not the first seen, which would
             * depend on how rows are spread over workers. */
            if (kind == LB_KIND_INT)
                entry->kind = LB_KIND_INT;
            else if (entry->kind == LB_KIND_INT_FLOAT && words.b > entry->b)
                entry->b = words.b; /* -0.0 before 0.0 */
            return entry;
        }
        if (entry->kind == LB_KIND_EMPTY) {
            fill_entry(table, entry, hash, kind, words);
            return entry;
        }
    }
}

/* Equal keys may have different values within ({1} and {1.0}); the greatest encoding stands for the key, not the
 * first seen. Such encodings have one size. */
static void prefer_value(struct lb_view *kept, const struct lb_buf *other, size_t head_size)
{
    if (kept->size <= LB_VIEW_INLINE || kept->size != other->size)
        return;
    char *value = (char *)(uintptr_t)kept->data + head_size;
    size_t size = kept->size - head_size;
    if (memcmp(value, other->data + head_size, size) < 0)
        memcpy(value, other->data + head_size, size);
}

/* table->scratch holds [uint32 key size][sort key][encoded value]. */
static lb_status find_value(struct lb_group_table *table, struct lb_group_entry **found,
                            struct lb_error *err)
{
    const struct lb_buf *scratch = &table->scratch;
    uint32_t key_size;
    memcpy(&key_size, scratch->data, sizeof key_size);
    uint64_t hash = lb_hash_bytes(scratch->data + 4, key_size);
    size_t mask = table->n_slots - 1;
    size_t slot = kept_hash(hash) & mask;
    for (;; slot = (slot + 1) & mask) {
        struct lb_group_entry *entry = &table->entries[slot];
        if (entry->kind == LB_KIND_VALUE && entry->hash == kept_hash(hash)) {
            struct lb_view view = entry_view(entry);
            /* The key sizes differ in their first 4 bytes. */
            if (view.size >= key_size + 4 &&
                memcmp(lb_view_data(&view), scratch->data, (size_t)key_size + 4) == 0) {
                prefer_value(&view, scratch, (size_t)key_size + 4);
                *found = entry;
                return LB_OK;
            }
        }
        if (entry->kind != LB_KIND_EMPTY)
            continue;
        struct lb_view kept;
        lb_view_set(&kept, scratch->data, scratch->size);
        LB_TRY(keep_view(table, &kept, err));
        fill_entry(table, entry, hash, LB_KIND_VALUE, view_words(&kept));
        *found = entry;
        return LB_OK;
    }
}

/* ---- keys that have no loop of their own ---- */

/* table->scratch holds the encoded value. */
static lb_status find_encoded(struct lb_group_table *table, struct lb_group_entry **found,
                              struct lb_error *err)
{
    struct lb_buf *scratch = &table->scratch;
    struct lb_buf *key = &table->key_scratch;
    key->size = 0;
    LB_TRY(lb_key_put_encoded(key, scratch->data, scratch->size, false, err));
    if (key->size + scratch->size > UINT32_MAX - 8)
        return lb_error_set(err, LB_ERR_RESOURCE, "a key of %zu bytes is too large (4 GiB at most)",
                            scratch->size);
    LB_TRY(lb_buf_reserve(scratch, key->size + 4, err));
    uint32_t key_size = (uint32_t)key->size;
    memmove(scratch->data + 4 + key_size, scratch->data, scratch->size);
    memcpy(scratch->data, &key_size, 4);
    memcpy(scratch->data + 4, key->data, key_size);
    scratch->size += (size_t)key_size + 4;
    return find_value(table, found, err);
}

static lb_status find_float(struct lb_group_table *table, double value,
                            struct lb_group_entry **found, struct lb_error *err)
{
    int64_t integer;
    if (lb_float_as_int(value, &integer)) {
        struct words words = {.a = (uint64_t)integer};
        memcpy(&words.b, &value, sizeof value);
        *found = find_int(table, words, hash_int(integer), LB_KIND_INT_FLOAT);
        return LB_OK;
    }
    table->scratch.size = 0;
    LB_TRY(lb_codec_put_float(&table->scratch, value, err));
    return find_encoded(table, found, err);
}

static lb_status find_any(struct lb_group_table *table, const struct lb_column *column,
                          uint32_t row, struct lb_group_entry **found, struct lb_error *err)
{
    struct lb_value value = lb_column_value(column, row);
    if (value.tag == 'i') {
        *found =
            find_int(table, (struct words){.a = (uint64_t)value.i}, hash_int(value.i), LB_KIND_INT);
        return LB_OK;
    }
    if (value.tag == 'd')
        return find_float(table, value.d, found, err);
    if (value.tag == 's') {
        struct lb_view view;
        lb_view_set(&view, value.data, value.size);
        return find_string(table, &view, hash_view(&view), found, err);
    }
    table->scratch.size = 0;
    LB_TRY(lb_codec_put_column(&table->scratch, column, row, err));
    return find_encoded(table, found, err);
}

/* The record as a list of its values. */
static lb_status find_record(struct lb_group_table *table, const struct lb_batch *batch,
                             uint32_t row, struct lb_group_entry **found, struct lb_error *err)
{
    size_t mark;
    table->scratch.size = 0;
    LB_TRY(lb_codec_begin(&table->scratch, 'l', &mark, err));
    for (uint32_t i = 0; i < batch->n_columns; i++)
        LB_TRY(lb_codec_put_column(&table->scratch, &batch->columns[i], row, err));
    lb_codec_end(&table->scratch, mark, batch->n_columns);
    return find_encoded(table, found, err);
}

/* ---- batches ---- */

static lb_status find_strings(struct lb_group_table *table, const struct lb_batch *batch,
                              struct lb_group_entry **found, struct lb_error *err)
{
    const struct lb_view *views = batch->columns[0].views;
    const uint32_t *select = batch->select;
    uint32_t n = batch->n_selected;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = hash_view(&views[select != NULL ? select[i] : i]);
        table->hashes[i] = hash;
        call_slot(table, hash);
    }
    for (uint32_t i = 0; i < n; i++)
        LB_TRY(find_string(table, &views[select != NULL ? select[i] : i], table->hashes[i],
                           &found[i], err));
    return LB_OK;
}

static void find_ints(struct lb_group_table *table, const struct lb_batch *batch,
                      struct lb_group_entry **found)
{
    const int64_t *ints = batch->columns[0].ints;
    const uint32_t *select = batch->select;
    uint32_t n = batch->n_selected;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = hash_int(ints[select != NULL ? select[i] : i]);
        table->hashes[i] = hash;
        call_slot(table, hash);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct words words = {.a = (uint64_t)ints[select != NULL ? select[i] : i]};
        found[i] = find_int(table, words, table->hashes[i], LB_KIND_INT);
    }
}

lb_status lb_group_table_find(struct lb_group_table *table, const struct lb_batch *batch,
                              bool whole_record, struct lb_group_entry **found,
                              struct lb_error *err)
{
    const struct lb_column *column = &batch->columns[0];
    LB_TRY(make_room(table, batch->n_selected, err));
    if (whole_record && batch->n_columns > 1) {
        for (uint32_t i = 0; i < batch->n_selected; i++)
            LB_TRY(find_record(table, batch, lb_batch_row(batch, i), &found[i], err));
        return LB_OK;
    }
    if (column->type == LB_STRING && column->valid == NULL)
        return find_strings(table, batch, found, err);
    if (column->type == LB_INT64 && column->valid == NULL) {
        find_ints(table, batch, found);
        return LB_OK;
    }
    for (uint32_t i = 0; i < batch->n_selected; i++)
        LB_TRY(find_any(table, column, lb_batch_row(batch, i), &found[i], err));
    return LB_OK;
}

lb_status lb_group_entry_key(const struct lb_group_entry *entry, struct lb_buf *sort_key,
                             struct lb_buf *encoded, struct lb_error *err)
{
    struct lb_view view = entry_view(entry);
    const char *data = lb_view_data(&view);
    uint32_t key_size;
    double number;
    switch ((enum lb_key_kind)entry->kind) {
    case LB_KIND_STRING:
        LB_TRY(lb_buf_append_byte(sort_key, LB_KEY_STRING, err));
        LB_TRY(lb_buf_append(sort_key, data, view.size, err));
        return lb_codec_put_string(encoded, data, view.size, err);
    case LB_KIND_INT:
        LB_TRY(lb_key_put_int(sort_key, (int64_t)entry->a, err));
        return lb_codec_put_int(encoded, (int64_t)entry->a, err);
    case LB_KIND_INT_FLOAT:
        LB_TRY(lb_key_put_int(sort_key, (int64_t)entry->a, err));
        memcpy(&number, &entry->b, sizeof number);
        return lb_codec_put_float(encoded, number, err);
    case LB_KIND_VALUE:
        memcpy(&key_size, data, sizeof key_size);
        LB_TRY(lb_buf_append(sort_key, data + 4, key_size, err));
        return lb_buf_append(encoded, data + 4 + key_size, view.size - 4 - key_size, err);
    default:
        return lb_error_set(err, LB_ERR_INTERNAL, "the key of an empty group entry was asked for");
    }
}
