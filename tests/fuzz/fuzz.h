/* What the fuzz targets share: bytes of the input as numbers, checks that abort, an allocator that checks sizes and finds leaks
 * input by input, and files in memory that give fewer bytes than they were asked for. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/error.h"
#include "core/base/sys.h"

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_allocated_size(const volatile void *pointer);
#endif

/* The target's one function; libFuzzer or replay.c calls it. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- checks ---- */

#define FUZZ_FAIL(...)                                  \
    do {                                                \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
        fprintf(stderr, __VA_ARGS__);                   \
        fputc('\n', stderr);                            \
        abort();                                        \
    } while (0)
#define CHECK(condition)                         \
    do {                                         \
        if (!(condition))                        \
            FUZZ_FAIL("not so: %s", #condition); \
    } while (0)

__attribute__((unused)) static struct lb_error fuzz_error;
#define MUST(call)                                          \
    do {                                                    \
        if ((call) != LB_OK)                                \
            FUZZ_FAIL("%s: %s", #call, fuzz_error.message); \
    } while (0)

/* ---- numbers from the input ---- */

struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

/* 0 when the input is used up. */
static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

static inline uint32_t fuzz_below(struct fuzz_input *input, uint32_t n)
{
    uint32_t value = fuzz_byte(input);
    if (n > 256)
        value = value << 8 | fuzz_byte(input);
    return value % n;
}

/* A copy of bytes with `padding` bytes behind it that must not count, and no further one that may be read. Free it. */
static inline char *fuzz_copy(const void *data, size_t size, size_t padding, char behind)
{
    char *copy = calloc(1, size + padding + (size + padding == 0));
    CHECK(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    memset(copy + size, behind, padding);
    return copy;
}

/* ---- memory ---- */

/* No input of a few KiB is a reason for such an allocation, but where the user can ask for it: then it is refused. */
static size_t fuzz_most_bytes = 64 << 20;
static bool fuzz_may_refuse, fuzz_has_refused;
static _Atomic size_t fuzz_live_bytes;
static size_t fuzz_live_before;

static void *fuzz_realloc(void *pointer, size_t old_size, size_t new_size)
{
#ifdef __SANITIZE_ADDRESS__
    if (pointer != NULL && __sanitizer_get_allocated_size(pointer) != old_size)
        FUZZ_FAIL("a block of %zu bytes is said to have %zu",
                  __sanitizer_get_allocated_size(pointer), old_size);
#endif
    if (new_size > fuzz_most_bytes) {
        if (!fuzz_may_refuse)
            FUZZ_FAIL("an allocation of %zu bytes", new_size);
        fuzz_has_refused = true;
        return NULL;
    }
    atomic_fetch_add(&fuzz_live_bytes, new_size - (pointer != NULL ? old_size : 0));
    if (new_size == 0) {
        free(pointer);
        return NULL;
    }
    void *result = realloc(pointer, new_size);
    CHECK(result != NULL);
    return result;
}

/* Around each input. */
static inline void fuzz_begin(void)
{
    lb_sys.realloc = fuzz_realloc;
    fuzz_has_refused = false;
    fuzz_live_before = atomic_load(&fuzz_live_bytes);
}

static inline int fuzz_end(void)
{
    if (atomic_load(&fuzz_live_bytes) != fuzz_live_before)
        FUZZ_FAIL("%zu bytes were allocated before, %zu are now", fuzz_live_before,
                  atomic_load(&fuzz_live_bytes));
    return 0;
}

#endif
