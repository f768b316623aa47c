/* The count of memory taken: what is refused, what comes back, threads that settle, and the word about it in errors. */
#include "../support/support.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/base/budget.h"
#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/base/sys.h"

enum { MIB = 1 << 20, LIMIT = 100 * MIB, MOST = LIMIT + LIMIT / 10 + 44 * MIB };

static void test_refusal(void **state)
{
    struct lb_error err;
    (void)state;
    lb_memory_limit(LIMIT, false);
    char *most = lb_alloc(MOST - MIB);
    assert_non_null(most);
    assert_null(lb_alloc(2 * MIB));
    assert_int_equal(lb_error_memory(&err, "a test", 7), LB_ERR_RESOURCE);
    assert_string_equal(err.message,
                        "out of memory: 7 bytes wanted for a test (the memory limit is "
                        "100.0 MiB; see --memory)");
    assert_int_equal(lb_error_memory(&err, "a test", 7), LB_ERR_RESOURCE);
    assert_string_equal(err.message, "out of memory: 7 bytes wanted for a test");
    assert_null(lb_alloc_zero(2 * MIB));
    assert_null(lb_realloc(most, MOST - MIB, MOST + MIB));
    assert_null(lb_alloc(SIZE_MAX / 2));
    /* It was not counted, and shrinking gives back. */
    most = lb_realloc(most, MOST - MIB, 4 * MIB);
    assert_non_null(most);
    char *other = lb_alloc(MOST - 5 * MIB);
    assert_non_null(other);
    lb_free(other, MOST - 5 * MIB);
    lb_free(most, 4 * MIB);
}

/* What malloc takes is what counts. */
static void test_blocks(void **state)
{
    (void)state;
    assert_int_equal(lb_memory_of_block(0), 0);
    assert_int_equal(lb_memory_of_block(SIZE_MAX), SIZE_MAX);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    mallopt(M_MMAP_THRESHOLD, LB_MEMORY_LARGE_BYTES);
    for (size_t size = 1; size < 3 * (size_t)LB_MEMORY_LARGE_BYTES; size += 1 + size / 50) {
        void *block = malloc(size);
        size_t taken = malloc_usable_size(block) + 8;
        /* A free chunk that is a little larger may be given whole. */
        assert_in_range(lb_memory_of_block(size), taken > 32 ? taken - 32 : 0, taken + 4096);
        free(block);
    }
#endif
}

/* One that collects what it can and asks again is refused again, however little it asks for. */
static void test_stubborn(void **state)
{
    size_t n = 0;
    (void)state;
    lb_memory_limit(LIMIT, false);
    assert_true(lb_memory_take(MOST - MIB));
    while (n < 2 * (size_t)MIB && lb_memory_take(100))
        n += 100;
    assert_in_range(n, MIB - (256 << 10), MIB + (256 << 10));
    for (int i = 0; i < 1000; i++)
        assert_false(lb_memory_take(100));
    lb_memory_give(128 << 10);
    assert_true(lb_memory_take(100));
    lb_memory_give(MOST - MIB + n + 100 - (128 << 10));
}

/* Little blocks are told in steps, but told. */
static void test_little(void **state)
{
    enum { BLOCK = 4 << 10 };
    static char *blocks[MOST / BLOCK + 100];
    size_t n = 0;
    (void)state;
    lb_memory_limit(LIMIT, false);
    while (n < sizeof blocks / sizeof *blocks && (blocks[n] = lb_alloc(BLOCK)) != NULL)
        n++;
    assert_true(n > (MOST - MIB) / BLOCK && n <= MOST / BLOCK + 16);
    while (n > 0)
        lb_free(blocks[--n], BLOCK);
    lb_free(lb_alloc(MOST - MIB), MOST - MIB);
}

static void *take_and_settle(void *argument)
{
    (void)argument;
    for (int i = 0; i < 1000; i++)
        if (lb_memory_take(1000))
            lb_memory_give(999);
    lb_memory_settle();
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[8];
    (void)state;
    lb_memory_limit(LIMIT, false);
    assert_true(lb_memory_take(MOST - 100 * 8 * 1000));
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 8; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, take_and_settle, NULL), 0);
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
    }
    assert_false(lb_memory_take(128 << 10)); /* the 800,000 are there */
    lb_memory_give(MOST);
    assert_true(lb_memory_take(MOST - MIB));
    lb_memory_give(MOST - MIB);
}

static void test_budget(void **state)
{
    struct lb_budget budget;
    (void)state;
    lb_memory_limit(LIMIT, false);
    lb_budget_init(&budget, LIMIT);
    budget.heeds_memory = true;
    assert_true(lb_memory_take(MOST - 21 * MIB)); /* of which the budget knows nothing */
    assert_true(lb_budget_reserve(&budget, MIB / 2));
    assert_false(lb_budget_reserve(&budget, 2 * MIB));
    budget.heeds_memory = false;
    assert_true(lb_budget_reserve(&budget, 2 * MIB));
    lb_memory_give(MOST - 21 * MIB);
}

/* What another thread took may be given back before that is told. */
static void test_below_zero(void **state)
{
    (void)state;
    lb_memory_limit(0, false);
    lb_memory_give(200 << 10);
    assert_true(lb_memory_take(100 << 10));
    assert_true(lb_memory_take(100 << 10));
}

/* Last: it stays. */
static void test_for_ever(void **state)
{
    (void)state;
    lb_memory_limit(0, false);
    lb_free(lb_alloc(2 * (size_t)MOST), 2 * (size_t)MOST);
    lb_memory_limit(LIMIT, true);
    lb_memory_limit(0, false);
    assert_null(lb_alloc(2 * (size_t)MOST));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),     cmocka_unit_test(test_stubborn),
        cmocka_unit_test(test_refusal),    cmocka_unit_test(test_little),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_budget),
        cmocka_unit_test(test_below_zero), cmocka_unit_test(test_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
