/* Text kernels with SSE2, which every x86-64 machine has. */
#ifdef __x86_64__

#include "core/io/text_kernels.h"
#include "core/io/text_view.h"

static inline __m128i load_16(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline uint64_t byte_map(const char *p, char byte)
{
    __m128i wanted = _mm_set1_epi8(byte);
    uint64_t map = 0;
    for (unsigned i = 0; i < 4; i++)
        map |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(load_16(p + 16 * i), wanted))
               << 16 * i;
    return map;
}

static inline uint64_t word_map(const char *p)
{
    uint64_t map = 0;
    for (unsigned i = 0; i < 4; i++) {
        __m128i bytes = load_16(p + 16 * i);
        __m128i from_tab = _mm_sub_epi8(bytes, _mm_set1_epi8('\t'));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(from_tab, _mm_set1_epi8(4)), from_tab);
        __m128i blank = _mm_or_si128(control, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(' ')));
        map |= (uint64_t)(uint32_t)_mm_movemask_epi8(blank) << 16 * i;
    }
    return ~map;
}

static inline void lower_block(const char *p, char *out)
{
    for (unsigned i = 0; i < 4; i++) {
        __m128i bytes = load_16(p + 16 * i);
        __m128i from_a = _mm_sub_epi8(bytes, _mm_set1_epi8('A'));
        __m128i upper = _mm_cmpeq_epi8(_mm_min_epu8(from_a, _mm_set1_epi8(25)), from_a);
        bytes = _mm_or_si128(bytes, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
        _mm_storeu_si128((__m128i *)(void *)(out + 16 * i), bytes);
    }
}

static inline unsigned nth_bit(uint64_t bits, unsigned n)
{
    return find_nth_bit(bits, n);
}

static inline size_t put_positions(uint64_t bits, uint32_t base, uint32_t *out)
{
    return put_bits(bits, base, out);
}

#define TARGET
#define KERNELS lb_text_sse2
#include "core/io/text_body.h"

#else
typedef int lb_no_sse2; /* a translation unit may not be empty */
#endif
