/* CSV text: where records and fields end, what a field's text is, and which type it fits.
 *
 * FORMAT  RFC 4180. A record ends at a newline outside quotes; a '\r' before it belongs to it. A
 *         field that begins with the quote ends with one, and a quote in it is doubled; any other
 *         quote is an error of its record. As every legal quote opens or closes, being inside quotes
 *         is the parity of the quotes before: what lies in the middle of a file can be read without
 *         reading what stands before, but for that one bit.
 * VALUES  A text fits a type only when the value says all that the text does: an integer has no
 *         sign '+', no leading zeros, no blanks and fits 64 bits; a boolean is true or false. A
 *         float is decimal, with point or exponent; an integer's text fits a float if that is exact.
 *
 * lb_csv_index and lb_csv_last_end need LB_TEXT_PADDING readable bytes behind data. Thread-safe. */
#ifndef LB_IO_CSV_H
#define LB_IO_CSV_H

#include <string.h>

#include "core/base/arena.h"
#include "core/io/text.h"

enum { LB_CSV_SEPARATOR_BYTES = 16 };

struct lb_csv_dialect {
    char separator[LB_CSV_SEPARATOR_BYTES];
    size_t separator_size; /* at least 1 */
    int quote;             /* a byte as unsigned char, or -1: none */
};

/* Sets and checks a dialect: no newline, '\r' or quote in the separator. LB_ERR_USAGE. */
lb_status lb_csv_dialect_set(struct lb_csv_dialect *dialect, const char *separator,
                             size_t separator_size, const char *quote, size_t quote_size,
                             struct lb_error *err) LB_MUST_USE;

/* ---- records and fields ---- */

#define LB_CSV_QUOTED 0x80000000u

/* Records of some bytes: the positions of what ends each field (separator or newline), record after
 * record. The caller gives the arrays. */
struct lb_csv_index {
    uint32_t *positions;
    size_t capacity; /* of positions, which has 64 more items */
    uint32_t *ends;  /* per record the number of positions up to its newline, that included; with
                        LB_CSV_QUOTED if the record has a quote */
    uint32_t max_records;
    uint32_t n_records;
    bool is_full; /* stopped for want of room in positions or ends, before all was seen */
};

/* Finds the whole records of data, which begins with one. size < 2^31. */
void lb_csv_index(const struct lb_csv_dialect *dialect, const char *data, size_t size,
                  struct lb_csv_index *index);
/* The end of the last record that ends in data (0: none does); *is_inside: whether data begins
 * inside quotes, then whether it ends so. */
size_t lb_csv_last_end(const struct lb_csv_dialect *dialect, const char *data, size_t size,
                       bool *is_inside);
/* The end of the first record that ends in data, 0: none does. Reads data alone. */
size_t lb_csv_first_end(const struct lb_csv_dialect *dialect, const char *data, size_t size,
                        bool *is_inside);
/* How often the byte occurs. Reads data alone. */
size_t lb_csv_count(const char *data, size_t size, char byte);

/* Whether a field of a record that has quotes is well formed: quoted as a whole, or not at all. */
bool lb_csv_field_is_sound(const struct lb_csv_dialect *dialect, const char *text, size_t size);
/* The field's text without quotes; *text may come from the arena. *is_quoted: it had quotes. */
lb_status lb_csv_field_text(const struct lb_csv_dialect *dialect, const char **text, size_t *size,
                            bool *is_quoted, struct lb_arena *arena,
                            struct lb_error *err) LB_MUST_USE;

/* Bytes of a byte order mark at the start of data: 3 or 0. */
size_t lb_csv_bom(const char *data, size_t size);

/* ---- values ---- */

/* ORDER csv types. Each of the numbers widens to the next; boolean widens to string; nil, that of a column in which no value was
 * seen, to any. */
enum lb_csv_type { LB_CSV_NIL, LB_CSV_BOOLEAN, LB_CSV_INTEGER, LB_CSV_FLOAT, LB_CSV_STRING };

const char *lb_csv_type_name(enum lb_csv_type type);
bool lb_csv_type_parse(const char *name, size_t size, enum lb_csv_type *type);
/* The narrowest type that the text fits. */
enum lb_csv_type lb_csv_type_of(const char *text, size_t size);
/* The narrowest type that all of both fit. */
enum lb_csv_type lb_csv_type_join(enum lb_csv_type a, enum lb_csv_type b);
bool lb_csv_boolean(const char *text, size_t size, bool *value);
/* Reads LB_TEXT_PADDING bytes behind text at most, whatever its size. */
bool lb_csv_integer(const char *text, size_t size, int64_t *value);
bool lb_csv_float(const char *text, size_t size, double *value);

/* The number that 1..8 digits at p make; false: not all are digits. Reads 8 bytes. */
static inline bool lb_csv_digits(const char *p, size_t size, uint64_t *value)
{
    uint64_t word;
    memcpy(&word, p, 8);
    word ^= 0x3030303030303030ULL;
    word <<= 8 * (8 - size); /* zeros in front */
    if ((((word + 0x0606060606060606ULL) | word) & 0xf0f0f0f0f0f0f0f0ULL) != 0)
        return false;
    word = word * 10 + (word >> 8);
    *value = (((word & 0x000000ff000000ffULL) * 0x000f424000000064ULL) +
              (((word >> 16) & 0x000000ff000000ffULL) * 0x0000271000000001ULL)) >>
             32;
    return true;
}

/* lb_csv_integer and lb_csv_float for what most fields are, integers of up to 8 digits and up to 7 digits, a point, up to 8
 * digits; false: ask these. Reads LB_TEXT_PADDING bytes behind text at most. */
static inline bool lb_csv_short_integer(const char *text, size_t size, int64_t *value)
{
    bool negative = text[0] == '-';
    const char *digits = text + negative;
    size_t n = size - negative;
    uint64_t number;
    if (n - 1 >= 8 || (digits[0] == '0' && (n > 1 || negative)) ||
        !lb_csv_digits(digits, n, &number))
        return false;
    *value = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

static inline bool lb_csv_short_float(const char *text, size_t size, double *value)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};
    bool negative = text[0] == '-';
    const char *digits = text + negative;
    size_t n = size - negative;
    uint64_t word, whole, fraction;
    memcpy(&word, digits, 8);
    word ^= 0x2e2e2e2e2e2e2e2eULL; /* points become zero bytes; the lowest of these is found */
    uint64_t points = (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL;
    size_t n_whole = points != 0 ? (size_t)__builtin_ctzll(points) / 8 : 0;
    size_t n_fraction = n - n_whole - 1;
    if (n_whole == 0 || n_fraction - 1 >= 8 || (digits[0] == '0' && n_whole > 1) ||
        !lb_csv_digits(digits, n_whole, &whole) ||
        !lb_csv_digits(digits + n_whole + 1, n_fraction, &fraction))
        return false;
    /* A quotient of two exact doubles: one division rounds it right. */
    double scale = powers[n_fraction];
    double result = (double)(whole * (uint64_t)scale + fraction) / scale;
    *value = negative ? -result : result;
    return true;
}

#endif
