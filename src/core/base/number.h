/* Numbers to text and back, by Lua's rules; doubles shortest and exact (std::to_chars). */
#ifndef LB_BASE_NUMBER_H
#define LB_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LB_NUMBER_BYTES = 40 }; /* enough for any result of the two format functions */

#ifdef __cplusplus
extern "C" {
#endif
/* Write decimal text without NUL into out (LB_NUMBER_BYTES long); return the length.
 * A float with an integral value gets ".0" (scientific ones, as 1e+300, stay); inf, -inf, nan are
 * spelt so. Parsing a float's text gives the same float; the text is Lua's own wherever Lua's is
 * exact (but for subnormal numbers, which take fewer digits). */
size_t lb_format_int(int64_t value, char *out);
size_t lb_format_float(double value, char *out);
/* The whole text is a decimal double: true and *value; else false. No blanks, no hex, no locale; of
 * words only inf, -inf and nan. What overflows or underflows a double is false, not inf or 0. */
bool lb_parse_float(const char *text, size_t size, double *value);
/* The whole text is a decimal integer with optional sign that fits 64 bits. */
bool lb_parse_int(const char *text, size_t size, int64_t *value);

/* The exact order: < 0, 0, > 0. NaN is above all integers. */
static inline int lb_compare_int_float(int64_t a, double b)
{
    const double two_63 = 9223372036854775808.0;
    if (!(b < two_63)) /* NaN too */
        return -1;
    if (b < -two_63)
        return 1;
    int64_t whole = (int64_t)b;
    if (a != whole)
        return a < whole ? -1 : 1;
    double rest = b - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}
#ifdef __cplusplus
}
#endif

#endif
