/* Packed keys against a naive list of rows: every mix of integers and strings, layouts that widen, numbers shared with others, and
 * memory that runs out. */
#include "../support/support.h"

#include "core/algo/packed_table.h"

static struct lb_error error;
#define OK(call)                                      \
    do {                                              \
        if ((call) != LB_OK)                          \
            fail_msg("%s: %s", #call, error.message); \
    } while (0)

enum { MOST_COLUMNS = 4, MOST_GROUPS = 400, TEXT_BYTES = 16 };

/* A key as values: what is not used is zero. */
struct key {
    int64_t ints[MOST_COLUMNS];
    char texts[MOST_COLUMNS][TEXT_BYTES];
    uint32_t sizes[MOST_COLUMNS];
};

static uint64_t next_random(uint64_t below)
{
    return random_bits() % below;
}

static struct key random_key(uint32_t n, const bool *is_int, uint32_t longest)
{
    static const int64_t edges[] = {0, -1, INT64_MIN, INT64_MAX};
    struct key key;
    memset(&key, 0, sizeof key);
    for (uint32_t c = 0; c < n; c++) {
        if (is_int[c]) {
            key.ints[c] = next_random(4) == 0 ? edges[next_random(4)] : (int64_t)next_random(3);
            continue;
        }
        key.sizes[c] = (uint32_t)next_random(longest + 1);
        for (uint32_t i = 0; i < key.sizes[c]; i++)
            key.texts[c][i] = (char)(next_random(8) == 0 ? 0 : 'a' + (int)next_random(2));
    }
    return key;
}

/* A group's values, as the table has them. */
static struct key unpack(const struct lb_packed_table *table, size_t group)
{
    const uint64_t *words = lb_packed_words(table, group);
    struct key key;
    memset(&key, 0, sizeof key);
    for (uint32_t c = 0; c < table->n_columns; c++) {
        enum lb_packed_kind kind = (enum lb_packed_kind)table->kinds[c];
        if (kind == LB_PACKED_INT)
            key.ints[c] = lb_packed_int(*words);
        else
            key.sizes[c] = lb_packed_string(kind, words, key.texts[c]);
        words += lb_packed_width(kind);
    }
    return key;
}

/* A batch of these keys; every other row is not selected when `select` is set. */
struct made {
    struct lb_batch batch;
    struct lb_column columns[MOST_COLUMNS];
    int64_t ints[MOST_COLUMNS][LB_BATCH_ROWS];
    struct lb_view views[MOST_COLUMNS][LB_BATCH_ROWS];
    uint32_t select[LB_BATCH_ROWS];
};

static void make_batch(struct made *made, const struct key *keys, uint32_t n_rows, uint32_t n,
                       const bool *is_int, bool selects)
{
    memset(made, 0, sizeof *made);
    for (uint32_t c = 0; c < n; c++) {
        made->columns[c].type = is_int[c] ? LB_INT64 : LB_STRING;
        made->columns[c].data =
            is_int[c] ? (const void *)made->ints[c] : (const void *)made->views[c];
        for (uint32_t i = 0; i < n_rows; i++) {
            made->ints[c][i] = keys[i].ints[c];
            lb_view_set(&made->views[c][i], keys[i].texts[c], keys[i].sizes[c]);
        }
    }
    uint32_t n_selected = 0;
    for (uint32_t i = 0; i < n_rows; i++)
        if (!selects || i % 2 == 1)
            made->select[n_selected++] = i;
    made->batch = (struct lb_batch){.n_rows = n_rows,
                                    .n_columns = n,
                                    .n_selected = n_selected,
                                    .select = selects ? made->select : NULL,
                                    .columns = made->columns};
}

/* 0-based columns in the order of the key. */
static const uint32_t in_order[] = {0, 1, 2, 3};

static void round_of_batches(void)
{
    static struct made made;
    static struct key keys[LB_BATCH_ROWS];
    static uint32_t groups[LB_BATCH_ROWS];
    struct key of_group[MOST_GROUPS * 2];
    struct lb_packed_table table;
    struct lb_group_records records;
    bool is_int[MOST_COLUMNS];
    uint32_t n = 1 + (uint32_t)next_random(MOST_COLUMNS);
    size_t n_numbers = 0, n_known = 0;
    uint32_t longest = 7;
    for (uint32_t c = 0; c < n; c++)
        is_int[c] = next_random(2) == 0;
    lb_group_records_init(&records, NULL, 0);
    OK(lb_packed_table_init(&table, &records, &error));
    for (int round = 0; round < 60 && n_numbers < MOST_GROUPS; round++) {
        uint32_t n_rows = 1 + (uint32_t)next_random(LB_BATCH_ROWS < 50 ? LB_BATCH_ROWS : 50);
        if (round == 30)
            longest = 12;
        for (uint32_t i = 0; i < n_rows; i++)
            keys[i] = random_key(n, is_int, longest);
        make_batch(&made, keys, n_rows, n, is_int, next_random(3) == 0);
        if (made.batch.n_selected == 0)
            continue;
        enum lb_packed_result result;
        OK(lb_packed_table_find(&table, &made.batch, in_order, n, &n_numbers, groups, &result,
                                &error));
        if (result == LB_PACKED_WIDER) {
            assert_true(round >= 30 && table.n_groups > 0);
            lb_packed_table_reset(&table, next_random(2) == 0 ? 0 : SIZE_MAX);
            lb_group_records_reset(&records, next_random(2) == 0 ? 0 : SIZE_MAX);
            n_numbers = n_known = 0;
            OK(lb_packed_table_find(&table, &made.batch, in_order, n, &n_numbers, groups, &result,
                                    &error));
        }
        assert_int_equal(result, LB_PACKED_FOUND);
        for (uint32_t i = 0; i < made.batch.n_selected; i++) {
            const struct key *key = &keys[lb_batch_row(&made.batch, i)];
            assert_true(groups[i] < n_numbers);
            if (groups[i] >= n_known) { /* new ones come in order */
                assert_int_equal(groups[i], n_known);
                for (size_t g = 0; g < n_known; g++)
                    assert_true(memcmp(&of_group[g], key, sizeof *key) != 0);
                of_group[n_known++] = *key;
            }
            assert_memory_equal(&of_group[groups[i]], key, sizeof *key);
            struct key found = unpack(&table, groups[i]);
            assert_memory_equal(&found, key, sizeof *key);
        }
        if (next_random(3) == 0 && n_numbers < MOST_GROUPS) { /* somebody else takes a number */
            n_numbers++;
            memset(&of_group[n_known++], 0xff, sizeof *of_group);
        }
    }
    lb_packed_table_fini(&table);
    lb_group_records_fini(&records);
}

static void random_keys(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++)
        round_of_batches();
}

/* Words order as values do. */
static void order_of_words(void **state)
{
    (void)state;
    static struct made made;
    struct key keys[2];
    const bool kinds[] = {true, false};
    for (int i = 0; i < 3000; i++) {
        uint32_t groups[2];
        size_t n_numbers = 0;
        enum lb_packed_result result;
        struct lb_packed_table table;
        struct lb_group_records records;
        bool is_int = kinds[next_random(2)];
        uint32_t longest = next_random(2) == 0 ? 7 : 12;
        keys[0] = random_key(1, &is_int, longest);
        keys[1] = random_key(1, &is_int, longest);
        if (LB_BATCH_ROWS < 2)
            return;
        make_batch(&made, keys, 2, 1, &is_int, false);
        lb_group_records_init(&records, NULL, 0);
        OK(lb_packed_table_init(&table, &records, &error));
        OK(lb_packed_table_find(&table, &made.batch, in_order, 1, &n_numbers, groups, &result,
                                &error));
        const uint64_t *a = lb_packed_words(&table, groups[0]);
        const uint64_t *b = lb_packed_words(&table, groups[1]);
        int words = (a[0] > b[0]) - (a[0] < b[0]);
        if (words == 0 && table.width == 2)
            words = (a[1] > b[1]) - (a[1] < b[1]);
        int values = (keys[0].ints[0] > keys[1].ints[0]) - (keys[0].ints[0] < keys[1].ints[0]);
        if (!is_int) {
            uint32_t x = keys[0].sizes[0], y = keys[1].sizes[0];
            values = memcmp(keys[0].texts[0], keys[1].texts[0], x < y ? x : y);
            values = values != 0 ? (values > 0) - (values < 0) : (x > y) - (x < y);
        }
        assert_int_equal(words, values);
        lb_packed_table_fini(&table);
        lb_group_records_fini(&records);
    }
}

/* Rows as groups of their own, equal keys or not; then the table finds again. */
static void listed_keys(void **state)
{
    (void)state;
    static struct made made;
    static struct key keys[LB_BATCH_ROWS];
    static uint32_t groups[LB_BATCH_ROWS];
    const bool is_int[] = {true, false};
    struct lb_group_records records;
    struct lb_packed_table table;
    lb_group_records_init(&records, NULL, 0);
    OK(lb_packed_table_init(&table, &records, &error));
    for (int round = 0; round < 40; round++) {
        enum lb_packed_result result;
        size_t n_numbers = 0;
        uint32_t n_rows = 1 + (uint32_t)next_random(LB_BATCH_ROWS);
        for (uint32_t i = 0; i < n_rows; i++)
            keys[i] = random_key(2, is_int, 5);
        make_batch(&made, keys, n_rows, 2, is_int, false);
        bool lists = next_random(2) == 0;
        if (lists)
            OK(lb_packed_table_list(&table, &made.batch, in_order, 2, &n_numbers, groups, &result,
                                    &error));
        else
            OK(lb_packed_table_find(&table, &made.batch, in_order, 2, &n_numbers, groups, &result,
                                    &error));
        assert_int_equal(result, LB_PACKED_FOUND);
        assert_int_equal(table.n_groups, n_numbers);
        assert_int_equal(records.n, n_numbers);
        assert_true(!lists || n_numbers == n_rows);
        for (uint32_t i = 0; i < n_rows; i++) {
            struct key found = unpack(&table, groups[i]);
            assert_memory_equal(&found, &keys[i], sizeof found);
            assert_true(!lists || groups[i] == i);
            for (uint32_t k = 0; k < i && !lists; k++)
                assert_int_equal(groups[i] == groups[k],
                                 memcmp(&keys[i], &keys[k], sizeof *keys) == 0);
        }
        lb_packed_table_reset(&table, SIZE_MAX);
        lb_group_records_reset(&records, SIZE_MAX);
    }
    lb_packed_table_fini(&table);
    lb_group_records_fini(&records);
}

/* What cannot be packed is left alone. */
static void other_keys(void **state)
{
    (void)state;
    static struct made made;
    struct lb_packed_table table;
    struct key keys[1];
    const uint64_t valid = 0;
    const bool is_int = false;
    const double number = 1;
    uint32_t group;
    size_t n_numbers = 0;
    enum lb_packed_result result;
    struct lb_group_records records;
    lb_group_records_init(&records, NULL, 0);
    OK(lb_packed_table_init(&table, &records, &error));
    memset(keys, 0, sizeof keys);
    for (int i = 0; i < 4; i++) {
        make_batch(&made, keys, 1, 1, &is_int, false);
        if (i == 0)
            lb_view_set(&made.views[0][0], "a string of more", 16);
        else if (i == 1)
            made.columns[0].valid = &valid;
        else if (i == 2)
            made.columns[0] = (struct lb_column){.type = LB_FLOAT64, .data = &number};
        uint32_t column = i == 3 ? 1 : 0; /* one the record does not have */
        OK(lb_packed_table_find(&table, &made.batch, &column, 1, &n_numbers, &group, &result,
                                &error));
        assert_int_equal(result, LB_PACKED_OTHER);
        assert_int_equal(n_numbers, 0);
    }
    lb_packed_table_fini(&table);
    lb_group_records_fini(&records);
}

int main(void)
{
    random_start("packed");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_keys),
        cmocka_unit_test(order_of_words),
        cmocka_unit_test(listed_keys),
        cmocka_unit_test(other_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
