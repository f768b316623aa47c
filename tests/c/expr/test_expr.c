/* Expressions: kernels over typed columns against value-by-value evaluation of the same values in `any` columns, over all
 * rows and over some; malformed programs; and, with LB_BENCH set, nanoseconds a row. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/expr/expr.h"

static struct lb_error error;
#define OK(call)                                      \
    do {                                              \
        if ((call) != LB_OK)                          \
            fail_msg("%s: %s", #call, error.message); \
    } while (0)

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % n;
}

/* ---- programs ---- */

struct program {
    struct lb_buf buf;
    size_t root, steps;
    uint32_t n;
};

static void start(struct program *p)
{
    memset(p, 0, sizeof *p);
    OK(lb_codec_begin(&p->buf, 'm', &p->root, &error));
    OK(lb_codec_put_string(&p->buf, "steps", 5, &error));
    OK(lb_codec_begin(&p->buf, 'l', &p->steps, &error));
}

static size_t begin_step(struct program *p, const char *class)
{
    size_t mark;
    OK(lb_codec_begin(&p->buf, 'l', &mark, &error));
    OK(lb_codec_put_string(&p->buf, class, strlen(class), &error));
    OK(lb_codec_put_int(&p->buf, 0, &error));
    OK(lb_codec_put_int(&p->buf, 0, &error));
    return mark;
}

/* A step with up to three integers as arguments; 0 ends them. */
static uint32_t step(struct program *p, const char *class, int64_t a, int64_t b, int64_t c)
{
    const int64_t args[] = {a, b, c};
    uint32_t n = 0;
    size_t mark = begin_step(p, class);
    for (; n < 3 && args[n] != 0; n++)
        OK(lb_codec_put_int(&p->buf, args[n], &error));
    lb_codec_end(&p->buf, mark, 3 + n);
    return ++p->n;
}

static uint32_t text_literal(struct program *p, const char *text)
{
    size_t mark = begin_step(p, "literal");
    OK(lb_codec_put_string(&p->buf, text, strlen(text), &error));
    lb_codec_end(&p->buf, mark, 4);
    return ++p->n;
}

static uint32_t int_literal(struct program *p, int64_t value)
{
    size_t mark = begin_step(p, "literal");
    OK(lb_codec_put_int(&p->buf, value, &error));
    lb_codec_end(&p->buf, mark, 4);
    return ++p->n;
}

static lb_status finish(struct program *p, struct lb_expr **expr)
{
    struct lb_value value;
    const char *cursor;
    lb_codec_end(&p->buf, p->steps, p->n);
    OK(lb_codec_put_string(&p->buf, "text", 4, &error));
    OK(lb_codec_put_string(&p->buf, "test", 4, &error));
    lb_codec_end(&p->buf, p->root, 2);
    cursor = p->buf.data;
    lb_codec_next(&cursor, &value);
    return lb_expr_new(&value, expr, &error);
}

/* ---- columns ---- */

static void append_random(struct lb_builder *b, enum lb_type type, bool nulls)
{
    static const char *const words[] = {
        "", "a", "ab", "SE", "longer than twelve a", "longer than twelve b"};
    static const double floats[] = {0, -0.0, 1.5, -3, 4, 9007199254740992.0, (double)NAN, 1e300};
    static const int64_t ints[] = {0, 1, -1, 4, -3, 9007199254740993, INT64_MAX, INT64_MIN};
    if (nulls && rnd(4) == 0)
        OK(lb_builder_null(b, &error));
    else if (type == LB_BOOL)
        OK(lb_builder_bool(b, rnd(2) == 0, &error));
    else if (type == LB_INT64)
        OK(lb_builder_int(b, ints[rnd(8)], &error));
    else if (type == LB_FLOAT64)
        OK(lb_builder_float(b, floats[rnd(8)], &error));
    else {
        const char *word = words[rnd(6)];
        OK(lb_builder_string(b, word, strlen(word), &error));
    }
}

/* The same values as `any`. */
static struct lb_column widen(struct lb_builder *b, const struct lb_column *column, uint32_t n_rows)
{
    static const char list[9] = {'l', 4};
    struct lb_column wide;
    lb_builder_reset(b);
    for (uint32_t i = 0; i < n_rows; i++)
        OK(lb_builder_column(b, column, i, &error));
    OK(lb_builder_encoded(b, list, 9, &error)); /* a table behind the last row makes it `any` */
    wide = lb_builder_finish(b);
    return wide;
}

static void encode(struct lb_buf *out, const struct lb_column *column, uint32_t row)
{
    out->size = 0;
    OK(lb_codec_put_column(out, column, row, &error));
}

/* Evaluates over typed and `any` columns and wants the same values, or both to fail with the same message. */
static void compare(const struct lb_expr *expr, const struct lb_batch *typed,
                    const struct lb_batch *wide)
{
    struct lb_expr_state *a, *b;
    struct lb_column x, y;
    struct lb_buf left = {0}, right = {0};
    char message[LB_ERROR_MESSAGE_BYTES];
    OK(lb_expr_state_new(expr, &a, &error));
    OK(lb_expr_state_new(expr, &b, &error));
    for (int round = 0; round < 2; round++) { /* twice: slots are used again */
        lb_status status = lb_expr_eval(a, typed, &x, &error);
        strcpy(message, error.message);
        assert_int_equal(lb_expr_eval(b, wide, &y, &error), status);
        if (status != LB_OK) {
            assert_int_equal(status, LB_ERR_USER);
            assert_string_equal(error.message, message);
            continue;
        }
        struct lb_batch out = *typed;
        out.columns = &x;
        out.n_columns = 1;
        OK(lb_batch_verify(&out, &error));
        for (uint32_t i = 0; i < typed->n_selected; i++) {
            uint32_t row = lb_batch_row(typed, i);
            encode(&left, &x, row);
            encode(&right, &y, row);
            if (left.size != right.size || memcmp(left.data, right.data, left.size) != 0)
                fail_msg("row %u differs", row);
        }
    }
    lb_buf_fini(&left);
    lb_buf_fini(&right);
    lb_expr_state_delete(a);
    lb_expr_state_delete(b);
}

static void test_kernels(void **state)
{
    static const char *const classes[] = {"eq",  "ne",    "lt",     "le",      "gt",   "ge",
                                          "add", "sub",   "mul",    "div",     "idiv", "mod",
                                          "and", "or",    "same",   "power",   "join", "between",
                                          "in",  "least", "nullif", "coalesce"};
    enum { N_CLASSES = sizeof classes / sizeof *classes };
    struct lb_builder builders[6];
    (void)state;
    for (int i = 0; i < 6; i++)
        lb_builder_init(&builders[i]);
    for (int round = 0; round < 3000; round++) {
        struct lb_column typed[3], wide[3];
        uint32_t select[LB_BATCH_ROWS];
        uint32_t n = 1 + rnd(LB_BATCH_ROWS < 150 ? LB_BATCH_ROWS : 150), n_selected = 0;
        enum lb_type type = (enum lb_type)(LB_BOOL + rnd(4));
        for (int c = 0; c < 3; c++) {
            bool nulls = rnd(2) == 0;
            enum lb_type own = rnd(6) == 0 ? (enum lb_type)(LB_BOOL + rnd(4)) : type;
            if (type == LB_INT64 && rnd(3) == 0)
                own = LB_FLOAT64;
            lb_builder_reset(&builders[c]);
            for (uint32_t i = 0; i < n; i++)
                append_random(&builders[c], own, nulls);
            typed[c] = lb_builder_finish(&builders[c]);
            wide[c] = widen(&builders[3 + c], &typed[c], n);
        }
        for (uint32_t i = 0; i < n; i++)
            if (rnd(3) > 0)
                select[n_selected++] = i;
        struct lb_batch batch = {.n_rows = n, .n_columns = 3, .n_selected = n, .columns = typed};
        if (rnd(2) == 0) {
            batch.select = select;
            batch.n_selected = n_selected;
        }
        struct lb_batch other = batch;
        other.columns = wide;
        const char *class = classes[rnd(N_CLASSES)];
        bool has_three = strcmp(class, "between") == 0 || strcmp(class, "in") == 0;
        struct program p;
        struct lb_expr *expr;
        start(&p);
        uint32_t a = step(&p, "column", 1, 0, 0), b = step(&p, "column", 2, 0, 0), c = 0;
        if (has_three)
            c = step(&p, "column", 3, 0, 0);
        step(&p, class, a, b, c);
        OK(finish(&p, &expr));
        compare(expr, &batch, &other);
        lb_expr_delete(expr);
        lb_buf_fini(&p.buf);
    }
    for (int i = 0; i < 6; i++)
        lb_builder_fini(&builders[i]);
}

static void expect_malformed(struct program *p)
{
    struct lb_expr *expr = NULL;
    assert_int_equal(finish(p, &expr), LB_ERR_INTERNAL);
    lb_buf_fini(&p->buf);
}

static void test_malformed(void **state)
{
    struct program p;
    (void)state;
    start(&p);
    expect_malformed(&p); /* no steps */
    start(&p);
    step(&p, "nonsense", 0, 0, 0);
    expect_malformed(&p);
    start(&p);
    step(&p, "column", LB_MAX_COLUMNS + 1, 0, 0);
    expect_malformed(&p);
    start(&p);
    step(&p, "column", 1, 0, 0);
    step(&p, "eq", 1, 1, 0); /* used twice */
    expect_malformed(&p);
    start(&p);
    step(&p, "column", 1, 0, 0);
    step(&p, "column", 1, 0, 0); /* the first is not used */
    expect_malformed(&p);
    start(&p);
    step(&p, "not", 1, 0, 0); /* itself */
    expect_malformed(&p);
    start(&p);
    step(&p, "column", 1, 0, 0);
    step(&p, "eq", 1, 0, 0);
    expect_malformed(&p);
}

/* age >= 18 and country in ('SE', 'NO'), with and without the kernels' help. */
static void test_filter(void **state)
{
    static const char *const countries[] = {"SE", "NO", "DK", "FI", "Germany"};
    struct lb_builder age, country;
    struct program p;
    struct lb_expr *expr;
    struct lb_expr_state *run;
    static uint32_t select[LB_BATCH_ROWS];
    uint32_t n_selected = 0, wanted = 0;
    (void)state;
    lb_builder_init(&age);
    lb_builder_init(&country);
    for (int i = 0; i < LB_BATCH_ROWS; i++) {
        int years = (int)rnd(90);
        const char *name = countries[rnd(5)];
        OK(lb_builder_int(&age, years, &error));
        OK(lb_builder_string(&country, name, strlen(name), &error));
        wanted += years >= 18 && (strcmp(name, "SE") == 0 || strcmp(name, "NO") == 0);
    }
    struct lb_column columns[2] = {lb_builder_finish(&age), lb_builder_finish(&country)};
    struct lb_batch batch = {
        .n_rows = LB_BATCH_ROWS, .n_columns = 2, .n_selected = LB_BATCH_ROWS, .columns = columns};
    start(&p);
    step(&p, "column", 1, 0, 0);
    int_literal(&p, 18);
    step(&p, "ge", 1, 2, 0);
    step(&p, "column", 2, 0, 0);
    text_literal(&p, "SE");
    text_literal(&p, "NO");
    step(&p, "in", 4, 5, 6);
    step(&p, "and", 3, 7, 0);
    OK(finish(&p, &expr));
    OK(lb_expr_state_new(expr, &run, &error));
    OK(lb_expr_filter(run, &batch, select, &n_selected, &error));
    assert_int_equal(n_selected, wanted);
    if (getenv("LB_BENCH") != NULL) {
        struct timespec from, to;
        enum { ROUNDS = 20000 };
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int i = 0; i < ROUNDS; i++)
            OK(lb_expr_filter(run, &batch, select, &n_selected, &error));
        clock_gettime(CLOCK_MONOTONIC, &to);
        double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
        printf("filter: %.2f ns a row\n", ns / ROUNDS / LB_BATCH_ROWS);
    }
    lb_expr_state_delete(run);
    lb_expr_delete(expr);
    lb_buf_fini(&p.buf);
    lb_builder_fini(&age);
    lb_builder_fini(&country);
}

/* regexp_count of a column, with a pattern that is a literal (column 0) or computed (column 1). */
static void make_regexp(struct program *p, bool is_literal)
{
    start(p);
    step(p, "column", 1, 0, 0);
    if (is_literal)
        text_literal(p, "(a+)(b)?");
    else
        step(p, "column", 2, 0, 0);
    step(p, "regexp_count", 1, 2, 0);
}

static void *(*real_realloc)(void *pointer, size_t old_size, size_t new_size);
static int countdown; /* the allocation that fails; 0: none */

static void *failing_realloc(void *pointer, size_t old_size, size_t new_size)
{
    if (new_size > 0 && countdown > 0 && --countdown == 0)
        return NULL;
    return real_realloc(pointer, old_size, new_size);
}

/* Evaluates once with an allocation that fails, and again with the next, until none does. */
static void test_regexp_memory(void **state)
{
    struct lb_builder text, pattern;
    (void)state;
    lb_builder_init(&text);
    lb_builder_init(&pattern);
    OK(lb_builder_string(&text, "aab ab caa", 10, &error));
    OK(lb_builder_string(&pattern, "a[ab]", 5, &error));
    struct lb_column columns[2] = {lb_builder_finish(&text), lb_builder_finish(&pattern)};
    struct lb_batch batch = {.n_rows = 1, .n_columns = 2, .n_selected = 1, .columns = columns};
    real_realloc = lb_sys.realloc;
    for (int literal = 0; literal < 2; literal++) {
        bool is_over = false;
        for (int n = 1; !is_over; n++) {
            struct program p;
            struct lb_expr *expr = NULL;
            struct lb_expr_state *run = NULL;
            struct lb_column result;
            make_regexp(&p, literal == 1);
            lb_sys.realloc = failing_realloc;
            countdown = n;
            lb_status status = finish(&p, &expr);
            if (status == LB_OK)
                status = lb_expr_state_new(expr, &run, &error);
            if (status == LB_OK)
                status = lb_expr_eval(run, &batch, &result, &error);
            is_over = countdown > 0;
            lb_sys.realloc = real_realloc;
            countdown = 0;
            if (is_over) {
                assert_int_equal(status, LB_OK);
                assert_int_equal(result.ints[0], 3);
            } else if (status != LB_OK) { /* machine code may do without */
                assert_int_equal(status, LB_ERR_RESOURCE);
            }
            lb_expr_state_delete(run);
            lb_expr_delete(expr);
            lb_buf_fini(&p.buf);
        }
    }
    lb_builder_fini(&text);
    lb_builder_fini(&pattern);
}

static void test_regexp_stop(void **state)
{
    _Atomic int stop = 0;
    struct lb_builder text;
    struct program p;
    struct lb_expr *expr;
    struct lb_expr_state *run;
    struct lb_column result;
    (void)state;
    lb_builder_init(&text);
    OK(lb_builder_string(&text, "ab", 2, &error));
    struct lb_column column = lb_builder_finish(&text);
    struct lb_batch batch = {.n_rows = 1, .n_columns = 1, .n_selected = 1, .columns = &column};
    make_regexp(&p, true);
    OK(finish(&p, &expr));
    OK(lb_expr_state_new(expr, &run, &error));
    lb_expr_state_watch(run, &stop);
    OK(lb_expr_eval(run, &batch, &result, &error));
    stop = 1;
    assert_int_equal(lb_expr_eval(run, &batch, &result, &error), LB_ERR_CANCELLED);
    lb_expr_state_delete(run);
    lb_expr_delete(expr);
    lb_buf_fini(&p.buf);
    lb_builder_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels),     cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_filter),      cmocka_unit_test(test_regexp_memory),
        cmocka_unit_test(test_regexp_stop),
    };
    const char *given = getenv("LB_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
