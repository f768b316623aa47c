/* Hashes: known values (partitions must not change between runs), and spread. */
#include "../support/support.h"

#include "core/base/hash.h"

static void test_bytes(void **state)
{
    /* from the published test vectors of XXH3_64bits with seed 0 */
    (void)state;
    assert_true(lb_hash_bytes("", 0) == 0x2D06800538D394C2ULL);
    assert_true(lb_hash_bytes(NULL, 0) == 0x2D06800538D394C2ULL);
    assert_true(lb_hash_bytes("abc", 3) == lb_hash_bytes("abcd", 3));
    assert_true(lb_hash_bytes("abc", 3) != lb_hash_bytes("abd", 3));
}

/* Every bit of the result should depend on every bit of both words. */
static void test_pair(void **state)
{
    random_start("hash");
    (void)state;
    for (int side = 0; side < 2; side++) {
        for (int bit = 0; bit < 64; bit++) {
            int n_flips = 0;

            for (int i = 0; i < 200; i++) {
                uint64_t a = random_bits();
                uint64_t b = random_bits();
                uint64_t flip = (uint64_t)1 << bit;
                uint64_t other = side == 0 ? lb_hash_pair(a ^ flip, b) : lb_hash_pair(a, b ^ flip);

                n_flips += __builtin_popcountll(lb_hash_pair(a, b) ^ other);
            }
            assert_in_range(n_flips / 200, 24, 40);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes), cmocka_unit_test(test_pair)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
