/* Exact sums: what is in them alone decides, whatever was added and taken out before. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "core/algo/exact_sum.h"

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Any double but NaN, of a narrow or the whole range of exponents. */
static double random_double(bool is_wide)
{
    if (is_wide) {
        uint64_t bits = next_random();
        double value;
        memcpy(&value, &bits, sizeof value);
        return isfinite(value) ? value : 1.0;
    }
    return ldexp((double)(int64_t)(next_random() >> 11), (int)(next_random() % 12) - 60) *
           (next_random() % 2 ? 1 : -1);
}

static void assert_same_bits(double got, double want)
{
    if (isnan(got) && isnan(want))
        return;
    if (memcmp(&got, &want, sizeof got) != 0)
        fail_msg("%a is not %a", got, want);
}

/* A window slides over random values: its sum is that of a sum that never saw others, and where 113 bits are enough
 * that of long arithmetic. */
static void test_slides(void **state)
{
    (void)state;
    enum { N = 400 };
    double values[N];
    for (int round = 0; round < 60; round++) {
        bool is_wide = round % 3 == 0;
        int width = 1 + (int)(next_random() % 20);
        struct lb_exact_sum sum;
        lb_exact_sum_init(&sum);
        for (int i = 0; i < N; i++) {
            values[i] =
                next_random() % 20 == 0 ? (next_random() % 2 ? -0.0 : 0.0) : random_double(is_wide);
            lb_exact_sum_add(&sum, values[i]);
            if (i >= width)
                lb_exact_sum_remove(&sum, values[i - width]);
            struct lb_exact_sum fresh;
            lb_exact_sum_init(&fresh);
            __float128 wanted = 0;
            for (int j = i < width ? 0 : i - width + 1; j <= i; j++) {
                lb_exact_sum_add(&fresh, values[j]);
                wanted += values[j];
            }
            double got = lb_exact_sum_value(&sum, 0);
            assert_same_bits(got, lb_exact_sum_value(&fresh, 0));
            if (!is_wide && wanted != 0)
                assert_same_bits(got, (double)wanted);
            int64_t more = (int64_t)next_random() >> (next_random() % 60);
            if (!is_wide && wanted + more != 0)
                assert_same_bits(lb_exact_sum_value(&sum, more), (double)(wanted + more));
        }
    }
}

static void test_special(void **state)
{
    (void)state;
    struct lb_exact_sum sum;
    lb_exact_sum_init(&sum);
    assert_same_bits(lb_exact_sum_value(&sum, 0), 0.0);
    lb_exact_sum_add(&sum, -0.0);
    assert_same_bits(lb_exact_sum_value(&sum, 0), -0.0);
    lb_exact_sum_add(&sum, 0.0);
    assert_same_bits(lb_exact_sum_value(&sum, 0), 0.0);
    lb_exact_sum_add(&sum, INFINITY);
    assert_same_bits(lb_exact_sum_value(&sum, 5), INFINITY);
    lb_exact_sum_add(&sum, -INFINITY);
    assert_true(isnan(lb_exact_sum_value(&sum, 0)));
    lb_exact_sum_remove(&sum, INFINITY);
    assert_same_bits(lb_exact_sum_value(&sum, 0), -INFINITY);
    lb_exact_sum_remove(&sum, -INFINITY);
    lb_exact_sum_add(&sum, NAN);
    assert_true(isnan(lb_exact_sum_value(&sum, 0)));
    lb_exact_sum_remove(&sum, NAN);
    lb_exact_sum_add(&sum, 5e-324);
    assert_same_bits(lb_exact_sum_value(&sum, 0), 5e-324);
    lb_exact_sum_add(&sum, 0x1.fffffffffffffp1023);
    assert_same_bits(lb_exact_sum_value(&sum, 0), 0x1.fffffffffffffp1023);
    lb_exact_sum_add(&sum, 0x1.fffffffffffffp1023);
    assert_same_bits(lb_exact_sum_value(&sum, 0), INFINITY);
    lb_exact_sum_remove(&sum, 0x1.fffffffffffffp1023);
    lb_exact_sum_remove(&sum, 0x1.fffffffffffffp1023);
    assert_same_bits(lb_exact_sum_value(&sum, 0), 5e-324);
    assert_same_bits(lb_exact_sum_value(&sum, -1), -1.0);
}

int main(void)
{
    const char *text = getenv("LB_SEED");
    random_state = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("LB_SEED=%llu\n", (unsigned long long)random_state);
    random_state = random_state * 2 + 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slides),
        cmocka_unit_test(test_special),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
