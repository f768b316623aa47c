/* Keys against the order computed from decoded values. */
#include "values.h"

#include "core/column/builder.h"
#include "core/column/key.h"

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static struct lb_buf key_of(const struct lb_buf *value, bool closed)
{
    struct lb_buf key = {0};

    MUST(lb_key_put_encoded(&key, value->data, value->size, closed, &failure));
    return key;
}

static void check_pair(const struct lb_buf *a, const struct lb_buf *b, bool closed)
{
    struct lb_buf x = key_of(a, closed);
    struct lb_buf y = key_of(b, closed);
    int expected = sign(compare_values(a->data, b->data));
    int order = sign(lb_key_compare(x.data, x.size, y.data, y.size));

    if (order != expected)
        fail_msg("keys order %d, values %d (tags %c %c)", order, expected, a->data[0], b->data[0]);
    if (expected != 0 && (closed || (a->data[0] != 's' && b->data[0] != 's'))) /* prefix-free */
        assert_int_not_equal(memcmp(x.data, y.data, x.size < y.size ? x.size : y.size), 0);
    lb_buf_fini(&x);
    lb_buf_fini(&y);
}

/* A key decoded and made again is the same key. */
static void check_decode(const struct lb_buf *value, bool closed)
{
    struct lb_buf key = key_of(value, closed), decoded = {0};
    MUST(lb_key_decode(key.data, key.size, closed, &decoded, &failure));
    struct lb_buf again = key_of(&decoded, closed);
    assert_int_equal(key.size, again.size);
    assert_memory_equal(key.data, again.data, key.size);
    if (closed) /* a key that was cut is refused */
        assert_int_equal(lb_key_decode(key.data, key.size - 1, closed, &decoded, &failure),
                         LB_ERR_DATA);
    lb_buf_fini(&key);
    lb_buf_fini(&again);
    lb_buf_fini(&decoded);
}

enum { POOL = 300 };

static void check_pool(void (*put)(struct lb_buf *))
{
    static struct lb_buf pool[POOL];

    for (int i = 0; i < POOL; i++)
        put(&pool[i]);
    for (int i = 0; i < POOL; i++)
        check_decode(&pool[i], i % 2 == 0);
    for (int i = 0; i < POOL; i++)
        for (int k = 0; k < POOL; k++)
            check_pair(&pool[i], &pool[k], (i + k) % 2 != 0);
    for (int i = 0; i < POOL; i++)
        lb_buf_fini(&pool[i]);
}

static void put_any(struct lb_buf *out)
{
    put_random(out, 3);
}

static void put_number(struct lb_buf *out)
{
    if (random_below(2))
        MUST(lb_codec_put_int(out, random_int(), &failure));
    else
        MUST(lb_codec_put_float(out, random_float(), &failure));
}

static void put_text(struct lb_buf *out)
{
    char text[20];
    size_t size = random_text(text, sizeof text);

    MUST(lb_codec_put_string(out, text, size, &failure));
}

static void test_order(void **state)
{
    (void)state;
    random_start("key");
    check_pool(put_any);
    check_pool(put_number);
    check_pool(put_text);
}

/* An integer against the floats and integers around it, over the whole range. */
static void test_close_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        int64_t integer = random_int();
        double close = (double)integer;
        struct lb_buf a = {0};
        struct lb_buf b = {0};

        if (random_below(2))
            close = nextafter(close, random_below(2) ? INFINITY : -INFINITY);
        MUST(lb_codec_put_int(&a, integer, &failure));
        if (random_below(3) > 0)
            MUST(lb_codec_put_float(&b, close, &failure));
        else
            MUST(
                lb_codec_put_int(&b, (int64_t)((uint64_t)integer + random_below(5) - 2), &failure));
        check_pair(&a, &b, false);
        check_pair(&b, &a, false);
        lb_buf_fini(&a);
        lb_buf_fini(&b);
    }
}

/* A composite key (closed parts one after the other) orders as its parts do. */
static void test_composite(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct lb_buf values[4] = {{0}};
        struct lb_buf keys[2] = {{0}};
        int expected;

        for (int k = 0; k < 4; k++)
            put_random(&values[k], 1);
        if (random_below(2)) { /* the same first part */
            values[2].size = 0;
            MUST(lb_buf_append(&values[2], values[0].data, values[0].size, &failure));
        }
        for (int k = 0; k < 4; k++)
            MUST(lb_key_put_encoded(&keys[k / 2], values[k].data, values[k].size, true, &failure));
        expected = compare_values(values[0].data, values[2].data);
        if (expected == 0)
            expected = compare_values(values[1].data, values[3].data);
        assert_int_equal(
            sign(lb_key_compare(keys[0].data, keys[0].size, keys[1].data, keys[1].size)),
            sign(expected));
        for (int k = 0; k < 4; k++)
            lb_buf_fini(&values[k]);
        lb_buf_fini(&keys[0]);
        lb_buf_fini(&keys[1]);
    }
}

/* All ways to a key give the same bytes: from a typed column, from `any`, from an encoded value. */
static void test_columns(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++) {
        struct lb_buf value = {0};
        struct lb_builder typed;
        struct lb_builder any;
        bool closed = random_below(2);

        put_random(&value, 2);
        lb_builder_init(&typed);
        lb_builder_init(&any);
        MUST(lb_builder_encoded(&typed, value.data, value.size, &failure));
        MUST(lb_builder_bool(&any, true, &failure));
        MUST(lb_builder_int(&any, 1, &failure));
        MUST(lb_builder_encoded(&any, value.data, value.size, &failure));

        struct lb_column columns[2] = {lb_builder_finish(&typed), lb_builder_finish(&any)};
        struct lb_buf expected = key_of(&value, closed);

        for (int k = 0; k < 2; k++) {
            struct lb_buf key = {0};

            MUST(lb_key_put_column(&key, &columns[k], k == 0 ? 0 : 2, closed, &failure));
            assert_int_equal(key.size, expected.size);
            assert_memory_equal(key.data, expected.data, key.size);
            lb_buf_fini(&key);
        }
        lb_buf_fini(&expected);
        lb_buf_fini(&value);
        lb_builder_fini(&typed);
        lb_builder_fini(&any);
    }
}

static void test_format(void **state)
{
    struct lb_buf key = {0};
    struct lb_buf value = {0};

    (void)state;
    MUST(lb_codec_put_string(&value, "a\0b", 3, &failure));
    MUST(lb_key_put_encoded(&key, value.data, value.size, false, &failure));
    assert_int_equal(key.size, 4);
    assert_memory_equal(key.data,
                        "\x50"
                        "a\0b",
                        4); /* the open string is itself */
    key.size = 0;
    MUST(lb_key_put_encoded(&key, value.data, value.size, true, &failure));
    assert_int_equal(key.size, 7);
    assert_memory_equal(key.data,
                        "\x50"
                        "a\0\xff"
                        "b\0\0",
                        7);
    key.size = 0;
    MUST(lb_key_put_int(&key, 5, &failure));
    assert_int_equal(key.size, 9);
    MUST(lb_key_put_float(&key, 5.0, &failure));
    assert_int_equal(key.size, 18);
    assert_memory_equal(key.data, key.data + 9, 9);
    lb_buf_fini(&key);
    lb_buf_fini(&value);
}

/* Each cut of a value is an error, never a read beyond it. */
static void test_malformed(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct lb_buf value = {0};
        struct lb_buf key = {0};
        struct lb_error err;

        put_random(&value, 3);
        for (size_t size = 0; size < value.size; size++) {
            char *copy = malloc(size + 1); /* so that asan sees the end */

            memcpy(copy + 1, value.data, size);
            key.size = 0;
            assert_int_equal(lb_key_put_encoded(&key, copy + 1, size, false, &err), LB_ERR_DATA);
            free(copy);
        }
        lb_buf_fini(&value);
        lb_buf_fini(&key);
    }
}

static void test_float_as_int(void **state)
{
    int64_t integer;

    (void)state;
    assert_true(lb_float_as_int(-0.0, &integer) && integer == 0);
    assert_true(lb_float_as_int(-3.0, &integer) && integer == -3);
    assert_true(lb_float_as_int(-0x1p63, &integer) && integer == INT64_MIN);
    assert_false(lb_float_as_int(0x1p63, &integer));
    assert_false(lb_float_as_int(0.5, &integer));
    assert_false(lb_float_as_int((double)NAN, &integer));
    assert_false(lb_float_as_int(INFINITY, &integer));
    assert_false(lb_float_as_int(-INFINITY, &integer));
    assert_false(lb_float_as_int(nextafter(-0x1p63, -INFINITY), &integer));
    for (int i = 0; i < 100000; i++) {
        double value = random_float();

        if (lb_float_as_int(value, &integer))
            assert_int_equal(compare_int_float(integer, value), 0);
        else
            assert_true(isnan(value) || fabs(value) >= 0x1p63 || value != floor(value));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),        cmocka_unit_test(test_close_numbers),
        cmocka_unit_test(test_composite),    cmocka_unit_test(test_columns),
        cmocka_unit_test(test_format),       cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_float_as_int),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
