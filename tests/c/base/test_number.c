/* Numbers to text and back, against the C library and Lua's "%.14g" rule. */
#include "../support/support.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

#include "core/base/number.h"

static const char *float_text(double value)
{
    static char out[LB_NUMBER_BYTES + 1];
    size_t size = lb_format_float(value, out);

    assert_true(size > 0 && size <= LB_NUMBER_BYTES);
    out[size] = '\0';
    return out;
}

static void test_float_text(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {100000.0, "100000.0"},
        {1e13, "10000000000000.0"},
        {1e14, "1e+14"},
        {1e16, "1e+16"},
        {1e300, "1e+300"},
        {1e-4, "0.0001"},
        {1e-5, "1e-05"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {9007199254740993.0, "9.007199254740992e+15"},
        {12.3456, "12.3456"},
        {-0.0625, "-0.0625"},
        {-12345678901.25, "-12345678901.25"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(float_text(cases[i].value), cases[i].text);
    assert_string_equal(float_text(-(double)NAN), "nan");
}

static double random_double(void)
{
    uint64_t bits = random_bits();
    double value;

    switch (random_below(5)) {
    case 0: /* any bits */
        memcpy(&value, &bits, 8);
        return isnan(value) ? 0 : value;
    case 1: /* amounts */
        return (double)((int64_t)bits >> random_below(64)) / 100;
    case 2: /* a few digits, any scale */
        return (double)((int64_t)bits % 100000) * pow(10, (double)random_below(40) - 20);
    case 3:
        return (double)((int64_t)bits >> random_below(64));
    default:
        return (double)((int64_t)bits >> 11) / 1e15;
    }
}

static size_t n_digits(const char *text)
{
    size_t n = 0;
    size_t n_zeros = 0;
    bool started = false;

    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text < '0' || *text > '9')
            continue;
        started |= *text != '0';
        if (started) {
            n++;
            n_zeros = *text == '0' ? n_zeros + 1 : 0;
        }
    }
    return n - n_zeros;
}

static void test_float_random(void **state)
{
    (void)state;
    random_start("number");
    for (int i = 0; i < 200000; i++) {
        double value = random_double();
        const char *text = float_text(value);
        char other[64];
        double back = 0;
        int precision = 1;

        assert_true(lb_parse_float(text, strlen(text), &back));
        if (memcmp(&back, &value, 8) != 0)
            fail_msg("%.17g became '%s', then %.17g", value, text, back);
        /* never an integer to Lua */
        assert_true(strpbrk(text, ".en") != NULL);

        /* as few digits as any other text that gives the same double */
        for (; precision <= 17; precision++) {
            snprintf(other, sizeof other, "%.*g", precision, value);
            if (strtod(other, NULL) == value)
                break;
        }
        if (value != 0 && n_digits(text) != (size_t)precision)
            fail_msg("'%s' is not as short as '%s'", text, other);

        /* Lua's own text wherever that is exact */
        snprintf(other, sizeof other, "%.14g", value);
        if (strtod(other, NULL) == value && strpbrk(other, ".en") == NULL)
            strcat(other, ".0");
        if (strtod(other, NULL) == value)
            assert_string_equal(text, other);
    }
}

static void test_int(void **state)
{
    static const int64_t edges[] = {0, 1, -1, 9, 10, -10, INT64_MAX, INT64_MIN};

    (void)state;
    for (int i = 0; i < 100000; i++) {
        int64_t value = i < 8 ? edges[i] : (int64_t)random_bits() >> random_below(64);
        char text[LB_NUMBER_BYTES + 1];
        char other[64];
        int64_t back;

        text[lb_format_int(value, text)] = '\0';
        snprintf(other, sizeof other, "%" PRId64, value);
        assert_string_equal(text, other);
        assert_true(lb_parse_int(text, strlen(text), &back));
        assert_true(back == value);
    }
}

static void test_parse(void **state)
{
    static const char *const good_floats[] = {"0",
                                              "-0",
                                              "+1",
                                              "1.5",
                                              "+1.5e3",
                                              ".5",
                                              "5.",
                                              "-.5",
                                              "1e5",
                                              "1E5",
                                              "1e+05",
                                              "1e-300",
                                              "123456789012345678901234567890",
                                              "0.1",
                                              "4.9e-324",
                                              "1.7976931348623157e308",
                                              "007"};
    static const char *const bad_floats[] = {
        "",      "-",      "+",      ".",        "e5",     "1e",   "1e+",  " 1",
        "1 ",    "0x10",   "0x1p3",  "1.2.3",    "1,5",    "--1",  "+-1",  "-+1",
        "++1",   "Inf",    "NaN",    "infinity", "nan(1)", "-nan", "+inf", "nano",
        "1e400", "-1e400", "1e-400", "1f",       "inf ",   "i",    "-e"};
    static const char *const good_ints[] = {
        "0", "-0", "+7", "007", "9223372036854775807", "-9223372036854775808", "-12"};
    static const char *const bad_ints[] = {"",
                                           "-",
                                           "+",
                                           "+-1",
                                           "1.0",
                                           "1e5",
                                           " 1",
                                           "1 ",
                                           "0x1",
                                           "9223372036854775808",
                                           "-9223372036854775809",
                                           "1_000"};
    double value;
    int64_t integer;

    (void)state;
    for (size_t i = 0; i < sizeof good_floats / sizeof good_floats[0]; i++) {
        const char *text = good_floats[i];

        if (!lb_parse_float(text, strlen(text), &value) || value != strtod(text, NULL))
            fail_msg("'%s' is a float", text);
    }
    for (size_t i = 0; i < sizeof bad_floats / sizeof bad_floats[0]; i++)
        if (lb_parse_float(bad_floats[i], strlen(bad_floats[i]), &value))
            fail_msg("'%s' is no float", bad_floats[i]);
    assert_true(lb_parse_float("nan", 3, &value) && isnan(value));
    assert_true(lb_parse_float("inf", 3, &value) && value == INFINITY);
    assert_true(lb_parse_float("-inf", 4, &value) && value == -INFINITY);

    for (size_t i = 0; i < sizeof good_ints / sizeof good_ints[0]; i++) {
        const char *text = good_ints[i];

        if (!lb_parse_int(text, strlen(text), &integer) || integer != strtoll(text, NULL, 10))
            fail_msg("'%s' is an integer", text);
    }
    for (size_t i = 0; i < sizeof bad_ints / sizeof bad_ints[0]; i++)
        if (lb_parse_int(bad_ints[i], strlen(bad_ints[i]), &integer))
            fail_msg("'%s' is no integer", bad_ints[i]);
    /* only the bytes given count */
    assert_true(lb_parse_int("123", 2, &integer) && integer == 12);
    assert_true(lb_parse_float("1.55", 3, &value) && value == 1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_text),
        cmocka_unit_test(test_float_random),
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_parse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
