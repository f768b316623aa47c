/* The memory budget: limits, peak, and threads that never pass the limit together. */
#include "../support/support.h"

#include <pthread.h>

#include "core/base/budget.h"

static void test_limit(void **state)
{
    struct lb_budget budget;

    (void)state;
    lb_budget_init(&budget, 100);
    assert_true(lb_budget_reserve(&budget, 60));
    assert_false(lb_budget_reserve(&budget, 41));
    assert_true(lb_budget_reserve(&budget, 40));
    assert_true(lb_budget_reserve(&budget, 0));
    assert_false(lb_budget_reserve(&budget, SIZE_MAX));
    lb_budget_force(&budget, 50);
    assert_int_equal(budget.used_bytes, 150);
    assert_false(lb_budget_reserve(&budget, 1));
    assert_true(lb_budget_reserve(&budget, 0));
    lb_budget_release(&budget, 150);
    assert_true(lb_budget_reserve(&budget, 100));
    lb_budget_release(&budget, 100);
    assert_false(lb_budget_reserve_spare(&budget, 76));
    assert_true(lb_budget_reserve_spare(&budget, 75));
    assert_false(lb_budget_reserve_spare(&budget, 1));
    assert_true(lb_budget_reserve(&budget, 25));
    lb_budget_release(&budget, 100);
    assert_int_equal(budget.used_bytes, 0);
    assert_int_equal(budget.peak_bytes, 150);
}

enum { ROUNDS = 20000, LIMIT = 1000 };

static void *reserve_and_release(void *argument)
{
    struct lb_budget *budget = argument;
    size_t n_refused = 0;

    for (size_t i = 0; i < ROUNDS; i++) {
        size_t bytes = 300 + i % 150;

        if (lb_budget_reserve(budget, bytes))
            lb_budget_release(budget, bytes);
        else
            n_refused++;
    }
    return (void *)n_refused;
}

static void test_threads(void **state)
{
    struct lb_budget budget;
    pthread_t threads[4];

    (void)state;
    lb_budget_init(&budget, LIMIT);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reserve_and_release, &budget), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(budget.used_bytes, 0);
    assert_true(budget.peak_bytes >= 300 && budget.peak_bytes <= LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limit),
                                       cmocka_unit_test(test_threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
