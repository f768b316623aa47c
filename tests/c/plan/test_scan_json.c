/* The JSON source in whole plans: objects written at random, as lines, as an array and compressed, for many split sizes and
 * several workers, against the values that were written. */
#include "scan_plan.h"

enum { N_COLUMNS = 4 };

static char path[64], stream_path[80];
static const char *const names[] = {"id", "text", "x \"y\"", "late", NULL};
static const char *const types[] = {"integer", "string", "float", "any", NULL};

struct query {
    const char *path;
    int64_t split_bytes;
};

static void put_scan(struct lb_buf *out, const void *query)
{
    const struct query *q = query;
    size_t node;
    OK(lb_codec_begin(out, 'm', &node, &error));
    put_strings(out, "columns", names, N_COLUMNS); /* keys in byte order */
    put_strings(out, "known", names, N_COLUMNS);
    put_key(out, "on_bad");
    put_key(out, "skip");
    put_key(out, "op");
    put_key(out, "scan.json");
    put_strings(out, "paths", &q->path, 1);
    put_key(out, "split_bytes");
    OK(lb_codec_put_int(out, q->split_bytes, &error));
    put_strings(out, "types", types, N_COLUMNS);
    lb_codec_end(out, node, 7);
}

static void blanks(struct lb_buf *out, bool in_lines)
{
    for (uint32_t n = random_below(4) == 0 ? random_below(4) : 0; n > 0; n--)
        OK(lb_buf_append_byte(out, in_lines ? " \t\r"[random_below(3)] : " \t\r\n"[random_below(4)],
                              &error));
}

/* A string of random pieces: as JSON to `json`, as bytes to `value`. */
static void put_text(struct lb_buf *json, struct lb_buf *value)
{
    static const char *const written[] = {"a", "{",    "}",    "[",   "]",       ",",
                                          ":", "\\\"", "\\\\", "\\n", "\\u00e9", "some text"};
    static const char *const meant[] = {"a", "{",  "}",  "[",  "]",        ",",
                                        ":", "\"", "\\", "\n", "\xc3\xa9", "some text"};
    OK(lb_buf_append_byte(json, '"', &error));
    for (uint32_t n = random_below(random_below(20) ? 6 : 400); n > 0; n--) {
        uint32_t i = random_below(12);
        OK(lb_buf_append(json, written[i], strlen(written[i]), &error));
        OK(lb_buf_append(value, meant[i], strlen(meant[i]), &error));
    }
    OK(lb_buf_append_byte(json, '"', &error));
}

/* An object to `json`, and what put_rows makes of it to `wanted`. Members come in any order and some lack. */
static void put_object(struct lb_buf *json, struct lb_buf *wanted, bool in_lines)
{
    struct lb_buf values[N_COLUMNS] = {{0}};
    uint32_t order[N_COLUMNS + 1] = {0, 1, 2, 3, 4};
    const char *separator = "";
    for (uint32_t i = N_COLUMNS; random_below(3) == 0 && i > 0; i--) {
        uint32_t other = random_below(i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    OK(lb_buf_append_byte(json, '{', &error));
    for (uint32_t k = 0; k <= N_COLUMNS; k++) {
        uint32_t c = order[k];
        struct lb_buf *value = &values[c < N_COLUMNS ? c : 0];
        if (random_below(6) == 0 || (c >= N_COLUMNS && random_below(3) > 0))
            continue;
        OK(lb_buf_append(json, separator, strlen(separator), &error));
        separator = ",";
        blanks(json, in_lines);
        static const char *const written[] = {"\"id\"", "\"text\"", "\"x \\\"y\\\"\"", "\"late\"",
                                              "\"other\""};
        OK(lb_buf_append(json, written[c], strlen(written[c]), &error));
        blanks(json, in_lines);
        OK(lb_buf_append_byte(json, ':', &error));
        blanks(json, in_lines);
        int64_t number = (int64_t)random_below(2000000) - 1000000;
        if (random_below(8) == 0) {
            OK(lb_buf_append(json, "null", 4, &error));
        } else if (c == 0 || c == 3) {
            OK(lb_buf_printf(json, &error, "%lld", (long long)number));
            OK(lb_buf_printf(value, &error, "i%lld", (long long)number));
        } else if (c == 1) {
            OK(lb_buf_append_byte(value, 's', &error));
            put_text(json, value);
        } else if (c == 2) {
            OK(lb_buf_printf(json, &error, "%.3f", (double)number / 8));
            OK(lb_buf_printf(value, &error, "d%.17g", (double)number / 8));
        } else { /* nobody reads it */
            struct lb_buf text = {0};
            OK(lb_buf_append(json, "{\"a\":[1,", 8, &error));
            put_text(json, &text);
            OK(lb_buf_append(json, "]}", 2, &error));
            lb_buf_fini(&text);
        }
        blanks(json, in_lines);
    }
    OK(lb_buf_append_byte(json, '}', &error));
    for (uint32_t c = 0; c < N_COLUMNS; c++) {
        OK(lb_buf_append(wanted, values[c].size > 0 ? values[c].data : "n",
                         values[c].size > 0 ? values[c].size : 1, &error));
        OK(lb_buf_append_byte(wanted, '\x1f', &error));
        lb_buf_fini(&values[c]);
    }
    OK(lb_buf_append_byte(wanted, '\x1e', &error));
}

/* A file of objects and, in lines, of some that are none. */
static void random_file(struct lb_buf *json, struct lb_buf *wanted, bool in_lines, uint64_t *n_bad)
{
    static const char *const bad[] = {
        "7", "{\"id\":1", "{\"id\":\"x\"}", "{\"id\":1}{\"id\":2}", "{\"text\":\"a}", "]"};
    bool dirty = random_below(2) == 0;
    *n_bad = 0;
    if (random_below(4) == 0)
        OK(lb_buf_append(json, "\xef\xbb\xbf", 3, &error));
    if (!in_lines)
        OK(lb_buf_append_byte(json, '[', &error));
    for (uint32_t r = random_below(random_below(6) ? 100 : 2000), i = 0; i < r; i++) {
        if (!in_lines && i > 0)
            OK(lb_buf_append_byte(json, ',', &error));
        blanks(json, in_lines);
        if (in_lines && dirty && random_below(15) == 0) {
            const char *text = bad[random_below(6)];
            OK(lb_buf_append(json, text, strlen(text), &error));
            ++*n_bad;
        } else if (!in_lines || random_below(20) > 0) {
            put_object(json, wanted, in_lines);
        }
        blanks(json, in_lines);
        if (in_lines && (i + 1 < r || random_below(2) == 0))
            OK(lb_buf_append_byte(json, '\n', &error));
    }
    if (!in_lines)
        OK(lb_buf_append(json, "] \n", 1 + random_below(3), &error));
    OK(lb_buf_append_byte(wanted, '\0', &error));
}

static void expect(const struct query *q, uint32_t n_threads, const char *wanted, uint64_t n_bad)
{
    struct answer answer = run_scan(put_scan, q, N_COLUMNS, n_threads);
    if (answer.status != LB_OK)
        fail_msg("%s", error.message);
    assert_string_equal(answer.text, wanted);
    assert_int_equal(answer.n_skipped, n_bad);
    lb_buf_fini(&answer.out);
}

static void splits_change_nothing(void **unused)
{
    (void)unused;
    random_start("splits_change_nothing");
    for (int turn = 0; turn < rounds(120); turn++) {
        struct lb_buf json = {0}, wanted = {0}, packed = {0};
        uint64_t n_bad;
        random_file(&json, &wanted, turn % 3 > 0, &n_bad);
        write_file_as(path, json.data, json.size);
        for (int i = 0; i < 6; i++) {
            struct query q = {path, i == 0 ? 0 : 1 + random_below(i < 3 ? 20 : 3000)};
            bool is_many = q.split_bytes > 0 && json.size / (size_t)q.split_bytes >= 2000;
            expect(&q, is_many ? 1 : FEWEST_THREADS + random_below(4 - FEWEST_THREADS), wanted.data,
                   n_bad);
        }
        OK(lb_output_compress(LB_GZIP, json.data, json.size, &packed, &error));
        write_file_as(stream_path, packed.data, packed.size);
        expect(&(struct query){stream_path, 0}, 2, wanted.data, n_bad);
        lb_buf_fini(&packed);
        lb_buf_fini(&json);
        lb_buf_fini(&wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(splits_change_nothing)};
    snprintf(path, sizeof path, "/tmp/lb_test_scan_json.%d", (int)getpid());
    snprintf(stream_path, sizeof stream_path, "%s.gz", path);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(stream_path);
    return failed;
}
