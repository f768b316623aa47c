/* Error messages: status, errno mapping, prefix, truncation. */
#include "../support/support.h"

#include <errno.h>

#include "core/base/error.h"

static void test_set(void **state)
{
    struct lb_error err;

    (void)state;
    assert_int_equal(lb_error_set(&err, LB_ERR_DATA, "bad %s %d", "thing", 7), LB_ERR_DATA);
    assert_int_equal(err.status, LB_ERR_DATA);
    assert_string_equal(err.message, "bad thing 7");
    assert_int_equal(lb_error_set(NULL, LB_ERR_USER, "x"), LB_ERR_USER);
    /* an argument may be the message being replaced */
    lb_error_set(&err, LB_ERR_USER, "<%s>", err.message);
    assert_string_equal(err.message, "<bad thing 7>");
}

static void test_system(void **state)
{
    static const struct {
        int errno_value;
        lb_status status;
    } cases[] = {{ENOENT, LB_ERR_USAGE},    {ENOTDIR, LB_ERR_USAGE},   {EACCES, LB_ERR_USAGE},
                 {EISDIR, LB_ERR_USAGE},    {EEXIST, LB_ERR_USAGE},    {EPIPE, LB_ERR_PIPE},
                 {ENOSPC, LB_ERR_RESOURCE}, {EMFILE, LB_ERR_RESOURCE}, {EIO, LB_ERR_RESOURCE},
                 {ENOMEM, LB_ERR_RESOURCE}};
    struct lb_error err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[200];

        assert_int_equal(lb_error_system(&err, cases[i].errno_value, "cannot open '%s'", "f"),
                         cases[i].status);
        assert_int_equal(err.status, cases[i].status);
        snprintf(expected, sizeof expected, "cannot open 'f': %s", strerror(cases[i].errno_value));
        assert_string_equal(err.message, expected);
    }
    assert_int_equal(lb_error_system(NULL, EPIPE, "x"), LB_ERR_PIPE);
}

static void test_memory(void **state)
{
    struct lb_error err;

    (void)state;
    assert_int_equal(lb_error_memory(&err, "a table", 4096), LB_ERR_RESOURCE);
    assert_non_null(strstr(err.message, "4096 bytes"));
    assert_non_null(strstr(err.message, "a table"));
}

static void test_prefix(void **state)
{
    struct lb_error err;

    (void)state;
    lb_error_set(&err, LB_ERR_DATA, "tail");
    lb_error_prefix(&err, "%d: ", 12);
    assert_string_equal(err.message, "12: tail");
    assert_int_equal(err.status, LB_ERR_DATA);
    lb_error_prefix(NULL, "x");
}

static void test_too_long(void **state)
{
    static char text[3 * LB_ERROR_MESSAGE_BYTES];
    struct lb_error err;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    lb_error_set(&err, LB_ERR_DATA, "%s", text);
    assert_int_equal(strlen(err.message), LB_ERROR_MESSAGE_BYTES - 1);
    lb_error_prefix(&err, "start ");
    assert_int_equal(strlen(err.message), LB_ERROR_MESSAGE_BYTES - 1);
    assert_memory_equal(err.message, "start xxx", 9);
    lb_error_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.message), LB_ERROR_MESSAGE_BYTES - 1);
    /* the reason is there even behind a text that is too long */
    lb_error_system(&err, ENOSPC, "%s", text);
    assert_non_null(strstr(err.message, strerror(ENOSPC)));
    assert_true(strlen(err.message) < LB_ERROR_MESSAGE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),      cmocka_unit_test(test_system),
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
