/* Records as text, each format against what its readers want to see. With the argument "bench" it
 * measures. */
#include "core/io/format.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "core/column/builder.h"
#include "core/column/codec.h"
#include "random.h"

static struct lb_error err;
static struct lb_batch_builder builder;
static uint32_t next_column;

#define OK(call) assert_int_equal((call), LB_OK)

static struct lb_builder *column(void)
{
    struct lb_builder *result;
    OK(lb_batch_builder_column(&builder, next_column++, &result, &err));
    return result;
}

static void row(void)
{
    OK(lb_batch_builder_end_row(&builder, 0, &err));
    next_column = 0;
}

static void string(const char *text)
{
    OK(lb_builder_string(column(), text, strlen(text), &err));
}

static void expect(enum lb_format format, const char *wanted)
{
    struct lb_buf out = {0};
    OK(lb_format_batch(format, lb_batch_builder_finish(&builder, NULL), &out, &err));
    OK(lb_buf_append_byte(&out, '\0', &err));
    assert_string_equal(out.data, wanted);
    lb_buf_fini(&out);
}

/* One value of all formats; `encoded` too. */
static void expect_forms(const char *text, const char *json, const char *csv, const char *lua)
{
    const char *const wanted[] = {text, json, csv, lua};
    for (int format = LB_FORMAT_TEXT; format <= LB_FORMAT_LUA; format++) {
        char line[2000];
        snprintf(line, sizeof line, "%s\n", wanted[format]);
        expect((enum lb_format)format, line);
        struct lb_buf value = {0};
        struct lb_buf out = {0};
        const struct lb_batch *batch = lb_batch_builder_finish(&builder, NULL);
        OK(lb_codec_put_column(&value, &batch->columns[0], 0, &err));
        OK(lb_format_encoded((enum lb_format)format, value.data, value.size, &out, &err));
        assert_int_equal(out.size, strlen(wanted[format]));
        assert_memory_equal(out.data != NULL ? out.data : "", wanted[format], out.size);
        lb_buf_fini(&value);
        lb_buf_fini(&out);
    }
    lb_batch_builder_reset(&builder);
}

static void test_scalars(void **state)
{
    (void)state;
    OK(lb_builder_null(column(), &err));
    row();
    expect_forms("nil", "null", "", "nil");
    OK(lb_builder_bool(column(), true, &err));
    row();
    expect_forms("true", "true", "true", "true");
    OK(lb_builder_int(column(), -42, &err));
    row();
    expect_forms("-42", "-42", "-42", "-42");
    OK(lb_builder_int(column(), INT64_MIN, &err));
    row();
    expect_forms("-9223372036854775808", "-9223372036854775808", "-9223372036854775808",
                 "0x8000000000000000");
    OK(lb_builder_float(column(), 1.0, &err));
    row();
    expect_forms("1.0", "1.0", "1.0", "1.0");
    OK(lb_builder_float(column(), 0.1, &err));
    row();
    expect_forms("0.1", "0.1", "0.1", "0.1");
    OK(lb_builder_float(column(), (double)INFINITY, &err));
    row();
    expect_forms("inf", "\"inf\"", "inf", "1/0");
    OK(lb_builder_float(column(), -(double)INFINITY, &err));
    row();
    expect_forms("-inf", "\"-inf\"", "-inf", "-1/0");
    OK(lb_builder_float(column(), (double)NAN, &err));
    row();
    expect_forms("nan", "\"nan\"", "nan", "0/0");
}

static void test_strings(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"", "\"\"", "\"\"", "\"\""},
        {"plain", "\"plain\"", "plain", "\"plain\""},
        {"a\tb\\", "\"a\\tb\\\\\"", "a\tb\\", "\"a\\tb\\\\\""},
        {"a,\"b\"\n", "\"a,\\\"b\\\"\\n\"", "\"a,\"\"b\"\"\n\"", "\"a,\\\"b\\\"\\n\""},
        {"\x01\x02"
         "3\x7f\r\v",
         "\"\\u0001\\u00023\x7f\\r\\u000b\"",
         "\"\x01\x02"
         "3\x7f\r\v\"",
         "\"\\1\\0023\\127\\r\\11\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        /* cut short, overlong, a surrogate, beyond the last character */
        {"\xc3", "\"\xc3\"", "\xc3", "\"\xc3\""},
        {"\xe2\x82", "\"\xe2\x82\"", "\xe2\x82", "\"\xe2\x82\""},
        {"\xc0\xaf", "\"\xc0\xaf\"", "\xc0\xaf", "\"\xc0\xaf\""},
        {"\xed\xa0\x80", "\"\xed\xa0\x80\"", "\xed\xa0\x80", "\"\xed\xa0\x80\""},
        {"\xf4\x90\x80\x80", "\"\xf4\x90\x80\x80\"", "\xf4\x90\x80\x80", "\"\xf4\x90\x80\x80\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        string(cases[i][0]);
        row();
        expect_forms(cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
    }
}

static void test_tables(void **state)
{
    (void)state;
    struct lb_buf value = {0};
    size_t map;
    size_t list;
    OK(lb_codec_begin(&value, 'm', &map, &err));
    OK(lb_codec_put_string(&value, "a b", 3, &err));
    OK(lb_codec_put_nil(&value, &err));
    OK(lb_codec_put_string(&value, "end", 3, &err));
    OK(lb_codec_begin(&value, 'l', &list, &err));
    OK(lb_codec_put_int(&value, 1, &err));
    OK(lb_codec_put_string(&value, "x\"y", 3, &err));
    lb_codec_end(&value, list, 2);
    OK(lb_codec_put_string(&value, "key", 3, &err));
    OK(lb_codec_put_bool(&value, false, &err));
    lb_codec_end(&value, map, 3);
    OK(lb_builder_encoded(column(), value.data, value.size, &err));
    row();
    expect_forms("{\"a b\":null,\"end\":[1,\"x\\\"y\"],\"key\":false}",
                 "{\"a b\":null,\"end\":[1,\"x\\\"y\"],\"key\":false}",
                 "\"{\"\"a b\"\":null,\"\"end\"\":[1,\"\"x\\\"\"y\"\"],\"\"key\"\":false}\"",
                 "{[\"a b\"]=nil,[\"end\"]={1,\"x\\\"y\"},key=false}");
    value.size = 0;
    OK(lb_codec_begin(&value, 'l', &list, &err));
    lb_codec_end(&value, list, 0);
    OK(lb_builder_encoded(column(), value.data, value.size, &err));
    row();
    expect_forms("[]", "[]", "[]", "{}");
    lb_buf_fini(&value);
}

static void test_records(void **state)
{
    (void)state;
    string("k");
    OK(lb_builder_int(column(), 7, &err));
    OK(lb_builder_null(column(), &err));
    row();
    OK(lb_builder_null(column(), &err));
    OK(lb_builder_null(column(), &err));
    string("z");
    row();
    expect(LB_FORMAT_TEXT, "k\t7\tnil\nnil\tnil\tz\n");
    expect(LB_FORMAT_JSON, "[\"k\",7,null]\n[null,null,\"z\"]\n");
    expect(LB_FORMAT_CSV, "k,7,\n,,z\n");
    expect(LB_FORMAT_TSV, "k\t7\t\n\t\tz\n");
    expect(LB_FORMAT_LUA, "\"k\", 7, nil\nnil, nil, \"z\"\n");
    lb_batch_builder_reset(&builder);
}

/* The two fast shapes, with and without selection, against the plain way. */
static void test_fast_shapes(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        bool pairs = round & 1;
        uint32_t n_rows = (uint32_t)random_below(LB_BATCH_ROWS < 100 ? LB_BATCH_ROWS + 1 : 300);
        uint32_t select[LB_BATCH_ROWS];
        char wanted[300 * 100];
        size_t size = 0;
        uint32_t n_selected = 0;
        for (uint32_t i = 0; i < n_rows; i++) {
            char text[64];
            size_t length = random_below(random_below(2) ? 14 : 60);
            for (size_t k = 0; k < length; k++)
                text[k] = (char)('!' + random_below(90));
            OK(lb_builder_string(column(), text, length, &err));
            int64_t number = (int64_t)(random_next() >> random_below(64)) * (round % 3 - 1);
            if (pairs)
                OK(lb_builder_int(column(), number, &err));
            row();
            if (round % 5 == 0 && random_below(2))
                continue;
            select[n_selected++] = i;
            size += (size_t)sprintf(wanted + size, "%.*s", (int)length, text);
            if (pairs)
                size += (size_t)sprintf(wanted + size, "\t%" PRId64, number);
            wanted[size++] = '\n';
        }
        if (n_rows > 0) {
            struct lb_buf out = {0};
            struct lb_batch batch = *lb_batch_builder_finish(&builder, NULL);
            if (round % 5 == 0) {
                batch.select = select;
                batch.n_selected = n_selected;
            }
            OK(lb_format_batch(LB_FORMAT_TEXT, &batch, &out, &err));
            assert_int_equal(out.size, size);
            if (size > 0)
                assert_memory_equal(out.data, wanted, size);
            lb_buf_fini(&out);
        }
        lb_batch_builder_reset(&builder);
    }
}

static void test_names(void **state)
{
    (void)state;
    enum lb_format format;
    assert_true(lb_format_parse_name("lua", &format));
    assert_int_equal(format, LB_FORMAT_LUA);
    assert_false(lb_format_parse_name("xml", &format));
}

static void bench(bool pairs, size_t limit)
{
    struct lb_buf out = {0};
    size_t total = 0;
    for (uint32_t i = 0; i < LB_BATCH_ROWS; i++) {
        char text[200];
        size_t length = 2 + random_below(limit);
        memset(text, 'x', length);
        OK(lb_builder_string(column(), text, length, &err));
        if (pairs)
            OK(lb_builder_int(column(), (int64_t)(random_next() >> (40 + random_below(24))), &err));
        row();
    }
    const struct lb_batch *batch = lb_batch_builder_finish(&builder, NULL);
    struct timespec start;
    struct timespec end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    enum { ROUNDS = 2000 };
    for (int i = 0; i < ROUNDS; i++) {
        out.size = 0;
        OK(lb_format_batch(LB_FORMAT_TEXT, batch, &out, &err));
        total += out.size;
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds =
        (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
    printf("text (string%s) %.1f bytes a row: %.0f MB/s, %.1f ns a row\n", pairs ? ", int" : "",
           (double)total / ROUNDS / LB_BATCH_ROWS, (double)total / seconds * 1e-6,
           seconds / ROUNDS / LB_BATCH_ROWS * 1e9);
    lb_buf_fini(&out);
    lb_batch_builder_reset(&builder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),     cmocka_unit_test(test_strings),
        cmocka_unit_test(test_tables),      cmocka_unit_test(test_records),
        cmocka_unit_test(test_fast_shapes), cmocka_unit_test(test_names),
    };
    int failed = 0;
    random_start("test_format");
    lb_batch_builder_init(&builder);
    if (argc > 1 && strcmp(argv[1], "bench") == 0) {
        bench(true, 9);
        bench(true, 40);
        bench(false, 9);
        bench(false, 190);
    } else {
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    }
    lb_batch_builder_fini(&builder);
    return failed;
}
