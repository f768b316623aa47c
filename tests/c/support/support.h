/* What the C tests share: seeded random numbers, and an allocator that checks sizes, counts what is
 * live and can fail once. */
#ifndef LB_TESTS_SUPPORT_H
#define LB_TESTS_SUPPORT_H

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

#include "core/base/sys.h"

/* ---- random ---- */

static uint64_t random_state;

/* LB_SEED or the clock; printed, so that a failure can be repeated. */
static inline void random_start(const char *test)
{
    const char *text = getenv("LB_SEED");

    random_state = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("%s: LB_SEED=%llu\n", test, (unsigned long long)random_state);
}

static inline uint64_t random_bits(void) /* splitmix64, public domain by Sebastiano Vigna */
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static inline uint32_t random_below(uint32_t n)
{
    return (uint32_t)(random_bits() % n);
}

/* ---- how much ---- */

/* Under the thread sanitizer everything takes 20 times as long, and one thread shows it nothing: there tests do
 * fewer rounds, others each time, and none with one thread. The debug and the address sanitizer's builds do all. */
#ifdef __SANITIZE_THREAD__
enum { FEWEST_THREADS = 2, FEWER_ROUNDS = 6 };
#else
enum { FEWEST_THREADS = 1, FEWER_ROUNDS = 1 };
#endif

/* How many of n rounds to do. */
static inline int rounds(int n)
{
    return n > FEWER_ROUNDS ? n / FEWER_ROUNDS : 1;
}

/* ---- the checking allocator ---- */

struct checked_block {
    size_t size;
    size_t padding;
};

static long checked_fail_at;      /* the allocation (from 0) that fails; -1: none */
static long checked_n_calls;      /* allocations asked for since checked_start */
static size_t checked_live_bytes; /* allocated and not freed */
static void *(*checked_saved)(void *, size_t, size_t);

static void *checked_realloc(void *pointer, size_t old_size, size_t new_size)
{
    struct checked_block *old = pointer != NULL ? (struct checked_block *)pointer - 1 : NULL;
    struct checked_block *block = NULL;

    assert_int_equal(old != NULL ? old->size : 0, old_size);
    if (new_size > 0) {
        if (checked_n_calls++ == checked_fail_at)
            return NULL;
        block = malloc(sizeof *block + new_size);
        assert_non_null(block);
        block->size = new_size;
        memset(block + 1, 0xA5, new_size);
        if (old_size > 0)
            memcpy(block + 1, pointer, old_size < new_size ? old_size : new_size);
    }
    free(old);
    checked_live_bytes += new_size - old_size;
    return block != NULL ? block + 1 : NULL;
}

static inline void checked_start(long fail_at)
{
    checked_fail_at = fail_at;
    checked_n_calls = 0;
    checked_live_bytes = 0;
    checked_saved = lb_sys.realloc;
    lb_sys.realloc = checked_realloc;
}

/* Fails the test when something was not freed. True when the failing allocation was reached. */
static inline bool checked_stop(void)
{
    lb_sys.realloc = checked_saved;
    assert_int_equal(checked_live_bytes, 0);
    return checked_fail_at >= 0 && checked_n_calls > checked_fail_at;
}

#endif
