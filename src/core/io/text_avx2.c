/* Text kernels with AVX2 and the bit instructions that come with it. */
#ifdef __x86_64__

#include <immintrin.h>

#include "core/io/text_kernels.h"
#include "core/io/text_view.h"

#define TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))

TARGET static inline __m256i load_32(const char *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

TARGET static inline uint64_t join_maps(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high)
                                                     << 32;
}

TARGET static inline uint64_t byte_map(const char *p, char byte)
{
    __m256i wanted = _mm256_set1_epi8(byte);
    return join_maps(_mm256_cmpeq_epi8(load_32(p), wanted),
                     _mm256_cmpeq_epi8(load_32(p + 32), wanted));
}

TARGET static inline __m256i blanks_32(__m256i bytes)
{
    __m256i from_tab = _mm256_sub_epi8(bytes, _mm256_set1_epi8('\t'));
    __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(from_tab, _mm256_set1_epi8(4)), from_tab);
    return _mm256_or_si256(control, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(' ')));
}

TARGET static inline uint64_t word_map(const char *p)
{
    return ~join_maps(blanks_32(load_32(p)), blanks_32(load_32(p + 32)));
}

TARGET static inline void lower_block(const char *p, char *out)
{
    for (unsigned i = 0; i < 2; i++) {
        __m256i bytes = load_32(p + 32 * i);
        __m256i from_a = _mm256_sub_epi8(bytes, _mm256_set1_epi8('A'));
        __m256i upper = _mm256_cmpeq_epi8(_mm256_min_epu8(from_a, _mm256_set1_epi8(25)), from_a);
        bytes = _mm256_or_si256(bytes, _mm256_and_si256(upper, _mm256_set1_epi8(0x20)));
        _mm256_storeu_si256((__m256i *)(void *)(out + 32 * i), bytes);
    }
}

TARGET static inline unsigned nth_bit(uint64_t bits, unsigned n)
{
    return find_nth_bit(bits, n);
}

/* As put_bits; apart from it because here a count is one instruction. */
TARGET static inline size_t put_positions(uint64_t bits, uint32_t base, uint32_t *out)
{
    size_t count = (size_t)_mm_popcnt_u64(bits);
    for (size_t i = 0; i < count; i += 8) {
        for (size_t k = 0; k < 8; k++) {
            out[i + k] = base + (uint32_t)_tzcnt_u64(bits);
            bits = _blsr_u64(bits);
        }
    }
    return count;
}

#define KERNELS lb_text_avx2
#include "core/io/text_body.h"

#else
typedef int lb_no_avx2; /* a translation unit may not be empty */
#endif
