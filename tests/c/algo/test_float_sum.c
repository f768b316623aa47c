/* Reproducible sums: every order and grouping gives the same bits; exact cases give the exact
 * result. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/algo/float_sum.h"

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void assert_same_bits(double a, double b)
{
    if (isnan(a) && isnan(b))
        return;
    if (memcmp(&a, &b, sizeof a) != 0)
        fail_msg("%a is not %a", a, b);
}

/* The long sum; short ones, handed over when full, must give the same. */
static double sum_of(const double *values, size_t n)
{
    struct lb_float_sum sum;
    lb_float_sum_init(&sum);
    for (size_t i = 0; i < n; i++)
        lb_float_sum_add(&sum, values[i]);
    struct lb_float_sum other;
    struct lb_short_sum parts[2] = {{.owner = 7}, {.owner = 7}};
    lb_float_sum_init(&other);
    for (size_t i = 0; i < n; i++) {
        struct lb_short_sum *part = &parts[next_random() % 2];
        if (part->n == LB_SHORT_SUM_MOST) {
            lb_float_sum_merge_short(&other, part);
            memset(part, 0, offsetof(struct lb_short_sum, owner));
        }
        lb_short_sum_add(part, values[i]);
        assert_int_equal(part->owner, 7);
    }
    if (parts[0].n + parts[1].n <= LB_SHORT_SUM_MOST && next_random() % 2 == 0) {
        lb_short_sum_merge(&parts[0], &parts[1]);
        memset(&parts[1], 0, sizeof parts[1]);
    }
    lb_float_sum_merge_short(&other, &parts[0]);
    lb_float_sum_merge_short(&other, &parts[1]);
    assert_same_bits(lb_float_sum_value(&other), lb_float_sum_value(&sum));
    return lb_float_sum_value(&sum);
}

static void test_known(void **state)
{
    (void)state;
    assert_same_bits(sum_of(NULL, 0), 0.0);
    assert_same_bits(sum_of((double[]){-0.0, -0.0}, 2), -0.0);
    assert_same_bits(sum_of((double[]){-0.0, 0.0}, 2), 0.0);
    assert_same_bits(sum_of((double[]){0.1, 0.2}, 2), 0.1 + 0.2);
    assert_same_bits(sum_of((double[]){1e16, 1.0, -1e16}, 3), 1.0);
    assert_same_bits(sum_of((double[]){5.0, -5.0}, 2), 0.0);
    assert_same_bits(sum_of((double[]){INFINITY, 1.0}, 2), INFINITY);
    assert_same_bits(sum_of((double[]){INFINITY, -INFINITY}, 2), NAN);
    assert_same_bits(sum_of((double[]){1.0, NAN}, 2), NAN);
    assert_same_bits(sum_of((double[]){1.7976931348623157e308, 1.7976931348623157e308}, 2),
                     INFINITY);
    assert_same_bits(
        sum_of((double[]){1.7976931348623157e308, 1e308, -1e308, -1.7976931348623157e308}, 4), 0.0);
    assert_same_bits(sum_of((double[]){5e-324, 5e-324}, 2), 1e-323);
    assert_same_bits(sum_of((double[]){2.2250738585072014e-308, -5e-324}, 2),
                     2.2250738585072009e-308);
    struct lb_float_sum sum;
    lb_float_sum_init(&sum);
    lb_float_sum_add(&sum, 0.5);
    lb_float_sum_add_int(&sum, INT64_MIN);
    lb_float_sum_add_int(&sum, INT64_MAX);
    assert_same_bits(lb_float_sum_value(&sum), -0.5);
}

static void test_single(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = next_random();
        double value;
        memcpy(&value, &bits, sizeof value);
        assert_same_bits(sum_of(&value, 1), value);
    }
}

/* Two values: hardware addition rounds the exact sum to nearest even, and so must we, unless the
 * smaller one lies beyond the bins kept. */
static void test_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        double a = ldexp((double)(int64_t)next_random(), (int)(next_random() % 30));
        double b = ldexp((double)(int64_t)next_random(), (int)(next_random() % 30));
        assert_same_bits(sum_of((double[]){a, b}, 2), a + b);
    }
}

static void test_order(void **state)
{
    (void)state;
    enum { N = 500 };
    double values[N];
    for (int round = 0; round < 200; round++) {
        int spread = 1 + (int)(next_random() % 1900);
        long double check = 0;
        for (int i = 0; i < N; i++) {
            int exponent = (int)(next_random() % (uint64_t)spread) - 1000;
            values[i] = ldexp((double)(int64_t)next_random(), exponent);
            check += values[i];
        }
        double expected = sum_of(values, N);
        assert_true(fabsl((long double)expected - check) <=
                    fabsl(check) * 1e-15L + 500 * fabsl(ldexpl(1, 63 + spread - 1000)) * 0x1p-60L);
        for (int again = 0; again < 5; again++) {
            for (int i = N - 1; i > 0; i--) {
                int k = (int)(next_random() % (uint64_t)(i + 1));
                double swap = values[i];
                values[i] = values[k];
                values[k] = swap;
            }
            struct lb_float_sum parts[7];
            for (int i = 0; i < 7; i++)
                lb_float_sum_init(&parts[i]);
            for (int i = 0; i < N; i++)
                lb_float_sum_add(&parts[next_random() % 7], values[i]);
            int root = (int)(next_random() % 7);
            for (int i = 0; i < 7; i++)
                if (i != root)
                    lb_float_sum_merge(&parts[root], &parts[i]);
            assert_same_bits(lb_float_sum_value(&parts[root]), expected);
        }
    }
}

int main(void)
{
    const char *seed = getenv("LB_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : 88172645463325252ULL;
    print_message("LB_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
