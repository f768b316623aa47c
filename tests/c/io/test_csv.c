/* The CSV kernels of every instruction set against loops byte by byte, and the values of fields. */
#include <math.h>

#include "../support/support.h"
#include "core/io/csv.h"
#include "core/io/text_kernels.h"

enum { MOST = 400 };

static struct lb_error error;

static struct lb_csv_dialect dialect(const char *sep, const char *quote)
{
    struct lb_csv_dialect result;
    assert_int_equal(lb_csv_dialect_set(&result, sep, strlen(sep), quote, strlen(quote), &error),
                     LB_OK);
    return result;
}

/* Text of the bytes that matter, exactly sized so that ASan sees each step beyond the padding. */
static char *random_text(size_t size, uint32_t n_letters)
{
    static const char letters[] = ",\n\"a|\rbcdefghijklmnopqrstuvwxyz";
    char *text = malloc(size + LB_TEXT_PADDING);
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = letters[random_below(n_letters)];
    memset(text + size, '\n', LB_TEXT_PADDING); /* what is behind the end must not count */
    return text;
}

static void check_index(const struct lb_csv_dialect *d, const char *text, size_t size)
{
    uint32_t positions[MOST + 128], ends[MOST];
    struct lb_csv_index index = {.positions = positions, .ends = ends};
    index.max_records = 1 + random_below(2) * (MOST - 1);
    index.capacity = random_below(3) == 0 ? 64 : MOST + 64;
    lb_csv_index(d, text, size, &index);
    bool inside = false;
    uint32_t quoted = 0, found = 0, n = 0;
    for (size_t at = 0; at < size && n < index.n_records; at++) {
        if ((unsigned char)text[at] == d->quote) {
            inside = !inside;
            quoted = LB_CSV_QUOTED;
        } else if (!inside && text[at] == '\n') {
            assert_int_equal(positions[found++], at);
            assert_int_equal(ends[n++], found | quoted);
            quoted = 0;
        } else if (!inside && size - at >= d->separator_size &&
                   memcmp(text + at, d->separator, d->separator_size) == 0) {
            assert_int_equal(positions[found++], at);
            at += d->separator_size - 1;
        }
    }
    assert_int_equal(n, index.n_records);
    bool is_inside = false, end_inside = false;
    size_t rest = n > 0 ? positions[found - 1] + 1 : 0;
    size_t first = lb_csv_first_end(d, text + rest, size - rest, &is_inside);
    if (!index.is_full)
        assert_int_equal(first, 0); /* nothing whole was left out */
    else
        assert_true(index.n_records == index.max_records || index.capacity < MOST);
    is_inside = d->quote >= 0 && random_below(2) != 0;
    inside = is_inside;
    size_t last = 0;
    for (size_t at = 0; at < size; at++) {
        if ((unsigned char)text[at] == d->quote)
            inside = !inside;
        else if (!inside && text[at] == '\n')
            last = at + 1;
    }
    end_inside = is_inside;
    assert_int_equal(lb_csv_last_end(d, text, size, &end_inside), last);
    assert_int_equal(end_inside, inside);
    if (d->quote >= 0) {
        size_t count = lb_csv_count(text, size, (char)d->quote);
        assert_int_equal((count & 1) != 0, inside != is_inside);
    }
}

static void every_path_finds_the_same(void **unused)
{
    (void)unused;
    random_start("every_path_finds_the_same");
    struct lb_csv_dialect dialects[] = {dialect(",", "\""), dialect(",", ""), dialect("||", "\""),
                                        dialect("|", "a")};
    for (int simd = LB_SIMD_SWAR; simd < LB_N_SIMDS; simd++) {
        if (!lb_text_set_simd((enum lb_simd)simd))
            continue;
        for (size_t size = 0; size < MOST; size++) {
            for (uint32_t i = 0; i < 4; i++) {
                char *text = random_text(size, 5 + random_below(25));
                check_index(&dialects[i], text, size);
                free(text);
            }
        }
    }
}

static void fields(void **unused)
{
    (void)unused;
    struct lb_csv_dialect d = dialect(",", "\"");
    struct lb_arena arena;
    lb_arena_init(&arena, 1000);
    static const struct {
        const char *raw, *text; /* text NULL: not well formed */
        bool is_quoted;
    } cases[] = {
        {"", "", false},
        {"abc", "abc", false},
        {"\"\"", "", true},
        {"\"abc\"", "abc", true},
        {"\"a\"\"b\"", "a\"b", true},
        {"\"\"\"\"", "\"", true},
        {"\"", NULL, true},
        {"\"a", NULL, true},
        {"a\"", NULL, false},
        {"\"a\"b", NULL, true},
        {"\"a\"b\"", NULL, true},
        {"\"\"\"", NULL, true},
        {"\"\"\"\"\"\"", "\"\"", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = cases[i].raw;
        size_t size = strlen(text);
        bool is_quoted;
        assert_int_equal(lb_csv_field_is_sound(&d, text, size), cases[i].text != NULL);
        if (cases[i].text == NULL)
            continue;
        assert_int_equal(lb_csv_field_text(&d, &text, &size, &is_quoted, &arena, &error), LB_OK);
        assert_int_equal(is_quoted, cases[i].is_quoted);
        assert_int_equal(size, strlen(cases[i].text));
        assert_memory_equal(text, cases[i].text, size);
    }
    lb_arena_fini(&arena);
}

static void types(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        enum lb_csv_type type;
    } cases[] = {
        {"0", LB_CSV_INTEGER},
        {"-1", LB_CSV_INTEGER},
        {"9223372036854775807", LB_CSV_INTEGER},
        {"007", LB_CSV_STRING},
        {"1e5", LB_CSV_FLOAT},
        {"9223372036854775808", LB_CSV_STRING},
        {" 1", LB_CSV_STRING},
        {"+1", LB_CSV_STRING},
        {"1.0", LB_CSV_FLOAT},
        {"", LB_CSV_STRING},
        {"-0", LB_CSV_STRING},
        {"true", LB_CSV_BOOLEAN},
        {"nan", LB_CSV_STRING},
        {".5", LB_CSV_FLOAT},
        {"-.5e-3", LB_CSV_FLOAT},
        {"1e", LB_CSV_STRING},
        {".", LB_CSV_STRING},
        {"1.2.3", LB_CSV_STRING},
        {"1e999", LB_CSV_STRING},
        {"-", LB_CSV_STRING},
        {"True", LB_CSV_STRING},
        {"00.5", LB_CSV_STRING},
        {"123456789012345678901234567890123456789", LB_CSV_STRING},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (lb_csv_type_of(cases[i].text, strlen(cases[i].text)) != cases[i].type)
            fail_msg("'%s' is not of type %s", cases[i].text, lb_csv_type_name(cases[i].type));
    assert_int_equal(lb_csv_type_join(LB_CSV_BOOLEAN, LB_CSV_INTEGER), LB_CSV_STRING);
    assert_int_equal(lb_csv_type_join(LB_CSV_FLOAT, LB_CSV_INTEGER), LB_CSV_FLOAT);
}

static void numbers_are_exact(void **unused)
{
    (void)unused;
    random_start("numbers_are_exact");
    char text[64 + LB_TEXT_PADDING] = {0};
    for (int i = 0; i < 200000; i++) {
        int64_t integer = (int64_t)random_bits() >> random_below(64), parsed = 0;
        int size = snprintf(text, 64, "%lld", (long long)integer);
        assert_true(lb_csv_integer(text, (size_t)size, &parsed));
        assert_true(parsed == integer);
        uint32_t at = random_below((uint32_t)size);
        text[at] = "x .:/+"[random_below(6)];
        assert_false(lb_csv_integer(text, (size_t)size, &parsed));
        double value;
        size = snprintf(text, 64, "%s%llu.%0*llu", random_below(2) ? "-" : "",
                        (unsigned long long)(random_bits() >> (1 + random_below(63))),
                        1 + (int)random_below(12),
                        (unsigned long long)(random_bits() >> (30 + random_below(33))));
        assert_true(lb_csv_float(text, (size_t)size, &value));
        assert_true(value == strtod(text, NULL));
    }
}

/* The short ways take a part of what the long ones take, and then make the same of it. */
static void short_numbers_are_the_same(void **unused)
{
    (void)unused;
    int n_integers = 0, n_floats = 0;
    random_start("short_numbers_are_the_same");
    for (int round = 0; round < 200000; round++) {
        static const char letters[] = "0123456789012345678900..--e,x";
        char text[64];
        size_t size = 1 + random_below(19);
        memset(text, random_below(2) ? '7' : '.', sizeof text);
        for (size_t i = 0; i < size; i++)
            text[i] = random_below(9) == 0 || i + 1 == size / 2
                          ? letters[random_below(sizeof letters - 1)]
                          : (char)('0' + random_below(10));
        int64_t integer = 0, other_integer = 0;
        if (lb_csv_short_integer(text, size, &integer)) {
            assert_true(lb_csv_integer(text, size, &other_integer));
            assert_int_equal(integer, other_integer);
            n_integers++;
        }
        double number = 0, other_number = 0;
        if (lb_csv_short_float(text, size, &number)) {
            assert_true(lb_csv_float(text, size, &other_number));
            assert_memory_equal(&number, &other_number, sizeof number);
            n_floats++;
        }
    }
    assert_true(n_integers > 1000 && n_floats > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_finds_the_same),
        cmocka_unit_test(fields),
        cmocka_unit_test(types),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(short_numbers_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
