/* The body of the JSON kernel, compiled once per instruction set behind text_body.h, whose masks it uses; json.h has the
 * contract.
 *
 * IDEA   64 bytes become maps of quotes, brackets and the like. Escaped quotes are dropped, the running parity of the others
 *        says what lies inside strings (csv_body.h); of the bytes that are no mark by themselves, no blank and in no string, the
 *        first of each run is a mark. Positions and kinds are then written without a branch per mark. */

/* The bytes behind an odd number of backslashes; *carry: whether the first byte is one, then whether the next block's is.
 * Backslashes are rare: one by one. */
static inline uint64_t escaped_bytes(uint64_t backslashes, uint64_t *carry)
{
    uint64_t escaped = *carry;
    backslashes &= ~escaped;
    *carry = 0;
    while (backslashes != 0) {
        uint64_t bit = backslashes & (~backslashes + 1);
        *carry = bit >> 63;
        escaped |= bit << 1;
        backslashes &= ~(bit | bit << 1);
    }
    return escaped;
}

TARGET static void JSON_INDEX(const char *data, size_t size, bool in_lines,
                              struct lb_json_index *index)
{
    uint64_t inside = 0; /* all ones: the block begins inside a string */
    uint64_t escape = 0; /* 1: its first byte is escaped */
    uint64_t word = 0;   /* 1: the byte before it was a word's */
    size_t found = 0, at = 0;
    bool is_open = false;
    for (; at < size && found + 64 <= index->capacity && !is_open; at += 64) {
        const char *p = data + at;
        uint64_t limit = low_bits(size - at);
        uint64_t quotes = byte_map(p, '"') & limit;
        uint64_t backslashes = byte_map(p, '\\') & limit;
        if (__builtin_expect((backslashes | escape) != 0, 0))
            quotes &= ~escaped_bytes(backslashes, &escape);
        uint64_t strings = running_parity(quotes) ^ inside;
        uint64_t newlines = byte_map(p, '\n') & limit;
        if (__builtin_expect(in_lines && (newlines & strings) != 0, 0)) {
            /* A string that its line did not close: the line ends here all the same. */
            unsigned bit = (unsigned)__builtin_ctzll(newlines & strings);
            limit = low_bits(bit + 1);
            quotes &= limit;
            strings &= limit & ~((uint64_t)1 << bit);
            newlines &= limit;
            is_open = true;
            size = at + bit + 1;
        }
        inside = (uint64_t)((int64_t)strings >> 63);
        uint64_t marks = (byte_map(p, '{') | byte_map(p, '}') | byte_map(p, '[') |
                          byte_map(p, ']') | byte_map(p, ':') | byte_map(p, ',')) &
                         ~strings & limit;
        uint64_t blanks = byte_map(p, ' ') | byte_map(p, '\t') | byte_map(p, '\r') | newlines;
        uint64_t words = ~(marks | blanks | quotes | strings) & limit;
        uint64_t starts = words & ~(words << 1 | word);
        word = words >> 63;
        marks |= quotes | starts;
        if (in_lines)
            marks |= newlines & ~strings;
        size_t count = put_positions(marks, (uint32_t)at, index->positions + found);
        put_kinds(p, marks, starts, index->positions + found, count, data, index->kinds + found);
        found += count;
    }
    index->n = found;
    index->seen = at < size ? at : size;
}
