/* Builders against a plain list of encoded values. */
#include "values.h"

#include "core/column/builder.h"

/* What a column should hold: every row encoded, one after the other. */
struct model {
    struct lb_buf bytes;
    uint32_t n_rows;
    enum lb_type type; /* by the widening rule */
};

static enum lb_type type_of(char tag)
{
    switch (tag) {
    case 'n':
        return LB_NULL;
    case 'f':
    case 't':
        return LB_BOOL;
    case 'i':
        return LB_INT64;
    case 'd':
        return LB_FLOAT64;
    case 's':
        return LB_STRING;
    default:
        return LB_ANY;
    }
}

static void model_add(struct model *model, const char *data, size_t size)
{
    enum lb_type type = type_of(data[0]);

    MUST(lb_buf_append(&model->bytes, data, size, &failure));
    model->n_rows++;
    if (model->type == LB_NULL)
        model->type = type;
    else if (type != LB_NULL && type != model->type)
        model->type = LB_ANY;
}

static void check_column(const struct lb_builder *builder, const struct model *model)
{
    struct lb_column column = lb_builder_finish(builder);
    const char *cursor = model->bytes.data;
    struct lb_buf row = {0};
    uint32_t n_nulls = 0;

    assert_int_equal(builder->n_rows, model->n_rows);
    assert_int_equal(column.type, model->type);
    for (uint32_t i = 0; i < model->n_rows; i++) {
        size_t size = lb_codec_size(cursor);

        row.size = 0;
        MUST(lb_codec_put_column(&row, &column, i, &failure));
        assert_int_equal(row.size, size);
        assert_memory_equal(row.data, cursor, size);
        assert_int_equal(lb_column_is_valid(&column, i), cursor[0] != 'n');
        n_nulls += cursor[0] == 'n';
        cursor += size;
    }
    assert_int_equal(builder->n_nulls, n_nulls);
    if (n_nulls == 0)
        assert_null(column.valid);
    lb_buf_fini(&row);

    if (model->n_rows <= LB_BATCH_ROWS) {
        struct lb_batch batch = {.n_rows = model->n_rows,
                                 .n_columns = 1,
                                 .n_selected = model->n_rows,
                                 .columns = &column};

        MUST(lb_batch_verify(&batch, &failure));
    }
}

/* Values that stay, for the borrowing appends, and the same as one-row columns. */
enum { POOL = 64 };
static struct lb_buf pool[POOL];
static struct lb_builder pool_columns[POOL];

static int pool_setup(void **state)
{
    (void)state;
    random_start("builder");
    for (int i = 0; i < POOL; i++) {
        put_random(&pool[i], 2);
        lb_builder_init(&pool_columns[i]);
        if (random_below(2)) { /* as a row of an `any` column */
            MUST(lb_builder_bool(&pool_columns[i], true, &failure));
            MUST(lb_builder_int(&pool_columns[i], 1, &failure));
        }
        MUST(lb_builder_encoded(&pool_columns[i], pool[i].data, pool[i].size, &failure));
    }
    return 0;
}

static int pool_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < POOL; i++) {
        lb_buf_fini(&pool[i]);
        lb_builder_fini(&pool_columns[i]);
    }
    return 0;
}

static lb_status append_typed(struct lb_builder *b, const struct lb_value *value, bool borrows,
                              struct lb_error *err)
{
    switch (value->tag) {
    case 'f':
    case 't':
        return lb_builder_bool(b, value->tag == 't', err);
    case 'i':
        return lb_builder_int(b, value->i, err);
    case 'd':
        return lb_builder_float(b, value->d, err);
    case 's':
        return borrows ? lb_builder_view(b, value->data, value->size, err)
                       : lb_builder_string(b, value->data, value->size, err);
    default:
        return lb_builder_null(b, err);
    }
}

/* Appends value `i` of the pool in one of the ways there are. */
static lb_status append(struct lb_builder *b, int i, struct lb_error *err)
{
    const char *cursor = pool[i].data;
    struct lb_value value;
    struct lb_column column;

    lb_codec_next(&cursor, &value);
    switch (random_below(4)) {
    case 0:
        if (value.tag != 'l' && value.tag != 'm')
            return append_typed(b, &value, random_below(2), err);
        break;
    case 1:
        return lb_builder_encoded_view(b, pool[i].data, pool[i].size, err);
    case 2:
        column = lb_builder_finish(&pool_columns[i]);
        return lb_builder_column(b, &column, pool_columns[i].n_rows - 1, err);
    default:
        break;
    }
    return lb_builder_encoded(b, pool[i].data, pool[i].size, err);
}

/* A value of this type or nil, else any. Few types in a column make typed columns likely. */
static int pick(char wanted)
{
    for (int tries = 0; tries < 200; tries++) {
        int i = (int)random_below(POOL);
        char tag = pool[i].data[0];

        if (wanted == '*' || type_of(tag) == type_of(wanted))
            return i;
    }
    return 0;
}

static void test_random(void **state)
{
    struct lb_builder builder;

    (void)state;
    checked_start(-1);
    lb_builder_init(&builder);
    for (int round = 0; round < 600; round++) {
        struct model model = {{0}, 0, LB_NULL};
        uint32_t n_rows = random_below(round % 20 == 0 ? 5000 : 200);
        char wanted = "*ftidslmn"[random_below(9)];
        uint32_t odds_of_nil = random_below(3) ? random_below(4) * 5 : 0;
        bool mixes = random_below(4) == 0;

        for (uint32_t row = 0; row < n_rows; row++) {
            int i = pick(mixes && random_below(50) == 0 ? '*' : wanted);

            if (odds_of_nil > 0 && random_below(odds_of_nil) == 0) {
                MUST(lb_builder_null(&builder, &failure));
                model_add(&model, "n", 1);
                continue;
            }
            MUST(append(&builder, i, &failure));
            model_add(&model, pool[i].data, pool[i].size);
        }
        check_column(&builder, &model);
        lb_buf_fini(&model.bytes);
        if (random_below(10) == 0)
            lb_builder_fini(&builder);
        else
            lb_builder_reset(&builder);
    }
    lb_builder_fini(&builder);
    checked_stop();
}

/* The caller's bytes may change after a copying append. */
static void test_copies(void **state)
{
    struct lb_builder builder;
    struct lb_column column;
    char text[] = "a string that is not inline";

    (void)state;
    checked_start(-1);
    lb_builder_init(&builder);
    MUST(lb_builder_string(&builder, text, sizeof text - 1, &failure));
    MUST(lb_builder_view(&builder, text, sizeof text - 1, &failure));
    MUST(lb_builder_view(&builder, text, 5, &failure));
    text[0] = 'X';
    column = lb_builder_finish(&builder);
    assert_int_equal(lb_view_data(&column.views[0])[0], 'a');
    assert_ptr_equal(lb_view_data(&column.views[1]), text);
    assert_int_equal(lb_view_data(&column.views[2])[0], 'a');
    lb_builder_fini(&builder);
    checked_stop();
}

/* Strings up to 12 bytes need no memory of their own, and a builder that was reset none at all. */
static void test_memory(void **state)
{
    struct lb_builder builder;
    long n_calls = 0;

    (void)state;
    checked_start(-1);
    lb_builder_init(&builder);
    for (int i = 0; i < 1000; i++)
        MUST(lb_builder_string(&builder, "twelve bytes", 12, &failure));
    assert_int_equal(builder.strings.held_bytes, 0);
    for (int round = 0; round < 12; round++) {
        if (round == 10)
            n_calls = checked_n_calls;
        lb_builder_reset(&builder);
        for (int i = 0; i < 20; i++)
            MUST(lb_builder_string(&builder, "more than twelve bytes", 22, &failure));
    }
    assert_int_equal(checked_n_calls, n_calls);
    lb_builder_fini(&builder);
    checked_stop();
}

static void test_room(void **state)
{
    struct lb_builder builder;

    (void)state;
    checked_start(-1);
    lb_builder_init(&builder);
    for (int round = 0; round < 200; round++) {
        struct model model = {{0}, 0, LB_NULL};
        enum lb_type type = random_below(2) ? LB_STRING : LB_INT64;
        void *room;

        for (int part = 0; part < 5; part++) {
            uint32_t n = random_below(100);

            if (random_below(2)) {
                MUST(lb_builder_null(&builder, &failure));
                model_add(&model, "n", 1);
            }
            MUST(lb_builder_room(&builder, type, n, &room, &failure));
            n -= random_below(n + 1);
            for (uint32_t i = 0; i < n; i++) {
                struct lb_buf value = {0};
                char text[40];
                size_t size = random_text(text, 13);

                if (type == LB_STRING) {
                    lb_view_set((struct lb_view *)room + i, text, size);
                    MUST(lb_codec_put_string(&value, text, size, &failure));
                } else {
                    ((int64_t *)room)[i] = (int64_t)size;
                    MUST(lb_codec_put_int(&value, (int64_t)size, &failure));
                }
                model_add(&model, value.data, value.size);
                lb_buf_fini(&value);
            }
            lb_builder_commit(&builder, n);
        }
        if (model.type == LB_NULL) /* room was asked for, but nothing written */
            model.type = type;
        check_column(&builder, &model);
        assert_int_equal(lb_builder_room(&builder, LB_BOOL, 1, &room, &failure), LB_ERR_INTERNAL);
        lb_buf_fini(&model.bytes);
        lb_builder_reset(&builder);
    }
    lb_builder_fini(&builder);
    checked_stop();
}

static void test_view_set(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 20; size++) {
        char *exact =
            malloc(size + 1); /* one byte in front: no alignment, and asan sees both ends */
        struct lb_view view;
        struct lb_view other;

        for (size_t i = 0; i < size; i++)
            exact[i + 1] = (char)(i + 1);
        lb_view_set(&view, exact + 1, size);
        assert_int_equal(view.size, size);
        assert_memory_equal(lb_view_data(&view), exact + 1, size);
        assert_memory_equal(view.prefix, exact + 1, size < 4 ? size : 4);
        for (size_t i = size; i < LB_VIEW_INLINE; i++)
            assert_int_equal(((char *)&view)[4 + i], 0);

        char *copy = malloc(size + 1);

        memcpy(copy, exact + 1, size);
        lb_view_set(&other, copy, size);
        assert_true(lb_view_equal(&view, &other));
        if (size > 0) {
            copy[size - 1] ^= 1;
            lb_view_set(&other, copy, size);
            assert_false(lb_view_equal(&view, &other));
        }
        free(copy);
        free(exact);
    }
}

/* Every allocation fails once: the rows made until then stay, and the builder can go on. */
static void test_failing(void **state)
{
    bool failed = true;

    (void)state;
    for (long n = 0; failed; n++) {
        struct model model = {{0}, 0, LB_NULL};
        struct lb_builder builder;
        int n_failures = 0;

        random_state = 42;
        checked_start(n);
        lb_builder_init(&builder);
        for (int row = 0; row < 300; row++) {
            struct lb_error err = {0};
            int i = pick(row < 100 ? 's' : '*');
            lb_status status = append(&builder, i, &err);

            assert_int_equal(err.status, status);
            if (status != LB_OK) {
                assert_int_equal(status, LB_ERR_RESOURCE);
                n_failures++;
                /* a column that could not take the value may have got its type, or widened */
                if (model.type == LB_NULL || builder.type == LB_ANY)
                    model.type = builder.type;
                check_column(&builder, &model);
                MUST(append(&builder, i, &failure));
            }
            lb_sys.realloc = checked_saved; /* the model is no part of the test */
            model_add(&model, pool[i].data, pool[i].size);
            lb_sys.realloc = checked_realloc;
        }
        lb_sys.realloc = checked_saved;
        check_column(&builder, &model);
        lb_buf_fini(&model.bytes);
        lb_sys.realloc = checked_realloc;
        lb_builder_fini(&builder);
        failed = checked_stop();
        assert_int_equal(n_failures, failed ? 1 : 0);
    }
}

static void test_too_long(void **state)
{
    struct lb_builder builder;

    (void)state;
    lb_builder_init(&builder);
    assert_int_equal(lb_builder_string(&builder, "", (size_t)1 << 32, &failure), LB_ERR_RESOURCE);
    assert_int_equal(lb_builder_view(&builder, "", (size_t)1 << 32, &failure), LB_ERR_RESOURCE);
    MUST(lb_builder_string(&builder, "x", 1, &failure));
    assert_int_equal(lb_builder_string(&builder, "", (size_t)1 << 32, &failure), LB_ERR_RESOURCE);
    assert_int_equal(builder.n_rows, 1);
    lb_builder_fini(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),   cmocka_unit_test(test_copies),
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_room),
        cmocka_unit_test(test_view_set), cmocka_unit_test(test_failing),
        cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests(tests, pool_setup, pool_teardown);
}
