/* The codec: round trips, every truncation, random damage, every failing allocation. */
#include "values.h"

/* Decodes one value with the checked reader and encodes it again. */
static void copy_value(const char **cursor, const char *end, struct lb_buf *out)
{
    struct lb_value value;
    struct lb_value trusted;
    const char *start = *cursor;
    const char *again = start;
    const char *element;
    size_t mark;

    MUST(lb_codec_get(cursor, end, &value, &failure));
    lb_codec_next(&again, &trusted);
    assert_ptr_equal(again, *cursor);
    assert_int_equal(trusted.tag, value.tag);
    assert_int_equal(lb_codec_size(start), *cursor - start);
    switch (value.tag) {
    case 'n':
        MUST(lb_codec_put_nil(out, &failure));
        break;
    case 'f':
    case 't':
        MUST(lb_codec_put_bool(out, value.tag == 't', &failure));
        break;
    case 'i':
        assert_true(value.i == trusted.i);
        MUST(lb_codec_put_int(out, value.i, &failure));
        break;
    case 'd':
        MUST(lb_codec_put_float(out, value.d, &failure));
        break;
    case 's':
        MUST(lb_codec_put_string(out, value.data, value.size, &failure));
        break;
    default:
        MUST(lb_codec_begin(out, value.tag, &mark, &failure));
        element = value.data;
        for (uint32_t i = 0; i < value.count * (value.tag == 'm' ? 2 : 1); i++)
            copy_value(&element, value.data + value.size, out);
        assert_ptr_equal(element, value.data + value.size);
        lb_codec_end(out, mark, value.count);
        break;
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    random_start("codec");
    for (int i = 0; i < 20000; i++) {
        struct lb_buf value = {0};
        struct lb_buf copy = {0};
        const char *cursor;

        put_random(&value, 4);
        MUST(lb_codec_verify(value.data, value.size, &failure));
        cursor = value.data;
        copy_value(&cursor, value.data + value.size, &copy);
        assert_ptr_equal(cursor, value.data + value.size);
        assert_int_equal(copy.size, value.size);
        assert_memory_equal(copy.data, value.data, value.size);
        lb_buf_fini(&value);
        lb_buf_fini(&copy);
    }
}

static void test_truncation(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct lb_buf value = {0};
        struct lb_error err = {0};

        put_random(&value, 3);
        for (size_t size = 0; size < value.size; size++) {
            char *copy = malloc(size + 1); /* behind one byte, so that asan sees both ends */
            const char *cursor = copy + 1;
            struct lb_value got;

            memcpy(copy + 1, value.data, size);
            assert_int_equal(lb_codec_get(&cursor, copy + 1 + size, &got, &err), LB_ERR_DATA);
            assert_ptr_equal(cursor, copy + 1);
            assert_int_equal(lb_codec_verify(copy + 1, size, &err), LB_ERR_DATA);
            assert_int_equal(err.status, LB_ERR_DATA);
            free(copy);
        }
        MUST(lb_buf_append_byte(&value, 'n', &failure));
        assert_int_equal(lb_codec_verify(value.data, value.size, &err), LB_ERR_DATA);
        lb_buf_fini(&value);
    }
}

/* Damaged bytes may still be a value, but what verify accepts can be walked without checks. */
static void test_damage(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct lb_buf value = {0};
        struct lb_buf copy = {0};
        struct lb_error err = {0};
        char *exact;

        put_random(&value, 3);
        for (uint32_t n = 1 + random_below(3); n > 0; n--)
            value.data[random_below((uint32_t)value.size)] = (char)random_bits();
        exact = malloc(value.size);
        memcpy(exact, value.data, value.size);
        if (lb_codec_verify(exact, value.size, &err) == LB_OK) {
            const char *cursor = exact;

            copy_value(&cursor, exact + value.size, &copy);
            assert_memory_equal(copy.data, exact, value.size);
        } else {
            assert_int_equal(err.status, LB_ERR_DATA);
        }
        free(exact);
        lb_buf_fini(&value);
        lb_buf_fini(&copy);
    }
}

static void check_bad(const char *bytes, size_t size, const char *message)
{
    struct lb_error err = {0};

    assert_int_equal(lb_codec_verify(bytes, size, &err), LB_ERR_DATA);
    if (strstr(err.message, message) == NULL)
        fail_msg("'%s' instead of '%s'", err.message, message);
}
#define CHECK_BAD(bytes, message) check_bad(bytes, sizeof(bytes) - 1, message)

static void test_malformed(void **state)
{
    (void)state;
    CHECK_BAD("", "ends before its tag");
    CHECK_BAD("x", "unknown tag 120");
    CHECK_BAD("i1234567", "number is cut short");
    CHECK_BAD("s\xff\xff\xff\xff", "string is cut short");
    CHECK_BAD("l\3\0\0\0\0\0\0\0", "table is cut short");
    CHECK_BAD("l\xff\xff\xff\xff\0\0\0\0", "table is cut short");
    CHECK_BAD("l\5\0\0\0\2\0\0\0n", "more elements than bytes");
    CHECK_BAD("l\6\0\0\0\1\0\0\0nn", "bytes behind the last element");
    CHECK_BAD("m\4\0\0\0\0\0\0\0", "empty map");
    CHECK_BAD("m\x0a\0\0\0\1\0\0\0tttttt", "key is no string");
    CHECK_BAD("m\x12\0\0\0\2\0\0\0s\1\0\0\0bns\1\0\0\0an", "not in order");
    CHECK_BAD("m\x12\0\0\0\2\0\0\0s\1\0\0\0ans\1\0\0\0an", "not in order");
    CHECK_BAD("nn", "bytes behind its end");
    MUST(lb_codec_verify("m\x12\0\0\0\2\0\0\0s\1\0\0\0ans\1\0\0\0bn", 23, &failure));
    MUST(lb_codec_verify("l\4\0\0\0\0\0\0\0", 9, &failure));
}

static void test_depth(void **state)
{
    (void)state;
    for (int depth = 1; depth <= LB_CODEC_DEPTH + 1; depth++) {
        struct lb_buf value = {0};
        struct lb_error err;
        size_t marks[LB_CODEC_DEPTH + 1];

        for (int i = 0; i < depth; i++)
            MUST(lb_codec_begin(&value, 'l', &marks[i], &failure));
        for (int i = depth; i-- > 0;)
            lb_codec_end(&value, marks[i], i == depth - 1 ? 0 : 1);
        assert_int_equal(lb_codec_verify(value.data, value.size, &err),
                         depth <= LB_CODEC_DEPTH ? LB_OK : LB_ERR_DATA);
        lb_buf_fini(&value);
    }
}

static void test_empty_map(void **state)
{
    struct lb_buf value = {0};
    size_t mark;

    (void)state;
    MUST(lb_codec_begin(&value, 'm', &mark, &failure));
    lb_codec_end(&value, mark, 0);
    assert_int_equal(value.size, 9);
    assert_memory_equal(value.data, "l\4\0\0\0\0\0\0\0", 9);
    lb_buf_fini(&value);
}

static void test_field(void **state)
{
    struct lb_buf bytes = {0};
    struct lb_value map;
    struct lb_value value;
    const char *cursor;
    size_t mark;
    size_t inner;

    (void)state;
    MUST(lb_codec_begin(&bytes, 'm', &mark, &failure));
    MUST(lb_codec_put_string(&bytes, "", 0, &failure));
    MUST(lb_codec_put_int(&bytes, 1, &failure));
    MUST(lb_codec_put_string(&bytes, "inner", 5, &failure));
    MUST(lb_codec_begin(&bytes, 'l', &inner, &failure));
    MUST(lb_codec_put_string(&bytes, "name", 4, &failure));
    MUST(lb_codec_put_nil(&bytes, &failure));
    lb_codec_end(&bytes, inner, 2);
    MUST(lb_codec_put_string(&bytes, "name", 4, &failure));
    MUST(lb_codec_put_string(&bytes, "value", 5, &failure));
    lb_codec_end(&bytes, mark, 3);
    MUST(lb_codec_verify(bytes.data, bytes.size, &failure));

    cursor = bytes.data;
    lb_codec_next(&cursor, &map);
    assert_true(lb_value_field(&map, "", &value) && value.tag == 'i' && value.i == 1);
    assert_true(lb_value_field(&map, "inner", &value) && value.tag == 'l' && value.count == 2);
    assert_false(lb_value_field(&value, "name", &value));
    assert_true(lb_value_field(&map, "name", &value) && value.tag == 's');
    assert_memory_equal(value.data, "value", 5);
    assert_false(lb_value_field(&map, "nam", &value));
    assert_false(lb_value_field(&map, "names", &value));
    lb_buf_fini(&bytes);
}

static lb_status put_all(struct lb_buf *out, struct lb_error *err)
{
    char text[300] = {0};
    size_t mark;

    LB_TRY(lb_codec_begin(out, 'l', &mark, err));
    for (int i = 0; i < 30; i++) {
        LB_TRY(lb_codec_put_nil(out, err));
        LB_TRY(lb_codec_put_bool(out, true, err));
        LB_TRY(lb_codec_put_int(out, i, err));
        LB_TRY(lb_codec_put_float(out, i, err));
        LB_TRY(lb_codec_put_string(out, text, (size_t)i * 10, err));
    }
    lb_codec_end(out, mark, 150);
    return LB_OK;
}

static void test_failing(void **state)
{
    bool failed = true;

    (void)state;
    for (long n = 0; failed; n++) {
        struct lb_buf out = {0};
        struct lb_error err = {0};
        lb_status status;

        checked_start(n);
        status = put_all(&out, &err);
        if (status == LB_OK)
            MUST(lb_codec_verify(out.data, out.size, &failure));
        lb_buf_fini(&out);
        failed = checked_stop();
        assert_int_equal(status, failed ? LB_ERR_RESOURCE : LB_OK);
        assert_int_equal(err.status, status);
    }
}

static void test_too_large(void **state)
{
    struct lb_buf out = {0};
    struct lb_error err;

    (void)state;
    assert_int_equal(lb_codec_put_string(&out, "", UINT32_MAX, &err), LB_ERR_RESOURCE);
    out.size = out.capacity = UINT32_MAX - 3; /* as if it were full; nothing is written */
    assert_int_equal(lb_codec_put_int(&out, 1, &err), LB_ERR_RESOURCE);
    assert_int_equal(lb_codec_put_string(&out, "", 0, &err), LB_ERR_RESOURCE);
    assert_non_null(strstr(err.message, "too large"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_damage),     cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_depth),      cmocka_unit_test(test_empty_map),
        cmocka_unit_test(test_field),      cmocka_unit_test(test_failing),
        cmocka_unit_test(test_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
