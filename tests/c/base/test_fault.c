/* Fault points: the n-th passing of the named one fails, once; none in release builds. */
#include "../support/support.h"

#include <errno.h>

#include "core/base/fault.h"

static void test_fault(void **state)
{
    (void)state;
    setenv("LUABATCH_FAULT", "spill.write:3", 1);
    for (int i = 1; i <= 10; i++) {
        int expected = 0;

#ifdef LB_DEBUG
        expected = i == 3 ? EIO : 0;
#endif
        assert_int_equal(LB_FAULT("spill.read"), 0);
        assert_int_equal(LB_FAULT("spill.write"), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fault)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
