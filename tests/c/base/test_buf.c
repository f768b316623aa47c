/* The byte buffer against a plain array, and with every allocation failing. */
#include "../support/support.h"

#include "core/base/buf.h"

static void test_random(void **state)
{
    static char expected[200000];
    size_t size = 0;
    struct lb_buf buf = {0};
    struct lb_error err;

    (void)state;
    random_start("buf");
    checked_start(-1);
    while (size < sizeof expected - 1000) {
        char bytes[500];
        size_t n = random_below(4) == 0 ? random_below(sizeof bytes) : random_below(9);
        int number = (int)random_below(1000000);

        switch (random_below(3)) {
        case 0:
            for (size_t i = 0; i < n; i++)
                bytes[i] = (char)random_bits();
            assert_int_equal(lb_buf_append(&buf, bytes, n, &err), LB_OK);
            memcpy(expected + size, bytes, n);
            size += n;
            break;
        case 1:
            assert_int_equal(lb_buf_append_byte(&buf, (char)number, &err), LB_OK);
            expected[size++] = (char)number;
            break;
        default:
            assert_int_equal(lb_buf_printf(&buf, &err, "<%d %s>", number, "text"), LB_OK);
            size += (size_t)sprintf(expected + size, "<%d %s>", number, "text");
            break;
        }
        assert_int_equal(buf.size, size);
        assert_true(buf.capacity >= size);
    }
    assert_memory_equal(buf.data, expected, size);
    lb_buf_fini(&buf);
    assert_null(buf.data);
    lb_buf_fini(&buf);
    checked_stop();
}

static void test_edges(void **state)
{
    struct lb_buf buf = {0};
    struct lb_error err;

    (void)state;
    checked_start(-1);
    assert_int_equal(lb_buf_append(&buf, NULL, 0, &err), LB_OK);
    assert_null(buf.data);
    assert_int_equal(lb_buf_printf(&buf, &err, "%s", ""), LB_OK);
    assert_int_equal(buf.size, 0);
    /* a text that fills the room to the last byte, whose NUL would not fit */
    assert_int_equal(lb_buf_reserve(&buf, 64, &err), LB_OK);
    assert_int_equal(lb_buf_printf(&buf, &err, "%*s", (int)buf.capacity, "x"), LB_OK);
    assert_int_equal(lb_buf_reserve(&buf, SIZE_MAX - 10, &err), LB_ERR_RESOURCE);
    assert_int_equal(buf.data[buf.size - 1], 'x');
    lb_buf_fini(&buf);
    checked_stop();
}

static lb_status fill(struct lb_buf *buf, struct lb_error *err)
{
    char bytes[100] = {0};

    for (int i = 0; i < 50; i++) {
        LB_TRY(lb_buf_append(buf, bytes, sizeof bytes, err));
        LB_TRY(lb_buf_append_byte(buf, 'x', err));
        LB_TRY(lb_buf_printf(buf, err, "%d", i));
    }
    return LB_OK;
}

static void test_failing(void **state)
{
    bool failed = true;

    (void)state;
    for (long n = 0; failed; n++) {
        struct lb_buf buf = {0};
        struct lb_error err = {0};
        lb_status status;
        size_t size;

        checked_start(n);
        status = fill(&buf, &err);
        size = buf.size;
        if (status != LB_OK) { /* what was there stays, and it goes on once there is memory */
            assert_int_equal(err.status, LB_ERR_RESOURCE);
            assert_int_equal(lb_buf_append(&buf, "abc", 3, &err), LB_OK);
            assert_memory_equal(buf.data + size, "abc", 3);
        }
        lb_buf_fini(&buf);
        failed = checked_stop();
        assert_int_equal(status, failed ? LB_ERR_RESOURCE : LB_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_failing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
