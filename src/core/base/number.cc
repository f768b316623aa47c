// Numbers and text: the one C++ file, for the exact and fast std::to_chars and std::from_chars.
//
// FLOATS are laid out as Lua's "%.14g" would, but with the fewest digits that give the same double
// back: fixed for 1e-4 <= |x| < 1e14, else scientific. So the text equals Lua's wherever Lua's is
// exact.
#include "core/base/number.h"

#include <charconv>
#include <cmath>
#include <cstring>

namespace
{

// The double is a decimal of up to 15 digits, 4 of them behind the point (amounts, averages of
// few): then that decimal is its shortest form, as no two of them share a double. 0: it is not.
size_t format_short_decimal(double value, char *out)
{
    double scaled = std::nearbyint(value * 1e4);
    if (!(std::fabs(scaled) < 1e15) || scaled / 1e4 != value)
        return 0;
    int64_t digits = static_cast<int64_t>(scaled);
    char *cursor = out;
    if (std::signbit(value)) { // also -0.0
        *cursor++ = '-';
        digits = -digits;
    }
    cursor = std::to_chars(cursor, out + LB_NUMBER_BYTES, digits / 10000).ptr;
    int fraction = static_cast<int>(digits % 10000);
    cursor[0] = '.';
    cursor[1] = static_cast<char>('0' + fraction / 1000);
    cursor[2] = static_cast<char>('0' + fraction / 100 % 10);
    cursor[3] = static_cast<char>('0' + fraction / 10 % 10);
    cursor[4] = static_cast<char>('0' + fraction % 10);
    cursor += 5;
    while (cursor[-1] == '0' && cursor[-2] != '.')
        cursor--;
    return static_cast<size_t>(cursor - out);
}

size_t put_text(const char *text, char *out)
{
    size_t size = std::strlen(text);
    std::memcpy(out, text, size);
    return size;
}

} // namespace

size_t lb_format_int(int64_t value, char *out)
{
    return static_cast<size_t>(std::to_chars(out, out + LB_NUMBER_BYTES, value).ptr - out);
}

size_t lb_format_float(double value, char *out)
{
    if (size_t size = format_short_decimal(value, out))
        return size;
    if (std::isnan(value))
        return put_text("nan", out);
    if (std::isinf(value))
        return put_text(value < 0 ? "-inf" : "inf", out);

    double magnitude = std::fabs(value);
    bool is_fixed = magnitude >= 1e-4 && magnitude < 1e14;
    char *end = std::to_chars(out, out + LB_NUMBER_BYTES, value,
                              is_fixed ? std::chars_format::fixed : std::chars_format::scientific)
                    .ptr;
    size_t size = static_cast<size_t>(end - out);
    if (is_fixed && std::memchr(out, '.', size) == nullptr) {
        out[size++] = '.';
        out[size++] = '0';
    }
    return size;
}

bool lb_parse_float(const char *text, size_t size, double *value)
{
    const char *end = text + size;
    if (size > 1 && text[0] == '+' && text[1] != '-')
        text++;
    // Of the words that from_chars knows, only those that lb_format_float writes are numbers: a
    // column of names may hold "Nan" or "Infinity".
    const char *digits = text != end && *text == '-' ? text + 1 : text;
    if (digits == end)
        return false;
    if (*digits != '.' && (*digits < '0' || *digits > '9')) {
        size_t length = static_cast<size_t>(end - digits);
        bool is_word = length == 3 && text + size == end &&
                       (std::memcmp(digits, "inf", 3) == 0 ||
                        (digits == text && std::memcmp(digits, "nan", 3) == 0));
        if (!is_word)
            return false;
    }
    double result;
    auto parsed = std::from_chars(text, end, result);
    if (parsed.ec != std::errc() || parsed.ptr != end)
        return false;
    *value = result;
    return true;
}

bool lb_parse_int(const char *text, size_t size, int64_t *value)
{
    const char *end = text + size;
    if (size > 1 && text[0] == '+' && text[1] != '-')
        text++;
    int64_t result;
    auto parsed = std::from_chars(text, end, result);
    if (parsed.ec != std::errc() || parsed.ptr != end)
        return false;
    *value = result;
    return true;
}
