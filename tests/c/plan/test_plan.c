/* Whole plans through exec and the core's operators, without any Lua: results against naive computations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/plan/plan.h"

/* ---- making plans: nodes are lists of (key, tag, value) ---- */

struct field {
    const char *key;
    char
        tag; /* 's' text, 'i' integer, 't'/'f', 'L' list of integers, 'S' list of one text, 'x' encoded */
    const char *text;
    int64_t integer;
    int64_t list[4];
    int n_list;
};

static struct lb_error error;
#define OK(call)                                      \
    do {                                              \
        if ((call) != LB_OK)                          \
            fail_msg("%s: %s", #call, error.message); \
    } while (0)

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct field *)a)->key, ((const struct field *)b)->key);
}

static void put_field(struct lb_buf *out, const struct field *field)
{
    size_t mark = 0;
    OK(lb_codec_put_string(out, field->key, strlen(field->key), &error));
    switch (field->tag) {
    case 's':
        OK(lb_codec_put_string(out, field->text, strlen(field->text), &error));
        break;
    case 'i':
        OK(lb_codec_put_int(out, field->integer, &error));
        break;
    case 'L':
        OK(lb_codec_begin(out, 'l', &mark, &error));
        for (int i = 0; i < field->n_list; i++)
            OK(lb_codec_put_int(out, field->list[i], &error));
        lb_codec_end(out, mark, (uint32_t)field->n_list);
        break;
    case 'S':
        OK(lb_codec_begin(out, 'l', &mark, &error));
        OK(lb_codec_put_string(out, field->text, strlen(field->text), &error));
        lb_codec_end(out, mark, 1);
        break;
    default:
        OK(lb_codec_put_bool(out, field->tag == 't', &error));
    }
}

struct maker {
    struct lb_buf buf;
    size_t root, nodes;
    uint32_t n_nodes;
};

static void maker_begin(struct maker *m)
{
    memset(m, 0, sizeof *m);
    OK(lb_codec_begin(&m->buf, 'm', &m->root, &error));
    OK(lb_codec_put_string(&m->buf, "nodes", 5, &error));
    OK(lb_codec_begin(&m->buf, 'l', &m->nodes, &error));
}

static int64_t add_node(struct maker *m, int n, struct field *fields)
{
    size_t mark = 0;
    qsort(fields, (size_t)n, sizeof *fields, by_key);
    OK(lb_codec_begin(&m->buf, 'm', &mark, &error));
    for (int i = 0; i < n; i++)
        put_field(&m->buf, &fields[i]);
    lb_codec_end(&m->buf, mark, (uint32_t)n);
    return ++m->n_nodes;
}
#define NODE(m, ...)                                                                 \
    add_node(m, (int)(sizeof((struct field[]){__VA_ARGS__}) / sizeof(struct field)), \
             (struct field[]){__VA_ARGS__})
#define OP(name)                              \
    {                                         \
        .key = "op", .tag = 's', .text = name \
    }
#define TEXT(k, value)                      \
    {                                       \
        .key = k, .tag = 's', .text = value \
    }
#define INT(k, value)                          \
    {                                          \
        .key = k, .tag = 'i', .integer = value \
    }
#define TRUE(k)              \
    {                        \
        .key = k, .tag = 't' \
    }
#define FALSE(k)             \
    {                        \
        .key = k, .tag = 'f' \
    }
#define IN(...)                                                             \
    {                                                                       \
        .key = "inputs", .tag = 'L', .list = {__VA_ARGS__},                 \
        .n_list = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)) \
    }
#define COLUMNS(...)                                                        \
    {                                                                       \
        .key = "columns", .tag = 'L', .list = {__VA_ARGS__},                \
        .n_list = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)) \
    }
#define PATH(path)                               \
    {                                            \
        .key = "paths", .tag = 'S', .text = path \
    }

struct result {
    struct lb_plan *plan;
    struct lb_run *run;
    struct lb_store *store;
    int64_t n_rows;
};

static lb_status run_plan(struct maker *m, uint32_t n_threads, struct result *out)
{
    struct lb_run_options options = {
        .n_threads = n_threads, .memory_bytes = 64 << 20, .tmp_dir = "/tmp"};
    memset(out, 0, sizeof *out);
    lb_codec_end(&m->buf, m->nodes, m->n_nodes);
    lb_codec_end(&m->buf, m->root, 1);
    lb_status status = lb_plan_new(m->buf.data, m->buf.size, &out->plan, &error);
    lb_buf_fini(&m->buf);
    if (status != LB_OK)
        return status;
    OK(lb_run_new(&options, &out->run, &error));
    status = lb_plan_execute(out->plan, out->run, &error);
    if (status == LB_OK && lb_plan_n_results(out->plan) > 0) {
        out->store = lb_plan_result(out->plan, 0).store;
        out->n_rows = lb_plan_result(out->plan, 0).n_rows;
    }
    return status;
}

static void result_fini(struct result *result)
{
    lb_plan_delete(result->plan);
    lb_run_delete(result->run);
}

/* All rows as text, one a line: "i1 i2\n". Only integers and strings are expected. */
static char *rows_text(const struct result *result)
{
    struct lb_buf out = {0}, scratch = {0};
    for (uint32_t c = 0; c < lb_store_n_chunks(result->store); c++) {
        const char *cursor = NULL;
        size_t size = 0;
        uint32_t n_rows = 0, n_columns = 0;
        uint64_t first = 0;
        OK(lb_store_read(result->store, c, &scratch, &cursor, &size, &error));
        lb_store_chunk(result->store, c, &n_rows, &first);
        for (uint32_t r = 0; r < n_rows; r++) {
            memcpy(&n_columns, cursor, sizeof n_columns);
            cursor += sizeof n_columns;
            for (uint32_t i = 0; i < n_columns; i++) {
                struct lb_value value;
                lb_codec_next(&cursor, &value);
                if (value.tag == 'i')
                    OK(lb_buf_printf(&out, &error, "%s%lld", i ? " " : "", (long long)value.i));
                else if (value.tag == 's')
                    OK(lb_buf_printf(&out, &error, "%s%.*s", i ? " " : "", (int)value.size,
                                     value.data));
                else if (value.tag == 'l')
                    OK(lb_buf_printf(&out, &error, "%s[%u]", i ? " " : "", value.count));
                else
                    OK(lb_buf_printf(&out, &error, "%s%c", i ? " " : "", value.tag));
            }
            OK(lb_buf_append_byte(&out, '\n', &error));
        }
    }
    OK(lb_buf_append_byte(&out, '\0', &error));
    lb_buf_fini(&scratch);
    char *text = strdup(out.data);
    lb_buf_fini(&out);
    return text;
}

/* ---- tests ---- */

static void range_keeps_order(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 7; threads += 3) {
        struct maker m;
        struct result result;
        maker_begin(&m);
        NODE(&m, OP("scan.range"), INT("first", -3), INT("last", 200000), INT("step", 7));
        NODE(&m, OP("store"), IN(1), TRUE("result"));
        OK(run_plan(&m, threads, &result));
        char *text = rows_text(&result), *cursor = text;
        for (int64_t i = -3; i <= 200000; i += 7)
            assert_int_equal(strtoll(cursor, &cursor, 10), i);
        assert_string_equal(cursor, "\n");
        free(text);
        result_fini(&result);
    }
}

static void sort_descends(void **state)
{
    (void)state;
    struct maker m;
    struct result result;
    maker_begin(&m);
    NODE(&m, OP("scan.range"), INT("first", 1), INT("last", 30000));
    NODE(&m, OP("sort"), IN(1), INT("partitions", 1), TEXT("by", "none"), TEXT("key", "first"),
         TRUE("keep_key"), TRUE("descending"));
    NODE(&m, OP("scan.sorted"), IN(2));
    NODE(&m, OP("store"), IN(3), TRUE("result"));
    OK(run_plan(&m, 3, &result));
    char *text = rows_text(&result), *cursor = text;
    for (int64_t i = 30000; i >= 1; i--)
        assert_int_equal(strtoll(cursor, &cursor, 10), i);
    free(text);
    result_fini(&result);
}

/* Groups i by i % 10 through project (value, value): sums, counts and sizes. */
static char *grouped(uint32_t threads, int partitions)
{
    struct maker m;
    struct result result;
    maker_begin(&m);
    NODE(&m, OP("scan.range"), INT("first", 1), INT("last", 1000));
    NODE(&m, OP("scan.range"), INT("first", 1), INT("last", 500));
    NODE(&m, OP("union"), IN(1, 2));
    NODE(&m, OP("project"), IN(3), COLUMNS(1, 1));
    NODE(&m, OP("aggregate"), IN(4), TEXT("aggregate", "sum"), INT("partitions", partitions));
    NODE(&m, OP("scan.aggregate"), IN(5));
    NODE(&m, OP("store"), IN(6), TRUE("result"));
    OK(run_plan(&m, threads, &result));
    char *text = rows_text(&result);
    result_fini(&result);
    return text;
}

static void sums_do_not_depend_on_threads(void **state)
{
    (void)state;
    char *one = grouped(1, 16), *seven = grouped(7, 16), *single = grouped(2, 1);
    assert_string_equal(one, seven);
    char *cursor = single;
    for (int64_t i = 1; i <= 1000; i++) {
        assert_int_equal(strtoll(cursor, &cursor, 10), i);
        assert_int_equal(strtoll(cursor, &cursor, 10), i <= 500 ? 2 * i : i);
    }
    free(one);
    free(seven);
    free(single);
}

static void sets(void **state)
{
    (void)state;
    const char *kinds[] = {"subtract", "intersection"};
    for (int k = 0; k < 2; k++) {
        struct maker m;
        struct result result;
        maker_begin(&m);
        NODE(&m, OP("scan.range"), INT("first", 1), INT("last", 100));
        NODE(&m, OP("tag"), IN(1), INT("value", 0));
        NODE(&m, OP("scan.range"), INT("first", 51), INT("last", 300));
        NODE(&m, OP("tag"), IN(3), INT("value", 1));
        NODE(&m, OP("union"), IN(2, 4));
        NODE(&m, OP("sort"), IN(5), INT("partitions", 1), TEXT("by", "hash"), TEXT("key", "record"),
             TRUE("sides"));
        NODE(&m, OP("scan.set"), IN(6), TEXT("kind", kinds[k]));
        NODE(&m, OP("store"), IN(7), TRUE("result"));
        OK(run_plan(&m, 2, &result));
        char *text = rows_text(&result), *cursor = text;
        for (int64_t i = 1; i <= 50; i++)
            assert_int_equal(strtoll(cursor, &cursor, 10), i + 50 * k);
        assert_string_equal(cursor, "\n");
        free(text);
        result_fini(&result);
    }
}

static void limit_and_index_and_top(void **state)
{
    (void)state;
    struct maker m;
    struct result result;
    maker_begin(&m);
    NODE(&m, OP("scan.range"), INT("first", 10), INT("last", 1000000));
    NODE(&m, OP("store"), IN(1), INT("limit", 5));
    NODE(&m, OP("scan.store"), IN(2), TRUE("index"));
    NODE(&m, OP("store"), IN(3), TRUE("result"));
    OK(run_plan(&m, 4, &result));
    char *text = rows_text(&result);
    assert_string_equal(text, "10 0\n11 1\n12 2\n13 3\n14 4\n");
    free(text);
    result_fini(&result);

    maker_begin(&m);
    NODE(&m, OP("scan.range"), INT("first", 1), INT("last", 100000));
    NODE(&m, OP("project"), IN(1), COLUMNS(1, 1));
    NODE(&m, OP("top"), IN(2), INT("n", 3), TRUE("descending"), TRUE("result"));
    OK(run_plan(&m, 4, &result));
    text = rows_text(&result);
    assert_string_equal(text, "100000\n99999\n99998\n");
    free(text);
    result_fini(&result);
}

/* A file with random line lengths, some longer than a block, against what was written. */
static void text_splits(void **state)
{
    (void)state;
    char path[] = "/tmp/luabatch-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    struct lb_buf expected = {0};
    srand(getenv("LB_SEED") ? (unsigned)atoi(getenv("LB_SEED")) : 7);
    for (int i = 0; i < 3000; i++) {
        int size = rand() % 50 == 0 ? rand() % 5000 : rand() % 60;
        char line[5000];
        for (int j = 0; j < size; j++)
            line[j] = (char)('a' + rand() % 26);
        fwrite(line, 1, (size_t)size, file);
        fputs(i == 2999 ? "" : rand() % 3 == 0 ? "\r\n" : "\n", file);
        OK(lb_buf_append(&expected, line, (size_t)size, &error));
        OK(lb_buf_append_byte(&expected, '\n', &error));
    }
    fclose(file);
    OK(lb_buf_append_byte(&expected, '\0', &error));
    for (uint32_t threads = 1; threads <= 4; threads += 3) {
        struct maker m;
        struct result result;
        maker_begin(&m);
        NODE(&m, OP("scan.text"), PATH(path));
        NODE(&m, OP("store"), IN(1), TRUE("result"));
        OK(run_plan(&m, threads, &result));
        char *text = rows_text(&result);
        assert_string_equal(text, expected.data);
        free(text);
        result_fini(&result);
    }
    unlink(path);
    lb_buf_fini(&expected);
}

static void wrong_plans_are_errors(void **state)
{
    (void)state;
    struct maker m;
    struct result result;
    maker_begin(&m);
    NODE(&m, OP("nonsense"));
    assert_int_equal(run_plan(&m, 1, &result), LB_ERR_INTERNAL);
    maker_begin(&m);
    NODE(&m, OP("store"), IN(1));
    assert_int_equal(run_plan(&m, 1, &result), LB_ERR_INTERNAL);
    maker_begin(&m);
    NODE(&m, OP("scan.range"));
    NODE(&m, OP("scan.sorted"), IN(1));
    assert_int_equal(run_plan(&m, 1, &result), LB_ERR_INTERNAL);
    maker_begin(&m);
    NODE(&m, OP("scan.text"), PATH("/nonexistent/file"));
    NODE(&m, OP("count"), IN(1), TRUE("result"));
    assert_int_equal(run_plan(&m, 1, &result), LB_ERR_USAGE);
    assert_non_null(strstr(error.message, "/nonexistent/file"));
    result_fini(&result);
    struct lb_plan *plan = NULL;
    assert_int_equal(lb_plan_new("m\1\0\0\0", 5, &plan, &error), LB_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_keeps_order),
        cmocka_unit_test(sort_descends),
        cmocka_unit_test(sums_do_not_depend_on_threads),
        cmocka_unit_test(sets),
        cmocka_unit_test(limit_and_index_and_top),
        cmocka_unit_test(text_splits),
        cmocka_unit_test(wrong_plans_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
