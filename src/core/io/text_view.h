/* Small helpers of the text kernels: views from positions, and bits. Inside the room only. */
#ifndef LB_IO_TEXT_VIEW_H
#define LB_IO_TEXT_VIEW_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/column/batch.h"
#ifdef __x86_64__
#include <emmintrin.h>
#endif

/* What of the first 12 bytes (behind 4 bytes for the size) a view of n bytes keeps; row 13 is that
 * of all views beyond 12 bytes: the prefix only. */
extern const uint8_t lb_view_masks[14][16];

#ifdef __x86_64__
/* Makes a view without a branch on its size. start must have 16 readable bytes. */
static inline void view_put_word(struct lb_view *view, const char *start, size_t size)
{
    size_t row = size <= LB_VIEW_INLINE ? size : LB_VIEW_INLINE + 1;
    uint64_t pointer = size <= LB_VIEW_INLINE ? 0 : (uint64_t)(uintptr_t)start;
    __m128i mask = _mm_load_si128((const __m128i *)(const void *)lb_view_masks[row]);
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)start);
    bytes = _mm_and_si128(_mm_slli_si128(bytes, 4), mask);
    bytes = _mm_or_si128(bytes, _mm_set_epi64x((long long)pointer, (long long)(uint32_t)size));
    _mm_storeu_si128((__m128i *)(void *)view, bytes);
}
#else
static inline void view_put_word(struct lb_view *view, const char *start, size_t size)
{
    lb_view_set(view, start, size);
}
#endif

/* The same for lines, which are long as a rule. */
static inline void view_put_line(struct lb_view *view, const char *start, size_t size)
{
    if (__builtin_expect(size > LB_VIEW_INLINE, 1)) {
        view->size = (uint32_t)size;
        memcpy(view->prefix, start, 4);
        view->data = start;
    } else {
        view_put_word(view, start, size);
    }
}

/* A view of bytes behind which nothing may be read. */
static inline void view_put_exact(struct lb_view *view, const char *start, size_t size)
{
    if (size > LB_VIEW_INLINE) {
        view->size = (uint32_t)size;
        memcpy(view->prefix, start, 4);
        view->data = start;
        return;
    }
    uint64_t low = 0, high = 0; /* bytes 0..7, 8..11 */
    if (size >= 8) {
        memcpy(&low, start, 8);
        for (size_t i = 8; i < size; i++)
            ((char *)&high)[i - 8] = start[i];
    } else if (size >= 4) {
        memcpy(&low, start, 4);
        memcpy((char *)&low + size - 4, start + size - 4, 4);
    } else {
        for (size_t i = 0; i < size; i++)
            ((char *)&low)[i] = start[i];
    }
    uint64_t words[2] = {(uint32_t)size | low << 32, low >> 32 | high << 32};
    memcpy(view, words, sizeof words);
}

/* Position of the n-th (0-based) set bit, which must exist. (pdep would be one step, but on some
 * AVX2 machines it is microcode that takes longer than this loop.) */
static inline unsigned find_nth_bit(uint64_t bits, unsigned n)
{
    for (; n > 0; n--)
        bits &= bits - 1;
    return (unsigned)__builtin_ctzll(bits);
}

/* put_positions of text_body.h for machines without a compress instruction: four bits a turn, so
 * that the loop's branch depends on the number of bits only roughly. */
static inline size_t put_bits(uint64_t bits, uint32_t base, uint32_t *out)
{
    size_t count = (size_t)__builtin_popcountll(bits);
    for (size_t i = 0; i < count; i += 4) {
        /* A map that has run out gives position 63: written, but never counted. */
        for (size_t k = 0; k < 4; k++) {
            out[i + k] = base + (uint32_t)__builtin_ctzll(bits | (uint64_t)1 << 63);
            bits &= bits - 1;
        }
    }
    return count;
}

#endif
