/* Plans of rows: sorting by several columns, joins with flat results, maps and lists to columns and back; against
 * results worked out here. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "core/plan/plan.h"

static struct lb_error error;
#define OK(call)                                      \
    do {                                              \
        if ((call) != LB_OK)                          \
            fail_msg("%s: %s", #call, error.message); \
    } while (0)

/* ---- plans and records as text: JSON with bare words for strings; keys of maps stand in order ---- */

static void skip_blanks(const char **at)
{
    while (**at == ' ' || **at == ',' || **at == ':' || **at == '\n')
        (*at)++;
}

static void put_value(struct lb_buf *out, const char **at)
{
    skip_blanks(at);
    char c = **at;
    if (c == '[' || c == '{') {
        size_t mark = 0;
        uint32_t count = 0;
        OK(lb_codec_begin(out, c == '[' ? 'l' : 'm', &mark, &error));
        (*at)++;
        for (skip_blanks(at); **at != ']' && **at != '}'; skip_blanks(at), count++) {
            put_value(out, at);
            if (c == '{')
                put_value(out, at);
        }
        (*at)++;
        lb_codec_end(out, mark, count);
    } else if (isdigit((unsigned char)c) || c == '-') {
        char *end = NULL;
        OK(lb_codec_put_int(out, strtoll(*at, &end, 10), &error));
        *at = end;
    } else {
        size_t size = strcspn(*at, " ,:]}");
        if (size == 3 && memcmp(*at, "nil", 3) == 0)
            OK(lb_codec_put_nil(out, &error));
        else if (size == 4 && memcmp(*at, "true", 4) == 0)
            OK(lb_codec_put_bool(out, true, &error));
        else
            OK(lb_codec_put_string(out, *at, size, &error));
        *at += size;
    }
}

static void put_text(struct lb_buf *out, const struct lb_value *value)
{
    const char *cursor = value->data;
    if (value->tag == 'i')
        OK(lb_buf_printf(out, &error, "%lld", (long long)value->i));
    else if (value->tag == 's')
        OK(lb_buf_printf(out, &error, "%.*s", (int)value->size, value->data));
    else if (value->tag == 'l' || value->tag == 'm') {
        uint32_t n = value->tag == 'm' ? 2 * value->count : value->count;
        OK(lb_buf_append_byte(out, value->tag == 'm' ? '{' : '[', &error));
        for (uint32_t i = 0; i < n; i++) {
            struct lb_value item;
            lb_codec_next(&cursor, &item);
            if (i > 0)
                OK(lb_buf_append_byte(out, ' ', &error));
            put_text(out, &item);
        }
        OK(lb_buf_append_byte(out, value->tag == 'm' ? '}' : ']', &error));
    } else
        OK(lb_buf_append(out, value->tag == 'n' ? "nil" : "true", value->tag == 'n' ? 3 : 4,
                         &error));
}

/* Runs the plan's nodes, the last of which is to be a store; gives its records as text, or the message of the
 * failure. To be freed. */
static char *run(uint32_t n_threads, const char *nodes)
{
    struct lb_run_options options = {
        .n_threads = n_threads, .memory_bytes = 64 << 20, .tmp_dir = "/tmp"};
    struct lb_buf plan_bytes = {0}, out = {0}, scratch = {0};
    struct lb_plan *plan = NULL;
    struct lb_run *running = NULL;
    size_t size = strlen(nodes) + 32;
    char *text = malloc(size);
    snprintf(text, size, "{nodes: [%s]}", nodes);
    const char *at = text;
    put_value(&plan_bytes, &at);
    free(text);
    OK(lb_run_new(&options, &running, &error));
    if (lb_plan_new(plan_bytes.data, plan_bytes.size, &plan, &error) != LB_OK ||
        lb_plan_execute(plan, running, &error) != LB_OK) {
        text = strdup(error.message);
    } else {
        struct lb_store *store = lb_plan_result(plan, 0).store;
        for (uint32_t c = 0; c < lb_store_n_chunks(store); c++) {
            const char *cursor = NULL;
            uint32_t n_rows = 0, n_columns = 0;
            uint64_t first = 0;
            OK(lb_store_read(store, c, &scratch, &cursor, &size, &error));
            lb_store_chunk(store, c, &n_rows, &first);
            for (uint32_t r = 0; r < n_rows; r++) {
                memcpy(&n_columns, cursor, sizeof n_columns);
                cursor += sizeof n_columns;
                for (uint32_t i = 0; i < n_columns; i++) {
                    struct lb_value value;
                    lb_codec_next(&cursor, &value);
                    if (i > 0)
                        OK(lb_buf_append_byte(&out, ' ', &error));
                    put_text(&out, &value);
                }
                OK(lb_buf_append_byte(&out, '\n', &error));
            }
        }
        OK(lb_buf_append_byte(&out, '\0', &error));
        text = strdup(out.data);
    }
    lb_plan_delete(plan);
    lb_run_delete(running);
    lb_buf_fini(&plan_bytes);
    lb_buf_fini(&out);
    lb_buf_fini(&scratch);
    return text;
}

static void expect(const char *nodes, const char *records)
{
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        char *text = run(n_threads, nodes);
        assert_string_equal(text, records);
        free(text);
    }
}

/* ---- tests ---- */

static void sorts_by_columns(void **state)
{
    (void)state;
    expect("{op: scan.list, rows: [[b,2,p] [a,1,q] [nil,3,r] [ab,2,s] [a,2,t] [b,nil,u] [a,1,v]]}"
           "{by: none, inputs: [1], key: columns, keys: [{column: 1} {column: 2, desc: true}],"
           " op: sort, partitions: 1}"
           "{inputs: [2], op: scan.sorted}{inputs: [3], op: store, result: true}",
           "nil 3 r\na 2 t\na 1 q\na 1 v\nab 2 s\nb 2 p\nb nil u\n");
    expect("{op: scan.list, rows: [[b,2] [a,1] [nil,3] [ab,2] [a,2] [abc,5]]}"
           "{by: none, inputs: [1], key: columns, keys: [{column: 1, desc: true} {column: 2}],"
           " op: sort, partitions: 1}"
           "{inputs: [2], op: scan.sorted}{inputs: [3], op: store, result: true}",
           "b 2\nabc 5\nab 2\na 1\na 2\nnil 3\n");
}

enum { MANY = 3000 };
static struct record {
    int a, b, number;
} records[MANY];

static int by_a_down_b_up(const void *x, const void *y)
{
    const struct record *p = x, *q = y;
    if (p->a != q->a)
        return q->a - p->a;
    return p->b != q->b ? p->b - q->b : p->number - q->number;
}

static void sorts_many(void **state)
{
    (void)state;
    const char *given = getenv("LB_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    struct lb_buf nodes = {0}, sorted = {0};
    OK(lb_buf_printf(&nodes, &error, "{op: scan.list, rows: ["));
    for (int i = 0; i < MANY; i++) {
        records[i] = (struct record){rand() % 20 - 10, rand() % 600, i};
        OK(lb_buf_printf(&nodes, &error, "[%d,s%03d,%d]", records[i].a, records[i].b, i));
    }
    OK(lb_buf_printf(&nodes, &error,
                     "]}{by: none, inputs: [1], key: columns, keys: [{column: 1, desc: true}"
                     "{column: 2}], op: sort, partitions: 1}{inputs: [2], op: scan.sorted}"
                     "{inputs: [3], op: store, result: true}"));
    OK(lb_buf_append_byte(&nodes, '\0', &error));
    qsort(records, MANY, sizeof *records, by_a_down_b_up);
    for (int i = 0; i < MANY; i++)
        OK(lb_buf_printf(&sorted, &error, "%d s%03d %d\n", records[i].a, records[i].b,
                         records[i].number));
    OK(lb_buf_append_byte(&sorted, '\0', &error));
    expect(nodes.data, sorted.data);
    lb_buf_fini(&nodes);
    lb_buf_fini(&sorted);
}

/* Left rows (id, k1, k2, x), right rows (k2, k1, y): joined by both keys. */
static void expect_join(const char *kind, const char *flat, const char *widths, const char *wanted)
{
    char nodes[2048];
    snprintf(nodes, sizeof nodes,
             "{op: scan.list, rows: [[1,a,1,p] [2,a,2,q] [3,b,1,r] [4,nil,1,s] [5,a,1,nil]]}"
             "{columns: [1,2,3,4], inputs: [1], keys: [2,3], op: bundle, strict: true}"
             "{inputs: [2], op: tag, value: 0}"
             "{op: scan.list, rows: [[1,a,u] [1,a,v] [9,z,w] [1,nil,y]]}"
             "{columns: [1,2,3], inputs: [4], keys: [2,1], op: bundle, strict: true}%s"
             "{inputs: [%d], op: tag, value: 1}"
             "{by: hash, inputs: [3,%d], keep_key: true, key: first, op: sort, partitions: 1, "
             "sides: true}"
             "{flat: %s, inputs: [%d], kind: %s, op: scan.join, widths: %s}"
             "{inputs: [%d], op: store, result: true}",
             widths[3] == '0' ? "{columns: [1], inputs: [5], op: project}" : "",
             widths[3] == '0' ? 6 : 5, widths[3] == '0' ? 7 : 6, flat, widths[3] == '0' ? 8 : 7,
             kind, widths, widths[3] == '0' ? 9 : 8);
    expect(nodes, wanted);
}

static void joins_flat(void **state)
{
    (void)state;
    const char *flat = "[{left: 1} {left: 2, right: 2} {left: 3, right: 1} {left: 4} {right: 3}]";
    expect_join("inner", flat, "[4 3]", "1 a 1 p u\n1 a 1 p v\n5 a 1 nil u\n5 a 1 nil v\n");
    expect_join("left", flat, "[4 3]",
                "4 nil 1 s nil\n1 a 1 p u\n1 a 1 p v\n5 a 1 nil u\n5 a 1 nil v\n2 a 2 q nil\n"
                "3 b 1 r nil\n");
    expect_join("right", flat, "[4 3]",
                "nil nil 1 nil y\n1 a 1 p u\n1 a 1 p v\n5 a 1 nil u\n5 a 1 nil v\n"
                "nil z 9 nil w\n");
    expect_join("semi", "[{left: 4} {left: 1}]", "[4 0]", "p 1\nnil 5\n");
    expect_join("anti", "[{left: 1} {left: 2}]", "[4 0]", "4 nil\n2 a\n3 b\n");
}

static void refuses_wrong_flat(void **state)
{
    (void)state;
    char *text =
        run(1, "{op: scan.list, rows: [[a,1]]}{inputs: [1], op: tag, value: 0}"
               "{by: hash, inputs: [2], key: first, op: sort, sides: true}"
               "{flat: [{left: 2}], inputs: [3], kind: inner, op: scan.join, widths: [1 1]}"
               "{inputs: [4], op: store, result: true}");
    assert_non_null(strstr(text, "parameter 'flat' is wrong"));
    free(text);
}

static void packs_and_unpacks(void **state)
{
    (void)state;
    expect("{op: scan.list, rows: [[1,x] [2,nil] [nil,nil]]}"
           "{inputs: [1], names: [n,c], op: pack_row}{inputs: [2], op: store, result: true}",
           "{c x n 1}\n{n 2}\n[]\n");
    expect("{op: scan.list, rows: [[k,1,x] [l,2,nil]]}"
           "{inputs: [1], keep_first: true, names: [n,c], op: pack_row}"
           "{inputs: [2], op: store, result: true}",
           "k {c x n 1}\nl {n 2}\n");
    expect("{op: scan.list, rows: [[{c: x, n: 1}] [{n: 2}] [[]] [nil] [{c: [1 2]}]]}"
           "{inputs: [1], names: [n,c,z], op: unpack}{inputs: [2], op: store, result: true}",
           "1 x nil\n2 nil nil\nnil nil nil\nnil nil nil\nnil [1 2] nil\n");
    char *text = run(1, "{op: scan.list, rows: [[7]]}{inputs: [1], label: select, names: [n], "
                        "op: unpack}{inputs: [2], op: store, result: true}");
    assert_non_null(strstr(text, "select: a record is no table with string keys"));
    free(text);
}

static void explodes(void **state)
{
    (void)state;
    expect("{op: scan.list, rows: [[1,[a b],x] [2,nil,y] [3,[],y] [4,[c [d]],z]]}"
           "{column: 2, inputs: [1], op: explode}{inputs: [2], op: store, result: true}",
           "1 a x\n1 b x\n4 c z\n4 [d] z\n");
    char *text = run(1, "{op: scan.list, rows: [[1,a]]}{column: 2, inputs: [1], label: explode, "
                        "op: explode}{inputs: [2], op: store, result: true}");
    assert_non_null(strstr(text, "explode: a value is no list"));
    free(text);
}

static void bundles_keys(void **state)
{
    (void)state;
    expect("{op: scan.list, rows: [[1,a] [nil,b]]}"
           "{columns: [2,1,3], inputs: [1], keys: [1,2], op: bundle}"
           "{inputs: [2], op: store, result: true}",
           "[1 a] a 1 nil\n[nil b] b nil nil\n");
    expect("{op: scan.list, rows: [[1,a] [nil,b]]}"
           "{columns: [2], inputs: [1], keys: [1,2], op: bundle, strict: true}"
           "{inputs: [2], op: store, result: true}",
           "[1 a] a\nnil b\n");
}

static void finds_windows_of_time(void **state)
{
    (void)state;
    expect("{op: scan.list, rows: [[9,a] [10,b] [-1,c] [nil,d]]}"
           "{column: 1, columns: 2, inputs: [1], offset: 0, op: time_window, size: 10}"
           "{inputs: [2], op: store, result: true}",
           "9 a 0\n10 b 10\n-1 c -10\n");
    expect("{op: scan.list, rows: [[0] [12] [-7]]}"
           "{column: 1, columns: 1, every: 4, inputs: [1], offset: 1, op: time_window, size: 10}"
           "{inputs: [2], op: store, result: true}",
           "0 -7\n0 -3\n12 5\n12 9\n-7 -15\n-7 -11\n-7 -7\n");
    expect("{op: scan.list, rows: [[0] [5] [12]]}" /* windows with gaps */
           "{column: 1, columns: 1, every: 10, inputs: [1], op: time_window, size: 3}"
           "{inputs: [2], op: store, result: true}",
           "0 0\n12 10\n");
    char *text =
        run(1, "{op: scan.list, rows: [[noon]]}{column: 1, columns: 1, inputs: [1], label: "
               "tumble, op: time_window, size: 10}{inputs: [2], op: store, result: true}");
    assert_non_null(strstr(text, "tumble: no time"));
    free(text);
    text =
        run(1, "{op: scan.list, rows: [[9223372036854775807]]}{column: 1, columns: 1, inputs: [1], "
               "op: time_window, size: 10}{inputs: [2], op: store, result: true}");
    assert_non_null(strstr(text, "too far away"));
    free(text);
    text =
        run(1, "{op: scan.list, rows: [[1]]}{column: 1, columns: 1, inputs: [1], op: time_window, "
               "size: 0}{inputs: [2], op: store, result: true}");
    assert_non_null(strstr(text, "wrong size"));
    free(text);
}

static void finds_sessions(void **state)
{
    (void)state;
    expect(
        "{op: scan.list, rows: [[a,9,x] [b,1,x] [a,1,y] [a,4,z] [b,7,y] [a,14,w]]}"
        "{by: hash, inputs: [1], keep_key: true, key: first, n_values: 1, op: sort, partitions: 1}"
        "{inputs: [2], op: scan.sorted}{columns: 1, gap: 5, inputs: [3], op: session}"
        "{inputs: [4], op: store, result: true}",
        "y 1 1\nz 1 4\nx 9 9\nw 14 14\nx 1 1\ny 7 7\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_by_columns),  cmocka_unit_test(sorts_many),
        cmocka_unit_test(joins_flat),        cmocka_unit_test(refuses_wrong_flat),
        cmocka_unit_test(packs_and_unpacks), cmocka_unit_test(explodes),
        cmocka_unit_test(bundles_keys),      cmocka_unit_test(finds_windows_of_time),
        cmocka_unit_test(finds_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
