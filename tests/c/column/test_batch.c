/* Batch builders, origins, and the check of a batch's invariants. */
#include "values.h"

#include "core/column/builder.h"

static void test_ragged(void **state)
{
    struct lb_batch_builder builder;

    (void)state;
    random_start("batch");
    checked_start(-1);
    lb_batch_builder_init(&builder);
    for (int round = 0; round < 300; round++) {
        /* expected[row][column]: the integer there; 0 is nil */
        static int64_t expected[LB_BATCH_ROWS][12];
        uint32_t n_columns = 1;
        uint32_t n_rows = random_below(LB_BATCH_ROWS + 1);
        uint32_t parents[LB_BATCH_ROWS];
        bool is_identity = random_below(2);
        struct lb_column parent_column = {.type = LB_NULL};
        struct lb_batch parent = {
            .n_rows = LB_BATCH_ROWS, .n_columns = 1, .columns = &parent_column};
        const struct lb_batch *batch;

        if (n_rows > 100)
            n_rows = random_below(20) == 0 ? n_rows : 100;
        memset(expected, 0, sizeof expected);
        for (uint32_t row = 0; row < n_rows; row++) {
            uint32_t width = random_below(random_below(10) == 0 ? 13 : 4);

            for (uint32_t i = 0; i < width; i++) {
                struct lb_builder *column;

                if (random_below(3) == 0)
                    continue; /* a column without a value in this row */
                MUST(lb_batch_builder_column(&builder, i, &column, &failure));
                expected[row][i] = 1 + (int64_t)random_below(1000);
                MUST(lb_builder_int(column, expected[row][i], &failure));
                n_columns = i + 1 > n_columns ? i + 1 : n_columns;
            }
            parents[row] = is_identity ? row : random_below(LB_BATCH_ROWS);
            assert_false(lb_batch_builder_is_full(&builder));
            MUST(lb_batch_builder_end_row(&builder, parents[row], &failure));
        }
        assert_int_equal(lb_batch_builder_is_full(&builder), n_rows == LB_BATCH_ROWS);
        batch = lb_batch_builder_finish(&builder, &parent);
        MUST(lb_batch_verify(batch, &failure));
        assert_int_equal(batch->n_rows, n_rows);
        assert_int_equal(batch->n_columns, n_columns);
        for (uint32_t row = 0; row < n_rows; row++) {
            for (uint32_t i = 0; i < n_columns; i++) {
                const struct lb_column *column = &batch->columns[i];

                assert_int_equal(lb_column_is_valid(column, row), expected[row][i] != 0);
                if (expected[row][i] != 0)
                    assert_int_equal(column->ints[row], expected[row][i]);
            }
            assert_int_equal(batch->parent_rows ? batch->parent_rows[row] : row, parents[row]);
        }
        if (random_below(8) == 0)
            lb_batch_builder_fini(&builder);
        else
            lb_batch_builder_reset(&builder);
    }
    lb_batch_builder_fini(&builder);
    checked_stop();
}

static void test_columns(void **state)
{
    struct lb_batch_builder builder;
    struct lb_builder *first;
    struct lb_builder *last;

    (void)state;
    lb_batch_builder_init(&builder);
    MUST(lb_batch_builder_column(&builder, 0, &first, &failure));
    MUST(lb_batch_builder_column(&builder, LB_MAX_COLUMNS - 1, &last, &failure));
    MUST(lb_builder_int(first, 1, &failure)); /* the pointer is still good */
    MUST(lb_builder_int(last, 2, &failure));
    MUST(lb_batch_builder_end_row(&builder, 0, &failure));
    MUST(lb_batch_verify(lb_batch_builder_finish(&builder, NULL), &failure));
    assert_int_equal(builder.batch.n_columns, LB_MAX_COLUMNS);
    assert_int_equal(lb_batch_builder_column(&builder, LB_MAX_COLUMNS, &last, &failure),
                     LB_ERR_USAGE);
    lb_batch_builder_reset(&builder);
    assert_int_equal(lb_batch_builder_finish(&builder, NULL)->n_columns, 1);
    lb_batch_builder_fini(&builder);
}

static lb_status locate(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                        struct lb_buf *out, struct lb_error *err)
{
    if (origin != NULL)
        *origin = (struct lb_origin){.file = batch->locate_state, .offset = row, .line = row + 1};
    if (out == NULL)
        return LB_OK;
    return lb_buf_printf(out, err, "record %s:%u", (const char *)batch->locate_state, row);
}

static void test_locate(void **state)
{
    uint32_t rows[] = {4, 2};
    struct lb_batch source = {.n_rows = 7, .locate = locate, .locate_state = "file"};
    struct lb_batch middle = {.n_rows = 2, .parent = &source, .parent_rows = rows};
    struct lb_batch last = {.n_rows = 2, .parent = &middle};
    struct lb_batch lost = {.n_rows = 2};
    struct lb_buf text = {0};

    (void)state;
    MUST(lb_batch_locate(&last, 1, &text, &failure));
    assert_int_equal(text.size, 13);
    assert_memory_equal(text.data, "record file:2", 13);
    MUST(lb_batch_locate(&lost, 1, &text, &failure));
    assert_int_equal(text.size, 13);
    struct lb_origin origin;
    MUST(lb_batch_origin(&last, 1, &origin, &failure));
    assert_string_equal(origin.file, "file");
    assert_int_equal(origin.offset, 2);
    assert_int_equal(origin.line, 3);
    MUST(lb_batch_origin(&lost, 1, &origin, &failure));
    assert_null(origin.file);
    lb_buf_fini(&text);
}

static void check_broken(const struct lb_batch *batch, const char *message)
{
    struct lb_error err = {0};

    assert_int_equal(lb_batch_verify(batch, &err), LB_ERR_INTERNAL);
    assert_int_equal(err.status, LB_ERR_INTERNAL);
    if (strstr(err.message, message) == NULL)
        fail_msg("'%s' instead of '%s'", err.message, message);
}

static void test_verify_rows(void **state)
{
    int64_t ints[LB_BATCH_ROWS + 1] = {0};
    uint32_t select[] = {1, 3};
    struct lb_column column = {.type = LB_INT64, .data = ints};
    struct lb_batch parent = {.n_rows = 3};
    struct lb_batch batch = {.n_rows = 5, .n_columns = 1, .n_selected = 5, .columns = &column};

    (void)state;
    MUST(lb_batch_verify(&batch, &failure));
    batch.parent = &parent;
    check_broken(&batch, "a row its parent does not have");
    batch.parent = NULL;
    batch.n_selected = 2;
    check_broken(&batch, "without a selection");
    batch.select = select;
    MUST(lb_batch_verify(&batch, &failure));
    select[1] = 1;
    check_broken(&batch, "out of range or order");
    select[1] = 5;
    check_broken(&batch, "out of range or order");
    batch.n_selected = 6;
    check_broken(&batch, "6 of 5 rows selected");
    batch.select = NULL;
    batch.n_rows = batch.n_selected = LB_BATCH_ROWS + 1;
    check_broken(&batch, "rows");
    batch.n_rows = batch.n_selected = 1;
    batch.n_columns = 0;
    check_broken(&batch, "0 columns");
    batch.n_columns = LB_MAX_COLUMNS + 1;
    check_broken(&batch, "251 columns");
    batch.n_columns = 1;
    column.data = NULL;
    check_broken(&batch, "no data");
    column.type = (enum lb_type)77;
    check_broken(&batch, "no such type");
}

static void test_verify_values(void **state)
{
    uint8_t bools[] = {0, 2};
    struct lb_view views[2];
    uint64_t valid = 1;
    struct lb_column column = {.type = LB_BOOL, .data = bools};
    struct lb_batch batch = {.n_rows = 2, .n_columns = 1, .n_selected = 2, .columns = &column};

    (void)state;
    check_broken(&batch, "neither 0 nor 1");
    column.valid = &valid;
    MUST(lb_batch_verify(&batch, &failure));
    column.valid = NULL;

    column.type = LB_STRING;
    column.data = views;
    lb_view_set(&views[0], "short", 5);
    lb_view_set(&views[1], "longer than twelve", 18);
    MUST(lb_batch_verify(&batch, &failure));
    views[0].rest[3] = 1;
    check_broken(&batch, "row 0: bytes behind an inline string");
    lb_view_set(&views[0], "short", 5);
    views[1].prefix[0] = 'x';
    check_broken(&batch, "row 1: the prefix");

    column.type = LB_ANY;
    lb_view_set(&views[0], "t", 1);
    lb_view_set(&views[1], "l\4\0\0\0\0\0\0\0", 9);
    MUST(lb_batch_verify(&batch, &failure));
    lb_view_set(&views[0], "tt", 2);
    check_broken(&batch, "row 0: malformed value");
    lb_view_set(&views[0], "n", 1);
    check_broken(&batch, "encoded nil");
}

static lb_status build(struct lb_batch_builder *builder, struct lb_error *err)
{
    struct lb_builder *column;

    for (uint32_t row = 0; row < LB_BATCH_ROWS; row++) {
        for (uint32_t i = 0; i < row % 5; i++) {
            LB_TRY(lb_batch_builder_column(builder, i, &column, err));
            LB_TRY(lb_builder_string(column, "a string that is long", 10 + i * 3, err));
        }
        LB_TRY(lb_batch_builder_end_row(builder, row / 2, err));
    }
    return LB_OK;
}

static void test_failing(void **state)
{
    bool failed = true;

    (void)state;
    for (long n = 0; failed; n++) {
        struct lb_batch_builder builder;
        struct lb_error err = {0};
        lb_status status;

        checked_start(n);
        lb_batch_builder_init(&builder);
        status = build(&builder, &err);
        if (status != LB_OK) { /* usable again after reset */
            assert_int_equal(err.status, LB_ERR_RESOURCE);
            lb_batch_builder_reset(&builder);
            MUST(build(&builder, &failure));
        }
        MUST(lb_batch_verify(lb_batch_builder_finish(&builder, NULL), &failure));
        lb_batch_builder_fini(&builder);
        failed = checked_stop();
        assert_int_equal(status, failed ? LB_ERR_RESOURCE : LB_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ragged),        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_locate),        cmocka_unit_test(test_verify_rows),
        cmocka_unit_test(test_verify_values), cmocka_unit_test(test_failing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
