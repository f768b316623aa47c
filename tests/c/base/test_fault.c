/* Faults on demand: which calls fail, how, and that they are counted; none in release builds. */
#include "../support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/base/fault.h"
#include "core/base/sys.h"

static void test_environment(void **state)
{
    (void)state;
    setenv("LUABATCH_FAULT", "rmdir:2=EPERM", 1);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(lb_sys.rmdir("/no/such/directory"), -1);
#ifdef LB_DEBUG
        assert_int_equal(errno, i == 2 ? EPERM : ENOENT);
#else
        assert_int_equal(errno, ENOENT);
#endif
    }
}

#ifdef LB_DEBUG
/* Which of ten allocations fail, as digits. */
static const char *failing(const char *rules)
{
    static char result[16];
    size_t n = 0;

    assert_true(lb_fault_arm(rules));
    for (int i = 0; i < 10; i++) {
        char *block = i % 2 == 0 ? lb_alloc(8) : lb_alloc_zero(8);
        if (block == NULL)
            result[n++] = (char)('0' + i);
        lb_free(block, 8);
    }
    result[n] = '\0';
    return result;
}

static void test_rules(void **state)
{
    (void)state;
    assert_string_equal(failing("alloc:4"), "3");
    assert_string_equal(failing("alloc:4-6"), "345");
    assert_string_equal(failing("alloc:9+"), "89");
    assert_string_equal(failing("alloc:2,open:1,alloc:4"), "13");
    assert_string_equal(failing("alloc:11"), "");
    assert_int_equal(lb_fault_n_failed(), 0);
    assert_int_equal(lb_fault_n_calls(LB_FAULT_ALLOC), 10);
    failing("alloc:9=ENOSPC+");
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(lb_fault_n_failed(), 2);
    const char *wrong[] = {"alloc", "alloc:", "alloc:0", "aloc:1", "read:1=EWRONG", "read:3-2"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(lb_fault_arm(wrong[i]));
    assert_true(lb_fault_arm(""));
}

/* Interrupted calls are repeated beneath the caller; short and damaged ones reach it. */
static void test_transfers(void **state)
{
    (void)state;
    char data[9] = "";
    char path[] = "/tmp/luabatch-fault-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_true(lb_fault_arm("write:1=EINTR,write:3=short,write:4=EDQUOT+,pread:1=short,flip:3"));
    assert_int_equal(lb_sys.write(fd, "01234567", 8), 8);
    assert_int_equal(lb_sys.write(fd, "01234567", 8), 4);
    assert_int_equal(lb_sys.write(fd, "01234567", 8), -1);
    assert_int_equal(errno, EDQUOT);
    assert_int_equal(lb_sys.write(fd, "01234567", 8), -1);
    assert_int_equal(lb_sys.pread(fd, data, 5, 0), 3);
    assert_int_equal(lb_sys.pread(fd, data, 8, 0), 8);
    assert_string_equal(data, "01234567");
    assert_int_equal(lb_sys.pread(fd, data, 8, 0), 8);
    assert_string_equal(data, "01235567");
    assert_true(lb_fault_arm(""));
    close(fd);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment),
#ifdef LB_DEBUG
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_transfers),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
