/* The CSV source in whole plans: rows of random files, for many split sizes and several workers, against a parser that goes
 * byte by byte; types, widening, bad records. */
#include "scan_plan.h"

/* ---- plans ---- */

/* What a test asks of scan.csv; lists end with NULL. */
struct query {
    const char *path;
    const char *const *names;
    const int *columns;       /* ends with 0; NULL: all */
    const char *const *types; /* NULL: all strings */
    bool inferred, no_header, skip;
    const char *sep, *quote;
    const char *const *null;
    int64_t split_bytes;
    uint32_t n_threads;
};

static void put_scan(struct lb_buf *out, const void *query)
{
    const struct query *q = query;
    uint32_t n = 0, n_fields = count_of(q->names);
    size_t node, mark;
    const char *strings[300];
    while (q->columns != NULL ? q->columns[n] != 0 : n < n_fields)
        n++;
    for (uint32_t i = 0; i < n; i++)
        strings[i] = q->types != NULL ? q->types[i] : "string";
    OK(lb_codec_begin(out, 'm', &node, &error));
    put_key(out, "columns"); /* keys in byte order */
    OK(lb_codec_begin(out, 'l', &mark, &error));
    for (uint32_t i = 0; i < n; i++)
        OK(lb_codec_put_int(out, q->columns != NULL ? q->columns[i] : (int)i + 1, &error));
    lb_codec_end(out, mark, n);
    put_strings(out, "file_names", q->names, n_fields);
    put_key(out, "header");
    OK(lb_codec_put_bool(out, !q->no_header, &error));
    put_key(out, "inferred");
    OK(lb_codec_begin(out, 'l', &mark, &error));
    for (uint32_t i = 0; i < n; i++)
        OK(lb_codec_put_bool(out, q->inferred, &error));
    lb_codec_end(out, mark, n);
    static const char *const empty[] = {"", NULL};
    put_strings(out, "null", q->null != NULL ? q->null : empty,
                count_of(q->null != NULL ? q->null : empty));
    put_key(out, "on_bad");
    put_key(out, q->skip ? "skip" : "fail");
    put_key(out, "op");
    put_key(out, "scan.csv");
    put_strings(out, "paths", &q->path, 1);
    put_key(out, "quote");
    put_key(out, q->quote != NULL ? q->quote : "\"");
    put_key(out, "sep");
    put_key(out, q->sep != NULL ? q->sep : ",");
    put_key(out, "split_bytes");
    OK(lb_codec_put_int(out, q->split_bytes, &error));
    put_strings(out, "types", strings, n);
    lb_codec_end(out, node, 12);
}

static struct answer ask(const struct query *q)
{
    uint32_t n_columns = 0;
    while (q->columns != NULL ? q->columns[n_columns] != 0 : n_columns < count_of(q->names))
        n_columns++;
    return run_scan(put_scan, q, n_columns, q->n_threads);
}

static char path[64], stream_path[80];

static void write_file(const char *data, size_t size)
{
    write_file_as(path, data, size);
}

/* ---- the naive parser ---- */

/* The next record of [*cursor, end): its fields, unquoted, one after the other in out as put_value writes them. False: not well
 * formed. *is_blank: no byte but the line end. */
static bool naive_record(const char **cursor, const char *end, const char *sep, int quote,
                         uint32_t *n_fields, bool *is_blank, struct lb_buf *out)
{
    const char *start = *cursor, *p = start;
    bool inside = false;
    while (p < end && (inside || *p != '\n')) {
        if ((unsigned char)*p == quote)
            inside = !inside;
        p++;
    }
    *cursor = p < end ? p + 1 : p;
    if (inside)
        return false;
    if (p > start && p[-1] == '\r')
        p--;
    *is_blank = p == start;
    *n_fields = 0;
    for (;;) { /* one field a turn */
        struct lb_buf text = {0};
        bool is_quoted = start < p && (unsigned char)*start == quote;
        bool is_sound = true;
        if (is_quoted) {
            start++;
            for (;; start++) {
                if ((unsigned char)*start == quote) {
                    if (start + 1 < p && (unsigned char)start[1] == quote)
                        start++;
                    else
                        break;
                }
                OK(lb_buf_append_byte(&text, *start, &error));
            }
            start++;
        }
        while (start < p && strncmp(start, sep, strlen(sep)) != 0) {
            is_sound = is_sound && !is_quoted && (unsigned char)*start != quote;
            OK(lb_buf_append_byte(&text, *start++, &error));
        }
        if (!is_quoted && text.size == 0) {
            OK(lb_buf_append(out, "n\x1f", 2, &error));
        } else {
            OK(lb_buf_append_byte(out, 's', &error));
            OK(lb_buf_append(out, text.data, text.size, &error));
            OK(lb_buf_append_byte(out, '\x1f', &error));
        }
        lb_buf_fini(&text);
        ++*n_fields;
        if (!is_sound)
            return false;
        if (start >= p)
            return true;
        start += strlen(sep);
    }
}

static char *naive(const char *data, size_t size, const char *sep, int quote, uint32_t n,
                   uint64_t *n_bad)
{
    const char *cursor = data, *end = data + size;
    struct lb_buf out = {0};
    *n_bad = 0;
    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
        cursor += 3;
    while (cursor < end) {
        uint32_t n_fields = 0;
        bool is_blank = false;
        size_t before = out.size;
        bool good = naive_record(&cursor, end, sep, quote, &n_fields, &is_blank, &out);
        if (good && n_fields == n) {
            OK(lb_buf_append_byte(&out, '\x1e', &error));
            continue;
        }
        out.size = before;
        *n_bad += !(good && is_blank);
    }
    OK(lb_buf_append_byte(&out, '\0', &error));
    return out.data;
}

/* ---- random files ---- */

static void put_field(struct lb_buf *out, const char *sep, int quote, bool dirty)
{
    static const char *const pieces[] = {"a",    "bc", "some text", "1",       "-7",
                                         "3.25", "",   " ",         "\xc3\xa9"};
    bool quoted = quote >= 0 && random_below(4) == 0;
    if (quoted)
        OK(lb_buf_append_byte(out, (char)quote, &error));
    for (uint32_t i = random_below(4); i > 0; i--) {
        const char *piece = pieces[random_below(9)];
        OK(lb_buf_append(out, piece, strlen(piece), &error));
        if (quoted && random_below(3) == 0)
            OK(lb_buf_append(out, (char[]){(char)quote, (char)quote}, 2, &error));
        if (quoted && random_below(3) == 0)
            OK(lb_buf_append(out, random_below(2) ? "\n" : "\r\n", random_below(2) + 1, &error));
        if (quoted && random_below(3) == 0)
            OK(lb_buf_append(out, sep, strlen(sep), &error));
    }
    if (dirty && random_below(300) == 0 && quote >= 0)
        OK(lb_buf_append_byte(out, (char)quote, &error));
    if (quoted)
        OK(lb_buf_append_byte(out, (char)quote, &error));
}

static void random_file(struct lb_buf *out, uint32_t n, const char *sep, int quote)
{
    bool crlf = random_below(2) == 0, dirty = random_below(2) == 0;
    if (random_below(3) == 0)
        OK(lb_buf_append(out, "\xef\xbb\xbf", 3, &error));
    for (uint32_t r = random_below(random_below(8) ? 120 : 3000); r > 0; r--) {
        uint32_t width = n;
        if (dirty && random_below(20) == 0)
            width = 1 + random_below(2 * n);
        if (random_below(30) == 0)
            width = 0; /* a blank line */
        for (uint32_t i = 0; i < width; i++) {
            if (i > 0)
                OK(lb_buf_append(out, sep, strlen(sep), &error));
            put_field(out, sep, quote, dirty);
        }
        if (r > 1 || random_below(2) == 0)
            OK(lb_buf_append(out, crlf ? "\r\n" : "\n", crlf ? 2 : 1, &error));
    }
}

static void splits_change_nothing(void **unused)
{
    (void)unused;
    static const char *const seps[] = {",", "\t", ";", "||", "--"};
    random_start("splits_change_nothing");
    for (int turn = 0; turn < rounds(150); turn++) {
        uint32_t n = turn % 3 == 0 ? 1 + random_below(50) : 1 + random_below(5);
        const char *sep = seps[random_below(5)];
        int quote = random_below(5) == 0 ? -1 : random_below(4) == 0 ? '\'' : '"';
        struct lb_buf data = {0};
        char names_text[50][8];
        const char *names[51] = {NULL};
        for (uint32_t i = 0; i < n; i++) {
            snprintf(names_text[i], sizeof names_text[i], "c%u", i);
            names[i] = names_text[i];
        }
        random_file(&data, n, sep, quote);
        write_file(data.data, data.size);
        uint64_t n_bad = 0;
        char *wanted = naive(data.data, data.size, sep, quote, n, &n_bad);
        char quote_text[2] = {quote >= 0 ? (char)quote : '\0', '\0'};
        struct query q = {.path = path,
                          .names = names,
                          .no_header = true,
                          .skip = true,
                          .sep = sep,
                          .quote = quote_text};
        for (int i = 0; i < 6; i++) {
            q.split_bytes = i == 0 ? 0 : 1 + random_below(i < 3 ? 20 : 3000);
            if (q.split_bytes == 0 || data.size / (size_t)q.split_bytes < 2000)
                q.n_threads = FEWEST_THREADS + random_below(4 - FEWEST_THREADS);
            struct answer answer = ask(&q);
            if (answer.status != LB_OK)
                fail_msg("%s", error.message);
            assert_string_equal(answer.text, wanted);
            assert_int_equal(answer.n_skipped, n_bad);
            lb_buf_fini(&answer.out);
        }
        struct lb_buf packed = {0}; /* the same as a stream */
        OK(lb_output_compress(LB_GZIP, data.data, data.size, &packed, &error));
        write_file_as(stream_path, packed.data, packed.size);
        q.path = stream_path;
        q.n_threads = 2;
        struct answer answer = ask(&q);
        assert_int_equal(answer.status, LB_OK);
        assert_string_equal(answer.text, wanted);
        assert_int_equal(answer.n_skipped, n_bad);
        lb_buf_fini(&answer.out);
        lb_buf_fini(&packed);
        free(wanted);
        lb_buf_fini(&data);
    }
}

/* ---- values ---- */

/* Reads one column without header, of the type; gives the rows' text or the status. */
static void expect(const char *text, const char *type, bool inferred, const char *wanted)
{
    static const char *const names[] = {"a", NULL};
    const char *const types[] = {type, NULL};
    write_file(text, strlen(text));
    struct query q = {
        .path = path, .names = names, .types = types, .inferred = inferred, .no_header = true};
    struct answer answer = ask(&q);
    char got[200];
    if (answer.status == LB_RESTART)
        snprintf(got, sizeof got, "restart %s", answer.restart);
    else if (answer.status != LB_OK)
        snprintf(got, sizeof got, "status %d", answer.status);
    else
        snprintf(got, sizeof got, "%s", answer.text);
    for (char *p = got; *p != '\0'; p++)
        if (*p == '\x1f' || *p == '\x1e')
            *p = *p == '\x1f' ? ' ' : ';';
    assert_string_equal(got, wanted);
    lb_buf_fini(&answer.out);
}

static void values_are_never_changed(void **unused)
{
    (void)unused;
    expect("1\n-5\n0\n\n9223372036854775807\n-9223372036854775808\n12345678\n123456789012\n",
           "integer", true,
           "i1 ;i-5 ;i0 ;n ;i9223372036854775807 ;i-9223372036854775808 ;i12345678 "
           ";i123456789012 ;");
    expect("007\n", "integer", true, "restart 1=string");
    expect(" 1\n", "integer", true, "restart 1=string");
    expect("1 \n", "integer", true, "restart 1=string");
    expect("+1\n", "integer", true, "restart 1=string");
    expect("-0\n", "integer", true, "restart 1=string");
    expect("-\n", "integer", true, "restart 1=string");
    expect("9223372036854775808\n", "integer", true, "restart 1=string");
    expect("1e5\n", "integer", true, "restart 1=float");
    expect("1.0\n", "integer", true, "restart 1=float");
    expect("1.0\nx\n", "integer", true, "restart 1=string");
    expect("\"\"\n", "integer", true, "restart 1=string");
    expect("\"12\"\n", "integer", true, "i12 ;");
    expect("abc\n", "integer", false, "status 4");
    expect("1e5\n1.5\n-0.25\n3\n9007199254740992\n\n.5\n1e-7\n123456789.123456789\nnan\n", "float",
           true,
           "d100000 ;d1.5 ;d-0.25 ;d3 ;d9007199254740992 ;n ;d0.5 ;"
           "d9.9999999999999995e-08 ;d123456789.12345679 ;dnan ;");
    expect("9007199254740993\n", "float", true, "restart 1=string");
    expect("1e999\n", "float", true, "restart 1=string");
    expect("007.5\n", "float", true, "restart 1=string");
    expect("0x10\n", "float", true, "restart 1=string");
    expect("true\nfalse\n\n", "boolean", true, "t ;f ;n ;");
    expect("True\n", "boolean", true, "restart 1=string");
    expect("1\n", "boolean", true, "restart 1=string");
    expect("\"\"\n\n\"a\"\"b\"\nlonger than twelve bytes\n\"longer than \"\"twelve\"\" bytes\"",
           "string", true,
           "s ;n ;sa\"b ;slonger than twelve bytes ;slonger than \"twelve\" bytes ;");
}

static void last_line_widens(void **unused)
{
    (void)unused;
    static const char *const names[] = {"id", "name", "x", NULL};
    static const char *const types[] = {"integer", "float", NULL};
    static const int columns[] = {1, 3, 0};
    struct lb_buf data = {0};
    OK(lb_buf_append(&data, "id,name,x\n", 10, &error));
    for (int i = 0; i < 5000; i++)
        OK(lb_buf_printf(&data, &error, "%d,n%d,%d.5\n", i, i % 7, i));
    OK(lb_buf_append(&data, "n/a,z,1e400\n", 12, &error));
    write_file(data.data, data.size);
    struct query q = {.path = path,
                      .names = names,
                      .types = types,
                      .columns = columns,
                      .inferred = true,
                      .n_threads = 2,
                      .split_bytes = 5000};
    struct answer answer = ask(&q);
    assert_int_equal(answer.status, LB_RESTART);
    assert_string_equal(answer.restart, "1=string 2=string");
    lb_buf_fini(&answer.out);
    q.inferred = false;
    answer = ask(&q);
    assert_int_equal(answer.status, LB_ERR_DATA);
    assert_non_null(strstr(error.message, "column id: 'n/a' is no integer"));
    assert_non_null(strstr(error.message, ":5002 (byte"));
    lb_buf_fini(&answer.out);
    q.skip = true;
    answer = ask(&q);
    assert_int_equal(answer.status, LB_OK);
    assert_int_equal(answer.n_skipped, 1);
    lb_buf_fini(&answer.out);
    lb_buf_fini(&data);
}

static void headers_are_checked(void **unused)
{
    (void)unused;
    static const char *const names[] = {"a", "column2", "c d", NULL};
    static const char *const null[] = {"", "NA", NULL};
    struct query q = {.path = path, .names = names, .null = null};
    const char *good = "\xef\xbb\xbf"
                       "a,,\"c d\"\r\n1,NA,\r\n\r\n\"NA\",x,";
    write_file(good, strlen(good));
    struct answer answer = ask(&q);
    assert_int_equal(answer.status, LB_OK);
    assert_string_equal(answer.text, "s1\x1fn\x1fn\x1f\x1esNA\x1fsx\x1fn\x1f\x1e");
    lb_buf_fini(&answer.out);
    const char *const bad[] = {"a,b,c d\n", "a,\n", "", "a,,c d"};
    for (int i = 0; i < 4; i++) {
        write_file(bad[i], strlen(bad[i]));
        answer = ask(&q);
        assert_int_equal(answer.status, i < 2 ? LB_ERR_DATA : LB_OK);
        if (i < 2)
            assert_non_null(strstr(error.message, path));
        lb_buf_fini(&answer.out);
    }
}

static void bad_records_are_named(void **unused)
{
    (void)unused;
    static const char *const names[] = {"a", "b", NULL};
    static const char *const texts[] = {"a,b\n1,2\n1,2,3\n", "a,b\n1,x\"y\"\n", "a,b\n1,\"x\"y\n",
                                        "a,b\n1,\"open\n2,3\n"};
    static const char *const wanted[] = {"3 fields, not 2", "a quote stands", "a quote stands",
                                         "not closed"};
    struct query q = {.path = path, .names = names};
    for (int i = 0; i < 4; i++) {
        write_file(texts[i], strlen(texts[i]));
        struct answer answer = ask(&q);
        assert_int_equal(answer.status, LB_ERR_DATA);
        if (strstr(error.message, wanted[i]) == NULL ||
            strstr(error.message, i == 0 ? ":3 (byte 8)" : ":2 (byte 4)") == NULL)
            fail_msg("%s", error.message);
        lb_buf_fini(&answer.out);
    }
}

static void no_columns_still_count(void **unused)
{
    (void)unused;
    static const char *const names[] = {"a", "b", NULL};
    static const int columns[] = {0};
    struct query q = {.path = path, .names = names, .columns = columns};
    write_file("a,b\n1,2\n3,4\n", 12);
    struct answer answer = ask(&q);
    assert_int_equal(answer.status, LB_OK);
    assert_string_equal(answer.text, "\x1e\x1e");
    lb_buf_fini(&answer.out);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/lb_test_scan_csv.%d", (int)getpid());
    snprintf(stream_path, sizeof stream_path, "%s.gz", path);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_change_nothing), cmocka_unit_test(values_are_never_changed),
        cmocka_unit_test(last_line_widens),      cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(bad_records_are_named), cmocka_unit_test(no_columns_still_count),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(stream_path);
    return failed;
}
