/* The table of a hash join against a plain walk over all rows: kinds of keys, nils, duplicates, several columns, mixed
 * types, selections; the choice of the index; a budget that does not do. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/algo/join_table.h"
#include "core/base/sys.h"
#include "core/column/key.h"

enum { MORSELS = 5, LONG_KEY = 40 };

static uint64_t random_state;
static struct lb_error err;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Kinds of key columns. */
enum kind { SMALL_INTS, FAR_INTS, NUMBERS, SHORT_STRINGS, LONG_STRINGS, MIXED, NILS, N_KINDS };

static lb_status put_key(struct lb_builder *b, enum kind kind)
{
    uint64_t n = next_random() % 50;
    char text[LONG_KEY + 32];
    int size = 0;
    if (next_random() % 7 == 0)
        return lb_builder_null(b, &err);
    switch (kind) {
    case SMALL_INTS:
        return lb_builder_int(b, (int64_t)n - 20, &err);
    case FAR_INTS:
        return lb_builder_int(b, (int64_t)(n - 25) * 1000000007 * 1000000009, &err);
    case NUMBERS:
        if (n == 7)
            return lb_builder_float(b, NAN, &err);
        return n % 2 ? lb_builder_int(b, (int64_t)n, &err)
                     : lb_builder_float(b, (double)n / 2, &err);
    case SHORT_STRINGS:
        size = snprintf(text, sizeof text, "%s%llu", n == 0 ? "" : "k", (unsigned long long)n);
        return lb_builder_string(b, text, (size_t)size, &err);
    case LONG_STRINGS:
        size = snprintf(text, sizeof text, "%0*llu", LONG_KEY, (unsigned long long)n);
        return lb_builder_string(b, text, (size_t)size, &err);
    case MIXED:
        return put_key(b, (enum kind)(next_random() % MIXED));
    default:
        return lb_builder_null(b, &err);
    }
}

/* A batch of two key columns and the row's number. */
static void fill(struct lb_batch_builder *builder, const enum kind kinds[2], uint32_t n,
                 int64_t first)
{
    struct lb_builder *column = NULL;
    lb_batch_builder_reset(builder);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t c = 0; c < 2; c++) {
            assert_int_equal(lb_batch_builder_column(builder, c, &column, &err), LB_OK);
            assert_int_equal(put_key(column, kinds[c]), LB_OK);
        }
        assert_int_equal(lb_batch_builder_column(builder, 2, &column, &err), LB_OK);
        assert_int_equal(lb_builder_int(column, first + i, &err), LB_OK);
        assert_int_equal(lb_batch_builder_end_row(builder, i, &err), LB_OK);
    }
}

/* The sort keys of n columns of a row; false: one is nil. */
static bool key_of(struct lb_buf *out, const struct lb_column *columns, uint32_t n, uint32_t row)
{
    out->size = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!lb_column_is_valid(&columns[i], row))
            return false;
        assert_int_equal(lb_key_put_column(out, &columns[i], row, true, &err), LB_OK);
    }
    return true;
}

static bool same(const struct lb_buf *a, const struct lb_buf *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* All pieces of a build side; morsels arrive out of order. */
static struct lb_join_rows **make_pieces(const enum kind kinds[2], uint32_t batches,
                                         size_t *n_pieces, size_t *bytes)
{
    struct lb_join_rows **pieces = lb_alloc(MORSELS * sizeof *pieces);
    struct lb_join_collector collector;
    struct lb_batch_builder builder;
    *n_pieces = MORSELS;
    *bytes = 0;
    lb_batch_builder_init(&builder);
    assert_int_equal(lb_join_collector_init(&collector, 3, &err), LB_OK);
    for (uint64_t m = 0; m < MORSELS; m++) {
        uint64_t morsel = MORSELS - 1 - m;
        uint32_t n = LB_BATCH_ROWS / 2 < 500 ? LB_BATCH_ROWS / 2 : 500;
        for (uint32_t b = 0; b < batches; b++) {
            fill(&builder, kinds, n, (int64_t)((morsel * batches + b) * n));
            assert_int_equal(
                lb_join_collector_add(&collector, lb_batch_builder_finish(&builder, NULL), &err),
                LB_OK);
        }
        assert_int_equal(lb_join_collector_take(&collector, morsel, 0, &pieces[m], &err), LB_OK);
        *bytes += pieces[m]->bytes;
    }
    lb_join_collector_fini(&collector);
    lb_batch_builder_fini(&builder);
    return pieces;
}

static void check(const enum kind kinds[2], const enum kind probe_kinds[2], uint32_t n_keys,
                  uint32_t batches)
{
    static const uint32_t keys[] = {0, 1};
    struct lb_budget budget;
    struct lb_join_table *table = NULL;
    size_t n_pieces = 0, bytes = 0;
    bool fits = false;
    lb_budget_init(&budget, 64 << 20);
    struct lb_join_rows **pieces = make_pieces(kinds, batches, &n_pieces, &bytes);
    assert_true(lb_budget_reserve(&budget, bytes));
    assert_int_equal(lb_join_table_new(3, keys, n_keys, &budget, &table, &err), LB_OK);
    assert_int_equal(lb_join_table_build(table, pieces, n_pieces, bytes, &fits, &err), LB_OK);
    assert_true(fits);
    for (uint32_t i = 0; i < lb_join_table_n_blocks(table); i++)
        assert_int_equal(lb_join_table_hash(table, i, &err), LB_OK);
    lb_join_table_lay_out(table);
    for (uint32_t i = lb_join_table_n_parts(table); i-- > 0;)
        lb_join_table_insert(table, i);
    /* Rows are in input order. */
    const int64_t *numbers = table->columns[2].data;
    for (uint32_t i = 0; i < table->n_rows; i++)
        assert_int_equal(numbers[i], i);

    struct lb_column columns[2];
    for (uint32_t i = 0; i < 2; i++)
        columns[i] = (struct lb_column){.type = table->columns[i].type,
                                        .valid = table->columns[i].valid,
                                        .data = table->columns[i].data};
    struct lb_join_probe *probe = lb_alloc_zero(sizeof *probe);
    struct lb_batch_builder builder;
    struct lb_buf wanted = {0}, found = {0};
    uint32_t first[LB_BATCH_ROWS], select[LB_BATCH_ROWS];
    lb_batch_builder_init(&builder);
    for (int round = 0; round < 4; round++) {
        fill(&builder, probe_kinds, LB_BATCH_ROWS < 100 ? LB_BATCH_ROWS : 100, 0);
        struct lb_batch batch = *lb_batch_builder_finish(&builder, NULL);
        if (round % 2 == 1) { /* every other row */
            batch.n_selected = 0;
            for (uint32_t i = 0; i < batch.n_rows; i += 2)
                select[batch.n_selected++] = i;
            batch.select = select;
        }
        assert_int_equal(lb_join_table_find(table, probe, &batch, keys, first, &err), LB_OK);
        for (uint32_t i = 0; i < batch.n_selected; i++) {
            bool has_key = key_of(&wanted, batch.columns, n_keys, lb_batch_row(&batch, i));
            uint32_t match = first[i];
            for (uint32_t r = 0; r < table->n_rows; r++) {
                if (!has_key || !key_of(&found, columns, n_keys, r) || !same(&wanted, &found))
                    continue;
                assert_int_equal(match, r + 1);
                match = table->next[r];
            }
            assert_int_equal(match, 0);
        }
    }
    lb_buf_fini(&wanted);
    lb_buf_fini(&found);
    lb_batch_builder_fini(&builder);
    lb_join_probe_fini(probe);
    lb_free(probe, sizeof *probe);
    lb_join_table_delete(table);
    assert_int_equal(budget.used_bytes, 0);
}

static void test_kinds(void **state)
{
    (void)state;
    for (int build = 0; build < N_KINDS; build++) {
        for (int probe = 0; probe < N_KINDS; probe++) {
            const enum kind kinds[] = {(enum kind)build, SHORT_STRINGS};
            const enum kind probe_kinds[] = {(enum kind)probe, SHORT_STRINGS};
            check(kinds, probe_kinds, 1, 1);
        }
        const enum kind both[] = {(enum kind)build, SMALL_INTS};
        check(both, both, 2, 2);
    }
}

static void test_empty(void **state)
{
    (void)state;
    const enum kind kinds[] = {SMALL_INTS, SMALL_INTS};
    check(kinds, kinds, 1, 0);
    check(kinds, kinds, 2, 0);
}

/* Enough rows for several parts and blocks. */
static void test_parts(void **state)
{
    (void)state;
    static const uint32_t keys[] = {0};
    enum { ROWS = 300000 };
    for (int far = 0; far < 3; far++) {
        struct lb_budget budget;
        struct lb_join_table *table = NULL;
        struct lb_join_collector collector;
        struct lb_join_rows **pieces = lb_alloc(sizeof *pieces);
        struct lb_batch_builder builder;
        struct lb_builder *column = NULL;
        bool fits = false;
        lb_budget_init(&budget, 256 << 20);
        lb_batch_builder_init(&builder);
        assert_int_equal(lb_join_collector_init(&collector, 1, &err), LB_OK);
        for (int64_t i = 0; i < ROWS; i++) {
            char text[32];
            int size = snprintf(text, sizeof text, "key number %lld", (long long)i);
            assert_int_equal(lb_batch_builder_column(&builder, 0, &column, &err), LB_OK);
            assert_int_equal(far == 2 ? lb_builder_string(column, text, (size_t)size, &err)
                                      : lb_builder_int(column, far == 1 ? i * i * 77777 : i, &err),
                             LB_OK);
            assert_int_equal(lb_batch_builder_end_row(&builder, 0, &err), LB_OK);
            if (!lb_batch_builder_is_full(&builder) && i + 1 < ROWS)
                continue;
            assert_int_equal(
                lb_join_collector_add(&collector, lb_batch_builder_finish(&builder, NULL), &err),
                LB_OK);
            lb_batch_builder_reset(&builder);
        }
        assert_int_equal(lb_join_collector_take(&collector, 0, 0, &pieces[0], &err), LB_OK);
        size_t bytes = pieces[0]->bytes;
        assert_true(lb_budget_reserve(&budget, bytes));
        assert_int_equal(lb_join_table_new(1, keys, 1, &budget, &table, &err), LB_OK);
        assert_int_equal(lb_join_table_build(table, pieces, 1, bytes, &fits, &err), LB_OK);
        assert_true(fits);
        assert_true(lb_join_table_n_parts(table) > 1);
        assert_int_equal(table->kind, far == 0   ? LB_JOIN_DENSE
                                      : far == 1 ? LB_JOIN_INTEGER
                                                 : LB_JOIN_BYTES);
        for (uint32_t i = 0; i < lb_join_table_n_blocks(table); i++)
            assert_int_equal(lb_join_table_hash(table, i, &err), LB_OK);
        lb_join_table_lay_out(table);
        for (uint32_t i = 0; i < lb_join_table_n_parts(table); i++)
            lb_join_table_insert(table, i);
        assert_false(table->has_duplicates);
        /* Each row finds itself. */
        struct lb_join_probe *probe = lb_alloc_zero(sizeof *probe);
        uint32_t first[LB_BATCH_ROWS];
        const size_t width = lb_join_width(table->columns[0].type);
        for (uint32_t at = 0; at < ROWS; at += LB_BATCH_ROWS) {
            uint32_t n = ROWS - at < LB_BATCH_ROWS ? ROWS - at : LB_BATCH_ROWS;
            struct lb_column one = {.type = table->columns[0].type,
                                    .data = (const char *)table->columns[0].data + at * width};
            struct lb_batch batch = {.n_rows = n, .n_selected = n, .n_columns = 1, .columns = &one};
            assert_int_equal(lb_join_table_find(table, probe, &batch, keys, first, &err), LB_OK);
            for (uint32_t i = 0; i < n; i++)
                assert_int_equal(first[i], at + i + 1);
        }
        lb_join_probe_fini(probe);
        lb_free(probe, sizeof *probe);
        lb_join_table_delete(table);
        lb_join_collector_fini(&collector);
        lb_batch_builder_fini(&builder);
        assert_int_equal(budget.used_bytes, 0);
    }
}

/* A budget without room for the index: the pieces stay the caller's, in order. */
static void test_no_room(void **state)
{
    (void)state;
    static const uint32_t keys[] = {0};
    const enum kind kinds[] = {LONG_STRINGS, SMALL_INTS};
    struct lb_budget budget;
    struct lb_join_table *table = NULL;
    size_t n_pieces = 0, bytes = 0;
    bool fits = true;
    struct lb_join_rows **pieces = make_pieces(kinds, 2, &n_pieces, &bytes);
    lb_budget_init(&budget, bytes + 1);
    assert_true(lb_budget_reserve(&budget, bytes));
    assert_int_equal(lb_join_table_new(3, keys, 1, &budget, &table, &err), LB_OK);
    assert_int_equal(lb_join_table_build(table, pieces, n_pieces, bytes, &fits, &err), LB_OK);
    assert_false(fits);
    lb_join_table_delete(table);
    assert_int_equal(budget.used_bytes, bytes);
    for (size_t i = 0; i < n_pieces; i++) {
        assert_int_equal(pieces[i]->morsel, i);
        lb_join_rows_delete(pieces[i]);
    }
    lb_free(pieces, n_pieces * sizeof *pieces);
}

int main(void)
{
    const char *seed = getenv("LB_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : 88172645463325252ULL;
    random_state |= 1;
    print_message("seed %llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
