/* The table of a hash join. See join_table.h for the contract; join_probe.c looks keys up.
 *
 * IDEA    Rows lie column by column, numbered in input order; the index gives the first row of a key and `next` those after it. A lookup of a
 *         batch makes all keys, prefetches all places, then looks. Three indexes:
 *         dense    ids from a small range, as keys of tables mostly are: one array of 4 bytes a key, no hash, nothing to compare.
 *         integer  slots of 16 bytes with the key in them, so that a lookup is one cache miss.
 *         bytes    strings as they are; anything else (floats, mixed values, several columns) as sort keys (column/key.h). A slot has
 *                  the hash; the bytes themselves are compared where all 64 bits of it agree.
 * PARTS   The index is cut into parts by the upper bits of the hash (dense: by the key), and each is filled by one thread that walks over
 *         all rows and takes its own. No lock, and rows come in order. A part has 3/2 slots per row that falls into it, so it
 *         cannot overflow, whatever the keys.
 * MEMORY  What the index takes is reserved before anything is made: per row 4 bytes, then for dense 4 per key of the range, for
 *         integer 24, for bytes 24 + 24 and the bytes of keys that are made.
 * WHY NOT Rows side by side (a gather is one miss for all columns): most joins need one or two columns of the build side, and a
 *         column gathered by 8 bytes of 1 M rows stays in the cache, which rows do not. */
#include "core/algo/join_index.h"

#include <stdlib.h>

#include "core/algo/advise.h"
#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/column/key.h"

#ifdef LB_TINY
enum { BLOCK_ROWS = 16, PARTS = 4, LEAST_PART_ROWS = 1 };
#else
enum { BLOCK_ROWS = 1 << 16, PARTS = 16, LEAST_PART_ROWS = 1 << 14 };
#endif

/* What makes both calls of find and of hash read the same: a column by its data alone. */
static struct lb_column as_column(const struct lb_join_column *column)
{
    return (struct lb_column){.type = column->type, .valid = column->valid, .data = column->data};
}

lb_status lb_join_table_new(uint32_t n_columns, const uint32_t *keys, uint32_t n_keys,
                            struct lb_budget *budget, struct lb_join_table **out,
                            struct lb_error *err)
{
    struct lb_join_table *table = lb_alloc_zero(sizeof *table);
    if (table == NULL)
        return lb_error_memory(err, "the table of a join", sizeof *table);
    table->n_columns = n_columns;
    table->keys = keys;
    table->n_keys = n_keys;
    table->budget = budget;
    *out = table;
    return LB_OK;
}

void lb_join_table_delete(struct lb_join_table *table)
{
    if (table == NULL)
        return;
    uint32_t n_blocks = lb_join_table_n_blocks(table);
    for (uint32_t i = 0; table->columns != NULL && i < table->n_columns; i++)
        lb_join_column_fini(&table->columns[i], table->n_rows);
    for (size_t i = 0; i < table->n_pieces; i++)
        lb_join_rows_delete(table->pieces[i]);
    for (uint32_t i = 0; table->key_bytes != NULL && i < n_blocks; i++)
        if (table->key_bytes[i].held_bytes > 0)
            lb_arena_fini(&table->key_bytes[i]);
    lb_free(table->columns, table->n_columns * sizeof *table->columns);
    lb_free(table->pieces, table->n_pieces * sizeof *table->pieces);
    lb_free(table->heads, table->range * sizeof *table->heads);
    lb_free(table->slots, table->n_slots * sizeof *table->slots);
    lb_free(table->part_slots, (PARTS + 1) * sizeof *table->part_slots);
    lb_free(table->part_rows, PARTS * sizeof *table->part_rows);
    lb_free(table->next, table->n_rows * sizeof *table->next);
    lb_free(table->key_views, table->n_rows * sizeof *table->key_views);
    lb_free(table->hashes, table->n_rows * sizeof *table->hashes);
    lb_free(table->key_bytes, n_blocks * sizeof *table->key_bytes);
    lb_budget_release(table->budget, table->reserved_bytes);
    lb_free(table, sizeof *table);
}

/* ---- putting pieces together ---- */

static int by_place(const void *a, const void *b)
{
    const struct lb_join_rows *x = *(struct lb_join_rows *const *)a;
    const struct lb_join_rows *y = *(struct lb_join_rows *const *)b;
    if (x->morsel != y->morsel)
        return x->morsel < y->morsel ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

/* The type that holds a column of all pieces. */
static enum lb_type common_type(struct lb_join_rows *const *pieces, size_t n_pieces,
                                uint32_t column)
{
    enum lb_type type = LB_NULL;
    for (size_t i = 0; i < n_pieces; i++) {
        enum lb_type one = pieces[i]->columns[column].type;
        if (type == LB_NULL)
            type = one;
        else if (one != LB_NULL && one != type)
            type = LB_ANY;
    }
    return type;
}

/* A piece's typed column becomes one of encoded values. */
static lb_status make_any(struct lb_join_rows *piece, struct lb_join_column *column,
                          struct lb_error *err)
{
    struct lb_column from = as_column(column);
    struct lb_view *views = lb_alloc_zero(piece->n_rows * sizeof *views);
    struct lb_buf value = {0};
    lb_status status = LB_OK;
    if (views == NULL)
        return lb_error_memory(err, "the table of a join", piece->n_rows * sizeof *views);
    if (column->strings.held_bytes == 0)
        lb_arena_init(&column->strings, 4096);
    for (uint32_t i = 0; i < piece->n_rows && status == LB_OK; i++) {
        if (!lb_join_is_valid(column, i))
            continue;
        value.size = 0;
        status = lb_codec_put_column(&value, &from, i, err);
        const char *data = value.data;
        if (status == LB_OK && value.size > LB_VIEW_INLINE) {
            char *copy = lb_arena_alloc(&column->strings, value.size);
            if (copy == NULL) {
                status = lb_error_memory(err, "the table of a join", value.size);
                break;
            }
            data = memcpy(copy, value.data, value.size);
        }
        if (status == LB_OK)
            lb_view_set(&views[i], data, value.size);
    }
    lb_buf_fini(&value);
    lb_free(column->data, piece->n_rows * lb_join_width(column->type));
    column->data = views;
    column->type = LB_ANY;
    return status;
}

static void copy_valid(struct lb_join_column *to, size_t first, const struct lb_join_column *from,
                       uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to->valid[(first + i) >> 6] |= (uint64_t)lb_join_is_valid(from, i) << ((first + i) & 63);
}

/* Room for all bytes that the column's views point to. */
static lb_status bytes_room(struct lb_join_table *table, uint32_t c, struct lb_error *err)
{
    struct lb_join_column *out = &table->columns[c];
    for (size_t i = 0; i < table->n_pieces; i++) {
        const struct lb_join_column *from = &table->pieces[i]->columns[c];
        const struct lb_view *views = from->data;
        for (uint32_t r = 0; from->type >= LB_STRING && r < table->pieces[i]->n_rows; r++)
            out->n_bytes += views[r].size > LB_VIEW_INLINE ? views[r].size : 0;
    }
    if (out->n_bytes == 0)
        return LB_OK;
    out->bytes = lb_alloc(out->n_bytes);
    if (out->bytes == NULL)
        return lb_error_memory(err, "the table of a join", out->n_bytes);
    lb_advise_huge(out->bytes, out->n_bytes);
    return LB_OK;
}

/* The bytes of n views are moved to `to`, side by side; the result is their end. */
static char *move_bytes(struct lb_view *views, uint32_t n, char *to)
{
    for (uint32_t i = 0; i < n; i++) {
        if (views[i].size <= LB_VIEW_INLINE)
            continue;
        memcpy(to, views[i].data, views[i].size);
        views[i].data = to;
        to += views[i].size;
    }
    return to;
}

/* Makes column c of the table; the pieces' data of it go as they are copied. */
static lb_status join_column(struct lb_join_table *table, uint32_t c, struct lb_error *err)
{
    struct lb_join_column *out = &table->columns[c];
    enum lb_type type = common_type(table->pieces, table->n_pieces, c);
    size_t width = lb_join_width(type), first = 0;
    out->type = LB_NULL;
    if (type == LB_NULL || table->n_rows == 0)
        return LB_OK;
    bool has_nils = false;
    for (size_t i = 0; i < table->n_pieces; i++) {
        const struct lb_join_column *from = &table->pieces[i]->columns[c];
        has_nils |= table->pieces[i]->n_rows > 0 && (from->type == LB_NULL || from->valid != NULL);
    }
    out->data = lb_alloc(table->n_rows * width);
    if (out->data == NULL)
        return lb_error_memory(err, "the table of a join", table->n_rows * width);
    lb_advise_huge(out->data, table->n_rows * width);
    out->type = type;
    if (has_nils) {
        out->valid = lb_alloc_zero(((size_t)table->n_rows + 63) / 64 * 8);
        if (out->valid == NULL)
            return lb_error_memory(err, "the table of a join", table->n_rows / 8);
    }
    for (size_t i = 0; i < table->n_pieces; i++) {
        struct lb_join_column *from = &table->pieces[i]->columns[c];
        if (from->type != type && from->type != LB_NULL)
            LB_TRY(make_any(table->pieces[i], from, err));
    }
    if (type >= LB_STRING)
        LB_TRY(bytes_room(table, c, err));
    char *bytes = out->bytes;
    for (size_t i = 0; i < table->n_pieces; i++) {
        struct lb_join_rows *piece = table->pieces[i];
        struct lb_join_column *from = &piece->columns[c];
        char *to = (char *)out->data + first * width;
        if (from->type == LB_NULL)
            memset(to, 0, piece->n_rows * width);
        else
            memcpy(to, from->data, piece->n_rows * width);
        if (type >= LB_STRING)
            bytes = move_bytes((struct lb_view *)(void *)to, piece->n_rows, bytes);
        if (has_nils)
            copy_valid(out, first, from, piece->n_rows);
        first += piece->n_rows;
        lb_join_column_fini(from, piece->n_rows);
        from->type = LB_NULL;
    }
    return LB_OK;
}

/* ---- the index: choice and room ---- */

/* Bytes that the sort keys of a row may take at most, added up over all. */
static size_t key_bytes_of(struct lb_join_rows *const *pieces, size_t n_pieces, uint32_t column)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        const struct lb_join_column *from = &pieces[i]->columns[column];
        const struct lb_view *views = from->data;
        bytes += (size_t)pieces[i]->n_rows * 16;
        for (uint32_t r = 0; from->type >= LB_STRING && r < pieces[i]->n_rows; r++)
            bytes += 2 * (size_t)views[r].size;
    }
    return bytes;
}

/* The range of integer keys. */
static void find_range(struct lb_join_table *table, struct lb_join_rows *const *pieces,
                       size_t n_pieces)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    for (size_t i = 0; i < n_pieces; i++) {
        const struct lb_join_column *from = &pieces[i]->columns[table->keys[0]];
        const int64_t *ints = from->data;
        for (uint32_t r = 0; from->type == LB_INT64 && r < pieces[i]->n_rows; r++) {
            if (!lb_join_is_valid(from, r))
                continue;
            least = ints[r] < least ? ints[r] : least;
            most = ints[r] > most ? ints[r] : most;
        }
    }
    table->least = least;
    table->range = least <= most ? (uint64_t)most - (uint64_t)least + 1 : 0;
    if (least <= most && table->range == 0) /* all of them */
        table->range = UINT64_MAX;
}

/* Chooses the kind, and says what the index will take. */
static size_t choose_index(struct lb_join_table *table, struct lb_join_rows *const *pieces,
                           size_t n_pieces, uint64_t n_rows)
{
    enum lb_type type = common_type(pieces, n_pieces, table->keys[0]);
    size_t bytes = n_rows * sizeof *table->next;
    table->n_parts = n_rows / PARTS >= LEAST_PART_ROWS ? PARTS : 1;
    if (table->n_keys == 1 && (type == LB_INT64 || type == LB_NULL)) {
        find_range(table, pieces, n_pieces);
        if (table->range <= 4 * n_rows + 64) {
            table->kind = LB_JOIN_DENSE;
            return bytes + table->range * sizeof *table->heads;
        }
        table->kind = LB_JOIN_INTEGER;
        table->range = 0;
        table->n_slots = n_rows + n_rows / 2 + table->n_parts;
        return bytes + table->n_slots * sizeof *table->slots;
    }
    table->kind = LB_JOIN_BYTES;
    table->n_slots = n_rows + n_rows / 2 + table->n_parts;
    bytes += table->n_slots * sizeof *table->slots + n_rows * sizeof *table->hashes;
    if (table->n_keys > 1 || type != LB_STRING)
        for (uint32_t i = 0; i < table->n_keys; i++)
            bytes += key_bytes_of(pieces, n_pieces, table->keys[i]);
    return bytes + n_rows * sizeof *table->key_views;
}

static lb_status index_room(struct lb_join_table *table, struct lb_error *err)
{
    size_t n = table->n_rows;
    table->next = lb_alloc_zero(n * sizeof *table->next);
    table->part_rows = lb_alloc_zero(PARTS * sizeof *table->part_rows);
    table->part_slots = lb_alloc_zero((PARTS + 1) * sizeof *table->part_slots);
    bool good =
        (table->next != NULL || n == 0) && table->part_rows != NULL && table->part_slots != NULL;
    if (good && table->kind == LB_JOIN_DENSE && table->range > 0) {
        table->heads = lb_alloc_zero(table->range * sizeof *table->heads);
        lb_advise_huge(table->heads, table->range * sizeof *table->heads);
        good = table->heads != NULL;
    }
    if (good && table->kind != LB_JOIN_DENSE) {
        table->slots = lb_alloc_zero(table->n_slots * sizeof *table->slots);
        lb_advise_huge(table->slots, table->n_slots * sizeof *table->slots);
        good = table->slots != NULL;
    }
    if (good && table->kind == LB_JOIN_BYTES && n > 0) {
        table->hashes = lb_alloc(n * sizeof *table->hashes);
        table->key_views = lb_alloc(n * sizeof *table->key_views);
        lb_advise_huge(table->key_views, n * sizeof *table->key_views);
        table->key_bytes = lb_alloc_zero(lb_join_table_n_blocks(table) * sizeof *table->key_bytes);
        good = table->hashes != NULL && table->key_views != NULL && table->key_bytes != NULL;
    }
    return good ? LB_OK : lb_error_memory(err, "the index of a join", n * sizeof *table->next);
}

lb_status lb_join_table_build(struct lb_join_table *table, struct lb_join_rows **pieces,
                              size_t n_pieces, size_t pieces_bytes, bool *fits,
                              struct lb_error *err)
{
    uint64_t n_rows = 0;
    size_t widest = 0;
    if (n_pieces > 1)
        qsort(pieces, n_pieces, sizeof *pieces, by_place);
    for (size_t i = 0; i < n_pieces; i++)
        n_rows += pieces[i]->n_rows;
    /* While one column is put together it is there twice. */
    for (uint32_t c = 0; c < table->n_columns; c++) {
        size_t width = lb_join_width(common_type(pieces, n_pieces, c));
        widest = width > widest ? width : widest;
    }
    size_t bytes = choose_index(table, pieces, n_pieces, n_rows);
    size_t room = bytes > n_rows * widest ? bytes : n_rows * widest;
    *fits = n_rows < UINT32_MAX && lb_budget_reserve(table->budget, room);
    if (!*fits) {
        table->n_slots = 0;
        table->range = 0;
        table->kind = LB_JOIN_DENSE;
        return LB_OK;
    }
    table->reserved_bytes = pieces_bytes + room;
    table->pieces = pieces;
    table->n_pieces = n_pieces;
    table->n_rows = (uint32_t)n_rows;
    table->columns = lb_alloc_zero(table->n_columns * sizeof *table->columns);
    if (table->columns == NULL)
        return lb_error_memory(err, "the table of a join",
                               table->n_columns * sizeof *table->columns);
    for (uint32_t c = 0; c < table->n_columns; c++)
        LB_TRY(join_column(table, c, err));
    return index_room(table, err);
}

/* ---- keys as bytes ---- */

lb_status lb_join_put_key(struct lb_buf *out, const struct lb_column *const *columns, uint32_t n,
                          uint32_t row, bool *is_nil, struct lb_error *err)
{
    size_t start = out->size;
    *is_nil = false;
    for (uint32_t i = 0; i < n && !*is_nil; i++) {
        size_t before = out->size;
        LB_TRY(lb_key_put_column(out, columns[i], row, true, err));
        *is_nil = out->data[before] == LB_KEY_NIL;
    }
    if (*is_nil)
        out->size = start;
    return LB_OK;
}

static lb_status hash_strings(struct lb_join_table *table, uint32_t first, uint32_t end)
{
    const struct lb_join_column *column = &table->columns[table->keys[0]];
    const struct lb_view *views = column->data;
    for (uint32_t i = first; i < end; i++) {
        table->key_views[i] = views[i];
        if (!lb_join_is_valid(column, i)) {
            table->key_views[i].size = LB_JOIN_NIL_KEY;
            continue;
        }
        table->hashes[i] = lb_join_hash_view(&views[i]);
        atomic_fetch_add_explicit(&table->part_rows[lb_join_part(table, table->hashes[i])], 1,
                                  memory_order_relaxed);
    }
    return LB_OK;
}

static lb_status hash_made_keys(struct lb_join_table *table, uint32_t block, uint32_t first,
                                uint32_t end, struct lb_error *err)
{
    struct lb_column columns[LB_MAX_COLUMNS];
    const struct lb_column *pointers[LB_MAX_COLUMNS];
    struct lb_arena *arena = &table->key_bytes[block];
    struct lb_buf key = {0};
    lb_status status = LB_OK;
    for (uint32_t i = 0; i < table->n_keys; i++) {
        columns[i] = as_column(&table->columns[table->keys[i]]);
        pointers[i] = &columns[i];
    }
    lb_arena_init(arena, 32 << 10);
    for (uint32_t i = first; i < end && status == LB_OK; i++) {
        bool is_nil = false;
        key.size = 0;
        status = lb_join_put_key(&key, pointers, table->n_keys, i, &is_nil, err);
        table->key_views[i] = (struct lb_view){.size = LB_JOIN_NIL_KEY};
        if (status != LB_OK || is_nil)
            continue;
        const char *data = key.data;
        if (key.size > LB_VIEW_INLINE) {
            char *copy = lb_arena_alloc(arena, key.size);
            if (copy == NULL)
                status = lb_error_memory(err, "the index of a join", key.size);
            else
                data = memcpy(copy, key.data, key.size);
        }
        if (status != LB_OK)
            break;
        lb_view_set(&table->key_views[i], data, key.size);
        table->hashes[i] = lb_join_hash_view(&table->key_views[i]);
        atomic_fetch_add_explicit(&table->part_rows[lb_join_part(table, table->hashes[i])], 1,
                                  memory_order_relaxed);
    }
    lb_buf_fini(&key);
    return status;
}

uint32_t lb_join_table_n_blocks(const struct lb_join_table *table)
{
    return (uint32_t)(((uint64_t)table->n_rows + BLOCK_ROWS - 1) / BLOCK_ROWS);
}

lb_status lb_join_table_hash(struct lb_join_table *table, uint32_t block, struct lb_error *err)
{
    uint32_t first = block * BLOCK_ROWS;
    uint32_t end = table->n_rows - first < BLOCK_ROWS ? table->n_rows : first + BLOCK_ROWS;
    if (table->kind == LB_JOIN_BYTES)
        return lb_join_has_string_keys(table) ? hash_strings(table, first, end)
                                              : hash_made_keys(table, block, first, end, err);
    if (table->kind == LB_JOIN_DENSE)
        return LB_OK;
    const struct lb_join_column *column = &table->columns[table->keys[0]];
    const int64_t *ints = column->data;
    uint32_t counts[PARTS] = {0};
    for (uint32_t i = first; i < end; i++)
        if (lb_join_is_valid(column, i))
            counts[lb_join_part(table, lb_join_hash_int(ints[i]))]++;
    for (uint32_t p = 0; p < table->n_parts; p++)
        atomic_fetch_add_explicit(&table->part_rows[p], counts[p], memory_order_relaxed);
    return LB_OK;
}

void lb_join_table_lay_out(struct lb_join_table *table)
{
    for (uint32_t p = 0; p < table->n_parts; p++) {
        size_t n = table->part_rows[p];
        table->part_slots[p + 1] = table->part_slots[p] + n + n / 2 + 1;
    }
}

uint32_t lb_join_table_n_parts(const struct lb_join_table *table)
{
    return table->n_parts;
}

/* ---- filling ---- */

static void insert_dense(struct lb_join_table *table, uint32_t part)
{
    const struct lb_join_column *column = &table->columns[table->keys[0]];
    const int64_t *ints = column->data;
    uint64_t step = table->range / table->n_parts + 1, from = part * step;
    uint64_t to = from + step < table->range ? from + step : table->range;
    bool found_two = false;
    /* Backwards, so that each row goes in front of those after it. */
    for (uint32_t i = table->n_rows; i-- > 0;) {
        uint64_t place = (uint64_t)ints[i] - (uint64_t)table->least;
        if (place < from || place >= to || !lb_join_is_valid(column, i))
            continue;
        found_two |= table->heads[place] != 0;
        table->next[i] = table->heads[place];
        table->heads[place] = i + 1;
    }
    if (found_two)
        table->has_duplicates = true;
}

/* Puts row i at the end of the chain of its slot. */
static inline bool chain(struct lb_join_table *table, struct lb_join_slot *slot, uint64_t key,
                         uint32_t i)
{
    bool is_second = slot->head != 0;
    if (is_second)
        table->next[slot->tail - 1] = i + 1;
    else
        slot->head = i + 1;
    slot->key = key;
    slot->tail = i + 1;
    return is_second;
}

static void insert_ints(struct lb_join_table *table, uint32_t part)
{
    const struct lb_join_column *column = &table->columns[table->keys[0]];
    const int64_t *ints = column->data;
    size_t first = table->part_slots[part], end = table->part_slots[part + 1];
    bool found_two = false;
    for (uint32_t i = 0; i < table->n_rows; i++) {
        uint64_t hash = lb_join_hash_int(ints[i]);
        if (lb_join_part(table, hash) != part || !lb_join_is_valid(column, i))
            continue;
        size_t s = lb_join_slot_of(table, hash, part);
        while (table->slots[s].head != 0 && table->slots[s].key != (uint64_t)ints[i])
            s = s + 1 < end ? s + 1 : first;
        found_two |= chain(table, &table->slots[s], (uint64_t)ints[i], i);
    }
    if (found_two)
        table->has_duplicates = true;
}

static void insert_bytes(struct lb_join_table *table, uint32_t part)
{
    size_t first = table->part_slots[part], end = table->part_slots[part + 1];
    bool found_two = false;
    for (uint32_t i = 0; i < table->n_rows; i++) {
        const struct lb_view *view = &table->key_views[i];
        uint64_t hash = table->hashes[i];
        if (view->size == LB_JOIN_NIL_KEY || lb_join_part(table, hash) != part)
            continue;
        size_t s = lb_join_slot_of(table, hash, part);
        while (table->slots[s].head != 0 &&
               (table->slots[s].key != hash ||
                !lb_view_equal(view, &table->key_views[table->slots[s].head - 1])))
            s = s + 1 < end ? s + 1 : first;
        found_two |= chain(table, &table->slots[s], hash, i);
    }
    if (found_two)
        table->has_duplicates = true;
}

void lb_join_table_insert(struct lb_join_table *table, uint32_t part)
{
    if (table->n_rows == 0)
        return;
    if (table->columns[table->keys[0]].type == LB_NULL)
        return; /* no key at all */
    if (table->kind == LB_JOIN_DENSE)
        insert_dense(table, part);
    else if (table->kind == LB_JOIN_INTEGER)
        insert_ints(table, part);
    else
        insert_bytes(table, part);
}
