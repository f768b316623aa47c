/* The group table against a plain list of keys: all types mixed, long and short strings,
 * selections. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/algo/group_table.h"
#include "core/column/builder.h"
#include "core/column/codec.h"
#include "core/column/key.h"

static uint64_t random_state;
static struct lb_error err;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void put_random(struct lb_builder *b, int kind)
{
    char text[64];
    struct lb_buf list = {0};
    size_t mark;
    uint64_t n = next_random() % 400;
    switch (kind) {
    case 0: /* short strings, with zeros at the end */
        assert_int_equal(lb_builder_string(b, "ab\0\0\0\0\0", n % 8, &err), LB_OK);
        break;
    case 1: {
        int size = snprintf(text, sizeof text, "%s%llu", n % 2 ? "a string with a tail " : "k",
                            (unsigned long long)n);
        assert_int_equal(lb_builder_string(b, text, (size_t)size, &err), LB_OK);
        break;
    }
    case 2:
        assert_int_equal(lb_builder_int(b, (int64_t)n - 200, &err), LB_OK);
        break;
    case 3:
        assert_int_equal(lb_builder_float(b, ((double)n - 200) / 2, &err), LB_OK);
        break;
    case 4:
        assert_int_equal(lb_builder_float(b,
                                          n % 3 == 0   ? NAN
                                          : n % 3 == 1 ? -0.0
                                                       : 1e300,
                                          &err),
                         LB_OK);
        break;
    case 5:
        assert_int_equal(lb_builder_bool(b, n % 2, &err), LB_OK);
        break;
    case 6:
        assert_int_equal(lb_builder_null(b, &err), LB_OK);
        break;
    default: /* {n, "x"}, n now and then a float */
        assert_int_equal(lb_codec_begin(&list, 'l', &mark, &err), LB_OK);
        if (n & 1)
            assert_int_equal(lb_codec_put_int(&list, (int64_t)(n & 62), &err), LB_OK);
        else
            assert_int_equal(lb_codec_put_float(&list, (double)(n & 62), &err), LB_OK);
        assert_int_equal(lb_codec_put_string(&list, "x", 1, &err), LB_OK);
        lb_codec_end(&list, mark, 2);
        assert_int_equal(lb_builder_encoded(b, list.data, list.size, &err), LB_OK);
        lb_buf_fini(&list);
    }
}

struct known {
    struct lb_buf key;
    struct lb_buf value; /* the greatest encoding of those seen */
    int64_t count;
};

enum { MAX_KNOWN = 20000 };

static struct known *known_find(struct known *known, size_t *n, const struct lb_buf *key,
                                const struct lb_buf *value)
{
    for (size_t i = 0; i < *n; i++)
        if (lb_key_compare(known[i].key.data, known[i].key.size, key->data, key->size) == 0) {
            if (known[i].value.size == value->size &&
                memcmp(known[i].value.data, value->data, value->size) < 0)
                memcpy(known[i].value.data, value->data, value->size);
            return &known[i];
        }
    assert_true(*n < MAX_KNOWN);
    struct known *added = &known[(*n)++];
    memset(added, 0, sizeof *added);
    assert_int_equal(lb_buf_append(&added->key, key->data, key->size, &err), LB_OK);
    assert_int_equal(lb_buf_append(&added->value, value->data, value->size, &err), LB_OK);
    return added;
}

static void check_table(bool whole_record)
{
    struct lb_group_table table;
    struct known *known = calloc(MAX_KNOWN, sizeof *known);
    size_t n_known = 0;
    assert_non_null(known);
    assert_int_equal(lb_group_table_init(&table, &err), LB_OK);
    struct lb_buf key = {0};
    struct lb_buf value = {0};
    struct lb_group_entry *found[LB_BATCH_ROWS];
    uint32_t select[LB_BATCH_ROWS];
    for (int round = 0; round < 300; round++) {
        struct lb_batch_builder builder;
        lb_batch_builder_init(&builder);
        int kind = (int)(next_random() % 10); /* beyond 7: all mixed */
        uint32_t n = (uint32_t)(next_random() % (LB_BATCH_ROWS < 60 ? LB_BATCH_ROWS : 60));
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t c = 0; c < (whole_record ? 2u : 1u); c++) {
                struct lb_builder *column;
                assert_int_equal(lb_batch_builder_column(&builder, c, &column, &err), LB_OK);
                put_random(column, kind > 7 ? (int)(next_random() % 8) : c == 0 ? kind : 5);
            }
            assert_int_equal(lb_batch_builder_end_row(&builder, i, &err), LB_OK);
        }
        struct lb_batch batch = *lb_batch_builder_finish(&builder, NULL);
        if (n > 0 && next_random() % 2) {
            batch.n_selected = 0;
            batch.select = select;
            for (uint32_t i = 0; i < n; i++)
                if (next_random() % 2)
                    select[batch.n_selected++] = i;
        }
        if (n > 0) {
            size_t next_bytes = lb_group_table_next_bytes(&table);
            assert_true(next_bytes >= lb_group_table_bytes(&table));
            assert_int_equal(lb_group_table_find(&table, &batch, whole_record, found, &err), LB_OK);
        }
        for (uint32_t i = 0; i < batch.n_selected && n > 0; i++) {
            key.size = value.size = 0;
            uint32_t row = lb_batch_row(&batch, i);
            if (whole_record) {
                size_t mark;
                assert_int_equal(lb_codec_begin(&value, 'l', &mark, &err), LB_OK);
                for (uint32_t c = 0; c < batch.n_columns; c++)
                    assert_int_equal(lb_codec_put_column(&value, &batch.columns[c], row, &err),
                                     LB_OK);
                lb_codec_end(&value, mark, batch.n_columns);
                assert_int_equal(lb_key_put_encoded(&key, value.data, value.size, false, &err),
                                 LB_OK);
            } else {
                assert_int_equal(lb_codec_put_column(&value, &batch.columns[0], row, &err), LB_OK);
                assert_int_equal(lb_key_put_column(&key, &batch.columns[0], row, false, &err),
                                 LB_OK);
            }
            known_find(known, &n_known, &key, &value)->count++;
            found[i]->state++;
            assert_true(found[i]->kind != LB_KIND_EMPTY);
        }
        lb_batch_builder_fini(&builder);
    }
    assert_int_equal(table.n_entries, n_known);
    size_t n_seen = 0;
    for (size_t i = 0; i < table.n_slots; i++) {
        const struct lb_group_entry *entry = &table.entries[i];
        if (entry->kind == LB_KIND_EMPTY)
            continue;
        key.size = value.size = 0;
        assert_int_equal(lb_group_entry_key(entry, &key, &value, &err), LB_OK);
        size_t before = n_known;
        struct known *expected = known_find(known, &n_known, &key, &value);
        assert_int_equal(n_known, before);
        assert_int_equal(entry->state, expected->count);
        assert_int_equal(value.size, expected->value.size);
        assert_memory_equal(value.data, expected->value.data, value.size);
        n_seen++;
    }
    assert_int_equal(n_seen, n_known);
    lb_group_table_reset(&table, 0);
    assert_int_equal(table.n_entries, 0);
    for (size_t i = 0; i < table.n_slots; i++)
        assert_int_equal(table.entries[i].kind, LB_KIND_EMPTY);
    lb_group_table_fini(&table);
    for (size_t i = 0; i < n_known; i++) {
        lb_buf_fini(&known[i].key);
        lb_buf_fini(&known[i].value);
    }
    lb_buf_fini(&key);
    lb_buf_fini(&value);
    free(known);
}

static void test_values(void **state)
{
    (void)state;
    check_table(false);
}

static void test_records(void **state)
{
    (void)state;
    check_table(true);
}

/* Enough keys to grow several times. */
static void test_growth(void **state)
{
    (void)state;
    enum { KEYS = 50000 };
    struct lb_group_table table;
    assert_int_equal(lb_group_table_init(&table, &err), LB_OK);
    struct lb_group_entry *found[LB_BATCH_ROWS];
    static int64_t ints[LB_BATCH_ROWS];
    struct lb_column column = {.type = LB_INT64, .ints = ints};
    int64_t next = 0;
    while (next < 3 * KEYS) {
        uint32_t n = 0;
        for (; n < LB_BATCH_ROWS && next < 3 * KEYS; n++, next++)
            ints[n] = next % KEYS * 4096;
        struct lb_batch batch = {.n_rows = n, .n_columns = 1, .n_selected = n, .columns = &column};
        assert_int_equal(lb_group_table_find(&table, &batch, true, found, &err), LB_OK);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(found[i]->a, (uint64_t)ints[i]);
            found[i]->state++;
        }
    }
    assert_int_equal(table.n_entries, KEYS);
    for (size_t i = 0; i < table.n_slots; i++)
        if (table.entries[i].kind != LB_KIND_EMPTY)
            assert_int_equal(table.entries[i].state, 3);
    lb_group_table_fini(&table);
}

int main(void)
{
    const char *seed = getenv("LB_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : 88172645463325252ULL;
    print_message("LB_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
