/* Text kernels: the choice of the instruction set, and what needs none. */
#include "core/io/text.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/io/text_kernels.h"
#include "core/io/text_view.h"

#define FF 0xff
_Alignas(16) const uint8_t lb_view_masks[14][16] = {
    {0},
    {0, 0, 0, 0, FF},
    {0, 0, 0, 0, FF, FF},
    {0, 0, 0, 0, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF, FF, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF},
    {0, 0, 0, 0, FF, FF, FF, FF},
};
#undef FF

/* The kernels in use; NULL until the first call. Threads that come first together choose alike. */
static _Atomic(const struct lb_text_kernels *) chosen;

static const char *const simd_names[LB_N_SIMDS] = {"swar", "sse2", "avx2", "avx512"};

const char *lb_simd_name(enum lb_simd simd)
{
    return simd_names[simd];
}

/* NULL when this machine cannot run them. */
static const struct lb_text_kernels *kernels_of(enum lb_simd simd)
{
    switch (simd) {
    case LB_SIMD_SWAR:
        return &lb_text_swar;
#ifdef __x86_64__
    case LB_SIMD_SSE2:
        return &lb_text_sse2;
    case LB_SIMD_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                       __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")
                   ? &lb_text_avx2
                   : NULL;
    case LB_SIMD_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && kernels_of(LB_SIMD_AVX2) != NULL
                   ? &lb_text_avx512
                   : NULL;
#endif
    default:
        return NULL;
    }
}

bool lb_text_set_simd(enum lb_simd simd)
{
    const struct lb_text_kernels *kernels = kernels_of(simd);
    if (kernels == NULL)
        return false;
    atomic_store_explicit(&chosen, kernels, memory_order_release);
    return true;
}

static const struct lb_text_kernels *choose(void)
{
    const char *wish = getenv("LB_SIMD");
    if (wish != NULL && strcmp(wish, "portable") == 0)
        wish = simd_names[LB_SIMD_SWAR];
    for (int simd = 0; wish != NULL && simd < LB_N_SIMDS; simd++) {
        if (strcmp(wish, simd_names[simd]) == 0 && lb_text_set_simd((enum lb_simd)simd))
            return atomic_load_explicit(&chosen, memory_order_acquire);
    }
    for (int simd = LB_N_SIMDS - 1; !lb_text_set_simd((enum lb_simd)simd); simd--)
        ; /* swar is always there */
    return atomic_load_explicit(&chosen, memory_order_acquire);
}

static inline const struct lb_text_kernels *kernels(void)
{
    const struct lb_text_kernels *now = atomic_load_explicit(&chosen, memory_order_acquire);
    return __builtin_expect(now != NULL, 1) ? now : choose();
}

const struct lb_text_kernels *lb_text_kernels_in_use(void)
{
    return kernels();
}

size_t lb_text_lines(const char **cursor, const char *end, bool at_end, struct lb_view *views,
                     size_t max)
{
    return kernels()->lines(cursor, end, at_end, views, max);
}

size_t lb_text_words(const char **cursor, const char *end, bool at_end, struct lb_view *views,
                     size_t max)
{
    return kernels()->words(cursor, end, at_end, views, max);
}

bool lb_text_field_blank(const char *line, size_t size, uint32_t n, struct lb_view *field)
{
    return kernels()->field_blank(line, size, n, field);
}

bool lb_text_field_sep(const char *line, size_t size, uint32_t n, const char *sep, size_t sep_size,
                       struct lb_view *field)
{
    if (sep_size == 1)
        return kernels()->field_byte(line, size, n, sep[0], field);
    if (n == 0)
        return false;
    const char *start = line;
    const char *end = line + size;
    for (;;) {
        const char *next = memmem(start, (size_t)(end - start), sep, sep_size);
        if (--n == 0) {
            view_put_exact(field, start, (size_t)((next != NULL ? next : end) - start));
            return true;
        }
        if (next == NULL)
            return false;
        start = next + sep_size;
    }
}

void lb_text_lower(const char *data, size_t size, char *out)
{
    kernels()->lower(data, size, out);
}

size_t lb_text_count_newlines(const char *data, size_t size)
{
    return kernels()->count_newlines(data, size);
}
