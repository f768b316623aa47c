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

/* The cut of a stream does not matter; its length and every byte do. */
static void test_running(void **state)
{
    char data[5000];
    random_start("hash");
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)random_bits();
    for (int i = 0; i < 300; i++) {
        struct lb_running_hash whole = {0}, cut = {0}, other = {0};
        size_t size = (size_t)(random_bits() % sizeof data);
        lb_running_hash_add(&whole, data, size);
        for (size_t at = 0, n; at < size; at += n) {
            n = (size_t)(random_bits() % 1500) + 1;
            n = n < size - at ? n : size - at;
            lb_running_hash_add(&cut, data + at, n);
        }
        assert_int_equal(cut.n_bytes, size);
        uint64_t value = lb_running_hash_value(&whole);
        assert_true(lb_running_hash_value(&cut) == value);
        lb_running_hash_add(&cut, "", 1);
        assert_true(lb_running_hash_value(&cut) != value);
        if (size == 0)
            continue;
        size_t at = (size_t)(random_bits() % size);
        data[at] ^= 1;
        lb_running_hash_add(&other, data, size);
        assert_true(lb_running_hash_value(&other) != value);
        data[at] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes), cmocka_unit_test(test_pair),
                                       cmocka_unit_test(test_running)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
