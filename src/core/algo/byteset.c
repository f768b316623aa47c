/* Byte sets: building, and the scans in portable, AVX2 and AVX-512 form behind one table of
 * kernels.
 *
 * MEMORY No kernel reads a byte outside [s, end): the tail is a masked load (AVX-512) or a copy
 *        of it (AVX2). */
#include "core/algo/byteset.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Most runs are short: so many bytes are looked up singly before the vectors start. */
enum { NEAR = 4 };

struct kernels {
    const char *(*skip)(const struct lb_byteset *set, const char *s, const char *end);
    const char *(*seek)(const struct lb_byteset *set, const char *s, const char *end);
    uint64_t (*mask)(const struct lb_byteset *set, const char *s, size_t size);
    const char *(*find)(const char *s, const char *end, const char *needle, size_t needle_size);
};

/* For a place where the first and the last byte are known to be right. */
static inline bool is_rest_equal(const char *place, const char *needle, size_t needle_size)
{
    for (size_t i = 1; i < needle_size - 1; i++) {
        if (i == 8)
            return memcmp(place + i, needle + i, needle_size - i) == 0;
        if (place[i] != needle[i])
            return false;
    }
    return true;
}

/* ---- portable ---- */

static const char *skip_portable(const struct lb_byteset *set, const char *s, const char *end)
{
    while (s < end && set->member[(uint8_t)*s])
        s++;
    return s;
}

static const char *seek_portable(const struct lb_byteset *set, const char *s, const char *end)
{
    while (s < end && !set->member[(uint8_t)*s])
        s++;
    return s;
}

static uint64_t mask_portable(const struct lb_byteset *set, const char *s, size_t size)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++)
        bits |= (uint64_t)set->member[(uint8_t)s[i]] << i;
    return bits;
}

/* Needles here have at least two bytes. */
static const char *find_portable(const char *s, const char *end, const char *needle,
                                 size_t needle_size)
{
    while ((size_t)(end - s) >= needle_size) {
        s = memchr(s, needle[0], (size_t)(end - s) - needle_size + 1);
        if (s == NULL || memcmp(s + 1, needle + 1, needle_size - 1) == 0)
            return s;
        s++;
    }
    return NULL;
}

#if defined(__x86_64__)

/* ---- AVX2 ---- */

#define AVX2 __attribute__((target("avx2,bmi")))

struct tables_avx2 {
    __m256i low;
    __m256i high;
    __m256i row; /* [high half]: the bit that stands for it */
};

AVX2 static inline struct tables_avx2 tables_avx2(const struct lb_byteset *set)
{
    struct tables_avx2 t;
    t.low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)set->low));
    t.high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)set->high));
    t.row = _mm256_set1_epi64x((long long)0x8040201008040201ULL);
    return t;
}

AVX2 static inline uint32_t bits32_avx2(struct tables_avx2 t, __m256i v)
{
    __m256i top = _mm256_set1_epi8((char)0x80);
    __m256i column = _mm256_or_si256(_mm256_shuffle_epi8(t.low, v),
                                     _mm256_shuffle_epi8(t.high, _mm256_xor_si256(v, top)));
    __m256i half = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
    __m256i row = _mm256_shuffle_epi8(t.row, half);
    __m256i hit = _mm256_cmpeq_epi8(_mm256_and_si256(column, row), row);
    return (uint32_t)_mm256_movemask_epi8(hit);
}

AVX2 static inline uint64_t bits64_avx2(struct tables_avx2 t, const char *s)
{
    uint32_t first = bits32_avx2(t, _mm256_loadu_si256((const __m256i *)(const void *)s));
    uint32_t second = bits32_avx2(t, _mm256_loadu_si256((const __m256i *)(const void *)(s + 32)));
    return (uint64_t)second << 32 | first;
}

/* size is 1 to 63. Overlapping loads where they fit, else a copy. */
AVX2 static uint64_t tail_avx2(struct tables_avx2 t, const char *s, size_t size)
{
    if (size >= 32) {
        uint64_t first = bits32_avx2(t, _mm256_loadu_si256((const __m256i *)(const void *)s));
        uint64_t last =
            bits32_avx2(t, _mm256_loadu_si256((const __m256i *)(const void *)(s + size - 32)));
        return first | last << (size - 32);
    }
    char copy[32];
    if (size >= 16) {
        memcpy(copy, s, 16);
        memset(copy + 16, 0, 16);
        memcpy(copy + size - 16, s + size - 16, 16);
    } else {
        memset(copy, 0, 32);
        if (size >= 8) {
            memcpy(copy, s, 8);
            memcpy(copy + size - 8, s + size - 8, 8);
        } else {
            for (size_t i = 0; i < size; i++)
                copy[i] = s[i];
        }
    }
    uint32_t bits = bits32_avx2(t, _mm256_loadu_si256((const __m256i *)(const void *)copy));
    return bits & (((uint64_t)1 << size) - 1);
}

AVX2 static uint64_t mask_avx2(const struct lb_byteset *set, const char *s, size_t size)
{
    if (size == 0)
        return 0;
    struct tables_avx2 t = tables_avx2(set);
    return size >= 64 ? bits64_avx2(t, s) : tail_avx2(t, s, size);
}

AVX2 static inline const char *scan_avx2(const struct lb_byteset *set, const char *s,
                                         const char *end, uint64_t flip)
{
    struct tables_avx2 t = tables_avx2(set);
    for (; end - s >= 64; s += 64) {
        uint64_t stops = bits64_avx2(t, s) ^ flip;
        if (stops != 0)
            return s + __builtin_ctzll(stops);
    }
    size_t rest = (size_t)(end - s);
    if (rest == 0)
        return end;
    uint64_t stops = (tail_avx2(t, s, rest) ^ flip) & (((uint64_t)1 << rest) - 1);
    return stops != 0 ? s + __builtin_ctzll(stops) : end;
}

AVX2 static const char *skip_avx2(const struct lb_byteset *set, const char *s, const char *end)
{
    return scan_avx2(set, s, end, ~(uint64_t)0);
}

AVX2 static const char *seek_avx2(const struct lb_byteset *set, const char *s, const char *end)
{
    return scan_avx2(set, s, end, 0);
}

/* Compares the first and the last byte of the needle at 32 places at once. */
AVX2 static const char *find_avx2(const char *s, const char *end, const char *needle,
                                  size_t needle_size)
{
    __m256i first = _mm256_set1_epi8(needle[0]);
    __m256i last = _mm256_set1_epi8(needle[needle_size - 1]);
    for (; (size_t)(end - s) >= needle_size + 31; s += 32) {
        const char *behind = s + needle_size - 1;
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)s);
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)behind);
        __m256i both = _mm256_and_si256(_mm256_cmpeq_epi8(a, first), _mm256_cmpeq_epi8(b, last));
        uint32_t hits = (uint32_t)_mm256_movemask_epi8(both);
        for (; hits != 0; hits &= hits - 1) {
            const char *place = s + __builtin_ctz(hits);
            if (is_rest_equal(place, needle, needle_size))
                return place;
        }
    }
    return find_portable(s, end, needle, needle_size);
}

/* ---- AVX-512 ---- */

#define AVX512 __attribute__((target("avx512f,avx512bw,bmi,bmi2")))

struct tables_avx512 {
    __m512i low;
    __m512i high;
    __m512i row;
};

AVX512 static inline struct tables_avx512 tables_avx512(const struct lb_byteset *set)
{
    struct tables_avx512 t;
    t.low = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)set->low));
    t.high = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)set->high));
    t.row = _mm512_set1_epi64((long long)0x8040201008040201ULL);
    return t;
}

AVX512 static inline uint64_t bits_avx512(struct tables_avx512 t, __m512i v)
{
    __m512i top = _mm512_set1_epi8((char)0x80);
    __m512i column = _mm512_or_si512(_mm512_shuffle_epi8(t.low, v),
                                     _mm512_shuffle_epi8(t.high, _mm512_xor_si512(v, top)));
    __m512i half = _mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi8(15));
    return _mm512_test_epi8_mask(column, _mm512_shuffle_epi8(t.row, half));
}

AVX512 static inline uint64_t low_bits(size_t n) /* n up to 63 */
{
    return _bzhi_u64(~(uint64_t)0, (unsigned)n);
}

AVX512 static uint64_t mask_avx512(const struct lb_byteset *set, const char *s, size_t size)
{
    struct tables_avx512 t = tables_avx512(set);
    if (size >= 64)
        return bits_avx512(t, _mm512_loadu_si512(s));
    uint64_t valid = low_bits(size);
    return bits_avx512(t, _mm512_maskz_loadu_epi8(valid, s)) & valid;
}

AVX512 static inline const char *scan_avx512(const struct lb_byteset *set, const char *s,
                                             const char *end, uint64_t flip)
{
    struct tables_avx512 t = tables_avx512(set);
    for (; end - s >= 64; s += 64) {
        uint64_t stops = bits_avx512(t, _mm512_loadu_si512(s)) ^ flip;
        if (stops != 0)
            return s + __builtin_ctzll(stops);
    }
    uint64_t valid = low_bits((size_t)(end - s));
    uint64_t stops = (bits_avx512(t, _mm512_maskz_loadu_epi8(valid, s)) ^ flip) & valid;
    return stops != 0 ? s + __builtin_ctzll(stops) : end;
}

AVX512 static const char *skip_avx512(const struct lb_byteset *set, const char *s, const char *end)
{
    return scan_avx512(set, s, end, ~(uint64_t)0);
}

AVX512 static const char *seek_avx512(const struct lb_byteset *set, const char *s, const char *end)
{
    return scan_avx512(set, s, end, 0);
}

AVX512 static const char *find_avx512(const char *s, const char *end, const char *needle,
                                      size_t needle_size)
{
    __m512i first = _mm512_set1_epi8(needle[0]);
    __m512i last = _mm512_set1_epi8(needle[needle_size - 1]);
    while ((size_t)(end - s) >= needle_size) {
        size_t places = (size_t)(end - s) - needle_size + 1;
        uint64_t valid = places >= 64 ? ~(uint64_t)0 : low_bits(places);
        __m512i a = _mm512_maskz_loadu_epi8(valid, s);
        __m512i b = _mm512_maskz_loadu_epi8(valid, s + needle_size - 1);
        uint64_t hits =
            _mm512_mask_cmpeq_epi8_mask(_mm512_mask_cmpeq_epi8_mask(valid, a, first), b, last);
        for (; hits != 0; hits &= hits - 1) {
            const char *place = s + __builtin_ctzll(hits);
            if (is_rest_equal(place, needle, needle_size))
                return place;
        }
        if (places <= 64)
            return NULL;
        s += 64;
    }
    return NULL;
}

#endif

/* ---- choice of kernels ---- */

static struct kernels kernels = {skip_portable, seek_portable, mask_portable, find_portable};

__attribute__((constructor)) static void choose_kernels(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("bmi2"))
        kernels = (struct kernels){skip_avx512, seek_avx512, mask_avx512, find_avx512};
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
        kernels = (struct kernels){skip_avx2, seek_avx2, mask_avx2, find_avx2};
#endif
}

void lb_byteset_limit_kernels(int level)
{
    kernels = (struct kernels){skip_portable, seek_portable, mask_portable, find_portable};
#if defined(__x86_64__)
    if (level >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
        kernels = (struct kernels){skip_avx2, seek_avx2, mask_avx2, find_avx2};
#endif
    if (level >= 2)
        choose_kernels();
}

/* ---- the contract's functions ---- */

void lb_byteset_init(struct lb_byteset *set, const uint64_t bits[4])
{
    int n_members = 0;
    memset(set, 0, sizeof *set);
    set->only = -1;
    set->except = -1;
    for (int i = 0; i < 4; i++)
        n_members += __builtin_popcountll(bits[i]);
    set->is_all = n_members == 256;
    set->is_empty = n_members == 0;
    for (int byte = 0; byte < 256; byte++) {
        bool is_member = bits[byte >> 6] >> (byte & 63) & 1;
        set->member[byte] = is_member;
        if (is_member && n_members == 1)
            set->only = (int16_t)byte;
        if (!is_member && n_members == 255)
            set->except = (int16_t)byte;
        uint8_t *column = byte < 128 ? &set->low[byte & 15] : &set->high[byte & 15];
        *column |= (uint8_t)(is_member << (byte >> 4 & 7));
    }
}

const char *lb_byteset_skip(const struct lb_byteset *set, const char *s, const char *end)
{
    if (set->is_all)
        return end;
    const char *near = end - s > NEAR ? s + NEAR : end;
    for (; s < near; s++) {
        if (!set->member[(uint8_t)*s])
            return s;
    }
    return s == end ? end : kernels.skip(set, s, end);
}

const char *lb_byteset_seek(const struct lb_byteset *set, const char *s, const char *end)
{
    if (set->is_empty)
        return end;
    const char *near = end - s > NEAR ? s + NEAR : end;
    for (; s < near; s++) {
        if (set->member[(uint8_t)*s])
            return s;
    }
    return s == end ? end : kernels.seek(set, s, end);
}

uint64_t lb_byteset_mask(const struct lb_byteset *set, const char *s, size_t size)
{
    return kernels.mask(set, s, size);
}

const char *lb_bytes_find(const char *s, const char *end, const char *needle, size_t needle_size)
{
    if (needle_size == 0)
        return s;
    if ((size_t)(end - s) < needle_size)
        return NULL;
    if (needle_size == 1)
        return memchr(s, needle[0], (size_t)(end - s));
    return kernels.find(s, end, needle, needle_size);
}

void lb_runs_init(struct lb_runs *runs, const struct lb_byteset *set, const char *s,
                  const char *end)
{
    size_t size = (size_t)(end - s);
    runs->set = set;
    runs->block = s;
    runs->end = end;
    runs->bits = kernels.mask(set, s, size < 64 ? size : 64);
}

/* Moves to the next 64 bytes; false when there are none. */
static bool next_block(struct lb_runs *runs)
{
    size_t rest = (size_t)(runs->end - runs->block);
    if (rest <= 64)
        return false;
    runs->block += 64;
    rest -= 64;
    runs->bits = kernels.mask(runs->set, runs->block, rest < 64 ? rest : 64);
    return true;
}

bool lb_runs_next(struct lb_runs *runs, const char **start, const char **stop)
{
    while (runs->bits == 0) {
        if (!next_block(runs))
            return false;
    }
    unsigned first = (unsigned)__builtin_ctzll(runs->bits);
    *start = runs->block + first;
    /* The lowest clear bit above `first`; adding carries through the run, and out when it reaches
     * the top. */
    uint64_t after = runs->bits + ((uint64_t)1 << first);
    if (after != 0 && after > runs->bits) {
        *stop = runs->block + __builtin_ctzll(after & ~runs->bits);
        runs->bits &= after;
        return true;
    }
    for (;;) {
        if (!next_block(runs)) {
            runs->bits = 0;
            *stop = runs->end;
            return true;
        }
        if (~runs->bits != 0) {
            unsigned n = (unsigned)__builtin_ctzll(~runs->bits);
            *stop = runs->block + n;
            runs->bits &= ~(((uint64_t)1 << n) - 1);
            return true;
        }
    }
}
