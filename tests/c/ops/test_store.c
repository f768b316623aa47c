/* Stores: rows come back in morsel order whoever wrote them, from memory or from disk, cut at the limit. */
#include "../support/support.h"

#include "core/column/codec.h"
#include "core/ops/store.h"

static struct lb_error error;
#define OK(call)                                      \
    do {                                              \
        if ((call) != LB_OK)                          \
            fail_msg("%s: %s", #call, error.message); \
    } while (0)

enum { N_MORSELS = 200, N_WRITERS = 3 };

static void write_morsel(struct lb_store_writer *writer, uint64_t morsel, int64_t first, int n)
{
    OK(lb_store_begin(writer, morsel, &error));
    while (n > 0) {
        int64_t values[LB_BATCH_ROWS];
        uint32_t rows = n < LB_BATCH_ROWS ? (uint32_t)n : LB_BATCH_ROWS;
        for (uint32_t i = 0; i < rows; i++)
            values[i] = first++;
        struct lb_column column = {.type = LB_INT64, .ints = values};
        struct lb_batch batch = {
            .n_rows = rows, .n_columns = 1, .n_selected = rows, .columns = &column};
        OK(lb_store_add(writer, &batch, &error));
        n -= (int)rows;
    }
    OK(lb_store_end(writer, &error));
}

/* Reads all and checks that the values are 0, 1, 2 ... and their numbers the same. */
static void check(struct lb_store *store, int64_t n_expected)
{
    struct lb_buf scratch = {0};
    int64_t next = 0;
    for (uint32_t c = 0; c < lb_store_n_chunks(store); c++) {
        const char *cursor = NULL;
        size_t size = 0;
        uint32_t n_rows = 0, n_columns = 0;
        uint64_t first = 0;
        OK(lb_store_read(store, c, &scratch, &cursor, &size, &error));
        lb_store_chunk(store, c, &n_rows, &first);
        assert_int_equal(first, next);
        for (uint32_t r = 0; r < n_rows; r++) {
            struct lb_value value;
            memcpy(&n_columns, cursor, sizeof n_columns);
            assert_int_equal(n_columns, 1);
            cursor += sizeof n_columns;
            lb_codec_next(&cursor, &value);
            assert_int_equal(value.i, next++);
        }
    }
    assert_int_equal(next, n_expected);
    assert_int_equal(lb_store_n_rows(store), n_expected);
    lb_buf_fini(&scratch);
}

static void round_trip(size_t budget_bytes, uint64_t limit, bool spills)
{
    struct lb_budget budget;
    struct lb_store *store = NULL;
    struct lb_store_writer *writers[N_WRITERS];
    int sizes[N_MORSELS], order[N_MORSELS];
    int64_t firsts[N_MORSELS], total = 0;
    for (int i = 0; i < N_MORSELS; i++) {
        sizes[i] = random_below(4) == 0 ? 0 : (int)random_below(5000);
        firsts[i] = total;
        total += sizes[i];
        order[i] = i;
    }
    for (int i = N_MORSELS - 1; i > 0; i--) {
        int j = (int)random_below((uint32_t)i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    lb_budget_init(&budget, budget_bytes);
    OK(lb_store_new(&budget, &(struct lb_spill_place){"/tmp", NULL}, &store, &error));
    for (int i = 0; i < N_WRITERS; i++)
        OK(lb_store_writer_new(store, &writers[i], &error));
    for (int i = 0; i < N_MORSELS; i++)
        write_morsel(writers[random_below(N_WRITERS)], (uint64_t)order[i], firsts[order[i]],
                     sizes[order[i]]);
    assert_int_equal(lb_store_settled_rows(store), total);
    for (int i = 0; i < N_WRITERS; i++)
        lb_store_writer_delete(writers[i]);
    OK(lb_store_seal(store, limit, &error));
    assert_true((lb_store_spilled_bytes(store) > 0) == spills);
    assert_true(budget.used_bytes <= budget_bytes);
    check(store, limit < (uint64_t)total ? (int64_t)limit : total);
    struct lb_store *other = lb_store_ref(store);
    lb_store_unref(store);
    check(other, limit < (uint64_t)total ? (int64_t)limit : total);
    lb_store_unref(other);
    assert_int_equal(budget.used_bytes, 0);
}

static void memory_and_disk(void **state)
{
    (void)state;
    random_start("memory_and_disk");
    round_trip((size_t)1 << 30, UINT64_MAX, false);
    round_trip(100000, UINT64_MAX, true);
    round_trip(1, UINT64_MAX, true);
}

static void limits(void **state)
{
    (void)state;
    random_start("limits");
    round_trip((size_t)1 << 30, 0, false);
    for (int i = 0; i < 5; i++)
        round_trip((size_t)1 << 30, random_below(200000), false);
    round_trip(100000, random_below(200000), true);
}

static void settled_rows_wait_for_earlier_morsels(void **state)
{
    (void)state;
    struct lb_budget budget;
    struct lb_store *store = NULL;
    struct lb_store_writer *writer = NULL;
    lb_budget_init(&budget, 1 << 20);
    OK(lb_store_new(&budget, &(struct lb_spill_place){"/tmp", NULL}, &store, &error));
    OK(lb_store_writer_new(store, &writer, &error));
    write_morsel(writer, 2, 20, 10);
    assert_int_equal(lb_store_settled_rows(store), 0);
    write_morsel(writer, 0, 0, 10);
    assert_int_equal(lb_store_settled_rows(store), 10);
    write_morsel(writer, 1, 10, 10);
    assert_int_equal(lb_store_settled_rows(store), 30);
    lb_store_writer_delete(writer);
    OK(lb_store_seal(store, UINT64_MAX, &error));
    check(store, 30);
    lb_store_unref(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_disk),
        cmocka_unit_test(limits),
        cmocka_unit_test(settled_rows_wait_for_earlier_morsels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
