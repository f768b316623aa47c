/* Pieces: one after the other they give each row of the sorter once, in order, however they are cut; where a group was cut
 * they say so, and the head that goes with each piece is the whole one. Memory must not change the cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "core/algo/sort_pieces.h"
#include "core/base/sys.h"
#include "core/column/key.h"

enum { PARTITIONS = 3, MOST_ROWS = 6000 };

struct row {
    uint32_t partition;
    uint32_t key_size;
    uint64_t sequence;
    char key[24]; /* a letter for the group, dots, then the side: FE head, FF tail */
};

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 20) % n);
}

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    int order = lb_key_compare(a->key, a->key_size, b->key, b->key_size);
    return order != 0 ? order : (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

static struct lb_budget budget;
static struct lb_error err;

static struct lb_sorter *sorter_of(const struct row *rows, size_t n, size_t bytes)
{
    struct lb_sorter *sorter = NULL;
    struct lb_sort_writer *writer = NULL;
    struct lb_sorter_config config = {.n_partitions = PARTITIONS,
                                      .n_ranges = 1,
                                      .split_keys = true,
                                      .has_pieces = true,
                                      .writer_bytes = bytes,
                                      .merge_bytes = bytes,
                                      .n_workers = 1,
                                      .spill = {.dir = "/tmp"},
                                      .budget = &budget};
    budget.limit_bytes = (size_t)1 << 30;
    assert_int_equal(lb_sorter_new(&config, &sorter, &err), LB_OK);
    assert_int_equal(lb_sort_writer_new(sorter, &writer, &err), LB_OK);
    for (size_t i = 0; i < n; i++) {
        struct lb_sort_row *row = NULL;
        assert_int_equal(lb_sort_writer_add(writer, rows[i].partition, rows[i].sequence,
                                            rows[i].key_size, rows[i].key_size - 1, 0, &row, &err),
                         LB_OK);
        memcpy(row->bytes, rows[i].key, rows[i].key_size);
    }
    assert_int_equal(lb_sort_writer_finish(writer, &err), LB_OK);
    assert_int_equal(lb_sorter_prepare(sorter, &err), LB_OK);
    return sorter;
}

static uint32_t asked_pieces;

static lb_status ask(void *context, const char *group, uint32_t group_size, uint32_t *n_pieces,
                     struct lb_error *error)
{
    (void)context, (void)error;
    assert_true(group_size > 0 && group[0] >= 'a');
    *n_pieces = group[0] == 'a' ? asked_pieces : 1;
    return LB_OK;
}

/* Reads a piece: rows from *at on must be its rows. */
static void check_piece(const struct lb_sort_pieces *pieces, uint32_t i, const struct row *rows,
                        size_t *at)
{
    struct lb_sort_cursor *cursor = NULL;
    const struct lb_sort_row *row = NULL;
    assert_int_equal(lb_sort_pieces_cursor(pieces, i, &cursor, &err), LB_OK);
    for (;; (*at)++) {
        assert_int_equal(lb_sort_cursor_next(cursor, &row, &err), LB_OK);
        if (row == NULL)
            break;
        assert_int_equal(row->partition, pieces->items[i].partition);
        assert_int_equal(row->sequence, rows[*at].sequence);
        assert_memory_equal(row->bytes, rows[*at].key, rows[*at].key_size);
        lb_sort_cursor_release(cursor);
    }
    lb_sort_cursor_delete(cursor);
}

static void check_head(const struct lb_sort_pieces *pieces, uint32_t i, const struct row *rows,
                       size_t n)
{
    struct lb_sort_cursor *cursor = NULL;
    const struct lb_sort_row *row = NULL;
    const struct lb_sort_piece *piece = &pieces->items[i];
    const struct lb_sort_split *split = &pieces->splits[piece->split];
    size_t n_head = 0, n_read = 0;
    for (size_t k = 0; k < n; k++)
        n_head += rows[k].partition == piece->partition &&
                  rows[k].key_size == split->group_size + 1 &&
                  memcmp(rows[k].key, split->group, split->group_size) == 0 &&
                  (unsigned char)rows[k].key[split->group_size] != 0xFF;
    assert_int_equal(lb_sort_pieces_head(pieces, i, &cursor, &err), LB_OK);
    for (;; n_read++) {
        assert_int_equal(lb_sort_cursor_next(cursor, &row, &err), LB_OK);
        if (row == NULL)
            break;
        assert_memory_equal(row->bytes, split->group, split->group_size);
        assert_int_equal((unsigned char)row->bytes[split->group_size] == 0xFF, piece->turned);
    }
    lb_sort_cursor_delete(cursor);
    if (!piece->turned)
        assert_int_equal(n_read, n_head);
    else
        assert_int_equal(n_read, piece->is_alone ? 0 : 1);
}

static void check_all(const struct lb_sort_pieces *pieces, const struct row *rows, size_t n)
{
    size_t at = 0;
    for (uint32_t i = 0; i < pieces->n; i++) {
        const struct lb_sort_piece *piece = &pieces->items[i];
        assert_int_equal(piece->is_last,
                         i + 1 == pieces->n || pieces->items[i + 1].partition != piece->partition);
        if (piece->begins)
            check_head(pieces, i, rows, n);
        if (piece->turned && !piece->counts) { /* the same part of a head for another tail row */
            struct lb_sort_cursor *cursor = NULL;
            assert_int_equal(lb_sort_pieces_cursor(pieces, i, &cursor, &err), LB_OK);
            lb_sort_cursor_delete(cursor);
            continue;
        }
        check_piece(pieces, i, rows, &at);
        /* The tail of a turned group is in no piece of its own. */
        bool over = piece->turned &&
                    (i + 1 == pieces->n || !pieces->items[i + 1].turned ||
                     !pieces->items[i + 1].counts || pieces->items[i + 1].split != piece->split);
        const struct lb_sort_split *split = &pieces->splits[piece->split];
        while (over && at < n && rows[at].partition == piece->partition &&
               rows[at].key_size == split->group_size + 1 &&
               memcmp(rows[at].key, split->group, split->group_size) == 0)
            at++;
    }
    assert_int_equal(at, n);
}

static size_t random_rows(struct row *rows)
{
    size_t n = random_below(MOST_ROWS);
    uint32_t hot = random_below(100), tail = random_below(5) == 0 ? 1 : random_below(100);
    for (size_t i = 0; i < n; i++) {
        char letter = random_below(100) < hot ? 'a' : (char)('b' + random_below(20));
        uint32_t dots = letter == 'a' ? 0 : random_below(3);
        rows[i].partition = (uint32_t)letter % PARTITIONS;
        rows[i].sequence = i;
        rows[i].key[0] = letter;
        memset(rows[i].key + 1, '.', dots);
        rows[i].key[1 + dots] = '!'; /* so that no group's key begins another's */
        rows[i].key[2 + dots] = (char)(random_below(100) < tail ? 0xFF : 0xFE);
        rows[i].key_size = dots + 3;
    }
    return n;
}

static void give_all_rows_in_order(void **state)
{
    (void)state;
    static struct row rows[MOST_ROWS], shuffled[MOST_ROWS];
    for (int round = 0; round < 40; round++) {
        size_t n = random_rows(rows);
        memcpy(shuffled, rows, n * sizeof *rows);
        qsort(rows, n, sizeof *rows, compare_rows);
        struct lb_sort_pieces_config config = {.between = random_below(4) > 0,
                                               .inside = random_below(4) > 0,
                                               .turned = random_below(2) > 0,
                                               .ask = random_below(3) > 0 ? ask : NULL};
        asked_pieces = random_below(4) == 0 ? LB_SORT_AS_FOUND : random_below(20);
        uint32_t n_pieces = 0;
        for (size_t bytes = 16 << 10; bytes <= 16 << 20; bytes <<= 5) {
            struct lb_sorter *sorter = sorter_of(shuffled, n, bytes);
            struct lb_sort_pieces *pieces = NULL;
            assert_int_equal(lb_sort_pieces_new(sorter, &config, &pieces, &err), LB_OK);
            if (n_pieces > 0)
                assert_int_equal(pieces->n, n_pieces);
            n_pieces = pieces->n;
            if (!config.inside)
                assert_int_equal(pieces->n_splits, 0);
            check_all(pieces, rows, n);
            lb_sort_pieces_delete(pieces);
            lb_sorter_delete(sorter);
        }
    }
}

/* With salt a group of a thousand rows is cut into as many pieces as were asked for. */
static void cut_as_asked(void **state)
{
    (void)state;
    static struct row rows[1000];
    for (size_t i = 0; i < 1000; i++)
        rows[i] = (struct row){.partition = 1,
                               .sequence = i,
                               .key_size = 3,
                               .key = {'a', '!', (char)(i < 10 ? 0xFE : 0xFF)}};
    struct lb_sorter *sorter = sorter_of(rows, 1000, 1 << 20);
    struct lb_sort_pieces *pieces = NULL;
    struct lb_sort_pieces_config config = {.inside = true, .turned = true, .ask = ask};
    asked_pieces = 7;
    assert_int_equal(lb_sort_pieces_new(sorter, &config, &pieces, &err), LB_OK);
    assert_int_equal(pieces->n_splits, 1);
#ifndef LB_TINY /* whose sample has 16 rows */
    assert_int_equal(pieces->splits[0].n_pieces, 7);
#endif
    check_all(pieces, rows, 1000);
    lb_sort_pieces_delete(pieces);
    lb_sorter_delete(sorter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(give_all_rows_in_order),
                                       cmocka_unit_test(cut_as_asked)};
    const char *seed = getenv("LB_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("LB_SEED=%llu\n", (unsigned long long)random_state);
    random_state = random_state * 2654435769u + 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
