/* The body of the CSV kernels, compiled once per instruction set behind text_body.h, whose masks it
 * uses; csv.h has the contracts.
 *
 * IDEA   64 bytes become three maps: newlines, separators, quotes. What lies inside quotes is the
 *        running parity of the quotes before it: a prefix XOR over the map, six shifts. Newlines and
 *        separators inside are dropped, the others become positions; each newline left ends a
 *        record, whose fields are counted by the positions before it.
 * WHY NOT a carry-less multiplication for the prefix XOR: blocks without quotes skip it anyhow. */

/* Bit i: the parity of bits 0..i. */
static inline uint64_t running_parity(uint64_t bits)
{
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    return bits ^ bits << 32;
}

TARGET static void csv_index(const char *data, size_t size, char separator, int quote,
                             struct lb_csv_index *index)
{
    uint64_t inside = 0; /* all ones: the block begins inside quotes */
    uint32_t quoted = 0; /* LB_CSV_QUOTED: the open record has a quote */
    size_t found = 0;
    uint32_t n = 0;
    for (size_t at = 0; at < size && found + 64 <= index->capacity; at += 64) {
        uint64_t limit = low_bits(size - at);
        uint64_t newlines = byte_map(data + at, '\n') & limit;
        uint64_t marks = newlines | (byte_map(data + at, separator) & limit);
        uint64_t quotes = 0;
        if (quote >= 0) {
            quotes = byte_map(data + at, (char)quote) & limit;
            if ((quotes | inside) != 0) {
                uint64_t map = running_parity(quotes) ^ inside;
                newlines &= ~map;
                marks &= ~map;
                inside = (uint64_t)((int64_t)map >> 63);
            }
        }
        size_t count = put_positions(marks, (uint32_t)at, index->positions + found);
        while (newlines != 0) {
            unsigned bit = (unsigned)__builtin_ctzll(newlines);
            uint64_t before = low_bits(bit);
            if ((quotes & before) != 0)
                quoted = LB_CSV_QUOTED;
            quotes &= ~before;
            index->ends[n++] =
                ((uint32_t)found + (uint32_t)__builtin_popcountll(marks & before) + 1) | quoted;
            quoted = 0;
            newlines &= newlines - 1;
            if (n == index->max_records) {
                index->n_records = n;
                index->is_full = true;
                return;
            }
        }
        if (quotes != 0)
            quoted = LB_CSV_QUOTED;
        found += count;
        index->is_full = at + 64 < size;
    }
    index->n_records = n;
}

TARGET static size_t csv_last_end(const char *data, size_t size, int quote, bool *is_inside)
{
    uint64_t inside = *is_inside ? ~(uint64_t)0 : 0;
    size_t end = 0;
    for (size_t at = 0; at < size; at += 64) {
        uint64_t limit = low_bits(size - at);
        uint64_t newlines = byte_map(data + at, '\n') & limit;
        if (quote >= 0) {
            uint64_t quotes = byte_map(data + at, (char)quote) & limit;
            if ((quotes | inside) != 0) {
                uint64_t map = running_parity(quotes) ^ inside;
                newlines &= ~map;
                inside = (uint64_t)((int64_t)map >> 63);
            }
        }
        if (newlines != 0)
            end = at + 64 - (size_t)__builtin_clzll(newlines);
    }
    *is_inside = inside != 0;
    return end;
}

TARGET static size_t count_bytes(const char *data, size_t size, char byte)
{
    size_t count = 0;
    size_t at = 0;
    for (; at + 64 <= size; at += 64)
        count += (size_t)__builtin_popcountll(byte_map(data + at, byte));
    for (; at < size; at++)
        count += data[at] == byte;
    return count;
}
