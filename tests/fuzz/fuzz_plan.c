/* Plans: any bytes as a plan are an error or stages that can be described; and if these touch no file and start no program they are
 * run, which gives an error or well-formed records, the same ones with one thread and much memory as with several and little.
 *
 * INPUT  byte: how to read the rest: an encoded plan as it is; or how many threads and how much memory, and a recipe of nodes. A
 *        recipe is a value: a byte below 64 is that number, one from 64 is a word of the list below, from 224 see put_value. */
#include <fcntl.h>

#include "core/column/codec.h"
#include "core/plan/plan.h"
#include "fuzz.h"

enum { MOST = 1000, MOST_DEPTH = 6, MOST_ROWS = 3000, FIRST_WORD = 64, MOST_FIELDS = 24 };

/* ORDER plan words: corpus files have their numbers, so further ones go to the end. */
static const char *const words[] = {"op",
                                    "inputs",
                                    "result",
                                    "label",
                                    "reads",
                                    "sink",
                                    "overflowed",
                                    "scan.range",
                                    "scan.list",
                                    "scan.store",
                                    "scan.sorted",
                                    "scan.groups",
                                    "scan.set",
                                    "scan.join",
                                    "scan.cogroup",
                                    "scan.group",
                                    "scan.aggregate",
                                    "scan.window",
                                    "words",
                                    "fields",
                                    "field",
                                    "grep",
                                    "lower",
                                    "project",
                                    "pack",
                                    "tag",
                                    "split_key",
                                    "bundle",
                                    "time_window",
                                    "session",
                                    "pack_row",
                                    "unpack",
                                    "explode",
                                    "compute",
                                    "where",
                                    "sample",
                                    "cartesian",
                                    "union",
                                    "when",
                                    "sort",
                                    "aggregate",
                                    "group",
                                    "window",
                                    "store",
                                    "count",
                                    "top",
                                    "hash_join",
                                    "join_build",
                                    "join_morsels",
                                    "join_order",
                                    "lines",
                                    "scan.join_hash",
                                    "scan.join_insert",
                                    "scan.join_ordered",
                                    "scan.join_rest",
                                    "first",
                                    "last",
                                    "step",
                                    "rows",
                                    "handle",
                                    "index",
                                    "functions",
                                    "order",
                                    "range",
                                    "range_column",
                                    "desc",
                                    "kind",
                                    "flat",
                                    "widths",
                                    "left",
                                    "right",
                                    "salt",
                                    "sides",
                                    "n",
                                    "sep",
                                    "pattern",
                                    "columns",
                                    "value",
                                    "keys",
                                    "strict",
                                    "column",
                                    "size",
                                    "every",
                                    "offset",
                                    "gap",
                                    "names",
                                    "exprs",
                                    "expr",
                                    "fraction",
                                    "seed",
                                    "partitions",
                                    "by",
                                    "key",
                                    "values",
                                    "n_values",
                                    "keep_key",
                                    "descending",
                                    "pieces",
                                    "merges",
                                    "partials",
                                    "whole",
                                    "aggregates",
                                    "partition",
                                    "unit",
                                    "ties",
                                    "limit",
                                    "fn",
                                    "column2",
                                    "p",
                                    "population",
                                    "text",
                                    "steps",
                                    "literal",
                                    "hash",
                                    "given",
                                    "turn",
                                    "none",
                                    "record",
                                    "inner",
                                    "full",
                                    "semi",
                                    "anti",
                                    "subtract",
                                    "intersection",
                                    "sum",
                                    "avg",
                                    "min",
                                    "max",
                                    "stddev",
                                    "variance",
                                    "median",
                                    "quantile",
                                    "mode",
                                    "corr",
                                    "any_value",
                                    "bool_and",
                                    "count_distinct",
                                    "collect_list",
                                    "collect_set",
                                    "min_by",
                                    "row_number",
                                    "rank",
                                    "dense_rank",
                                    "ntile",
                                    "lag",
                                    "lead",
                                    "nth_value",
                                    "cume_dist",
                                    "+",
                                    "a",
                                    "b",
                                    "scan.join_match"};
enum { N_WORDS = sizeof words / sizeof *words };
_Static_assert(FIRST_WORD + N_WORDS <= 224, "the bytes behind the words have other meanings");

/* ---- the recipe ---- */

static uint64_t take_bits(struct fuzz_input *input)
{
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | fuzz_byte(input);
    return bits;
}

/* The bytes of a string: a word, or as many as a byte says. */
static void take_text(struct fuzz_input *input, const char **text, size_t *size)
{
    uint8_t byte = fuzz_byte(input);
    if (byte >= FIRST_WORD && byte < FIRST_WORD + N_WORDS) {
        *text = words[byte - FIRST_WORD];
        *size = strlen(*text);
        return;
    }
    *size = byte < input->size ? byte : input->size;
    *text = (const char *)input->data;
    input->data += *size;
    input->size -= *size;
}

struct field {
    const char *name;
    size_t name_size;
    struct lb_buf value;
};

static int by_name(const void *a, const void *b)
{
    const struct field *x = a, *y = b;
    size_t least = x->name_size < y->name_size ? x->name_size : y->name_size;
    int order = least > 0 ? memcmp(x->name, y->name, least) : 0;
    return order != 0 ? order : (x->name_size > y->name_size) - (x->name_size < y->name_size);
}

static void put_value(struct fuzz_input *input, int depth, struct lb_buf *out);

static void put_list(struct fuzz_input *input, uint32_t n, int depth, struct lb_buf *out)
{
    size_t mark;
    uint32_t count = 0;
    MUST(lb_codec_begin(out, 'l', &mark, &fuzz_error));
    for (; count < n && input->size > 0; count++)
        put_value(input, depth - 1, out);
    lb_codec_end(out, mark, count);
}

static void put_map(struct fuzz_input *input, uint32_t n, int depth, struct lb_buf *out)
{
    struct field fields[MOST_FIELDS];
    uint32_t n_fields = 0, count = 0;
    size_t mark;
    for (; n_fields < n && n_fields < MOST_FIELDS && input->size > 0; n_fields++) {
        struct field *field = &fields[n_fields];
        memset(field, 0, sizeof *field);
        take_text(input, &field->name, &field->name_size);
        put_value(input, depth - 1, &field->value);
    }
    qsort(fields, n_fields, sizeof *fields, by_name);
    MUST(lb_codec_begin(out, 'm', &mark, &fuzz_error));
    for (uint32_t i = 0; i < n_fields; i++) {
        if (i + 1 == n_fields || by_name(&fields[i], &fields[i + 1]) != 0) {
            MUST(lb_codec_put_string(out, fields[i].name, fields[i].name_size, &fuzz_error));
            MUST(lb_buf_append(out, fields[i].value.data, fields[i].value.size, &fuzz_error));
            count++;
        }
        lb_buf_fini(&fields[i].value);
    }
    lb_codec_end(out, mark, count);
}

static void put_value(struct fuzz_input *input, int depth, struct lb_buf *out)
{
    uint8_t byte = fuzz_byte(input);
    const char *text;
    size_t size;
    uint64_t bits;
    double number;
    if (byte < FIRST_WORD) {
        MUST(lb_codec_put_int(out, byte, &fuzz_error));
    } else if (byte < FIRST_WORD + N_WORDS) {
        text = words[byte - FIRST_WORD];
        MUST(lb_codec_put_string(out, text, strlen(text), &fuzz_error));
    } else if (byte >= 224 && byte < 248 && depth > 0) {
        uint32_t n = byte < 239 ? byte - 224u : byte == 239 ? fuzz_byte(input) : byte - 239u;
        if (byte < 240)
            put_list(input, n, depth, out);
        else
            put_map(input, n, depth, out);
    } else if (byte == 248 || byte == 249) {
        MUST(lb_codec_put_bool(out, byte == 249, &fuzz_error));
    } else if (byte == 251) {
        take_text(input, &text, &size);
        MUST(lb_codec_put_string(out, text, size, &fuzz_error));
    } else if (byte == 252 && depth > 0) {
        put_map(input, fuzz_byte(input), depth, out);
    } else if (byte == 253) {
        MUST(lb_codec_put_int(out, (int64_t)take_bits(input), &fuzz_error));
    } else if (byte == 254) {
        bits = take_bits(input);
        memcpy(&number, &bits, sizeof number);
        MUST(lb_codec_put_float(out, number, &fuzz_error));
    } else if (byte == 255) {
        MUST(lb_codec_put_int(out, -(int64_t)fuzz_byte(input), &fuzz_error));
    } else {
        MUST(lb_codec_put_nil(out, &fuzz_error));
    }
}

static void put_plan(struct fuzz_input *input, struct lb_buf *out)
{
    size_t root, nodes;
    uint32_t count = 0;
    MUST(lb_codec_begin(out, 'm', &root, &fuzz_error));
    MUST(lb_codec_put_string(out, "nodes", 5, &fuzz_error));
    MUST(lb_codec_begin(out, 'l', &nodes, &fuzz_error));
    for (; input->size > 0; count++)
        put_value(input, MOST_DEPTH, out);
    lb_codec_end(out, nodes, count);
    lb_codec_end(out, root, 1);
}

/* ---- which plans are run ---- */

static int64_t int_field(const struct lb_value *node, const char *key, int64_t fallback)
{
    struct lb_value value;
    return lb_value_field(node, key, &value) && value.tag == 'i' ? value.i : fallback;
}

/* Not those that read or write files or start programs, nor ranges that take long. */
static bool may_run(const char *plan)
{
    static const char *const kept[] = {"pipe",      "write",       "scan.text", "scan.files",
                                       "scan.json", "scan.native", "scan.csv",  "file_columns"};
    struct lb_value root, nodes, node, op;
    lb_codec_next(&plan, &root);
    CHECK(lb_value_field(&root, "nodes", &nodes));
    const char *cursor = nodes.data;
    uint32_t n_products = 0;
    for (uint32_t i = 0; i < nodes.count; i++) {
        lb_codec_next(&cursor, &node);
        CHECK(lb_value_field(&node, "op", &op));
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
            if (op.size == strlen(kept[k]) && memcmp(op.data, kept[k], op.size) == 0)
                return false;
        __int128 first = int_field(&node, "first", 0), last = int_field(&node, "last", 0);
        __int128 rows = (last - first) / (int_field(&node, "step", 1) | 1);
        if (rows > MOST_ROWS || rows < -MOST_ROWS)
            return false;
        n_products += op.size == 9 && memcmp(op.data, "cartesian", 9) == 0;
    }
    return nodes.count <= 12 && n_products <= 1;
}

static int no_open(const char *path, int flags, mode_t mode)
{
    bool is_ours = (flags & O_TMPFILE) == O_TMPFILE || strncmp(path, "/dev/shm/", 9) == 0 ||
                   strcmp(path, "/dev/null") == 0;
    if (is_ours)
        return open(path, flags, mode);
    errno = EACCES;
    return -1;
}

static int no_rename(const char *from, const char *to)
{
    (void)from, (void)to;
    errno = EACCES;
    return -1;
}

/* ---- running ---- */

struct outcome {
    lb_status status;
    struct lb_buf rows; /* of all results */
    char message[LB_ERROR_MESSAGE_BYTES];
};

static void add_result(const struct lb_plan_result *result, struct lb_buf *out)
{
    struct lb_buf scratch = {0};
    MUST(lb_buf_append(out, &result->node, sizeof result->node, &fuzz_error));
    MUST(lb_buf_append(out, &result->n_rows, sizeof result->n_rows, &fuzz_error));
    for (uint32_t c = 0; result->store != NULL && c < lb_store_n_chunks(result->store); c++) {
        const char *data, *cursor;
        size_t size = 0;
        uint32_t n_rows = 0, width;
        uint64_t first;
        MUST(lb_store_read(result->store, c, &scratch, &data, &size, &fuzz_error));
        lb_store_chunk(result->store, c, &n_rows, &first);
        cursor = data;
        for (uint32_t r = 0; r < n_rows; r++) {
            memcpy(&width, cursor, sizeof width);
            CHECK(width <= LB_MAX_COLUMNS);
            cursor += sizeof width;
            for (uint32_t i = 0; i < width; i++) {
                MUST(lb_codec_verify(cursor, lb_codec_size(cursor), &fuzz_error));
                cursor += lb_codec_size(cursor);
            }
        }
        CHECK(cursor <= data + size);
        MUST(lb_buf_append(out, data, (size_t)(cursor - data), &fuzz_error));
    }
    lb_buf_fini(&scratch);
}

static void run(const struct lb_buf *bytes, uint32_t n_threads, size_t memory,
                struct outcome *outcome)
{
    struct lb_run_options options = {
        .n_threads = n_threads, .memory_bytes = memory, .tmp_dir = "/dev/shm"};
    struct lb_plan *plan = NULL;
    struct lb_run *started = NULL;
    memset(outcome, 0, sizeof *outcome);
    MUST(lb_plan_new(bytes->data, bytes->size, &plan, &fuzz_error));
    MUST(lb_run_new(&options, &started, &fuzz_error));
    outcome->status = lb_plan_execute(plan, started, &fuzz_error);
    if (outcome->status == LB_OK) {
        for (uint32_t i = 0; i < lb_plan_n_results(plan); i++) {
            struct lb_plan_result result = lb_plan_result(plan, i);
            add_result(&result, &outcome->rows);
        }
    } else {
        CHECK(fuzz_error.message[0] != '\0');
        memcpy(outcome->message, fuzz_error.message, sizeof outcome->message);
    }
    lb_plan_delete(plan);
    lb_run_delete(started);
}

static void run_twice(const struct lb_buf *bytes, uint32_t n_threads, size_t memory)
{
    struct outcome one, other;
    fuzz_may_refuse = true; /* repeat('x', 1e9) is no mistake of ours */
    run(bytes, 1, 32 << 20, &one);
    run(bytes, n_threads, memory, &other);
    fuzz_may_refuse = false;
    bool is_full =
        one.status == LB_ERR_RESOURCE || other.status == LB_ERR_RESOURCE || fuzz_has_refused;
    if (!is_full && one.status != other.status)
        FUZZ_FAIL("status %d (%s) and then %d (%s)", one.status, one.message, other.status,
                  other.message);
    if (!is_full && one.status == LB_OK)
        CHECK(one.rows.size == other.rows.size &&
              (one.rows.size == 0 || memcmp(one.rows.data, other.rows.data, one.rows.size) == 0));
    lb_buf_fini(&one.rows);
    lb_buf_fini(&other.rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct lb_buf bytes = {0}, text = {0};
    struct lb_plan *plan = NULL;
    uint8_t how = fuzz_byte(&input);
    if (input.size > MOST)
        return 0;
    fuzz_begin();
    fuzz_most_bytes = 48 << 20;
    lb_sys.open = no_open;
    lb_sys.rename = lb_sys.link = no_rename;
    if (how == 255)
        MUST(lb_buf_append(&bytes, input.data, input.size, &fuzz_error));
    else
        put_plan(&input, &bytes);
    lb_status status =
        bytes.size > 0 ? lb_plan_new(bytes.data, bytes.size, &plan, &fuzz_error) : LB_ERR_INTERNAL;
    if (status == LB_OK) {
        MUST(lb_plan_describe(plan, &text, &fuzz_error));
        lb_plan_delete(plan);
        if (may_run(bytes.data))
            run_twice(&bytes, 1 + how % 4, (size_t)64 << (10 + how / 4 % 8));
    } else {
        CHECK(plan == NULL && fuzz_error.message[0] != '\0');
    }
    lb_buf_fini(&bytes);
    lb_buf_fini(&text);
    return fuzz_end();
}
