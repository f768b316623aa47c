/* The space-saving sketch against exact counts: its bounds must hold for any stream, and after merging any split of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "core/algo/heavy_hitters.h"

enum { KEYS = 5000 };

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 20) % n);
}

/* Long keys differ only behind what the sketch keeps. */
static size_t key_of(uint32_t number, char *key)
{
    if (number % 3 != 0)
        return (size_t)sprintf(key, "%u", number);
    memset(key, 'x', 300);
    return 300 + (size_t)sprintf(key + 300, "%u", number);
}

static void check(struct lb_heavy_hitters *heavy, const uint64_t *exact, uint64_t n_rows)
{
    char key[400];
    uint64_t heaviest = 0;
    assert_int_equal(heavy->n_rows, n_rows);
    for (uint32_t k = 0; k < KEYS; k++) {
        size_t size = key_of(k, key);
        if (exact[k] > heaviest)
            heaviest = exact[k];
        /* What surely is heavy is; what has more than 1 / LB_HEAVY_KEYS of the rows is found. */
        for (uint64_t part = 2; part <= 64; part *= 2)
            if (lb_heavy_is(heavy, key, size, part))
                assert_true(exact[k] * part > n_rows);
        bool found = false;
        for (uint32_t i = 0; i < heavy->n; i++) {
            const struct lb_heavy_key *item = &heavy->keys[i];
            size_t kept = size < LB_HEAVY_KEY_BYTES ? size : LB_HEAVY_KEY_BYTES;
            if (item->key_size != size || memcmp(item->key, key, kept) != 0 || size > 300)
                continue; /* of long keys only the hash tells */
            found = true;
            assert_true(item->count >= exact[k]);
            assert_true(item->count - item->error <= exact[k]);
        }
        if (size < 300 && exact[k] * LB_HEAVY_KEYS > n_rows)
            assert_true(found);
    }
    lb_heavy_order(heavy);
    for (uint32_t i = 1; i < heavy->n; i++)
        assert_true(heavy->keys[i - 1].count >= heavy->keys[i].count);
    if (heavy->n > 0)
        assert_true(heavy->keys[0].count >= heaviest);
}

static void keeps_its_bounds(void **state)
{
    (void)state;
    static uint64_t exact[KEYS];
    struct lb_error err;
    for (int round = 0; round < 60; round++) {
        uint32_t n_parts = 1 + random_below(4), hot = random_below(100),
                 keys = 1 + random_below(KEYS);
        uint32_t n = random_below(4000);
        struct lb_heavy_hitters parts[4] = {{0}}, all = {0};
        uint64_t n_rows = 0;
        memset(exact, 0, sizeof exact);
        for (uint32_t i = 0; i < n; i++) {
            char key[400];
            uint32_t number = random_below(100) < hot ? random_below(3) : random_below(keys);
            uint64_t rows = 1 + random_below(5);
            size_t size = key_of(number, key);
            exact[number] += rows;
            n_rows += rows;
            assert_int_equal(lb_heavy_add(&parts[random_below(n_parts)], key, size, rows, &err),
                             LB_OK);
        }
        for (uint32_t p = 0; p < n_parts; p++) {
            assert_int_equal(lb_heavy_merge(&all, &parts[p], &err), LB_OK);
            lb_heavy_fini(&parts[p]);
        }
        check(&all, exact, n_rows);
        lb_heavy_fini(&all);
    }
}

static void is_exact_for_few_keys(void **state)
{
    (void)state;
    struct lb_heavy_hitters heavy = {0};
    struct lb_error err;
    assert_false(lb_heavy_is(&heavy, "a", 1, 2));
    for (int i = 0; i < 300; i++)
        assert_int_equal(lb_heavy_add(&heavy, i % 3 == 0 ? "a" : "", i % 3 == 0, 2, &err), LB_OK);
    assert_true(lb_heavy_is(&heavy, "", 0, 2));
    assert_false(lb_heavy_is(&heavy, "a", 1, 2));
    lb_heavy_order(&heavy);
    assert_int_equal(heavy.n, 2);
    assert_int_equal(heavy.keys[0].count, 400);
    assert_int_equal(heavy.keys[1].count, 200);
    assert_int_equal(heavy.keys[1].error, 0);
    lb_heavy_fini(&heavy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_its_bounds),
                                       cmocka_unit_test(is_exact_for_few_keys)};
    const char *seed = getenv("LB_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("LB_SEED=%llu\n", (unsigned long long)random_state);
    random_state = random_state * 2654435769u + 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
