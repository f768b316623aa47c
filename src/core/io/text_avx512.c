/* Text kernels with AVX-512 (F, BW, VL): maps come from one compare, positions from compress. */
#ifdef __x86_64__

#include <immintrin.h>

#include "core/io/text_kernels.h"
#include "core/io/text_view.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx2,bmi,bmi2,lzcnt,popcnt")))

TARGET static inline uint64_t byte_map(const char *p, char byte)
{
    return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(p), _mm512_set1_epi8(byte));
}

TARGET static inline uint64_t words_64(__m512i bytes)
{
    __m512i from_tab = _mm512_sub_epi8(bytes, _mm512_set1_epi8('\t'));
    return _mm512_cmpneq_epi8_mask(bytes, _mm512_set1_epi8(' ')) &
           _mm512_cmpgt_epu8_mask(from_tab, _mm512_set1_epi8(4));
}

TARGET static inline uint64_t word_map(const char *p)
{
    return words_64(_mm512_loadu_si512(p));
}

/* A masked load does not touch (nor fault on) what its mask leaves out. */
#define HAS_PARTIAL_LOADS
TARGET static inline uint64_t byte_map_partial(const char *p, size_t size, char byte)
{
    __mmask64 inside = _bzhi_u64(~(uint64_t)0, (unsigned)size);
    return _mm512_mask_cmpeq_epi8_mask(inside, _mm512_maskz_loadu_epi8(inside, p),
                                       _mm512_set1_epi8(byte));
}

TARGET static inline uint64_t word_map_partial(const char *p, size_t size)
{
    __mmask64 inside = _bzhi_u64(~(uint64_t)0, (unsigned)size);
    return words_64(_mm512_maskz_loadu_epi8(inside, p)) & inside;
}

TARGET static inline void lower_block(const char *p, char *out)
{
    __m512i bytes = _mm512_loadu_si512(p);
    __m512i from_a = _mm512_sub_epi8(bytes, _mm512_set1_epi8('A'));
    __mmask64 upper = _mm512_cmple_epu8_mask(from_a, _mm512_set1_epi8(25));
    _mm512_storeu_si512(out, _mm512_mask_add_epi8(bytes, upper, bytes, _mm512_set1_epi8(0x20)));
}

/* Every machine with AVX-512 has a fast pdep. */
TARGET static inline unsigned nth_bit(uint64_t bits, unsigned n)
{
    return (unsigned)_tzcnt_u64(_pdep_u64((uint64_t)1 << n, bits));
}

/* Compresses in the register and stores whole: compressing stores are microcoded on Zen 4. */
TARGET static inline size_t put_positions(uint64_t bits, uint32_t base, uint32_t *out)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t count = 0;
    for (unsigned i = 0; i < 4; i++) {
        __mmask16 part = (__mmask16)(bits >> 16 * i);
        __m512i positions = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)(base + 16 * i)));
        _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(part, positions));
        count += (size_t)_mm_popcnt_u64(part);
    }
    return count;
}

#define KERNELS lb_text_avx512
#include "core/io/text_body.h"

#else
typedef int lb_no_avx512; /* a translation unit may not be empty */
#endif
