/* Numbers: text to number by every reader (numbers of Lua, of CSV, of JSON) against the C library and a grammar byte by byte;
 * number to text and back, the text the shortest one.
 *
 * INPUT  8 bytes: a double and an integer to be written; the rest, up to 400 bytes: text to be read. */
#include <math.h>

#include "core/base/number.h"
#include "core/io/csv.h"
#include "core/io/json.h"
#include "fuzz.h"

/* ---- the grammar ---- */

/* What a text without sign '+' says. */
struct shape {
    bool is_number;    /* -? digits? [. digits?] [e[+-]digits], a digit before the exponent */
    bool is_integer;   /* of these: only digits */
    bool is_plain;     /* no zero in front of another digit */
    bool is_json;      /* as JSON has it */
    bool is_zero;      /* no digit but 0 before the exponent */
    size_t n_mantissa; /* digits before the exponent */
};

static size_t digits_at(const char *text, size_t size, size_t at)
{
    size_t from = at;
    while (at < size && text[at] >= '0' && text[at] <= '9')
        at++;
    return at - from;
}

static struct shape shape_of(const char *text, size_t size)
{
    struct shape shape = {.is_zero = true};
    size_t at = size > 0 && text[0] == '-', n_fraction = 0, n_exponent = 1, start = at;
    size_t n_whole = digits_at(text, size, at);
    bool has_point = false, has_exponent = false;
    at += n_whole;
    if (at < size && text[at] == '.') {
        has_point = true;
        n_fraction = digits_at(text, size, ++at);
        at += n_fraction;
    }
    for (size_t i = start; i < at; i++)
        shape.is_zero = shape.is_zero && (text[i] == '0' || text[i] == '.');
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        has_exponent = true;
        at++;
        at += at < size && (text[at] == '+' || text[at] == '-');
        n_exponent = digits_at(text, size, at);
        at += n_exponent;
    }
    shape.n_mantissa = n_whole + n_fraction;
    shape.is_number = at == size && shape.n_mantissa > 0 && n_exponent > 0;
    shape.is_integer = shape.is_number && !has_point && !has_exponent;
    shape.is_plain = !(n_whole > 1 && text[start] == '0');
    shape.is_json =
        shape.is_number && shape.is_plain && n_whole > 0 && (n_fraction > 0 || !has_point);
    return shape;
}

/* What strtod makes of a text that is a number; false: too large, or too small to be told from 0. */
static bool value_of(const char *text, size_t size, const struct shape *shape, double *value)
{
    char copy[500];
    memcpy(copy, text, size);
    copy[size] = '\0';
    *value = strtod(copy, NULL);
    return !isinf(*value) && (*value != 0 || shape->is_zero);
}

static bool integer_of(const char *text, size_t size, int64_t *value)
{
    char copy[500];
    memcpy(copy, text, size);
    copy[size] = '\0';
    errno = 0;
    *value = strtoll(copy, NULL, 10);
    return errno == 0;
}

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static bool is_text(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && memcmp(text, word, size) == 0;
}

/* ---- reading ---- */

/* A reader's answer against the wanted one. */
static void wanted_float(bool got, const double *value, bool wanted, double wanted_value)
{
    CHECK(got == wanted);
    CHECK(!got || same(*value, wanted_value));
}

static void wanted_integer(bool got, const int64_t *value, bool wanted, int64_t wanted_value)
{
    CHECK(got == wanted);
    CHECK(!got || *value == wanted_value);
}

static void read_as_lua(const char *text, size_t size)
{
    double value = 0, wanted = 0;
    int64_t integer = 0, wanted_int = 0;
    bool has_plus = size > 1 && text[0] == '+' && text[1] != '-';
    const char *rest = text + has_plus;
    size_t n = size - has_plus;
    struct shape shape = shape_of(rest, n);
    bool is_word =
        is_text(text, size, "inf") || is_text(text, size, "-inf") || is_text(text, size, "nan");
    bool is_float = is_word;
    if (is_word)
        wanted = rest[0] == 'n'   ? (double)NAN
                 : rest[0] == '-' ? -(double)INFINITY
                                  : (double)INFINITY;
    else if (shape.is_number)
        is_float = value_of(rest, n, &shape, &wanted);
    wanted_float(lb_parse_float(text, size, &value), &value, is_float, wanted);
    bool is_integer = shape.is_integer && integer_of(rest, n, &wanted_int);
    wanted_integer(lb_parse_int(text, size, &integer), &integer, is_integer, wanted_int);
}

/* An integer's text is a float's, too, when the float has the same value. */
static bool exact_float(const char *text, size_t size, const struct shape *shape, double *value)
{
    char digits[500];
    if (!value_of(text, size, shape, value))
        return false;
    return (size_t)snprintf(digits, sizeof digits, "%.0f", *value) == size &&
           memcmp(digits, text, size) == 0;
}

static void read_as_csv(const char *text, size_t size, const struct shape *shape)
{
    double value = 0, wanted = 0;
    int64_t integer = 0, wanted_int = 0;
    bool is_minus_zero = is_text(text, size, "-0");
    bool is_integer = shape->is_integer && shape->is_plain && !is_minus_zero &&
                      integer_of(text, size, &wanted_int);
    wanted_integer(lb_csv_integer(text, size, &integer), &integer, is_integer, wanted_int);
    if (lb_csv_short_integer(text, size, &integer))
        wanted_integer(true, &integer, is_integer, wanted_int);
    bool is_word =
        is_text(text, size, "inf") || is_text(text, size, "-inf") || is_text(text, size, "nan");
    bool is_float = false;
    if (is_word)
        wanted = text[0] == 'n'   ? (double)NAN
                 : text[0] == '-' ? -(double)INFINITY
                                  : (double)INFINITY;
    else if (shape->is_integer && shape->is_plain)
        is_float = exact_float(text, size, shape, &wanted);
    else if (shape->is_number && shape->is_plain)
        is_float = value_of(text, size, shape, &wanted);
    wanted_float(lb_csv_float(text, size, &value), &value, is_float || is_word, wanted);
    if (lb_csv_short_float(text, size, &value))
        wanted_float(true, &value, is_float, wanted);
    enum lb_csv_type type = LB_CSV_STRING;
    if (is_integer)
        type = LB_CSV_INTEGER;
    else if (is_text(text, size, "true") || is_text(text, size, "false"))
        type = LB_CSV_BOOLEAN;
    else if (is_float && !shape->is_integer)
        type = LB_CSV_FLOAT;
    CHECK(lb_csv_type_of(text, size) == type);
}

static void read_as_json(const char *text, size_t size, const struct shape *shape)
{
    double value = 0, wanted = 0;
    int64_t integer = 0, wanted_int = 0;
    bool is_minus_zero = is_text(text, size, "-0");
    if (shape->is_json) {
        bool is_integer =
            shape->is_integer && !is_minus_zero && integer_of(text, size, &wanted_int);
        wanted_integer(lb_json_integer(text, size, &integer), &integer, is_integer, wanted_int);
        bool is_float = shape->is_integer ? exact_float(text, size, shape, &wanted)
                                          : value_of(text, size, shape, &wanted);
        wanted_float(lb_json_float(text, size, &value), &value, is_float, wanted);
        CHECK(lb_json_type_of(text, size) == (is_integer ? LB_JSON_INTEGER
                                              : is_float && (!shape->is_integer || is_minus_zero)
                                                  ? LB_JSON_FLOAT
                                                  : LB_JSON_STRING));
    } else {
        CHECK(!lb_json_float(text, size, &value));
        enum lb_json_type type = lb_json_type_of(text, size);
        CHECK(type != LB_JSON_INTEGER && type != LB_JSON_FLOAT);
    }
}

/* ---- writing ---- */

/* The fewest digits of a rounded decimal that give the double back. (Beside a power of two another one can be shorter.) */
static int shortest_digits(double number)
{
    char text[40];
    int n = 1;
    for (; n < 17; n++) {
        snprintf(text, sizeof text, "%.*e", n - 1, number);
        if (strtod(text, NULL) == number)
            break;
    }
    return n;
}

static int count_digits(const char *text)
{
    int n = 0, zeros = 0;
    bool has_begun = false;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text < '0' || *text > '9')
            continue;
        has_begun = has_begun || *text != '0';
        n += has_begun;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return n - zeros;
}

static void write_float(double number)
{
    char text[LB_NUMBER_BYTES + 1], lua[60];
    size_t size = lb_format_float(number, text);
    double back = 0;
    CHECK(size <= LB_NUMBER_BYTES);
    text[size] = '\0';
    CHECK(lb_parse_float(text, size, &back) && same(back, number));
    if (isnan(number) || isinf(number) || number == 0)
        return;
    int n = shortest_digits(number);
    CHECK(count_digits(text) <= n);
    if (n > 14 || fpclassify(number) == FP_SUBNORMAL)
        return;
    snprintf(lua, sizeof lua - 2, "%.14g", number);
    if (strspn(lua, "-0123456789") == strlen(lua))
        strcat(lua, ".0");
    CHECK(strcmp(text, lua) == 0);
}

static void write_integer(int64_t number)
{
    char text[LB_NUMBER_BYTES];
    size_t size = lb_format_int(number, text);
    int64_t back = 0, wanted = 0;
    CHECK(size <= LB_NUMBER_BYTES && lb_parse_int(text, size, &back) && back == number);
    CHECK(integer_of(text, size, &wanted) && wanted == number);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double number = 0;
    int64_t integer = 0;
    if (size < 8 || size > 8 + 400)
        return 0;
    memcpy(&number, data, 8);
    memcpy(&integer, data, 8);
    write_float(number);
    write_float((double)(integer % 1000000000000) / 10000);
    write_integer(integer);
    write_integer(integer >> (integer & 63));
    size -= 8;
    char *text = fuzz_copy(data + 8, size, LB_TEXT_PADDING, (char)data[0]);
    struct shape shape = shape_of(text, size);
    read_as_lua(text, size);
    if (size > 0) {
        read_as_csv(text, size, &shape);
        read_as_json(text, size, &shape);
    }
    free(text);
    return 0;
}
