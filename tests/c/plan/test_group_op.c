/* The group sink and scan.group, in whole plans: all aggregates against naive loops over the rows of each group, at several numbers
 * of threads and with hardly any memory. */
#include <math.h>

#include "../support/support.h"

#include "core/column/builder.h"
#include "core/ops/op.h"
#include "core/plan/plan.h"

static struct lb_error error;
#define OK(call)                                      \
    do {                                              \
        if ((call) != LB_OK)                          \
            fail_msg("%s: %s", #call, error.message); \
    } while (0)

/* ---- the input: a source of rows made from their numbers ---- */

enum { N_COLUMNS = 9, MORSEL_ROWS = 97, MOST_ROWS = 3000 };
enum { TEXT = 1, NUMBER, MIXED, INTS, FLOATS, NUMBERS, WORDS, BOOLS, EIGHTHS };

static int64_t n_rows, n_groups;
static uint64_t seed;

static uint64_t mix(uint64_t row, uint64_t column)
{
    uint64_t z = seed + row * 0x9e3779b97f4a7c15ULL + column * 0xc2b2ae3d27d4eb4fULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* The encoded value of a column (from 1); returns its size. */
static size_t make_value(uint64_t row, int column, char out[64])
{
    uint64_t r = mix(row, (uint64_t)column), g = r % (uint64_t)n_groups;
    struct lb_buf buf = {0};
    char text[40];
    size_t mark;
    switch (column) {
    case TEXT:
        snprintf(text, sizeof text, g % 3 ? "g%llu" : "a group with a long name %llu",
                 (unsigned long long)g);
        OK(lb_codec_put_string(&buf, text, strlen(text), &error));
        break;
    case NUMBER:
        OK(lb_codec_put_int(&buf, g % 7 == 0 ? INT64_MAX - (int64_t)g : (int64_t)g - 3, &error));
        break;
    case MIXED:
        switch (g % 8) {
        case 0:
            OK(lb_codec_put_nil(&buf, &error));
            break;
        case 1:
            OK(lb_codec_put_bool(&buf, g % 16 == 1, &error));
            break;
        case 2: /* one key in two forms */
            if (r >> 32 & 1)
                OK(lb_codec_put_int(&buf, (int64_t)g, &error));
            else
                OK(lb_codec_put_float(&buf, (double)g, &error));
            break;
        case 3:
            OK(lb_codec_put_float(&buf, (double)g + 0.5, &error));
            break;
        case 4:
            OK(lb_codec_put_float(&buf, r >> 32 & 1 ? 0.0 : -0.0, &error));
            break;
        case 5:
            OK(lb_codec_put_string(&buf, "a\0b\0\0", 1 + g % 5, &error));
            break;
        default:
            OK(lb_codec_begin(&buf, 'l', &mark, &error));
            if (r >> 32 & 1)
                OK(lb_codec_put_int(&buf, (int64_t)g, &error));
            else
                OK(lb_codec_put_float(&buf, (double)g, &error));
            lb_codec_end(&buf, mark, 1);
        }
        break;
    case INTS:
        if (r % 5 == 0)
            OK(lb_codec_put_nil(&buf, &error));
        else
            OK(lb_codec_put_int(&buf, (int64_t)(r >> 32) % 1000 - 300, &error));
        break;
    case FLOATS: /* sums depend on the order, were they not reproducible */
        OK(lb_codec_put_float(&buf, ldexp((double)(int64_t)(r >> 11), (int)(r % 40) - 60), &error));
        break;
    case NUMBERS:
        if (r % 3 == 0)
            OK(lb_codec_put_nil(&buf, &error));
        else if (r % 3 == 1)
            OK(lb_codec_put_int(&buf, (int64_t)(r >> 40) % 20, &error));
        else
            OK(lb_codec_put_float(&buf, (double)((int64_t)(r >> 40) % 40) / 2, &error));
        break;
    case WORDS:
        snprintf(text, sizeof text, r & 1 ? "w%d" : "a word of some length %d", (int)(r >> 8) % 30);
        if (r % 7 == 0)
            OK(lb_codec_put_nil(&buf, &error));
        else
            OK(lb_codec_put_string(&buf, text, strlen(text), &error));
        break;
    case BOOLS:
        if (r % 4 == 0)
            OK(lb_codec_put_nil(&buf, &error));
        else
            OK(lb_codec_put_bool(&buf, r % 16 != 1, &error));
        break;
    default:
        OK(lb_codec_put_float(&buf, (double)((int64_t)(r >> 40) % 4000 - 1000) / 8, &error));
    }
    assert_true(buf.size <= 64);
    memcpy(out, buf.data, buf.size);
    size_t size = buf.size;
    lb_buf_fini(&buf);
    return size;
}

struct source_local {
    int64_t first;
    struct lb_batch_builder builder;
};

static int64_t next_row;

static lb_status source_open(struct lb_op *self, struct lb_error *err)
{
    (void)self, (void)err;
    next_row = 0;
    return LB_OK;
}

static lb_status source_attach(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct source_local *state = local->state = calloc(1, sizeof *state);
    lb_batch_builder_init(&state->builder);
    return LB_OK;
}

static lb_status source_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    *more = next_row < n_rows;
    ((struct source_local *)local->state)->first = next_row;
    next_row += MORSEL_ROWS;
    return LB_OK;
}

static lb_status source_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct source_local *state = local->state;
    int64_t end = state->first + MORSEL_ROWS < n_rows ? state->first + MORSEL_ROWS : n_rows;
    lb_batch_builder_reset(&state->builder);
    for (int64_t row = state->first; row < end; row++) {
        for (uint32_t c = 0; c < N_COLUMNS; c++) {
            char bytes[64];
            struct lb_builder *column;
            size_t size = make_value((uint64_t)row, (int)c + 1, bytes);
            LB_TRY(lb_batch_builder_column(&state->builder, c, &column, err));
            LB_TRY(lb_builder_encoded(column, bytes, size, err));
        }
        LB_TRY(lb_batch_builder_end_row(&state->builder, state->builder.n_rows, err));
        if (row + 1 < end && !lb_batch_builder_is_full(&state->builder))
            continue;
        LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
        lb_batch_builder_reset(&state->builder);
    }
    return LB_OK;
}

static void source_detach(struct lb_op_local *local)
{
    lb_batch_builder_fini(&((struct source_local *)local->state)->builder);
    free(local->state);
}

static const struct lb_op_class source_class = {.name = "test.rows",
                                                .kind = LB_OP_SOURCE,
                                                .open = source_open,
                                                .attach = source_attach,
                                                .claim = source_claim,
                                                .produce = source_produce,
                                                .detach = source_detach};

/* ---- plans ---- */

struct aggregate {
    const char *fn;
    int column, column2;
    double p;
    bool population;
};

static void put_text(struct lb_buf *out, const char *text)
{
    OK(lb_codec_put_string(out, text, strlen(text), &error));
}

static void put_pair(struct lb_buf *out, const char *key, int64_t value)
{
    put_text(out, key);
    OK(lb_codec_put_int(out, value, &error));
}

static void put_aggregate(struct lb_buf *out, const struct aggregate *a)
{
    size_t mark;
    uint32_t n = 3;
    OK(lb_codec_begin(out, 'm', &mark, &error));
    if (a->column > 0)
        put_pair(out, "column", a->column);
    if (a->column2 > 0)
        put_pair(out, "column2", a->column2);
    put_text(out, "fn");
    put_text(out, a->fn);
    put_text(out, "p");
    OK(lb_codec_put_float(out, a->p, &error));
    put_text(out, "population");
    OK(lb_codec_put_bool(out, a->population, &error));
    lb_codec_end(out, mark, n + (a->column > 0) + (a->column2 > 0));
}

static void put_inputs(struct lb_buf *out, int64_t input)
{
    size_t mark;
    put_text(out, "inputs");
    OK(lb_codec_begin(out, 'l', &mark, &error));
    OK(lb_codec_put_int(out, input, &error));
    lb_codec_end(out, mark, 1);
}

struct run {
    uint32_t n_threads;
    size_t memory_bytes;
    int64_t n_partitions;
};

static void put_node(struct lb_buf *out, const char *op, int64_t input)
{
    size_t mark;
    OK(lb_codec_begin(out, 'm', &mark, &error));
    if (input > 0)
        put_inputs(out, input);
    put_text(out, "op");
    put_text(out, op);
    bool is_result = strcmp(op, "store") == 0;
    if (is_result) {
        put_text(out, "result");
        OK(lb_codec_put_bool(out, true, &error));
    }
    lb_codec_end(out, mark, 1 + (input > 0) + is_result);
}

static void put_value_text(struct lb_buf *out, const char **cursor)
{
    struct lb_value value;
    const char *start = *cursor;
    lb_codec_next(cursor, &value);
    switch (value.tag) {
    case 'i':
        OK(lb_buf_printf(out, &error, "%lld", (long long)value.i));
        break;
    case 'd':
        OK(lb_buf_printf(out, &error, "%.9ef", value.d));
        break;
    case 's':
        OK(lb_buf_printf(out, &error, "'"));
        for (size_t i = 0; i < value.size; i++)
            OK(lb_buf_append_byte(out, value.data[i] ? value.data[i] : '0', &error));
        break;
    case 'l':
        OK(lb_buf_append_byte(out, '[', &error));
        start = value.data;
        for (uint32_t i = 0; i < value.count; i++) {
            put_value_text(out, &start);
            OK(lb_buf_append_byte(out, ',', &error));
        }
        OK(lb_buf_append_byte(out, ']', &error));
        break;
    default:
        OK(lb_buf_append_byte(out, value.tag, &error));
    }
}

static uint64_t spilled;

/* The records as text, a line each; NULL after a failure. */
static char *run_group(const int *keys, int n_keys, const struct aggregate *aggregates,
                       int n_aggregates, struct run how)
{
    struct lb_buf buf = {0};
    size_t root, nodes, group, list;
    OK(lb_codec_begin(&buf, 'm', &root, &error));
    put_text(&buf, "nodes");
    OK(lb_codec_begin(&buf, 'l', &nodes, &error));
    put_node(&buf, "test.rows", 0);
    OK(lb_codec_begin(&buf, 'm', &group, &error));
    put_text(&buf, "aggregates");
    OK(lb_codec_begin(&buf, 'l', &list, &error));
    for (int i = 0; i < n_aggregates; i++)
        put_aggregate(&buf, &aggregates[i]);
    lb_codec_end(&buf, list, (uint32_t)n_aggregates);
    put_inputs(&buf, 1);
    put_text(&buf, "keys");
    OK(lb_codec_begin(&buf, 'l', &list, &error));
    for (int i = 0; i < n_keys; i++)
        OK(lb_codec_put_int(&buf, keys[i], &error));
    lb_codec_end(&buf, list, (uint32_t)n_keys);
    put_text(&buf, "op");
    put_text(&buf, "group");
    put_pair(&buf, "partitions", how.n_partitions);
    lb_codec_end(&buf, group, 5);
    put_node(&buf, "scan.group", 2);
    put_node(&buf, "store", 3);
    lb_codec_end(&buf, nodes, 4);
    lb_codec_end(&buf, root, 1);

    struct lb_run_options options = {
        .n_threads = how.n_threads, .memory_bytes = how.memory_bytes, .tmp_dir = "/tmp"};
    struct lb_plan *plan = NULL;
    struct lb_run *run = NULL;
    struct lb_buf out = {0}, scratch = {0};
    OK(lb_plan_new(buf.data, buf.size, &plan, &error));
    OK(lb_run_new(&options, &run, &error));
    lb_status status = lb_plan_execute(plan, run, &error);
    lb_buf_fini(&buf);
    if (status == LB_OK) {
        struct lb_store *store = lb_plan_result(plan, 0).store;
        for (uint32_t c = 0; c < lb_store_n_chunks(store); c++) {
            const char *cursor = NULL;
            size_t size = 0;
            uint32_t n = 0, n_columns = 0;
            uint64_t first = 0;
            OK(lb_store_read(store, c, &scratch, &cursor, &size, &error));
            lb_store_chunk(store, c, &n, &first);
            for (uint32_t r = 0; r < n; r++) {
                memcpy(&n_columns, cursor, sizeof n_columns);
                cursor += sizeof n_columns;
                for (uint32_t i = 0; i < (uint32_t)(n_keys + n_aggregates); i++) {
                    if (i < n_columns)
                        put_value_text(&out, &cursor);
                    else
                        OK(lb_buf_append_byte(&out, 'n', &error)); /* nils at the end */
                    OK(lb_buf_append_byte(&out, ' ', &error));
                }
                OK(lb_buf_append_byte(&out, '\n', &error));
            }
        }
    }
    spilled = atomic_load(&run->spilled_bytes);
    OK(lb_buf_append_byte(&out, '\0', &error));
    char *text = status == LB_OK ? strdup(out.data) : NULL;
    lb_buf_fini(&out);
    lb_buf_fini(&scratch);
    lb_plan_delete(plan);
    lb_run_delete(run);
    return text;
}

/* ---- the naive computation ---- */

static struct lb_value value_at(int64_t row, int column, char bytes[64])
{
    struct lb_value value;
    const char *cursor = bytes;
    make_value((uint64_t)row, column, bytes);
    lb_codec_next(&cursor, &value);
    return value;
}

static void put_canonical(struct lb_buf *out, struct lb_value value)
{
    if (value.tag == 'd' && value.d == floor(value.d) && fabs(value.d) < 1e15)
        OK(lb_buf_printf(out, &error, "%lld", (long long)value.d));
    else if (value.tag == 'l') {
        const char *cursor = value.data;
        struct lb_value element;
        OK(lb_buf_append_byte(out, '[', &error));
        for (uint32_t i = 0; i < value.count; i++) {
            lb_codec_next(&cursor, &element);
            put_canonical(out, element);
        }
    } else if (value.tag == 's') {
        OK(lb_buf_printf(out, &error, "'%zu", value.size));
        OK(lb_buf_append(out, value.data, value.size, &error));
    } else {
        if (value.tag == 'i')
            OK(lb_buf_printf(out, &error, "%lld", (long long)value.i));
        else if (value.tag == 'd')
            OK(lb_buf_printf(out, &error, "%a", value.d));
        else
            OK(lb_buf_append_byte(out, value.tag, &error));
    }
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *sorted_lines(char *text)
{
    size_t n = 0, size = strlen(text);
    char **lines = malloc((size + 1) * sizeof *lines), *result = malloc(size + 2), *at = result;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        lines[n++] = line;
    qsort(lines, n, sizeof *lines, compare_texts);
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s\n", lines[i]);
    *at = '\0';
    free(lines);
    free(text);
    return result;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What one aggregate gives for some rows, as text. Columns as the aggregate's nature asks for. */
static void naive(struct lb_buf *out, const struct aggregate *a, const int64_t *rows, int n)
{
    static double numbers[MOST_ROWS];
    static char words[MOST_ROWS][64];
    static char *word_list[MOST_ROWS];
    int n_values = 0, n_floats = 0;
    long double sum = 0;
    char bytes[64];
    for (int i = 0; i < n && a->column > 0; i++) {
        struct lb_value v = value_at(rows[i], a->column, bytes);
        if (v.tag == 'n')
            continue;
        if (v.tag == 'i' || v.tag == 'd') {
            numbers[n_values] = v.tag == 'i' ? (double)v.i : v.d;
            n_floats += v.tag == 'd';
            sum += numbers[n_values];
        } else if (v.tag == 's') {
            memcpy(words[n_values], v.data, v.size);
            words[n_values][v.size] = '\0';
            word_list[n_values] = words[n_values];
        } else {
            numbers[n_values] = v.tag == 't';
            sum += numbers[n_values];
        }
        n_values++;
    }
    const char *fn = a->fn;
    if (strcmp(fn, "count") == 0) {
        OK(lb_buf_printf(out, &error, "%d ", a->column > 0 ? n_values : n));
        return;
    }
    if (n_values == 0) {
        OK(lb_buf_printf(out, &error, strstr(fn, "distinct") ? "0 " : "n "));
        return;
    }
    if (strcmp(fn, "sum") == 0) {
        if (n_floats == 0)
            OK(lb_buf_printf(out, &error, "%lld ", (long long)sum));
        else
            OK(lb_buf_printf(out, &error, "%.9ef ", (double)sum));
    } else if (strcmp(fn, "avg") == 0) {
        OK(lb_buf_printf(out, &error, "%.9ef ", (double)(sum / n_values)));
    } else if (strcmp(fn, "variance") == 0 || strcmp(fn, "stddev") == 0) {
        int divisor = a->population ? n_values : n_values - 1;
        long double squares = 0;
        for (int i = 0; i < n_values; i++)
            squares += (numbers[i] - sum / n_values) * (numbers[i] - sum / n_values);
        if (divisor == 0)
            OK(lb_buf_printf(out, &error, "n "));
        else
            OK(lb_buf_printf(out, &error, "%.9ef ",
                             (double)(*fn == 'v' ? squares / divisor : sqrtl(squares / divisor))));
    } else if (strcmp(fn, "median") == 0 || strcmp(fn, "quantile") == 0) {
        qsort(numbers, (size_t)n_values, sizeof *numbers, compare_doubles);
        double place = (n_values - 1) * a->p;
        int below = (int)place;
        double value = numbers[below];
        if (place > below)
            value += (numbers[below + 1] - value) * (place - below);
        OK(lb_buf_printf(out, &error, "%.9ef ", value));
    } else if (strcmp(fn, "bool_and") == 0) {
        OK(lb_buf_printf(out, &error, "%c ", sum == n_values ? 't' : 'f'));
    } else if (strcmp(fn, "bool_or") == 0) {
        OK(lb_buf_printf(out, &error, "%c ", sum > 0 ? 't' : 'f'));
    } else if (strcmp(fn, "min") == 0 || strcmp(fn, "max") == 0) { /* of words */
        qsort(word_list, (size_t)n_values, sizeof *word_list, compare_texts);
        OK(lb_buf_printf(out, &error, "'%s ",
                         word_list[*fn == 'm' && fn[1] == 'i' ? 0 : n_values - 1]));
    } else if (strcmp(fn, "first") == 0 || strcmp(fn, "last") == 0) {
        OK(lb_buf_printf(out, &error, "'%s ", words[*fn == 'f' ? 0 : n_values - 1]));
    } else if (strcmp(fn, "collect_list") == 0) {
        OK(lb_buf_printf(out, &error, "["));
        for (int i = 0; i < n_values; i++)
            OK(lb_buf_printf(out, &error, "'%s,", words[i]));
        OK(lb_buf_printf(out, &error, "] "));
    } else { /* collect_set, count_distinct, mode: of words */
        int distinct = 0, best = 0, best_count = 0, count = 0;
        qsort(word_list, (size_t)n_values, sizeof *word_list, compare_texts);
        if (strcmp(fn, "collect_set") == 0)
            OK(lb_buf_printf(out, &error, "["));
        for (int i = 0; i < n_values; i++) {
            bool is_new = i == 0 || strcmp(word_list[i], word_list[i - 1]) != 0;
            count = is_new ? 1 : count + 1;
            distinct += is_new;
            if (count > best_count) {
                best = i;
                best_count = count;
            }
            if (is_new && strcmp(fn, "collect_set") == 0)
                OK(lb_buf_printf(out, &error, "'%s,", word_list[i]));
        }
        if (strcmp(fn, "collect_set") == 0)
            OK(lb_buf_printf(out, &error, "] "));
        else if (strcmp(fn, "mode") == 0)
            OK(lb_buf_printf(out, &error, "'%s ", word_list[best]));
        else
            OK(lb_buf_printf(out, &error, "%d ", distinct));
    }
}

struct keyed {
    struct lb_buf key;
    int64_t row;
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    size_t size = x->key.size < y->key.size ? x->key.size : y->key.size;
    int order = size > 0 ? memcmp(x->key.data, y->key.data, size) : 0;
    if (order == 0)
        order = (x->key.size > y->key.size) - (x->key.size < y->key.size);
    return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

/* Without the key columns. */
static char *naive_text(const int *keys, int n_keys, const struct aggregate *aggregates, int n)
{
    struct keyed *all = calloc((size_t)n_rows + 1, sizeof *all);
    int64_t *rows = malloc(((size_t)n_rows + 1) * sizeof *rows);
    struct lb_buf out = {0};
    for (int64_t row = 0; row < n_rows; row++) {
        all[row].row = row;
        for (int k = 0; k < n_keys; k++) {
            char bytes[64];
            put_canonical(&all[row].key, value_at(row, keys[k], bytes));
            OK(lb_buf_append_byte(&all[row].key, '\n', &error));
        }
    }
    qsort(all, (size_t)n_rows, sizeof *all, compare_keyed);
    for (int64_t start = 0; start < n_rows;) {
        int64_t end = start;
        for (; end < n_rows && all[end].key.size == all[start].key.size &&
               (n_keys == 0 ||
                memcmp(all[end].key.data, all[start].key.data, all[end].key.size) == 0);
             end++)
            rows[end - start] = all[end].row;
        for (int i = 0; i < n; i++)
            naive(&out, &aggregates[i], rows, (int)(end - start));
        OK(lb_buf_append_byte(&out, '\n', &error));
        start = end;
    }
    OK(lb_buf_append_byte(&out, '\0', &error));
    for (int64_t row = 0; row < n_rows; row++)
        lb_buf_fini(&all[row].key);
    free(all);
    free(rows);
    char *text = strdup(out.data);
    lb_buf_fini(&out);
    return sorted_lines(text);
}

/* Drops the key columns of each line. */
static char *strip_keys(const char *text, int n_keys)
{
    char *result = malloc(strlen(text) + 2), *out = result;
    for (const char *line = text; *line != '\0';) {
        const char *end = strchr(line, '\n');
        const char *at = line;
        for (int k = 0; k < n_keys; k++) {
            at += strncmp(at, "'a group with a long name ", 26) == 0 ? 26 : 0;
            at = strchr(at, ' ') + 1;
        }
        memcpy(out, at, (size_t)(end + 1 - at));
        out += end + 1 - at;
        line = end + 1;
    }
    *out = '\0';
    return sorted_lines(result);
}

static const struct aggregate naive_aggregates[] = {
    {"count", 0, 0, 0, 0},
    {"count", INTS, 0, 0, 0},
    {"sum", INTS, 0, 0, 0},
    {"sum", EIGHTHS, 0, 0, 0},
    {"sum", NUMBERS, 0, 0, 0},
    {"avg", INTS, 0, 0, 0},
    {"avg", NUMBERS, 0, 0, 0},
    {"variance", EIGHTHS, 0, 0, 0},
    {"stddev", INTS, 0, 0, 1},
    {"median", NUMBERS, 0, .5, 0},
    {"quantile", EIGHTHS, 0, .9, 0},
    {"min", WORDS, 0, 0, 0},
    {"max", WORDS, 0, 0, 0},
    {"first", WORDS, 0, 0, 0},
    {"last", WORDS, 0, 0, 0},
    {"collect_list", WORDS, 0, 0, 0},
    {"collect_set", WORDS, 0, 0, 0},
    {"mode", WORDS, 0, 0, 0},
    {"count_distinct", WORDS, 0, 0, 0},
    {"bool_and", BOOLS, 0, 0, 0},
    {"bool_or", BOOLS, 0, 0, 0},
};
static const struct aggregate other_aggregates[] = {
    {"sum", FLOATS, 0, 0, 0},         {"avg", FLOATS, 0, 0, 0},
    {"variance", FLOATS, 0, 0, 0},    {"corr", FLOATS, EIGHTHS, 0, 0},
    {"min", NUMBERS, 0, 0, 0},        {"max", MIXED, 0, 0, 0},
    {"any_value", MIXED, 0, 0, 0},    {"first", MIXED, 0, 0, 0},
    {"last", NUMBERS, 0, 0, 0},       {"min_by", WORDS, NUMBERS, 0, 0},
    {"max_by", MIXED, INTS, 0, 0},    {"count_distinct", MIXED, 0, 0, 0},
    {"collect_set", MIXED, 0, 0, 0},  {"mode", MIXED, 0, 0, 0},
    {"median", FLOATS, 0, 0.5, 0},    {"approx_count_distinct", FLOATS, 0, 0, 0},
    {"collect_list", MIXED, 0, 0, 0}, {"bool_and", BOOLS, 0, 0, 0},
    {"bool_or", BOOLS, 0, 0, 0},
};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static const int key_sets[][4] = {
    {TEXT}, {NUMBER}, {MIXED}, {TEXT, NUMBER}, {MIXED, TEXT, BOOLS, NUMBER}, {0}};
static const int key_counts[] = {1, 1, 1, 2, 4, 0};

static void groups_are_the_naive_ones(void **state)
{
    (void)state;
    random_start("group");
    for (int set = 0; set < COUNT(key_counts); set++) {
        seed = random_bits();
        n_groups = 1 + random_below(60);
        n_rows = 600 + random_below(MOST_ROWS - 600);
        char *expected =
            naive_text(key_sets[set], key_counts[set], naive_aggregates, COUNT(naive_aggregates));
        char *text = run_group(key_sets[set], key_counts[set], naive_aggregates,
                               COUNT(naive_aggregates), (struct run){3, 64 << 20, 4});
        if (text == NULL)
            fail_msg("%s", error.message);
        if (key_counts[set] > 0 && key_sets[set][0] != MIXED) {
            char *got = strip_keys(text, key_counts[set]);
            assert_string_equal(got, expected);
            free(got);
        } else if (key_counts[set] == 0) {
            assert_string_equal(text, expected);
        } else {
            int lines = 0, wanted = 0;
            for (const char *at = text; *at; at++)
                lines += *at == '\n';
            for (const char *at = expected; *at; at++)
                wanted += *at == '\n';
            assert_int_equal(lines, wanted);
        }
        free(text);
        free(expected);
    }
}

static void threads_and_memory_do_not_matter(void **state)
{
    (void)state;
    for (int i = 0, first = (int)random_below(COUNT(key_counts)); i < rounds(COUNT(key_counts));
         i++) {
        int set = (first + i) % COUNT(key_counts);
        seed = random_bits();
        n_groups = 1 + random_below(300);
        n_rows = random_below(MOST_ROWS);
        char *expected[2] = {NULL, NULL};
        for (uint32_t threads = FEWEST_THREADS; threads <= 8; threads += threads < 3 ? 1 : 5) {
            for (int small = 0; small < 2; small++) {
                for (int which = 0; which < 2; which++) {
                    struct run how = {threads, small ? 1 : 64 << 20, 3};
                    char *text = which ? run_group(key_sets[set], key_counts[set], other_aggregates,
                                                   COUNT(other_aggregates), how)
                                       : run_group(key_sets[set], key_counts[set], naive_aggregates,
                                                   COUNT(naive_aggregates), how);
                    if (text == NULL)
                        fail_msg("%s", error.message);
                    if (expected[which] != NULL) {
                        assert_string_equal(text, expected[which]);
                        free(text);
                    } else {
                        expected[which] = text;
                    }
                }
            }
        }
        free(expected[0]);
        free(expected[1]);
    }
}

static void one_partition_is_in_key_order(void **state)
{
    (void)state;
    const struct aggregate count = {"count", 0, 0, 0, 0};
    const int key = NUMBER;
    n_rows = MOST_ROWS;
    n_groups = 500;
    char *text = run_group(&key, 1, &count, 1, (struct run){2, 1, 1}), *cursor = text;
    assert_non_null(text);
    long long last = INT64_MIN, total = 0;
    while (*cursor != '\0') {
        long long value = strtoll(cursor, &cursor, 10);
        assert_true(value > last);
        last = value;
        total += strtoll(cursor, &cursor, 10);
        cursor = strchr(cursor, '\n') + 1;
    }
    assert_int_equal(total, n_rows);
    free(text);
}

static void no_rows(void **state)
{
    (void)state;
    const struct aggregate aggregates[] = {{"count", 0, 0, 0, 0},
                                           {"sum", INTS, 0, 0, 0},
                                           {"count_distinct", INTS, 0, 0, 0},
                                           {"collect_list", INTS, 0, 0, 0},
                                           {"median", INTS, 0, .5, 0},
                                           {"stddev", INTS, 0, 0, 0},
                                           {"approx_count_distinct", INTS, 0, 0, 0},
                                           {"bool_or", INTS, 0, 0, 0}};
    const int key = TEXT;
    n_rows = 0;
    n_groups = 1;
    char *text = run_group(NULL, 0, aggregates, COUNT(aggregates), (struct run){2, 1 << 20, 4});
    assert_string_equal(text, "0 n 0 n n n 0 n \n");
    free(text);
    text = run_group(&key, 1, aggregates, COUNT(aggregates), (struct run){2, 1 << 20, 4});
    assert_string_equal(text, "");
    free(text);
}

static void errors(void **state)
{
    (void)state;
    const struct aggregate wrong = {"sum", WORDS, 0, 0, 0}, unknown = {"total", INTS, 0, 0, 0},
                           overflow = {"sum", NUMBER, 0, 0, 0},
                           quantile = {"quantile", INTS, 0, 2, 0};
    const int key = TEXT;
    n_rows = 500;
    n_groups = 8;
    assert_null(run_group(&key, 1, &wrong, 1, (struct run){2, 1 << 20, 4}));
    assert_int_equal(error.status, LB_ERR_DATA);
    assert_non_null(strstr(error.message, "sum: a string where a number is wanted"));
    assert_null(run_group(&key, 1, &unknown, 1, (struct run){2, 1 << 20, 4}));
    assert_non_null(strstr(error.message, "no aggregate 'total'"));
    assert_null(run_group(&key, 1, &overflow, 1, (struct run){2, 1 << 20, 4}));
    assert_non_null(strstr(error.message, "integer overflow"));
    assert_null(run_group(&key, 1, &quantile, 1, (struct run){2, 1 << 20, 4}));
    assert_int_equal(error.status, LB_ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_the_naive_ones),
        cmocka_unit_test(threads_and_memory_do_not_matter),
        cmocka_unit_test(one_partition_is_in_key_order),
        cmocka_unit_test(no_rows),
        cmocka_unit_test(errors),
    };
    lb_op_register(&source_class);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
