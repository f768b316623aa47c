/* The first k rows of each partition, before anything is sorted.
 *
 * IDEA   A worker's table numbers the partitions that it meets. Of each it holds up to 2k rows; when they are that many
 *        the worse half goes, and the k-th becomes the bar: a later row that is not before it can never be among the first
 *        k. Most rows fail at the bar by the first 8 bytes of their order key, which for a number are computed without a
 *        call; only rows that pass are made.
 * FEW    Where k is small and ties do not count, a group's rows are kept in order instead, side by side with those of other
 *        groups: the bar is there from the k-th row on, and a row that is pushed out leaves its memory to the new one.
 * TIES   For rank() <= k rows equal to the k-th stay too.
 * MEMORY Over top_bytes, or when the budget refuses, all rows go to the sorter, and the table starts anew: that costs
 *        speed, never rows, since the window is computed over what was kept all the same. */
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/group_key.h"
#include "core/ops/window.h"

#ifdef LB_TINY
enum { KEEP_TABLE_BYTES = 1 << 10, STEP_BYTES = 512, FIRST_ROWS = 1 };
#else
enum { KEEP_TABLE_BYTES = 1 << 20, STEP_BYTES = 256 << 10, FIRST_ROWS = 4 };
#endif

enum { FEW_ROWS = 8 }; /* so many are kept in order */
enum { AHEAD = 16 };   /* rows whose groups are called into the cache meanwhile */

/* A row as it is held: what lb_window_row says, and the bytes. */
struct held {
    uint64_t sequence;
    uint32_t key_size;
    uint32_t group_size;
    uint32_t payload_size;
    uint32_t partition;
    char bytes[];
};

struct candidate {
    uint64_t word; /* first bytes of the order key */
    struct held *row;
};

struct group {
    uint64_t bar;           /* word of the bar; all ones: none yet */
    struct candidate *rows; /* NULL where few are kept: see rows_of */
    uint32_t n;
    uint32_t capacity;
    uint32_t limit; /* rows at which the worse ones go */
    bool has_bar;   /* rows[k - 1] is it */
};

struct lb_window_top {
    /* configuration */
    const struct lb_window_shared *shared;
    struct lb_budget *budget;
    bool is_few; /* see FEW */
    /* state */
    struct lb_group_records records; /* of keys */
    struct lb_group_keys keys;
    struct group *groups;
    struct candidate *few; /* k of each group */
    uint32_t n_groups;
    uint32_t capacity;
    size_t held_bytes; /* rows and groups */
    size_t reserved;
    uint32_t slots[LB_BATCH_ROWS];
    uint64_t words[LB_BATCH_ROWS]; /* order words of a batch's rows */
    uint32_t wanted[LB_BATCH_ROWS];
    struct lb_buf key; /* an order key */
};

lb_status lb_window_top_new(const struct lb_window_shared *shared, struct lb_budget *budget,
                            struct lb_window_top **out, struct lb_error *err)
{
    struct lb_window_top *top = lb_alloc_zero(sizeof *top);
    if (top == NULL)
        return lb_error_memory(err, "the first rows of partitions", sizeof *top);
    top->shared = shared;
    top->budget = budget;
    top->is_few = shared->top <= FEW_ROWS && !shared->ties;
    *out = top;
    lb_group_records_init(&top->records, NULL, 0);
    if (shared->n_partition == 0)
        return LB_OK;
    return lb_group_keys_init(&top->keys, &top->records, shared->partition, shared->n_partition,
                              err);
}

static struct candidate *rows_of(const struct lb_window_top *top, const struct group *group)
{
    return top->is_few ? top->few + (size_t)(group - top->groups) * top->shared->top : group->rows;
}

/* Of a group, and its rows where few are kept. */
static size_t group_bytes(const struct lb_window_top *top)
{
    return sizeof(struct group) +
           (top->is_few ? (size_t)top->shared->top * sizeof(struct candidate) : 0);
}

static void free_groups(struct lb_window_top *top)
{
    lb_free(top->groups, top->capacity * sizeof *top->groups);
    if (top->is_few)
        lb_free(top->few, top->capacity * (size_t)top->shared->top * sizeof *top->few);
    top->groups = NULL;
    top->few = NULL;
    top->n_groups = top->capacity = 0;
}

static size_t row_bytes(const struct held *row)
{
    return sizeof *row + (size_t)row->key_size + row->payload_size;
}

static void drop_row(struct lb_window_top *top, struct held *row)
{
    top->held_bytes -= row_bytes(row);
    lb_free(row, row_bytes(row));
}

static void drop_group(struct lb_window_top *top, struct group *group)
{
    for (uint32_t i = 0; i < group->n; i++)
        drop_row(top, rows_of(top, group)[i].row);
    top->held_bytes -= group->capacity * sizeof *group->rows;
    lb_free(group->rows, group->capacity * sizeof *group->rows);
    *group = (struct group){0};
}

void lb_window_top_delete(struct lb_window_top *top)
{
    if (top == NULL)
        return;
    for (uint32_t i = 0; i < top->n_groups; i++)
        drop_group(top, &top->groups[i]);
    free_groups(top);
    lb_budget_release(top->budget, top->reserved);
    lb_group_keys_fini(&top->keys);
    lb_group_records_fini(&top->records);
    lb_buf_fini(&top->key);
    lb_free(top, sizeof *top);
}

/* ---- the order ---- */

static uint64_t word_of(const char *bytes, size_t size)
{
    uint64_t word = 0;
    memcpy(&word, bytes, size < 8 ? size : 8);
    return __builtin_bswap64(word);
}

static int compare_rows(const struct held *a, const struct held *b)
{
    return lb_key_compare(a->bytes + a->group_size, a->key_size - a->group_size,
                          b->bytes + b->group_size, b->key_size - b->group_size);
}

static int compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->word != y->word)
        return x->word < y->word ? -1 : 1;
    int order = compare_rows(x->row, y->row);
    if (order != 0)
        return order;
    return (x->row->sequence > y->row->sequence) - (x->row->sequence < y->row->sequence);
}

/* Leaves the first k and, if asked for, their ties. */
static void cut(struct lb_window_top *top, struct group *group)
{
    uint32_t k = (uint32_t)top->shared->top;
    if (group->n <= k)
        return;
    qsort(group->rows, group->n, sizeof *group->rows, compare);
    uint32_t n = k;
    if (top->shared->ties)
        while (n < group->n && compare_rows(group->rows[k - 1].row, group->rows[n].row) == 0)
            n++;
    for (uint32_t i = n; i < group->n; i++)
        drop_row(top, group->rows[i].row);
    group->n = n;
    group->limit = 2 * n;
    group->bar = group->rows[k - 1].word;
    group->has_bar = true;
}

/* ---- choosing ---- */

/* The words of all selected rows. */
static lb_status find_words(struct lb_window_top *top, const struct lb_batch *batch,
                            struct lb_error *err)
{
    static const struct lb_column absent = {.type = LB_NULL};
    const struct lb_window_shared *shared = top->shared;
    uint32_t n = batch->n_selected;
    if (shared->n_keys == shared->n_partition) {
        memset(top->words, 0, n * sizeof *top->words);
        return LB_OK;
    }
    const struct lb_window_key *key = &shared->keys[shared->n_partition];
    const struct lb_column *column =
        key->column < batch->n_columns ? &batch->columns[key->column] : &absent;
    bool is_plain =
        column->valid == NULL && (column->type == LB_FLOAT64 || column->type == LB_INT64);
    uint64_t flip = key->descending ? ~(uint64_t)0 : 0;
    const int64_t exact = (int64_t)1 << 53;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = lb_batch_row(batch, i);
        double value = 0;
        bool is_easy = false;
        if (is_plain && column->type == LB_FLOAT64) {
            value = column->floats[row];
            is_easy = value == value;
        } else if (is_plain) {
            value = (double)column->ints[row];
            is_easy = column->ints[row] > -exact && column->ints[row] < exact;
        }
        if (is_easy) { /* as key.c writes a number: its tag, then its ordered bits */
            uint64_t bits;
            value += 0.0;
            memcpy(&bits, &value, 8);
            bits ^= (uint64_t)((int64_t)bits >> 63) | 0x8000000000000000ULL;
            top->words[i] = ((uint64_t)LB_KEY_NUMBER << 56 | bits >> 8) ^ flip;
            continue;
        }
        top->key.size = 0;
        LB_TRY(lb_key_put_column(&top->key, column, row, true, err));
        for (size_t j = 0; key->descending && j < top->key.size; j++)
            top->key.data[j] = (char)~top->key.data[j];
        /* What follows in the whole key is not looked at: bytes of the next column may make the word greater. */
        top->words[i] = word_of(top->key.data, top->key.size);
    }
    return LB_OK;
}

static lb_status add_group(struct lb_window_top *top, struct lb_error *err)
{
    if (top->n_groups == top->capacity) {
        uint32_t capacity = top->capacity > 0 ? 2 * top->capacity : 64;
        struct candidate *few = NULL;
        size_t few_bytes = top->is_few ? (size_t)top->shared->top * sizeof *few : 0;
        if (top->is_few) {
            few = lb_alloc(capacity * few_bytes);
            if (few == NULL)
                return lb_error_memory(err, "the first rows of partitions", capacity * few_bytes);
        }
        struct group *groups = lb_realloc(top->groups, top->capacity * sizeof *groups,
                                          (size_t)capacity * sizeof *groups);
        if (groups == NULL) {
            lb_free(few, capacity * few_bytes);
            return lb_error_memory(err, "the first rows of partitions", capacity * sizeof *groups);
        }
        if (top->n_groups > 0 && top->is_few)
            memcpy(few, top->few, top->n_groups * few_bytes);
        lb_free(top->few, top->capacity * few_bytes);
        top->few = few;
        top->groups = groups;
        top->held_bytes += (capacity - top->capacity) * group_bytes(top);
        top->capacity = capacity;
    }
    top->groups[top->n_groups++] =
        (struct group){.bar = UINT64_MAX, .limit = 2 * (uint32_t)top->shared->top};
    return LB_OK;
}

static lb_status find_slots(struct lb_window_top *top, const struct lb_batch *batch,
                            struct lb_sort_writer *writer, struct lb_error *err)
{
    bool must_reset = false;
    if (top->shared->n_partition == 0) {
        memset(top->slots, 0, batch->n_selected * sizeof *top->slots);
    } else {
        LB_TRY(lb_group_keys_find(&top->keys, batch, top->slots, &must_reset, err));
        if (must_reset) {
            LB_TRY(lb_window_top_flush(top, writer, err));
            LB_TRY(lb_group_keys_find(&top->keys, batch, top->slots, &must_reset, err));
        }
    }
    for (uint32_t i = 0; i < batch->n_selected; i++)
        while (top->n_groups <= top->slots[i])
            LB_TRY(add_group(top, err));
    return LB_OK;
}

/* Whether the rows of another batch may be held. */
static bool has_room(struct lb_window_top *top)
{
    size_t bytes = top->held_bytes + STEP_BYTES;
    if (top->shared->n_partition > 0)
        bytes += lb_group_keys_next_bytes(&top->keys) +
                 lb_group_records_next_bytes(&top->records, top->keys.n_groups + LB_BATCH_ROWS);
    if (bytes > top->shared->top_bytes)
        return false;
    if (bytes <= top->reserved)
        return true;
    if (!lb_budget_reserve(top->budget, bytes + STEP_BYTES - top->reserved))
        return false;
    top->reserved = bytes + STEP_BYTES;
    return true;
}

lb_status lb_window_top_choose(struct lb_window_top *top, const struct lb_batch *batch,
                               struct lb_sort_writer *writer, const uint32_t **wanted, uint32_t *n,
                               struct lb_error *err)
{
    if (top->n_groups > 0 && !has_room(top))
        LB_TRY(lb_window_top_flush(top, writer, err));
    LB_TRY(find_slots(top, batch, writer, err));
    LB_TRY(find_words(top, batch, err));
    *wanted = top->wanted;
    *n = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        if (i + AHEAD < batch->n_selected)
            __builtin_prefetch(&top->groups[top->slots[i + AHEAD]]);
        top->wanted[*n] = i;
        bool is_wanted = top->words[i] <= top->groups[top->slots[i]].bar;
        *n += is_wanted;
        if (is_wanted && top->is_few)
            __builtin_prefetch(rows_of(top, &top->groups[top->slots[i]]), 1);
    }
    return LB_OK;
}

/* Holds a row, in the memory of `old` if that fits; old, which may be NULL, is gone then. */
static lb_status hold_row(struct lb_window_top *top, const struct lb_window_row *row,
                          struct held *old, struct held **out, struct lb_error *err)
{
    size_t bytes = sizeof(struct held) + (size_t)row->key_size + row->payload_size;
    struct held *held = old;
    if (old == NULL || row_bytes(old) != bytes) {
        held = lb_alloc(bytes);
        if (held == NULL)
            return lb_error_memory(err, "the first rows of a partition", bytes);
        top->held_bytes += bytes;
        if (old != NULL)
            drop_row(top, old);
    }
    *held = (struct held){.sequence = row->sequence,
                          .key_size = row->key_size,
                          .group_size = row->group_size,
                          .payload_size = row->payload_size,
                          .partition = row->partition};
    if (row->key_size > 0)
        memcpy(held->bytes, row->key, row->key_size);
    if (row->payload_size > 0)
        memcpy(held->bytes + row->key_size, row->payload, row->payload_size);
    *out = held;
    return LB_OK;
}

/* Puts a row that is before the bar among those kept in order. */
static lb_status keep_few(struct lb_window_top *top, struct group *group, uint64_t word,
                          const struct lb_window_row *row, struct lb_error *err)
{
    uint32_t k = (uint32_t)top->shared->top;
    struct candidate *rows = rows_of(top, group);
    struct candidate kept = {.word = word};
    uint32_t n = group->n < k ? group->n : k - 1; /* that stay */
    LB_TRY(hold_row(top, row, n < group->n ? rows[n].row : NULL, &kept.row, err));
    for (; n > 0 && compare(&rows[n - 1], &kept) > 0; n--)
        rows[n] = rows[n - 1];
    rows[n] = kept;
    if (group->n < k)
        group->n++;
    if (group->n == k) {
        group->bar = rows[k - 1].word;
        group->has_bar = true;
    }
    return LB_OK;
}

void lb_window_top_call(const struct lb_window_top *top, uint32_t place)
{
    const struct group *group = &top->groups[top->slots[place]];
    if (!top->is_few || !group->has_bar)
        return;
    const char *row = (const char *)rows_of(top, group)[top->shared->top - 1].row;
    __builtin_prefetch(row, 1);
    __builtin_prefetch(row + sizeof(struct held), 1);
}

lb_status lb_window_top_keep(struct lb_window_top *top, uint32_t place,
                             const struct lb_window_row *row, struct lb_error *err)
{
    struct group *group = &top->groups[top->slots[place]];
    const char *order = row->key + row->group_size;
    size_t order_size = row->key_size - row->group_size;
    if (top->words[place] > group->bar)
        return LB_OK; /* the bar was set by rows of this batch */
    if (group->has_bar && top->words[place] == group->bar) {
        const struct held *bar = rows_of(top, group)[top->shared->top - 1].row;
        int compared = lb_key_compare(order, order_size, bar->bytes + bar->group_size,
                                      bar->key_size - bar->group_size);
        if (compared > 0 || (compared == 0 && !top->shared->ties))
            return LB_OK; /* of equal rows the later one, as a worker's morsels come in order */
    }
    if (top->is_few)
        return keep_few(top, group, top->words[place], row, err);
    if (group->n == group->capacity) {
        uint32_t capacity = group->capacity > 0 ? 2 * group->capacity : FIRST_ROWS;
        struct candidate *rows = lb_realloc(group->rows, group->capacity * sizeof *rows,
                                            (size_t)capacity * sizeof *rows);
        if (rows == NULL)
            return lb_error_memory(err, "the first rows of a partition", capacity * sizeof *rows);
        top->held_bytes += (capacity - group->capacity) * sizeof *rows;
        group->rows = rows;
        group->capacity = capacity;
    }
    struct held *held = NULL;
    LB_TRY(hold_row(top, row, NULL, &held, err));
    group->rows[group->n++] = (struct candidate){top->words[place], held};
    if (group->n >= group->limit)
        cut(top, group);
    return LB_OK;
}

lb_status lb_window_top_flush(struct lb_window_top *top, struct lb_sort_writer *writer,
                              struct lb_error *err)
{
    for (uint32_t i = 0; i < top->n_groups; i++) {
        struct group *group = &top->groups[i];
        cut(top, group);
        for (uint32_t j = 0; j < group->n; j++) {
            const struct held *held = rows_of(top, group)[j].row;
            struct lb_window_row row = {
                .key = held->bytes,
                .payload = held->bytes + held->key_size,
                .key_size = held->key_size,
                .group_size = held->group_size,
                .payload_size = held->payload_size,
                .partition = held->partition,
                .sequence = held->sequence,
            };
            LB_TRY(lb_window_write(writer, &row, err));
        }
        drop_group(top, group);
    }
    free_groups(top);
    top->held_bytes = 0;
    if (top->shared->n_partition > 0) {
        lb_group_keys_reset(&top->keys, KEEP_TABLE_BYTES);
        lb_group_records_reset(&top->records, KEEP_TABLE_BYTES);
    }
    lb_budget_release(top->budget, top->reserved);
    top->reserved = 0;
    return LB_OK;
}
