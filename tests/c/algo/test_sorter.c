/* The sorter against qsort: random rows of several shapes, few and many writers, memory from almost
 * none to plenty; ranges must cover every row once, in order, and must not depend on writers or
 * memory. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/algo/sorter.h"
#include "core/base/sys.h"
#include "core/column/key.h"

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A row as the test knows it. */
struct row {
    uint32_t partition;
    uint32_t key_size;
    uint32_t group_size;
    uint32_t payload_size;
    uint64_t sequence;
    char *bytes; /* key, then payload */
};

enum shape {
    SHAPE_RANDOM_TEXT, /* lines of random letters */
    SHAPE_FEW_KEYS,    /* many equal long keys */
    SHAPE_PREFIXES,    /* keys that are prefixes of each other, with zero bytes */
    SHAPE_LONG_COMMON, /* differences far behind */
    SHAPE_NUMBERS,     /* 9 bytes, equal size */
    SHAPE_MIXED_TAGS,  /* various first bytes, empty keys */
    SHAPE_SORTED,
    SHAPE_GROUPS,  /* group and value part, prefix-free */
    SHAPE_HOSTILE, /* each key a bit longer than the one before */
    N_SHAPES
};

static void make_row(struct row *row, enum shape shape, uint64_t number, uint32_t n_partitions)
{
    char key[2048];
    uint32_t size = 0;
    uint32_t group_size = 0;
    switch (shape) {
    case SHAPE_RANDOM_TEXT:
        key[size++] = 0x50;
        for (uint64_t n = next_random() % 60; n > 0; n--)
            key[size++] = (char)('a' + next_random() % 26);
        break;
    case SHAPE_FEW_KEYS:
        size = 100 + (uint32_t)(next_random() % 3);
        memset(key, 'x', size);
        key[50] = (char)('0' + next_random() % 3);
        break;
    case SHAPE_PREFIXES:
        key[size++] = 0x50;
        for (uint64_t n = next_random() % 30; n > 0; n--)
            key[size++] = (char)(next_random() % 20 == 0);
        break;
    case SHAPE_LONG_COMMON:
        size = 300 + (uint32_t)(next_random() % 4);
        memset(key, 'y', size);
        key[280] = (char)next_random();
        key[299] = (char)(next_random() & 3);
        break;
    case SHAPE_NUMBERS:
        size = 9;
        key[0] = 0x40;
        for (uint32_t i = 1; i < size; i++)
            key[i] = (char)(i < 7 ? 0 : next_random() % 40);
        break;
    case SHAPE_MIXED_TAGS:
        for (uint64_t n = next_random() % 4; n > 0; n--)
            key[size++] = (char)(next_random() % 4 * 0x50);
        break;
    case SHAPE_SORTED:
        size = (uint32_t)sprintf(key, "P%012llu", (unsigned long long)number);
        break;
    case SHAPE_GROUPS:
        for (uint64_t n = next_random() % 3; n > 0; n--)
            key[size++] = (char)('a' + next_random() % 3);
        key[size++] = 0;
        key[size++] = 0;
        group_size = size;
        for (uint64_t n = next_random() % 5; n > 0; n--)
            key[size++] = (char)next_random();
        break;
    default:
        size = (uint32_t)(number * 7919 % 1999);
        memset(key, 'z', size);
        break;
    }
    row->key_size = size;
    row->group_size = shape == SHAPE_GROUPS ? group_size : size;
    row->payload_size = (uint32_t)(next_random() % 40);
    row->partition = 0;
    if (n_partitions > 1) { /* as callers do: a function of the group */
        uint32_t hash = 2166136261u;
        for (uint32_t i = 0; i < row->group_size; i++)
            hash = (hash ^ (unsigned char)key[i]) * 16777619u;
        row->partition = hash % n_partitions;
    }
    row->sequence = number;
    row->bytes = malloc(size + row->payload_size + (size_t)1);
    assert_non_null(row->bytes);
    memcpy(row->bytes, key, size);
    for (uint32_t i = 0; i < row->payload_size; i++)
        row->bytes[size + i] = (char)next_random();
}

static bool compare_descending;

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = *(struct row *const *)left;
    const struct row *b = *(struct row *const *)right;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    int order = lb_key_compare(a->bytes, a->key_size, b->bytes, b->key_size);
    if (order != 0)
        return compare_descending ? -order : order;
    return (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

struct writing {
    struct lb_sorter *sorter;
    struct row *rows;
    size_t n_rows;
    uint32_t worker;
    uint32_t n_workers;
    bool shuffled; /* rows do not come by ascending sequence */
    lb_status status;
};

static void *write_rows(void *argument)
{
    struct writing *writing = argument;
    struct lb_sort_writer *writer;
    static _Thread_local struct lb_error err;
    writing->status = lb_sort_writer_new(writing->sorter, &writer, &err);
    if (writing->status != LB_OK)
        return NULL;
    for (size_t k = 0; k < writing->n_rows; k++) {
        size_t i = writing->shuffled ? (k * 7 + 3) % writing->n_rows : k;
        const struct row *from = &writing->rows[i];
        if (from->sequence / 5 % writing->n_workers != writing->worker)
            continue;
        struct lb_sort_row *row;
        writing->status =
            lb_sort_writer_add(writer, from->partition, from->sequence, from->key_size,
                               from->group_size, from->payload_size, &row, &err);
        if (writing->status != LB_OK) {
            lb_sort_writer_delete(writer);
            return NULL;
        }
        memcpy(row->bytes, from->bytes, (size_t)from->key_size + from->payload_size);
    }
    writing->status = lb_sort_writer_finish(writer, &err);
    return NULL;
}

enum { MAX_RANGES = 300 };

static void check_row(const struct lb_sort_row *row, const struct row *expected)
{
    assert_int_equal(row->sequence, expected->sequence);
    assert_int_equal(row->partition, expected->partition);
    assert_int_equal(row->key_size, expected->key_size);
    assert_int_equal(row->group_size, expected->group_size);
    assert_int_equal(row->payload_size, expected->payload_size);
    assert_memory_equal(row->bytes, expected->bytes,
                        (size_t)expected->key_size + expected->payload_size);
}

/* Sorts the rows and compares; counts[] becomes the rows of each range; returns how many ranges. */
static uint32_t sort_once(struct row *rows, size_t n_rows, struct row **sorted,
                          struct lb_sorter_config *config, uint32_t n_writers, bool shuffled,
                          uint64_t *counts)
{
    struct lb_budget budget;
    static struct lb_error err;
    lb_budget_init(&budget, (size_t)1 << 40);
    config->budget = &budget;
    struct lb_sorter *sorter;
    assert_int_equal(lb_sorter_new(config, &sorter, &err), LB_OK);
    pthread_t threads[8];
    struct writing writing[8];
    for (uint32_t i = 0; i < n_writers; i++) {
        writing[i] = (struct writing){.sorter = sorter,
                                      .rows = rows,
                                      .n_rows = n_rows,
                                      .worker = i,
                                      .n_workers = n_writers,
                                      .shuffled = shuffled};
        assert_int_equal(pthread_create(&threads[i], NULL, write_rows, &writing[i]), 0);
    }
    for (uint32_t i = 0; i < n_writers; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writing[i].status, LB_OK);
    }
    lb_status status = lb_sorter_prepare(sorter, &err);
    if (status != LB_OK)
        print_message("%s\n", err.message);
    assert_int_equal(status, LB_OK);
    assert_int_equal(lb_sorter_n_rows(sorter), n_rows);
    uint32_t n_ranges = lb_sorter_n_ranges(sorter);
    assert_true(n_ranges <= MAX_RANGES);
    size_t at = 0;
    for (uint32_t range = 0; range < n_ranges; range++) {
        struct lb_sort_cursor *cursor;
        assert_int_equal(lb_sort_cursor_new(sorter, range, &cursor, &err), LB_OK);
        counts[range] = 0;
        const struct lb_sort_row *held[7]; /* handed out since the last release, and one before */
        const struct row *held_expected[7];
        size_t n_held = 0;
        for (;;) {
            const struct lb_sort_row *row;
            assert_int_equal(lb_sort_cursor_next(cursor, &row, &err), LB_OK);
            if (row == NULL)
                break;
            assert_true(at < n_rows);
            held[n_held] = row;
            held_expected[n_held++] = sorted[at];
            check_row(row, sorted[at++]);
            counts[range]++;
            if (n_held == 7) {
                for (size_t i = 0; i < n_held; i++)
                    check_row(held[i], held_expected[i]);
                lb_sort_cursor_release(cursor);
                held[0] = held[6];
                held_expected[0] = held_expected[6];
                n_held = 1;
            }
        }
        for (size_t i = 0; i < n_held; i++)
            check_row(held[i], held_expected[i]);
        lb_sort_cursor_delete(cursor);
    }
    assert_int_equal(at, n_rows);
    lb_sorter_delete(sorter);
    assert_int_equal(atomic_load(&budget.used_bytes), 0);
    return n_ranges;
}

static void check_shape(enum shape shape, size_t n_rows, uint32_t n_partitions, bool descending,
                        bool split_keys)
{
    struct row *rows = calloc(n_rows + 1, sizeof *rows);
    struct row **sorted = calloc(n_rows + 1, sizeof *sorted);
    assert_true(rows != NULL && sorted != NULL);
    for (size_t i = 0; i < n_rows; i++) {
        make_row(&rows[i], shape, i, n_partitions);
        sorted[i] = &rows[i];
    }
    compare_descending = descending;
    qsort(sorted, n_rows, sizeof *sorted, compare_rows);
    static const size_t memories[] = {1, 3000, 20000, 100000, 100000000};
    uint64_t first_counts[MAX_RANGES];
    uint32_t first_n = 0;
    size_t first = n_rows > 10000 ? 2 : 0; /* the least memory would make thousands of runs */
    for (size_t i = first; i < sizeof memories / sizeof *memories; i++) {
        struct lb_sorter_config config = {.n_partitions = n_partitions,
                                          .n_ranges = 5,
                                          .descending = descending,
                                          .split_keys = split_keys,
                                          .writer_bytes = memories[i],
                                          .merge_bytes = memories[4 - i],
                                          .n_workers = 2,
                                          .spill = {.dir = "/tmp"}};
        uint64_t counts[MAX_RANGES];
        uint32_t n = sort_once(rows, n_rows, sorted, &config, 1 + (uint32_t)(next_random() % 4),
                               next_random() % 3 == 0 && n_rows % 7 != 0, counts);
        if (i == first) {
            first_n = n;
            memcpy(first_counts, counts, n * sizeof *counts);
        }
        assert_int_equal(n, first_n);
        assert_memory_equal(counts, first_counts, n * sizeof *counts);
    }
    for (size_t i = 0; i < n_rows; i++)
        free(rows[i].bytes);
    free(rows);
    free(sorted);
}

#ifdef __SANITIZE_THREAD__
enum { MANY = 200 };
#elif defined LB_TINY
enum { MANY = 800 }; /* two-way merges of small runs, each with a file of its own, are slow */
#else
enum { MANY = 1500 };
#endif

static void test_shapes(void **state)
{
    (void)state;
    for (enum shape shape = 0; shape < N_SHAPES; shape++) {
        check_shape(shape, 0, 1, false, false);
        check_shape(shape, 1, 7, false, false);
        check_shape(shape, MANY, 1, false, false);
        check_shape(shape, MANY + 1, 1, true, true);
        check_shape(shape, MANY - 1, 1, false, true);
        check_shape(shape, MANY / 2, 1, true, false);
        check_shape(shape, MANY, 13, shape % 2 == 0, false);
        check_shape(shape, MANY / 3, 200, false, false);
    }
}

#ifndef LB_TINY
static void test_many_rows(void **state)
{
    (void)state;
    for (enum shape shape = 0; shape < SHAPE_HOSTILE; shape++)
        check_shape(shape, 30000, shape % 2 == 0 ? 1 : 31, shape % 3 == 0, shape % 4 == 0);
}
#endif

/* Without split_keys all rows of a group are in one range; with it even one key is split. */
static void test_groups_stay_whole(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct lb_budget budget;
    static struct lb_error err;
    lb_budget_init(&budget, (size_t)1 << 40);
    for (int split = 0; split < 2; split++) {
        struct lb_sorter_config config = {.n_partitions = 1,
                                          .n_ranges = 4,
                                          .split_keys = split != 0,
                                          .writer_bytes = 50000,
                                          .merge_bytes = 100000,
                                          .n_workers = 1,
                                          .spill = {.dir = "/tmp"},
                                          .budget = &budget};
        struct lb_sorter *sorter;
        struct lb_sort_writer *writer;
        assert_int_equal(lb_sorter_new(&config, &sorter, &err), LB_OK);
        assert_int_equal(lb_sort_writer_new(sorter, &writer, &err), LB_OK);
        for (uint64_t i = 0; i < N; i++) {
            struct lb_sort_row *row;
            assert_int_equal(lb_sort_writer_add(writer, 0, i, 12, 4, 0, &row, &err), LB_OK);
            memcpy(row->bytes, "same", 4);
            memcpy(row->bytes + 4, &i, 8);
        }
        assert_int_equal(lb_sort_writer_finish(writer, &err), LB_OK);
        assert_int_equal(lb_sorter_prepare(sorter, &err), LB_OK);
        assert_true(lb_sorter_spilled_bytes(sorter) > 0);
        uint32_t n_full = 0;
        for (uint32_t range = 0; range < lb_sorter_n_ranges(sorter); range++) {
            struct lb_sort_cursor *cursor;
            const struct lb_sort_row *row;
            assert_int_equal(lb_sort_cursor_new(sorter, range, &cursor, &err), LB_OK);
            assert_int_equal(lb_sort_cursor_next(cursor, &row, &err), LB_OK);
            n_full += row != NULL;
            lb_sort_cursor_delete(cursor);
        }
        assert_int_equal(n_full, split ? 4 : 1);
        lb_sorter_delete(sorter);
    }
    assert_int_equal(atomic_load(&budget.used_bytes), 0);
}

/* A row larger than everything, between small ones. */
static void test_large_row(void **state)
{
    (void)state;
    enum { N = 300 };
    struct row rows[N];
    struct row *sorted[N];
    compare_descending = false;
    for (uint64_t i = 0; i < N; i++) {
        make_row(&rows[i], SHAPE_RANDOM_TEXT, i, 1);
        sorted[i] = &rows[i];
    }
    for (int i = 100; i < 120; i += 7) {
        free(rows[i].bytes);
        rows[i].key_size = rows[i].group_size = 3000000;
        rows[i].payload_size = 1000001;
        rows[i].bytes = calloc(4000001, 1);
        assert_non_null(rows[i].bytes);
        rows[i].bytes[0] = 0x50;
    }
    qsort(sorted, N, sizeof *sorted, compare_rows);
    uint64_t counts[MAX_RANGES];
    for (size_t memory = 100; memory < 10000000; memory *= 100) {
        struct lb_sorter_config config = {.n_partitions = 1,
                                          .n_ranges = 3,
                                          .writer_bytes = memory,
                                          .merge_bytes = memory,
                                          .n_workers = 2,
                                          .spill = {.dir = "/tmp"}};
        sort_once(rows, N, sorted, &config, 2, false, counts);
    }
    for (size_t i = 0; i < N; i++)
        free(rows[i].bytes);
}

static void test_refusals(void **state)
{
    (void)state;
    struct lb_budget budget;
    static struct lb_error err;
    lb_budget_init(&budget, 1000); /* the budget refuses, the least is taken all the same */
    struct lb_sorter_config config = {.n_partitions = 3,
                                      .writer_bytes = 100000,
                                      .merge_bytes = 1000,
                                      .n_workers = 1,
                                      .spill = {.dir = "/tmp"},
                                      .budget = &budget};
    struct lb_sorter *sorter;
    struct lb_sort_writer *writer;
    struct lb_sort_row *row;
    assert_int_equal(lb_sorter_new(&config, &sorter, &err), LB_OK);
    assert_int_equal(lb_sort_writer_new(sorter, &writer, &err), LB_OK);
    assert_int_equal(lb_sort_writer_add(writer, 0, 1, UINT32_MAX - 1, 0, 17, &row, &err),
                     LB_ERR_RESOURCE);
    for (uint32_t i = 0; i < 10000; i++) {
        assert_int_equal(lb_sort_writer_add(writer, i % 3, i, 4, 4, 0, &row, &err), LB_OK);
        memcpy(row->bytes, &i, 4);
    }
    assert_true(atomic_load(&budget.used_bytes) < 100000);
    lb_sort_writer_delete(writer); /* given up: rows and runs are gone */
    assert_int_equal(lb_sorter_prepare(sorter, &err), LB_OK);
    assert_int_equal(lb_sorter_n_rows(sorter), 0);
    assert_int_equal(lb_sorter_n_ranges(sorter), 3);
    lb_sorter_delete(sorter);
    assert_int_equal(atomic_load(&budget.used_bytes), 0);
}

static void test_stop(void **state)
{
    (void)state;
    struct lb_budget budget;
    static struct lb_error err;
    _Atomic int stop = 0;
    lb_budget_init(&budget, (size_t)1 << 40);
    struct lb_sorter_config config = {.n_partitions = 1,
                                      .n_ranges = 3,
                                      .writer_bytes = 1000000,
                                      .merge_bytes = 1000000,
                                      .n_workers = 1,
                                      .spill = {.dir = "/tmp"},
                                      .budget = &budget,
                                      .stop = &stop};
    struct lb_sorter *sorter;
    struct lb_sort_writer *writer;
    struct lb_sort_cursor *cursor;
    struct lb_sort_row *row;
    const struct lb_sort_row *out;
    assert_int_equal(lb_sorter_new(&config, &sorter, &err), LB_OK);
    assert_int_equal(lb_sort_writer_new(sorter, &writer, &err), LB_OK);
    for (uint32_t i = 0; i < 100000; i++) {
        assert_int_equal(lb_sort_writer_add(writer, 0, i, 4, 4, 0, &row, &err), LB_OK);
        memcpy(row->bytes, &i, 4);
    }
    assert_int_equal(lb_sort_writer_finish(writer, &err), LB_OK);
    assert_int_equal(lb_sorter_prepare(sorter, &err), LB_OK);
    assert_int_equal(lb_sort_cursor_new(sorter, 0, &cursor, &err), LB_OK);
    assert_int_equal(lb_sort_cursor_next(cursor, &out, &err), LB_OK);
    assert_int_equal(lb_sort_writer_new(sorter, &writer, &err), LB_OK);
    atomic_store(&stop, 1);
    lb_status status = LB_OK;
    for (uint32_t i = 0; i < 10000 && status == LB_OK; i++)
        status = lb_sort_cursor_next(cursor, &out, &err);
    assert_int_equal(status, LB_ERR_CANCELLED);
    status = LB_OK;
    for (uint32_t i = 0; i < 100000 && status == LB_OK; i++) {
        status = lb_sort_writer_add(writer, 0, i, 4, 4, 0, &row, &err);
        if (status == LB_OK)
            memset(row->bytes, 0, 4);
    }
    assert_int_equal(status, LB_ERR_CANCELLED);
    lb_sort_writer_delete(writer);
    lb_sort_cursor_delete(cursor);
    lb_sorter_delete(sorter);
    assert_int_equal(atomic_load(&budget.used_bytes), 0);
}

int main(void)
{
    const char *seed = getenv("LB_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : 88172645463325252ULL;
    print_message("LB_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
#ifndef LB_TINY
        cmocka_unit_test(test_many_rows),
#endif
        cmocka_unit_test(test_groups_stay_whole),
        cmocka_unit_test(test_large_row),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
