/* The system table in production, and the allocator gate. */
#include "../support/support.h"

#include <fcntl.h>
#include <unistd.h>

static void test_gate(void **state)
{
    char *bytes;

    (void)state;
    checked_start(-1);
    assert_null(lb_alloc(0));
    assert_null(lb_alloc_zero(0));
    assert_null(lb_realloc(NULL, 0, 0));
    lb_free(NULL, 0);
    lb_strfree(NULL);
    assert_int_equal(checked_n_calls, 0);

    bytes = lb_alloc_zero(1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(bytes[i], 0);
    memset(bytes, 7, 1000);
    bytes = lb_realloc(bytes, 1000, 5000);
    assert_int_equal(bytes[999], 7);
    assert_null(lb_realloc(bytes, 5000, 0));

    bytes = lb_strdup("text");
    assert_string_equal(bytes, "text");
    lb_strfree(bytes);
    checked_stop();
}

static void test_gate_failing(void **state)
{
    (void)state;
    checked_start(0);
    assert_null(lb_alloc(10));
    assert_true(checked_stop());
    checked_start(0);
    assert_null(lb_alloc_zero(10));
    assert_true(checked_stop());
    checked_start(0);
    assert_null(lb_strdup("x"));
    assert_true(checked_stop());
}

static void test_production_memory(void **state)
{
    char *bytes = lb_alloc_zero(100000);

    (void)state;
    for (int i = 0; i < 100000; i++)
        assert_int_equal(bytes[i], 0);
    bytes = lb_realloc(bytes, 100000, 10);
    lb_free(bytes, 10);
}

static void test_files(void **state)
{
    char folder[] = "/tmp/luabatch-test-XXXXXX";
    char path[64];
    char other[64];
    char bytes[16] = {0};
    int fd;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/inner", folder);
    assert_int_equal(lb_sys.mkdir(path, 0700), 0);
    assert_int_equal(lb_sys.rmdir(path), 0);
    snprintf(path, sizeof path, "%s/a", folder);
    snprintf(other, sizeof other, "%s/b", folder);

    fd = lb_sys.open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(lb_sys.write(fd, "hello", 5), 5);
    assert_int_equal(lb_sys.pwrite(fd, "HE", 2, 0), 2);
    assert_int_equal(lb_sys.pread(fd, bytes, 16, 1), 4);
    assert_memory_equal(bytes, "Ello", 4);
    assert_int_equal(lb_sys.ftruncate(fd, 3), 0);
    assert_int_equal(lb_sys.fsync(fd), 0);
    assert_int_equal(lb_sys.close(fd), 0);

    assert_int_equal(lb_sys.rename(path, other), 0);
    assert_int_equal(lb_sys.open(path, O_RDONLY, 0), -1);
    fd = lb_sys.open(other, O_RDONLY, 0);
    assert_int_equal(lb_sys.read(fd, bytes, 16), 3);
    assert_memory_equal(bytes, "HEl", 3);
    assert_int_equal(lb_sys.read(fd, bytes, 16), 0);
    assert_int_equal(lb_sys.close(fd), 0);
    assert_int_equal(lb_sys.unlink(other), 0);
    assert_int_equal(lb_sys.rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_gate_failing),
        cmocka_unit_test(test_production_memory),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
