/* Runs one source of rows as a plan and gives its rows as text; for the tests of sources. */
#ifndef TESTS_SCAN_PLAN_H
#define TESTS_SCAN_PLAN_H

#include <unistd.h>

#include "core/io/output.h"
#include "core/plan/plan.h"
#include "../support/support.h"

static struct lb_error error;
#define OK(call)                                      \
    do {                                              \
        if ((call) != LB_OK)                          \
            fail_msg("%s: %s", #call, error.message); \
    } while (0)

struct answer {
    lb_status status;
    char *text; /* a row a line, values as \x1f-separated tagged texts */
    struct lb_buf out;
    uint64_t n_skipped;
    char restart[100]; /* "1=float 3=string" */
};

static void put_key(struct lb_buf *out, const char *key)
{
    OK(lb_codec_put_string(out, key, strlen(key), &error));
}

static inline uint32_t count_of(const char *const *list)
{
    uint32_t n = 0;
    while (list != NULL && list[n] != NULL)
        n++;
    return n;
}

static void put_strings(struct lb_buf *out, const char *key, const char *const *list, uint32_t n)
{
    size_t mark;
    put_key(out, key);
    OK(lb_codec_begin(out, 'l', &mark, &error));
    for (uint32_t i = 0; i < n; i++)
        OK(lb_codec_put_string(out, list[i], strlen(list[i]), &error));
    lb_codec_end(out, mark, n);
}

static void put_value(struct lb_buf *out, const struct lb_value *value)
{
    if (value->tag == 'i')
        OK(lb_buf_printf(out, &error, "i%lld", (long long)value->i));
    else if (value->tag == 'd')
        OK(lb_buf_printf(out, &error, "d%.17g", value->d));
    else if (value->tag == 's') {
        OK(lb_buf_append_byte(out, 's', &error));
        OK(lb_buf_append(out, value->data, value->size, &error));
    } else {
        OK(lb_buf_append_byte(out, value->tag, &error));
    }
    OK(lb_buf_append_byte(out, '\x1f', &error));
}

static void put_rows(struct lb_buf *out, struct lb_store *store, uint32_t n_columns)
{
    struct lb_buf scratch = {0};
    for (uint32_t c = 0; c < lb_store_n_chunks(store); c++) {
        const char *cursor = NULL;
        size_t size = 0;
        uint32_t n_rows = 0, width = 0;
        uint64_t first = 0;
        OK(lb_store_read(store, c, &scratch, &cursor, &size, &error));
        lb_store_chunk(store, c, &n_rows, &first);
        for (uint32_t r = 0; r < n_rows; r++) {
            memcpy(&width, cursor, sizeof width);
            cursor += sizeof width;
            for (uint32_t i = 0; i < n_columns; i++) {
                struct lb_value value = {.tag = 'n'};
                if (i < width)
                    lb_codec_next(&cursor, &value);
                put_value(out, &value);
            }
            OK(lb_buf_append_byte(out, '\x1e', &error));
        }
    }
    lb_buf_fini(&scratch);
}

/* Runs the scan, appended by put_scan(out, query), into a store of n_columns. */
static inline struct answer run_scan(void (*put_scan)(struct lb_buf *out, const void *query),
                                     const void *query, uint32_t n_columns, uint32_t n_threads)
{
    struct answer answer = {0};
    struct lb_buf plan_bytes = {0};
    struct lb_plan *plan = NULL;
    struct lb_run *run = NULL;
    size_t root, nodes, node, inputs;
    OK(lb_codec_begin(&plan_bytes, 'm', &root, &error));
    put_key(&plan_bytes, "nodes");
    OK(lb_codec_begin(&plan_bytes, 'l', &nodes, &error));
    put_scan(&plan_bytes, query);
    OK(lb_codec_begin(&plan_bytes, 'm', &node, &error));
    put_key(&plan_bytes, "inputs");
    OK(lb_codec_begin(&plan_bytes, 'l', &inputs, &error));
    OK(lb_codec_put_int(&plan_bytes, 1, &error));
    lb_codec_end(&plan_bytes, inputs, 1);
    put_key(&plan_bytes, "op");
    put_key(&plan_bytes, "store");
    put_key(&plan_bytes, "result");
    OK(lb_codec_put_bool(&plan_bytes, true, &error));
    lb_codec_end(&plan_bytes, node, 3);
    lb_codec_end(&plan_bytes, nodes, 2);
    lb_codec_end(&plan_bytes, root, 1);
    OK(lb_plan_new(plan_bytes.data, plan_bytes.size, &plan, &error));
    struct lb_run_options options = {
        .n_threads = n_threads > 0 ? n_threads : 1, .memory_bytes = 256 << 20, .tmp_dir = "/tmp"};
    OK(lb_run_new(&options, &run, &error));
    answer.status = lb_plan_execute(plan, run, &error);
    if (answer.status == LB_OK)
        put_rows(&answer.out, lb_plan_result(plan, 0).store, n_columns);
    uint32_t number;
    const char *data;
    size_t size;
    if (answer.status == LB_RESTART && lb_plan_restart(plan, &number, &data, &size)) {
        struct lb_value map, list, pair, item;
        assert_int_equal(number, 1);
        OK(lb_codec_verify(data, size, &error));
        lb_codec_next(&data, &map);
        assert_true(lb_value_field(&map, "columns", &list));
        for (uint32_t i = 0; i < list.count; i++) {
            lb_codec_next(&list.data, &pair);
            lb_codec_next(&pair.data, &item);
            size_t at = strlen(answer.restart);
            int64_t column = item.i;
            lb_codec_next(&pair.data, &item);
            snprintf(answer.restart + at, sizeof answer.restart - at, "%s%d=%.*s", at ? " " : "",
                     (int)column, (int)item.size, item.data);
        }
    }
    answer.n_skipped = run->n_skipped;
    lb_plan_delete(plan);
    lb_run_delete(run);
    lb_buf_fini(&plan_bytes);
    OK(lb_buf_append_byte(&answer.out, '\0', &error));
    answer.text = answer.out.data;
    return answer;
}

static void write_file_as(const char *name, const char *data, size_t size)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    if (size > 0)
        assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

#endif
