/* The arena: allocations never overlap, reset keeps one chunk, every allocation may fail. */
#include "../support/support.h"

#include "core/base/arena.h"

enum { MANY = 3000 };

static void test_random(void **state)
{
    static unsigned char *blocks[MANY];
    static size_t sizes[MANY];
    struct lb_arena arena;

    (void)state;
    random_start("arena");
    checked_start(-1);
    lb_arena_init(&arena, 1000);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            sizes[i] = random_below(10) == 0 ? random_below(5000) : random_below(100);
            blocks[i] = lb_arena_alloc(&arena, sizes[i]);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % 8, 0);
            memset(blocks[i], i & 255, sizes[i]);
        }
        for (int i = 0; i < MANY; i++)
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(blocks[i][k], i & 255);
        assert_int_equal(arena.held_bytes, checked_live_bytes);
        lb_arena_reset(&arena);
        assert_int_equal(arena.held_bytes, arena.chunk_bytes);
        assert_int_equal(arena.held_bytes, checked_live_bytes);
    }
    lb_arena_fini(&arena);
    assert_int_equal(arena.held_bytes, 0);
    lb_arena_fini(&arena);
    checked_stop();
}

static void test_reuse(void **state)
{
    struct lb_arena arena;
    long n_calls;

    (void)state;
    checked_start(-1);
    lb_arena_init(&arena, 4096);
    lb_arena_reset(&arena);
    assert_non_null(lb_arena_alloc(&arena, 0));
    assert_int_equal(checked_n_calls, 0);
    assert_non_null(lb_arena_alloc(&arena, 10));
    n_calls = checked_n_calls;
    for (int round = 0; round < 10; round++) {
        lb_arena_reset(&arena);
        for (int i = 0; i < 100; i++)
            assert_non_null(lb_arena_alloc(&arena, 40));
    }
    assert_int_equal(checked_n_calls, n_calls);

    /* a large request has a chunk of its own; the current one stays in use */
    assert_non_null(lb_arena_alloc(&arena, 100000));
    assert_int_equal(checked_n_calls, n_calls + 1);
    assert_non_null(lb_arena_alloc(&arena, 40));
    assert_int_equal(checked_n_calls, n_calls + 1);
    assert_null(lb_arena_alloc(&arena, SIZE_MAX));
    assert_null(lb_arena_alloc(&arena, SIZE_MAX - 7));
    lb_arena_fini(&arena);
    checked_stop();
}

static void test_large_first(void **state)
{
    struct lb_arena arena;

    (void)state;
    checked_start(-1);
    lb_arena_init(&arena, 1000);
    memset(lb_arena_alloc(&arena, 5000), 1, 5000);
    memset(lb_arena_alloc(&arena, 8), 2, 8);
    memset(lb_arena_alloc(&arena, 7000), 3, 7000);
    lb_arena_reset(&arena);
    assert_int_equal(arena.held_bytes, arena.chunk_bytes);
    lb_arena_fini(&arena);

    lb_arena_init(&arena, 1000);
    memset(lb_arena_alloc(&arena, 5000), 1, 5000);
    lb_arena_reset(&arena); /* no usual chunk to keep */
    assert_int_equal(arena.held_bytes, 0);
    lb_arena_fini(&arena);
    checked_stop();
}

static void test_failing(void **state)
{
    bool failed = true;

    (void)state;
    for (long n = 0; failed; n++) {
        struct lb_arena arena;
        int n_null = 0;

        checked_start(n);
        lb_arena_init(&arena, 500);
        for (int i = 0; i < 100; i++) {
            size_t size = i % 7 == 0 ? 1000 : 50;
            char *block = lb_arena_alloc(&arena, size);

            if (block == NULL)
                n_null++;
            else
                memset(block, 1, size);
        }
        lb_arena_reset(&arena);
        lb_arena_fini(&arena);
        failed = checked_stop();
        assert_int_equal(n_null, failed ? 1 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_large_first),
        cmocka_unit_test(test_failing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
