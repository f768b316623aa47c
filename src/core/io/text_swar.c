/* Text kernels in plain C, eight bytes a step: for machines without vector instructions we know. */
#include "core/io/text_kernels.h"
#include "core/io/text_view.h"

static const uint64_t LOW_BITS = 0x0101010101010101ULL;
static const uint64_t HIGH_BITS = 0x8080808080808080ULL;

/* Byte i of a machine word is byte i of the text: little-endian, whatever the machine is. */
static inline uint64_t load_8(const char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Gathers the high bits of 8 bytes, all others being 0, into 8 bits. */
static inline uint64_t gather_high(uint64_t word)
{
    return (word >> 7) * 0x0102040810204080ULL >> 56;
}

/* High bit of each byte that is equal: exact, no carry crosses a byte. */
static inline uint64_t equal_8(uint64_t word, char byte)
{
    uint64_t differ = word ^ LOW_BITS * (uint8_t)byte;
    return ~(((differ & ~HIGH_BITS) + ~HIGH_BITS) | differ | ~HIGH_BITS);
}

/* High bit of each byte in first..last, both below 128. */
static inline uint64_t range_8(uint64_t word, uint8_t first, uint8_t last)
{
    uint64_t low = word & ~HIGH_BITS;
    uint64_t not_below = low + LOW_BITS * (uint8_t)(128 - first);
    uint64_t above = low + LOW_BITS * (uint8_t)(127 - last);
    return not_below & ~above & ~word & HIGH_BITS;
}

static inline uint64_t byte_map(const char *p, char byte)
{
    uint64_t map = 0;
    for (unsigned i = 0; i < 8; i++)
        map |= gather_high(equal_8(load_8(p + 8 * i), byte)) << 8 * i;
    return map;
}

static inline uint64_t word_map(const char *p)
{
    uint64_t map = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t word = load_8(p + 8 * i);
        map |= gather_high(equal_8(word, ' ') | range_8(word, '\t', '\r')) << 8 * i;
    }
    return ~map;
}

static inline void lower_block(const char *p, char *out)
{
    for (unsigned i = 0; i < 8; i++) {
        uint64_t word;
        memcpy(&word, p + 8 * i, 8);
        word |= range_8(word, 'A', 'Z') >> 2; /* 0x80 becomes 0x20, which upper case letters lack */
        memcpy(out + 8 * i, &word, 8);
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
#define KERNELS lb_text_swar
#include "core/io/text_body.h"
