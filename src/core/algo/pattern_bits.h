/* Sets of bytes while a pattern is compiled: 256 bits, and the classes of Lua patterns. For
 * pattern.c only. */
#ifndef LB_ALGO_PATTERN_BITS_H
#define LB_ALGO_PATTERN_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bits {
    uint64_t word[4];
};

static inline void bits_add(struct bits *bits, uint8_t byte)
{
    bits->word[byte >> 6] |= (uint64_t)1 << (byte & 63);
}

static inline bool bits_has(const struct bits *bits, uint8_t byte)
{
    return bits->word[byte >> 6] >> (byte & 63) & 1;
}

static inline struct bits bits_or(struct bits a, const struct bits *b)
{
    for (int i = 0; i < 4; i++)
        a.word[i] |= b->word[i];
    return a;
}

static inline struct bits bits_and(struct bits a, const struct bits *b)
{
    for (int i = 0; i < 4; i++)
        a.word[i] &= b->word[i];
    return a;
}

static inline struct bits bits_not(struct bits a)
{
    for (int i = 0; i < 4; i++)
        a.word[i] = ~a.word[i];
    return a;
}

static inline bool bits_is_empty(const struct bits *bits)
{
    return (bits->word[0] | bits->word[1] | bits->word[2] | bits->word[3]) == 0;
}

static inline bool is_disjoint(struct bits a, const struct bits *b)
{
    a = bits_and(a, b);
    return bits_is_empty(&a);
}

static const struct bits all_bytes = {{~0ULL, ~0ULL, ~0ULL, ~0ULL}};

/* The classes of the C locale: bytes above 127 are in none of them. Only words 0 and 1 can be
 * non-zero. */
struct class_bits {
    char letter;
    uint64_t word[2];
};

static const struct class_bits classes[] = {
    {'a', {0, 0x07fffffe07fffffeULL}},
    {'c', {0x00000000ffffffffULL, 0x8000000000000000ULL}},
    {'d', {0x03ff000000000000ULL, 0}},
    {'g', {0xfffffffe00000000ULL, 0x7fffffffffffffffULL}},
    {'l', {0, 0x07fffffe00000000ULL}},
    {'p', {0xfc00fffe00000000ULL, 0x78000001f8000001ULL}},
    {'s', {0x0000000100003e00ULL, 0}},
    {'u', {0, 0x0000000007fffffeULL}},
    {'w', {0x03ff000000000000ULL, 0x07fffffe07fffffeULL}},
    {'x', {0x03ff000000000000ULL, 0x0000007e0000007eULL}},
    {'z', {0x0000000000000001ULL, 0}},
};

/* The set of "%letter"; a capital is the complement, another byte stands for itself. */
static inline struct bits class_set(uint8_t letter)
{
    struct bits set = {{0}};
    bool is_capital = letter >= 'A' && letter <= 'Z';
    char wanted = (char)(is_capital ? letter + ('a' - 'A') : letter);
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (classes[i].letter == wanted) {
            set.word[0] = classes[i].word[0];
            set.word[1] = classes[i].word[1];
            return is_capital ? bits_not(set) : set;
        }
    }
    bits_add(&set, letter);
    return set;
}

#endif
