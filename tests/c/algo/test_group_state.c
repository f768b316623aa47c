/* Aggregate functions by themselves: exactness, accuracy, partial states, and memory that runs out. Whole groupings against naive
 * loops are in tests/c/plan/test_group_op.c. */
#include <math.h>

#include "../support/support.h"

#include "core/algo/group_state.h"

static struct lb_error error;
#define OK(call)                                      \
    do {                                              \
        if ((call) != LB_OK)                          \
            fail_msg("%s: %s", #call, error.message); \
    } while (0)

/* Parameters {column = 1, column2 = 2, fn = name}. */
static lb_status make(struct lb_group_state *state, const char *name)
{
    static char bytes[256];
    struct lb_buf buf = {0};
    struct lb_value params;
    size_t mark;
    OK(lb_codec_begin(&buf, 'm', &mark, &error));
    OK(lb_codec_put_string(&buf, "column", 6, &error));
    OK(lb_codec_put_int(&buf, 1, &error));
    OK(lb_codec_put_string(&buf, "column2", 7, &error));
    OK(lb_codec_put_int(&buf, 2, &error));
    OK(lb_codec_put_string(&buf, "fn", 2, &error));
    OK(lb_codec_put_string(&buf, name, strlen(name), &error));
    lb_codec_end(&buf, mark, 3);
    memcpy(bytes, buf.data, buf.size);
    lb_buf_fini(&buf);
    const char *cursor = bytes;
    lb_codec_next(&cursor, &params);
    return lb_group_state_init(state, &params, NULL, &error);
}

/* Folds n rows into slot 1 in batches, every third batch by way of a partial state of its own, and gives the result. */
static lb_status fold(const char *name, struct lb_column x, struct lb_column y, uint32_t n,
                      struct lb_builder *out)
{
    static uint32_t slots[LB_BATCH_ROWS];
    struct lb_group_state worker = {0}, final = {0};
    struct lb_buf partial = {0};
    lb_status status = make(&worker, name);
    if (status == LB_OK)
        status = make(&final, name);
    if (status == LB_OK)
        status = lb_group_state_clear(&final, &error);
    for (uint32_t i = 0; i < LB_BATCH_ROWS; i++)
        slots[i] = 1;
    for (uint32_t start = 0, turn = 1; status == LB_OK && start < n;
         start += LB_BATCH_ROWS, turn++) {
        uint32_t size = n - start < LB_BATCH_ROWS ? n - start : LB_BATCH_ROWS;
        size_t width = x.type == LB_STRING ? sizeof(struct lb_view) : 8;
        struct lb_column columns[2] = {x, y};
        columns[0].data = (const char *)x.data + start * width;
        columns[1].data = (const char *)y.data + start * width;
        struct lb_batch batch = {
            .n_rows = size, .n_columns = 2, .n_selected = size, .columns = columns};
        struct lb_group_rows rows = {&batch, slots, start};
        status = lb_group_state_update(&worker, 2, &rows, &error);
        if (status == LB_OK && (turn % 3 == 0 || start + size >= n)) {
            partial.size = 0;
            status = lb_group_state_save(&worker, 1, &partial, &error);
            const char *cursor = partial.data;
            if (status == LB_OK)
                status = lb_group_state_merge(&final, &cursor, partial.data + partial.size, &error);
            if (status == LB_OK)
                assert_ptr_equal(cursor, partial.data + partial.size);
            lb_group_state_reset(&worker);
        }
    }
    if (status == LB_OK)
        status = lb_group_state_result(&final, out, &error);
    lb_buf_fini(&partial);
    if (worker.class != NULL)
        lb_group_state_fini(&worker);
    if (final.class != NULL)
        lb_group_state_fini(&final);
    return status;
}

static double fold_float(const char *name, struct lb_column x, struct lb_column y, uint32_t n)
{
    struct lb_builder out;
    lb_builder_init(&out);
    OK(fold(name, x, y, n, &out));
    struct lb_column column = lb_builder_finish(&out);
    double value = column.type == LB_FLOAT64 ? column.floats[0]
                   : column.type == LB_INT64 ? (double)column.ints[0]
                                             : (double)NAN;
    lb_builder_fini(&out);
    return value;
}

enum { N = 20000 };
static int64_t ints[N];
static double floats[N], others[N];
static const struct lb_column int_column = {.type = LB_INT64, .ints = ints};
static const struct lb_column float_column = {.type = LB_FLOAT64, .floats = floats};
static const struct lb_column other_column = {.type = LB_FLOAT64, .floats = others};

static void integers_are_exact(void **state)
{
    (void)state;
    struct lb_builder out;
    for (int i = 0; i < N; i++)
        ints[i] = i % 2 == 0 ? INT64_MAX : INT64_MIN + 1;
    assert_true(fold_float("sum", int_column, int_column, N) == 0);
    assert_true(fold_float("avg", int_column, int_column, N) == 0);
    for (int i = 0; i < N; i++)
        ints[i] = INT64_MAX;
    assert_true(fold_float("avg", int_column, int_column, N) == 9223372036854775808.0);
    lb_builder_init(&out);
    assert_int_equal(fold("sum", int_column, int_column, N, &out), LB_ERR_DATA);
    lb_builder_fini(&out);
    ints[0] = 9007199254740993; /* 2^53 + 1, and 0 and 0: a third of it, rounded once */
    ints[1] = ints[2] = 0;
    assert_true(fold_float("avg", int_column, int_column, 3) == 3002399751580331.0);
    ints[0] = -1;
    assert_true(fold_float("avg", int_column, int_column, 3) == -1.0 / 3);
}

static void variances_do_not_cancel(void **state)
{
    (void)state;
    long double sum = 0, squares = 0;
    for (int i = 0; i < N; i++)
        floats[i] = random_below(1000) / 1024.0;
    for (int i = 0; i < N; i++)
        sum += floats[i];
    for (int i = 0; i < N; i++)
        squares += (floats[i] - sum / N) * (floats[i] - sum / N);
    double expected = (double)(squares / (N - 1));
    assert_true(fabs(fold_float("variance", float_column, float_column, N) / expected - 1) < 1e-13);
    for (int i = 0; i < N; i++)
        floats[i] += 1 << 30; /* still exact */
    assert_true(fabs(fold_float("variance", float_column, float_column, N) / expected - 1) < 1e-13);
    assert_true(fabs(fold_float("stddev", float_column, float_column, N) / sqrt(expected) - 1) <
                1e-13);
    for (int i = 0; i < N; i++)
        others[i] = -3 * floats[i];
    assert_true(fabs(fold_float("corr", float_column, other_column, N) + 1) < 1e-12);
    for (int i = 0; i < N; i++)
        others[i] = 7;
    assert_true(isnan(fold_float("corr", float_column, other_column, N)));
}

/* Rows of small integers, large ones and floats in turn: the same numbers as floats give the same but for rounding. */
static void moments_of_integers(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < N; i++) {
            ints[i] =
                (int64_t)(random_bits() % (round == 0 ? 100 : (uint64_t)1 << (20 + 5 * round)));
            floats[i] = (double)ints[i];
            others[i] = floats[i] / 3 + (double)random_below(10);
        }
        double variance = fold_float("variance", float_column, float_column, N);
        assert_true(fold_float("variance", int_column, int_column, N) == variance);
        double corr = fold_float("corr", float_column, other_column, N);
        assert_true(fold_float("corr", int_column, other_column, N) == corr);
        assert_true(fabs(fold_float("corr", int_column, int_column, N) - 1) < 1e-15);
    }
}

static int compare_floats(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

/* Few and many distinct values, in any order, NaN above all. */
static void quantiles_are_exact(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        uint32_t n = 1 + (uint32_t)random_below(round % 10 == 0 ? N : 300);
        uint64_t n_values = round % 3 == 0 ? 5 : round % 3 == 1 ? 1000 : (uint64_t)1 << 40;
        for (uint32_t i = 0; i < n; i++) {
            floats[i] = ((double)(random_bits() % n_values) - (double)(n_values / 2)) / 7;
            if (round % 5 == 4 && random_below(9) == 0)
                floats[i] = random_below(2) ? (double)NAN : (double)INFINITY;
            others[i] = floats[i];
            if (round % 7 == 6)
                others[i] = floats[i] = (double)i; /* in order */
        }
        qsort(others, n, sizeof *others, compare_floats);
        double low = others[(n - 1) / 2], high = others[n / 2];
        double expected = low == high ? low : low + (high - low) * 0.5;
        double found = fold_float("median", float_column, float_column, n);
        assert_true(found == expected || (isnan(found) && isnan(expected)));
        for (uint32_t i = 0; i < n; i++) {
            ints[i] = (int64_t)(random_bits() % n_values) - 3;
            others[i] = (double)ints[i];
        }
        qsort(others, n, sizeof *others, compare_floats);
        expected = others[(n - 1) / 2] + (others[n / 2] - others[(n - 1) / 2]) * 0.5;
        assert_true(fold_float("median", int_column, int_column, n) == expected);
    }
}

static void sketches_are_near(void **state)
{
    (void)state;
    for (int n = 1; n < N; n = n * 3 + 1) {
        for (int i = 0; i < N; i++)
            ints[i] = i % n;
        double found = fold_float("approx_count_distinct", int_column, int_column, N);
        assert_true(fabs(found / n - 1) < 0.08);
        assert_true(fold_float("count_distinct", int_column, int_column, N) == n);
    }
}

/* Each allocation fails once. */
static void memory_runs_out(void **state)
{
    (void)state;
    const char *names[] = {"sum",      "max",         "first",        "max_by",
                           "mode",     "collect_set", "collect_list", "approx_count_distinct",
                           "variance", "corr",        "median"};
    static struct lb_view views[40];
    char text[41] = "";
    for (int i = 0; i < 40; i++) {
        memset(text, 'a' + i % 20, 40);
        lb_view_set(&views[i], strdup(text), (size_t)20 + (size_t)i % 20);
        floats[i] = i;
    }
    struct lb_column strings = {.type = LB_STRING, .views = views};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        bool numbers = strcmp(names[k], "sum") == 0 || strcmp(names[k], "variance") == 0 ||
                       strcmp(names[k], "corr") == 0 || strcmp(names[k], "median") == 0;
        for (long at = 8;; at++) { /* the first few are the test's own */
            struct lb_builder out;
            checked_start(at);
            lb_builder_init(&out);
            lb_status status = fold(names[k], numbers ? float_column : strings,
                                    numbers ? float_column : strings, numbers ? 40 : 39, &out);
            lb_builder_fini(&out);
            bool reached = checked_stop();
            assert_true(status == LB_OK || status == LB_ERR_RESOURCE);
            if (!reached)
                break;
        }
    }
    for (int i = 0; i < 40; i++)
        free((void *)(uintptr_t)views[i].data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_exact),  cmocka_unit_test(variances_do_not_cancel),
        cmocka_unit_test(moments_of_integers), cmocka_unit_test(quantiles_are_exact),
        cmocka_unit_test(sketches_are_near),   cmocka_unit_test(memory_runs_out),
    };
    random_start("group_state");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
