/* The native format: exact round trips of every type, several files in one, damage at every byte.
 */
#include "core/io/native.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/column/codec.h"
#include "core/io/output.h"
#include "folder.h"
#include "random.h"

static struct lb_error err;

#define OK(call) assert_int_equal((call), LB_OK)

/* A random encoded value; tables up to `depth` levels. */
static void put_random(struct lb_buf *out, int depth)
{
    char text[40];
    size_t size = random_below(sizeof text);
    uint64_t bits = random_next();
    double number;
    size_t mark;
    switch (random_below(depth > 0 ? 8 : 6)) {
    case 0:
        OK(lb_codec_put_nil(out, &err));
        break;
    case 1:
        OK(lb_codec_put_bool(out, bits & 1, &err));
        break;
    case 2:
        OK(lb_codec_put_int(out, (int64_t)bits, &err));
        break;
    case 3:
        memcpy(&number, &bits, 8);
        OK(lb_codec_put_float(out, number, &err));
        break;
    case 6:
        OK(lb_codec_begin(out, 'l', &mark, &err));
        bits %= 4;
        for (uint64_t i = 0; i < bits; i++)
            put_random(out, depth - 1);
        lb_codec_end(out, mark, (uint32_t)bits);
        break;
    case 7:
        OK(lb_codec_begin(out, 'm', &mark, &err));
        bits = 1 + bits % 3;
        for (uint64_t i = 0; i < bits; i++) {
            OK(lb_codec_put_string(out, &"abc"[i], 1, &err));
            put_random(out, depth - 1);
        }
        lb_codec_end(out, mark, (uint32_t)bits);
        break;
    default:
        for (size_t i = 0; i < size; i++)
            text[i] = (char)random_next();
        OK(lb_codec_put_string(out, text, size, &err));
    }
}

/* Fills the builder with rows; the encoded values of each row, nils at the end cut off, go to
 * `wanted`, too. */
static void random_batch(struct lb_batch_builder *builder, bool mixed, struct lb_buf *wanted)
{
    uint32_t n_columns = 1 + (uint32_t)random_below(4);
    uint32_t n_rows = (uint32_t)random_below(LB_BATCH_ROWS < 100 ? LB_BATCH_ROWS + 1 : 300);
    struct lb_buf value = {0};
    lb_batch_builder_reset(builder);
    for (uint32_t row = 0; row < n_rows; row++) {
        uint32_t last = 0;
        struct lb_buf columns = {0};
        size_t last_end = 0;
        for (uint32_t i = 0; i < n_columns; i++) {
            struct lb_builder *column;
            value.size = 0;
            if (mixed)
                put_random(&value, 3);
            else
                OK(lb_codec_put_int(&value, (int64_t)random_below(1000), &err));
            OK(lb_batch_builder_column(builder, i, &column, &err));
            OK(lb_builder_encoded(column, value.data, value.size, &err));
            OK(lb_buf_append(&columns, value.data, value.size, &err));
            if (i == 0 || value.data[0] != 'n') {
                last = i + 1;
                last_end = columns.size;
            }
        }
        OK(lb_batch_builder_end_row(builder, 0, &err));
        OK(lb_buf_append(wanted, &last, sizeof last, &err));
        OK(lb_buf_append(wanted, columns.data, last_end, &err));
        lb_buf_fini(&columns);
    }
    lb_buf_fini(&value);
}

/* The rows of a batch as random_batch notes them. */
static void note_batch(const struct lb_batch *batch, struct lb_buf *out)
{
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        uint32_t last = 1;
        size_t mark = out->size;
        OK(lb_buf_append(out, &last, sizeof last, &err));
        size_t last_end = 0;
        for (uint32_t k = 0; k < batch->n_columns; k++) {
            size_t start = out->size;
            OK(lb_codec_put_column(out, &batch->columns[k], row, &err));
            if (k == 0 || out->data[start] != 'n') {
                last = k + 1;
                last_end = out->size;
            }
        }
        memcpy(out->data + mark, &last, sizeof last);
        out->size = last_end;
    }
}

static lb_status read_file(const char *path, struct lb_buf *rows)
{
    struct lb_file file = {.path = (char *)(uintptr_t)path, .compression = lb_compression_of(path)};
    struct lb_native_reader *reader;
    struct lb_batch_builder builder;
    bool more = true;
    lb_status status = lb_native_open(&file, &reader, &err);
    if (status != LB_OK)
        return status;
    lb_batch_builder_init(&builder);
    while (more && status == LB_OK) {
        lb_batch_builder_reset(&builder);
        status = lb_native_read(reader, &builder, &more, &err);
        if (status == LB_OK) {
            assert_true(!more || builder.n_rows > 0);
            if (builder.n_rows > 0) {
                const struct lb_batch *batch = lb_batch_builder_finish(&builder, NULL);
                OK(lb_batch_verify(batch, &err));
                note_batch(batch, rows);
            }
        }
    }
    lb_batch_builder_fini(&builder);
    lb_native_close(reader);
    return status;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        struct lb_buf file = {0};
        struct lb_buf wanted = {0};
        struct lb_buf got = {0};
        struct lb_batch_builder builder;
        lb_batch_builder_init(&builder);
        for (int part = round % 3; part >= 0; part--) { /* several files in one */
            uint64_t n_rows = 0;
            OK(lb_native_put_head(&file, &err));
            for (size_t i = random_below(6); i > 0; i--) {
                random_batch(&builder, round & 1, &wanted);
                if (builder.n_rows == 0)
                    continue;
                n_rows += builder.n_rows;
                OK(lb_native_put_batch(lb_batch_builder_finish(&builder, NULL), &file, &err));
            }
            OK(lb_native_put_end(n_rows, &file, &err));
        }
        const char *path = round % 5 == 0 ? "f.zst" : "f";
        if (round % 5 == 0) {
            struct lb_buf packed = {0};
            OK(lb_output_compress(LB_ZSTD, file.data, file.size, &packed, &err));
            file_put(path, packed.data, packed.size);
            lb_buf_fini(&packed);
        } else {
            file_put(path, file.data, file.size);
        }
        OK(read_file(path, &got));
        assert_int_equal(got.size, wanted.size);
        if (got.size > 0)
            assert_memory_equal(got.data, wanted.data, got.size);
        lb_batch_builder_fini(&builder);
        lb_buf_fini(&file);
        lb_buf_fini(&wanted);
        lb_buf_fini(&got);
    }
}

static void test_selection(void **state)
{
    (void)state;
    struct lb_batch_builder builder;
    struct lb_buf wanted = {0};
    struct lb_buf file = {0};
    struct lb_buf got = {0};
    uint32_t select[LB_BATCH_ROWS];
    lb_batch_builder_init(&builder);
    do {
        wanted.size = 0;
        random_batch(&builder, true, &wanted);
    } while (builder.n_rows < 3);
    struct lb_batch batch = *lb_batch_builder_finish(&builder, NULL);
    batch.n_selected = 0;
    for (uint32_t i = 0; i < batch.n_rows; i += 2)
        select[batch.n_selected++] = i;
    batch.select = select;
    wanted.size = 0;
    note_batch(&batch, &wanted);
    OK(lb_native_put_head(&file, &err));
    OK(lb_native_put_batch(&batch, &file, &err));
    batch.n_selected = 0;
    OK(lb_native_put_batch(&batch, &file, &err));
    OK(lb_native_put_end((builder.n_rows + 1) / 2, &file, &err));
    file_put("f", file.data, file.size);
    OK(read_file("f", &got));
    assert_int_equal(got.size, wanted.size);
    assert_memory_equal(got.data, wanted.data, got.size);
    lb_batch_builder_fini(&builder);
    lb_buf_fini(&wanted);
    lb_buf_fini(&file);
    lb_buf_fini(&got);
}

static void put_names(struct lb_buf *file, const char *first, const char *second)
{
    struct lb_buf list = {0};
    size_t mark;
    OK(lb_codec_begin(&list, 'l', &mark, &err));
    OK(lb_codec_put_string(&list, first, strlen(first), &err));
    OK(lb_codec_put_string(&list, second, strlen(second), &err));
    lb_codec_end(&list, mark, 2);
    OK(lb_native_put_names(list.data, list.size, file, &err));
    lb_buf_fini(&list);
}

/* A block with one row of so many columns, each 7. */
static void put_sevens(struct lb_buf *file, uint32_t n_columns)
{
    struct lb_batch_builder builder;
    lb_batch_builder_init(&builder);
    for (uint32_t i = 0; i < n_columns; i++) {
        struct lb_builder *column;
        OK(lb_batch_builder_column(&builder, i, &column, &err));
        OK(lb_builder_int(column, 7, &err));
    }
    OK(lb_batch_builder_end_row(&builder, 0, &err));
    OK(lb_native_put_batch(lb_batch_builder_finish(&builder, NULL), file, &err));
    lb_batch_builder_fini(&builder);
}

/* The result of reading a file of two rows: its names, rows of one or more columns, and a further file behind it. */
static lb_status read_named(const char *second_name, uint32_t n_columns, const char *other,
                            struct lb_buf *got)
{
    struct lb_buf file = {0};
    OK(lb_native_put_head(&file, &err));
    put_names(&file, "a", second_name);
    put_sevens(&file, 2);
    put_sevens(&file, n_columns);
    OK(lb_native_put_end(2, &file, &err));
    if (other != NULL) {
        OK(lb_native_put_head(&file, &err));
        if (other[0] != '\0')
            put_names(&file, "a", other);
        OK(lb_native_put_end(0, &file, &err));
    }
    file_put("f", file.data, file.size);
    lb_buf_fini(&file);
    got->size = 0;
    return read_file("f", got);
}

static void test_names(void **state)
{
    (void)state;
    struct lb_buf got = {0}, padded = {0}, names = {0};
    struct lb_file file = {.path = (char *)(uintptr_t) "f"};
    struct lb_value list, name;
    OK(read_named("b c", 2, NULL, &got));
    OK(lb_native_names(&file, &names, &err));
    OK(lb_codec_verify(names.data, names.size, &err));
    const char *cursor = names.data;
    lb_codec_next(&cursor, &list);
    assert_int_equal(list.count, 2);
    cursor = list.data;
    lb_codec_next(&cursor, &name);
    lb_codec_next(&cursor, &name);
    assert_int_equal(name.size, 3);
    assert_memory_equal(name.data, "b c", 3);
    /* Columns that a row lacks are nil; it has none without a name. */
    OK(read_named("b", 1, "b", &padded));
    assert_int_not_equal(padded.size, got.size);
    assert_int_equal(read_named("b", 3, NULL, &got), LB_ERR_DATA);
    assert_non_null(strstr(err.message, "wrong number of columns"));
    /* Further files have the same names. */
    assert_int_equal(read_named("b", 2, "c", &got), LB_ERR_DATA);
    assert_non_null(strstr(err.message, "rows of other columns"));
    assert_int_equal(read_named("b", 2, "", &got), LB_ERR_DATA);
    assert_non_null(strstr(err.message, "rows of other columns"));
    lb_buf_fini(&got);
    lb_buf_fini(&padded);
    lb_buf_fini(&names);
}

/* Every bit of every byte, and every length: always an error that names the file and a byte. */
static void test_damage(void **state)
{
    (void)state;
    struct lb_batch_builder builder;
    struct lb_buf wanted = {0};
    struct lb_buf file = {0};
    struct lb_buf got = {0};
    char message[100];
    lb_batch_builder_init(&builder);
    OK(lb_native_put_head(&file, &err));
    put_names(&file, "k", "v");
    uint64_t n_rows = 0;
    for (int i = 0; i < 3; i++) {
        struct lb_builder *column;
        lb_batch_builder_reset(&builder);
        for (int row = 0; row < 5; row++) {
            OK(lb_batch_builder_column(&builder, 0, &column, &err));
            OK(lb_builder_string(column, i == 0 ? "aaaaaaaaaaaaaaaaaaaa" : "x\xff", i == 0 ? 20 : 2,
                                 &err));
            OK(lb_batch_builder_end_row(&builder, 0, &err));
        }
        n_rows += 5;
        OK(lb_native_put_batch(lb_batch_builder_finish(&builder, NULL), &file, &err));
    }
    OK(lb_native_put_end(n_rows, &file, &err));
    for (size_t i = 0; i < file.size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            file.data[i] ^= (char)(1 << bit);
            file_put("f", file.data, file.size);
            got.size = 0;
            assert_int_equal(read_file("f", &got), LB_ERR_DATA);
            assert_memory_equal(err.message, "f: ", 3);
            assert_non_null(strstr(err.message, "byte "));
            file.data[i] ^= (char)(1 << bit);
        }
        file_put("f", file.data, i);
        assert_int_equal(read_file("f", &got), LB_ERR_DATA);
        snprintf(message, sizeof message, "f: truncated at byte %zu", i);
        assert_string_equal(err.message, message);
    }
    OK(lb_buf_append(&file, "LUAB", 4, &err));
    file_put("f", file.data, file.size);
    assert_int_equal(read_file("f", &got), LB_ERR_DATA);
    snprintf(message, sizeof message, "f: truncated at byte %zu", file.size);
    assert_string_equal(err.message, message);
    file_put("f", "something else", 14);
    assert_int_equal(read_file("f", &got), LB_ERR_DATA);
    assert_string_equal(err.message, "f: this is not a file written by save (byte 0)");
    lb_batch_builder_fini(&builder);
    lb_buf_fini(&wanted);
    lb_buf_fini(&file);
    lb_buf_fini(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_damage),
    };
    random_start("test_native");
    folder_make();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove();
    return failed;
}
