/* Values of CSV fields: see csv.h. Short numbers are read eight digits at once. */
#include <stdio.h>
#include <string.h>

#include "core/base/number.h"
#include "core/io/csv.h"

static const char *const type_names[] = {"nil", "boolean", "integer", "float",
                                         "string"}; /* ORDER csv types */
enum { N_TYPES = sizeof type_names / sizeof *type_names };

const char *lb_csv_type_name(enum lb_csv_type type)
{
    return type_names[type];
}

bool lb_csv_type_parse(const char *name, size_t size, enum lb_csv_type *type)
{
    for (int i = 0; i < N_TYPES; i++) {
        if (strlen(type_names[i]) == size && memcmp(type_names[i], name, size) == 0) {
            *type = (enum lb_csv_type)i;
            return true;
        }
    }
    return false;
}

bool lb_csv_boolean(const char *text, size_t size, bool *value)
{
    if (size == 4 && memcmp(text, "true", 4) == 0)
        *value = true;
    else if (size == 5 && memcmp(text, "false", 5) == 0)
        *value = false;
    else
        return false;
    return true;
}

bool lb_csv_integer(const char *text, size_t size, int64_t *value)
{
    const char *digits = text;
    size_t n = size;
    bool negative = size > 0 && text[0] == '-';
    digits += negative;
    n -= negative;
    if (n == 0 || n > 19 || (digits[0] == '0' && (n > 1 || negative)))
        return false;
    uint64_t high = 0, low = 0;
    if (n <= 8) {
        if (!lb_csv_digits(digits, n, &low))
            return false;
    } else if (n <= 16) {
        if (!lb_csv_digits(digits, n - 8, &high) || !lb_csv_digits(digits + n - 8, 8, &low))
            return false;
        low += high * 100000000;
    } else {
        if (digits[0] < '0' || digits[0] > '9')
            return false; /* no second sign */
        return lb_parse_int(text, size, value);
    }
    *value = negative ? -(int64_t)low : (int64_t)low;
    return true;
}

/* A decimal of up to 15 digits and up to 22 behind the point is a quotient of two exact doubles, so
 * one division rounds it right. *shape: 'd' made *value; 'i' the text is an integer's (sign and
 * digits); 'f' a float's, to be parsed with care; 0: no number. */
static char float_shape(const char *text, size_t size, double *value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *p = text, *end = text + size;
    bool negative = p < end && *p == '-';
    p += negative;
    const char *start = p;
    uint64_t mantissa = 0;
    while (p < end && (unsigned char)(*p - '0') <= 9)
        mantissa = mantissa * 10 + (uint64_t)(*p++ - '0');
    size_t n_whole = (size_t)(p - start), n_fraction = 0;
    if (n_whole > 1 && *start == '0')
        return 0;
    if (p == end)
        return n_whole > 0 ? 'i' : 0;
    if (*p == '.') {
        const char *fraction = ++p;
        while (p < end && (unsigned char)(*p - '0') <= 9)
            mantissa = mantissa * 10 + (uint64_t)(*p++ - '0');
        n_fraction = (size_t)(p - fraction);
    }
    if (n_whole + n_fraction == 0)
        return 0;
    if (p == end) {
        if (n_whole + n_fraction > 15)
            return 'f';
        double result = (double)mantissa / powers[n_fraction];
        *value = negative ? -result : result;
        return 'd';
    }
    if (*p != 'e' && *p != 'E')
        return 0;
    p++;
    p += p < end && (*p == '+' || *p == '-');
    const char *exponent = p;
    while (p < end && (unsigned char)(*p - '0') <= 9)
        p++;
    return p == end && p > exponent ? 'f' : 0;
}

static bool is_float_word(const char *text, size_t size)
{
    return (size == 3 && (memcmp(text, "nan", 3) == 0 || memcmp(text, "inf", 3) == 0)) ||
           (size == 4 && memcmp(text, "-inf", 4) == 0);
}

bool lb_csv_float(const char *text, size_t size, double *value)
{
    double result = 0;
    switch (float_shape(text, size, &result)) {
    case 'd':
        *value = result;
        return true;
    case 'f':
        return lb_parse_float(text, size, value);
    case 'i': {
        if (!lb_parse_float(text, size, &result))
            return false;
        if (!(result >= -0x1p53 && result <= 0x1p53)) { /* exact is what has the same digits */
            char digits[320];
            int n = snprintf(digits, sizeof digits, "%.0f", result);
            *value = result;
            return (size_t)n == size && memcmp(digits, text, size) == 0;
        }
        /* 2^53 + 1 rounds to 2^53. */
        int64_t integer = 0;
        if (!lb_parse_int(text, size, &integer) || integer != (int64_t)result)
            return false;
        *value = result;
        return true;
    }
    default:
        return is_float_word(text, size) && lb_parse_float(text, size, value);
    }
}

/* Words such as "nan" do not make a column one of floats; in one they are values. */
enum lb_csv_type lb_csv_type_of(const char *text, size_t size)
{
    int64_t integer;
    double number;
    bool boolean;
    char padded[32 + 8] = {0};
    if (size <= 32 && size > 0) { /* lb_csv_integer reads on behind the text */
        memcpy(padded, text, size);
        if (lb_csv_integer(padded, size, &integer))
            return LB_CSV_INTEGER;
    }
    if (lb_csv_boolean(text, size, &boolean))
        return LB_CSV_BOOLEAN;
    char shape = float_shape(text, size, &number);
    return shape == 'd' || (shape == 'f' && lb_parse_float(text, size, &number)) ? LB_CSV_FLOAT
                                                                                 : LB_CSV_STRING;
}

enum lb_csv_type lb_csv_type_join(enum lb_csv_type a, enum lb_csv_type b)
{
    if (a == b || b == LB_CSV_NIL)
        return a;
    if (a == LB_CSV_NIL)
        return b;
    if (a == LB_CSV_BOOLEAN || b == LB_CSV_BOOLEAN)
        return LB_CSV_STRING;
    return a > b ? a : b;
}
