/* The body of the text kernels, compiled once per instruction set by text_swar.c, text_sse2.c,
 * text_avx2.c and text_avx512.c.
 *
 * IDEA   64 bytes become a 64-bit map: bit i says that byte i is a newline (or no blank). The bits
 *        are found without a branch per byte, and turned into an array of positions; then views are
 *        made in a second loop, whose iterations are independent of each other and of the text.
 *        Words: where the map of non-blanks differs from itself shifted by one (with the carry of
 *        the block before) a word begins or ends, so positions alternate begin, end, begin, end.
 * MEMORY Positions are 32-bit offsets within a window of at most WINDOW_BYTES, on the stack.
 * WHY NOT one loop that takes bit after bit and makes the view at once: 2.6 ns a word instead
 *        of 2.1 (AVX-512, random words of 6 letters). Reading aligned blocks, from before the
 *        data: no checker (ASan, valgrind) could tell it from a bug.
 *
 * The including file defines, before including:
 *   TARGET                   function attribute that allows the instructions, or empty
 *   KERNELS                  name of the struct lb_text_kernels to define
 *   byte_map(p, byte)        bit i: p[i] == byte, of 64 readable bytes
 *   word_map(p)              bit i: p[i] is no blank
 *   lower_block(p, out)      64 bytes in lower case; out may be p
 *   nth_bit(bits, n)         position of the n-th (0-based) set bit, which must exist
 *   put_positions(bits, base, out)
 *                            writes base + position of each bit, ascending, and returns how many;
 *                            may write up to 64 items whatever the number
 * and may define HAS_PARTIAL_LOADS with byte_map_partial(p, size, byte) and
 * word_map_partial(p, size), which touch only the first size < 64 bytes and leave the others 0. */

#include "core/io/text_view.h"

enum {
    WINDOW_BYTES = 4096,
    /* A window may end in the middle of a block: its last put may begin at any position. */
    POSITIONS = WINDOW_BYTES + 64
};

/* The bits below `count` (0..64). */
static inline uint64_t low_bits(size_t count)
{
    return count >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << count) - 1;
}

TARGET static size_t find_lines(const char **cursor, const char *end, bool at_end,
                                struct lb_view *views, size_t max)
{
    uint32_t positions[POSITIONS];
    const char *start = *cursor; /* of the line that is open */
    const char *scan = start;
    size_t n = 0;
    while (scan < end && n < max) {
        const char *base = scan;
        size_t left = (size_t)(end - base);
        size_t window = left < WINDOW_BYTES ? left : WINDOW_BYTES;
        size_t wanted = max - n;
        size_t found = 0;
        size_t at = 0;
        for (; at < window && found < wanted; at += 64) {
            uint64_t bits = byte_map(base + at, '\n') & low_bits(left - at);
            found += put_positions(bits, (uint32_t)at, positions + found);
        }
        scan = base + at;
        if (found > wanted)
            found = wanted;
        for (size_t i = 0; i < found; i++) {
            const char *newline = base + positions[i];
            size_t size = (size_t)(newline - start);
            size -= newline[-(ptrdiff_t)(size > 0)] == '\r'; /* an empty line sees its '\n' */
            view_put_line(&views[n + i], start, size);
            start = newline + 1;
        }
        n += found;
    }
    if (at_end && n < max && start < end) {
        size_t size = (size_t)(end - start);
        size -= end[-1] == '\r';
        view_put_line(&views[n++], start, size);
        start = end;
    }
    *cursor = start;
    return n;
}

TARGET static size_t find_words(const char **cursor, const char *end, bool at_end,
                                struct lb_view *views, size_t max)
{
    uint32_t positions[POSITIONS];
    const char *scan = *cursor;
    const char *open = NULL; /* start of the word that reaches the scan position */
    const char *done = scan; /* end of the last word given out */
    size_t n = 0;
    while (scan < end && n < max) {
        const char *base = scan;
        size_t left = (size_t)(end - base);
        size_t window = left < WINDOW_BYTES ? left : WINDOW_BYTES;
        size_t wanted = 2 * (max - n) - (open != NULL);
        uint64_t carry = open != NULL;
        size_t found = 0;
        size_t at = 0;
        for (; at < window && found < wanted; at += 64) {
            uint64_t bits = word_map(base + at);
            uint64_t edges = bits ^ (bits << 1 | carry);
            carry = bits >> 63;
            found += put_positions(edges & low_bits(left - at), (uint32_t)at, positions + found);
        }
        scan = base + at;
        const uint32_t *next = positions;
        if (open != NULL && found > 0) {
            view_put_word(&views[n++], open, (size_t)(base + *next - open));
            done = base + *next++;
            open = NULL;
            found--;
        }
        size_t pairs = found / 2 < max - n ? found / 2 : max - n;
        for (size_t i = 0; i < pairs; i++)
            view_put_word(&views[n + i], base + next[2 * i], next[2 * i + 1] - next[2 * i]);
        n += pairs;
        if (pairs > 0)
            done = base + next[2 * pairs - 1];
        if (n < max && found % 2 != 0)
            open = base + next[found - 1];
    }
    if (n == max) {
        *cursor = done;
    } else if (open == NULL) {
        *cursor = end;
    } else if (at_end) {
        view_put_word(&views[n++], open, (size_t)(end - open));
        *cursor = end;
    } else {
        *cursor = open;
    }
    return n;
}

/* Maps of the block at `at` of a text that must not be read beyond its size. */
#ifdef HAS_PARTIAL_LOADS
#define TAIL_MAP(map, text, size, at, ...)               \
    ((size) - (at) >= 64 ? map((text) + (at)__VA_ARGS__) \
                         : map##_partial((text) + (at), (size) - (at)__VA_ARGS__))
#else
/* The last block overlaps the one before it; a short text is copied out. */
#define TAIL_MAP(map, text, size, at, ...)                                               \
    ((size) - (at) >= 64 ? map((text) + (at)__VA_ARGS__)                                 \
     : (size) >= 64      ? map((text) + (size)-64 __VA_ARGS__) >> (64 - ((size) - (at))) \
                         : map(copy_short(text, size, spare) __VA_ARGS__) & low_bits(size))
static inline const char *copy_short(const char *text, size_t size, char spare[64])
{
    if (size >= 32) {
        memcpy(spare, text, 32);
        char last[32];
        memcpy(last, text + size - 32, 32);
        memcpy(spare + size - 32, last, 32);
    } else if (size >= 16) {
        memcpy(spare, text, 16);
        char last[16];
        memcpy(last, text + size - 16, 16);
        memcpy(spare + size - 16, last, 16);
    } else {
        for (size_t i = 0; i < size; i++)
            spare[i] = text[i];
    }
    return spare;
}
#endif

TARGET static bool find_field_blank(const char *line, size_t size, uint32_t n,
                                    struct lb_view *field)
{
#ifndef HAS_PARTIAL_LOADS
    char spare[64] = {0};
#endif
    if (n == 0)
        return false;
    uint64_t carry = 0;
    size_t before = 0; /* fields that begin in earlier blocks */
    for (size_t at = 0; at < size; at += 64) {
        uint64_t bits = TAIL_MAP(word_map, line, size, at);
        uint64_t begins = bits & ~(bits << 1 | carry);
        size_t count = (size_t)__builtin_popcountll(begins);
        if (before + count < n) {
            before += count;
            carry = bits >> 63;
            continue;
        }
        unsigned bit = nth_bit(begins, (unsigned)(n - 1 - before));
        size_t first = at + bit;
        uint64_t ends = ~bits & ~low_bits(bit);
        while (ends == 0) { /* the field goes on in the next block */
            at += 64;
            if (at >= size)
                break;
            ends = ~(TAIL_MAP(word_map, line, size, at));
        }
        size_t last = at < size ? at + (size_t)__builtin_ctzll(ends) : size;
        view_put_exact(field, line + first, (last < size ? last : size) - first);
        return true;
    }
    return false;
}

#define COMMA ,
TARGET static bool find_field_byte(const char *line, size_t size, uint32_t n, char sep,
                                   struct lb_view *field)
{
#ifndef HAS_PARTIAL_LOADS
    char spare[64] = {0};
#endif
    if (n == 0)
        return false;
    size_t needed = n - 1; /* separators still to pass before the field begins */
    size_t first = 0;
    for (size_t at = 0; at < size; at += 64) {
        uint64_t bits = TAIL_MAP(byte_map, line, size, at, COMMA sep);
        if (needed > 0) {
            size_t count = (size_t)__builtin_popcountll(bits);
            if (count < needed) {
                needed -= count;
                continue;
            }
            unsigned bit = nth_bit(bits, (unsigned)(needed - 1));
            needed = 0;
            first = at + bit + 1;
            bits &= ~low_bits(bit + 1);
        }
        if (bits != 0) {
            view_put_exact(field, line + first, at + (size_t)__builtin_ctzll(bits) - first);
            return true;
        }
    }
    if (needed > 0)
        return false;
    view_put_exact(field, line + first, size - first);
    return true;
}

TARGET static void lower_text(const char *data, size_t size, char *out)
{
    size_t at = 0;
    for (; at + 64 <= size; at += 64)
        lower_block(data + at, out + at);
    for (; at < size; at++) {
        char byte = data[at];
        out[at] = (char)(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
    }
}

TARGET static size_t count_newlines(const char *data, size_t size)
{
    size_t count = 0;
    size_t at = 0;
    for (; at + 64 <= size; at += 64)
        count += (size_t)__builtin_popcountll(byte_map(data + at, '\n'));
    for (; at < size; at++)
        count += data[at] == '\n';
    return count;
}

#include "core/io/csv_body.h"

static inline void put_kinds(const char *p, uint64_t marks, uint64_t starts,
                             const uint32_t *positions, size_t n, const char *data, char *kinds)
{
    (void)p, (void)marks, (void)starts;
    for (size_t i = 0; i < n; i++)
        kinds[i] = lb_json_kinds[(unsigned char)data[positions[i]]];
}

#define JSON_INDEX json_index
#include "core/io/json_body.h"

const struct lb_text_kernels KERNELS = {
    .lines = find_lines,
    .words = find_words,
    .field_blank = find_field_blank,
    .field_byte = find_field_byte,
    .lower = lower_text,
    .count_newlines = count_newlines,
    .csv_index = csv_index,
    .csv_last_end = csv_last_end,
    .count_bytes = count_bytes,
    .json_index = json_index,
};
