/* Native files: any bytes as a file are an error or rows; blocks whose sizes and checksums are put right reach the reader of rows,
 * which must take what a reader written here takes; what was read is written and read again, and any damage to that is found.
 *
 * INPUT  bytes: how to read the rest (the file as it is; blocks; rows of values to be written), bytes that a read moves, damage
 *        and its place (2); then the file; or per block a byte of kind, its number of rows, its size and its bytes; or per row
 *        its width and its values' kinds and bytes. */
#include "core/base/hash.h"
#include "core/column/codec.h"
#include "core/io/native.h"
#include "fuzz_files.h"

enum { MOST = 3000, HEAD = 24 };

static const char magic[] = "LUABATCH1\n";

struct head {
    uint32_t raw_size, stored_size, n_rows, zero;
    uint64_t hash;
};

static void append(struct lb_buf *out, const void *data, size_t size)
{
    MUST(lb_buf_append(out, data, size, &fuzz_error));
}

/* ---- reading ---- */

/* Appends the rows of file `number` as the format has them: width and values. */
static lb_status read_rows(int number, struct lb_buf *rows, uint64_t *n_rows,
                           struct lb_buf *written)
{
    char name[16];
    struct lb_native_reader *reader = NULL;
    struct lb_batch_builder builder;
    struct lb_file file = fuzz_file_named(name, number, LB_PLAIN);
    bool more = true;
    lb_status status = lb_native_open(&file, &reader, &fuzz_error);
    CHECK(status == LB_OK);
    lb_batch_builder_init(&builder);
    *n_rows = 0;
    while (status == LB_OK && more) {
        lb_batch_builder_reset(&builder);
        status = lb_native_read(reader, &builder, &more, &fuzz_error);
        const struct lb_batch *batch = lb_batch_builder_finish(&builder, NULL);
        if (builder.n_rows == 0)
            continue;
        MUST(lb_batch_verify(batch, &fuzz_error));
        *n_rows += batch->n_rows;
        for (uint32_t r = 0; r < batch->n_rows; r++) {
            append(rows, &batch->n_columns, sizeof batch->n_columns);
            for (uint32_t c = 0; c < batch->n_columns; c++)
                MUST(lb_codec_put_column(rows, &batch->columns[c], r, &fuzz_error));
        }
        if (written != NULL)
            MUST(lb_native_put_batch(batch, written, &fuzz_error));
    }
    CHECK(status == LB_OK || status == LB_ERR_DATA);
    lb_batch_builder_fini(&builder);
    lb_native_close(reader);
    return status;
}

/* Reads file 0; if it is good, writes its rows, reads these again, and looks whether damage is found. */
static bool check_file(const struct lb_buf *wanted, uint32_t damage, uint32_t where)
{
    struct lb_buf rows = {0}, again = {0}, written = {0};
    uint64_t n_rows = 0, n_again = 0;
    MUST(lb_native_put_head(&written, &fuzz_error));
    bool is_good = read_rows(0, &rows, &n_rows, &written) == LB_OK;
    if (is_good) {
        if (wanted != NULL)
            CHECK(rows.size == wanted->size &&
                  (rows.size == 0 || memcmp(rows.data, wanted->data, rows.size) == 0));
        MUST(lb_native_put_end(n_rows, &written, &fuzz_error));
        fuzz_file_put(1, written.data, written.size);
        CHECK(read_rows(1, &again, &n_again, NULL) == LB_OK && n_rows == n_again);
        CHECK(rows.size == again.size &&
              (rows.size == 0 || memcmp(rows.data, again.data, rows.size) == 0));
        again.size = 0;
        if (damage == 1)
            written.data[where / 8 % written.size] ^= (char)(1 << where % 8);
        else if (damage == 2)
            written.size = where % written.size;
        fuzz_file_put(1, written.data, written.size);
        CHECK((read_rows(1, &again, &n_again, NULL) == LB_OK) == (damage == 0 || damage > 2));
    }
    lb_buf_fini(&rows);
    lb_buf_fini(&again);
    lb_buf_fini(&written);
    return is_good;
}

/* ---- blocks ---- */

/* Whether the bytes are that many rows; no less, no more. */
static bool naive_rows(const char *data, size_t size, uint32_t n_rows)
{
    const char *end = data + size;
    for (uint32_t r = 0; r < n_rows; r++) {
        uint32_t width;
        if (end - data < 4)
            return false;
        memcpy(&width, data, 4);
        data += 4;
        if (width == 0 || width > LB_MAX_COLUMNS)
            return false;
        for (uint32_t c = 0; c < width; c++) {
            const char *start = data;
            struct lb_value value;
            if (lb_codec_get(&data, end, &value, &fuzz_error) != LB_OK ||
                lb_codec_verify(start, (size_t)(data - start), &fuzz_error) != LB_OK)
                return false;
        }
    }
    return data == end;
}

static void put_block(struct fuzz_input *input, struct lb_buf *file, struct lb_buf *rows,
                      uint64_t *total, bool *is_good)
{
    uint32_t kind = fuzz_byte(input), n_rows = 1 + fuzz_below(input, 8);
    uint32_t ratio = kind == 1 ? 2 + fuzz_below(input, 250) : 1;
    size_t size = 1 + fuzz_byte(input);
    size = size < input->size ? size : input->size;
    const char *data = (const char *)input->data;
    struct head head = {(uint32_t)size, (uint32_t)size, n_rows, 0, lb_hash_bytes(data, size)};
    head.raw_size *= ratio; /* above 1: it says that it is compressed */
    input->data += size;
    input->size -= size;
    append(file, &head, HEAD);
    append(file, data, size);
    *total += n_rows;
    if (kind != 1 && *is_good) {
        *is_good = size > 0 && naive_rows(data, size, n_rows);
        append(rows, data, size);
    } else {
        *is_good = false; /* or not: the reader says */
        rows->size = 0;
    }
}

static void check_blocks(struct fuzz_input *input, uint32_t damage, uint32_t where)
{
    struct lb_buf file = {0}, rows = {0};
    uint64_t total = 0;
    bool is_good = true, may_be_good = false;
    append(&file, magic, sizeof magic - 1);
    while (input->size > 3) {
        may_be_good = may_be_good || input->data[0] == 1;
        put_block(input, &file, &rows, &total, &is_good);
    }
    MUST(lb_native_put_end(total, &file, &fuzz_error));
    fuzz_file_put(0, file.data, file.size);
    bool got = check_file(is_good ? &rows : NULL, damage, where);
    CHECK(may_be_good || got == is_good);
    lb_buf_fini(&file);
    lb_buf_fini(&rows);
}

/* ---- values to be written ---- */

static void put_value(struct fuzz_input *input, struct lb_builder *column)
{
    uint32_t kind = fuzz_below(input, 6);
    size_t size = fuzz_below(input, 30);
    int64_t integer = (int64_t)fuzz_below(input, 60000) - 30000;
    size = size < input->size ? size : input->size;
    switch (kind) {
    case 0:
        MUST(lb_builder_null(column, &fuzz_error));
        return;
    case 1:
        MUST(lb_builder_bool(column, integer & 1, &fuzz_error));
        return;
    case 2:
        MUST(lb_builder_int(column, integer, &fuzz_error));
        return;
    case 3:
        MUST(lb_builder_float(column, (double)integer / 8, &fuzz_error));
        return;
    default:
        MUST(lb_builder_string(column, (const char *)input->data, size, &fuzz_error));
        input->data += size;
        input->size -= size;
    }
}

static void check_rows(struct fuzz_input *input, uint32_t damage, uint32_t where)
{
    struct lb_buf file = {0}, rows = {0};
    struct lb_batch_builder builder;
    uint64_t total = 0;
    MUST(lb_native_put_head(&file, &fuzz_error));
    lb_batch_builder_init(&builder);
    while (input->size > 0) {
        uint32_t width = 1 + fuzz_below(input, 5);
        lb_batch_builder_reset(&builder);
        for (uint32_t r = fuzz_below(input, LB_BATCH_ROWS + 1); r > 0 && input->size > 0; r--) {
            for (uint32_t c = 0; c < width; c++) {
                struct lb_builder *column;
                MUST(lb_batch_builder_column(&builder, c, &column, &fuzz_error));
                put_value(input, column);
            }
            MUST(lb_batch_builder_end_row(&builder, 0, &fuzz_error));
        }
        const struct lb_batch *batch = lb_batch_builder_finish(&builder, NULL);
        if (batch->n_rows == 0)
            continue;
        total += batch->n_rows;
        MUST(lb_native_put_batch(batch, &file, &fuzz_error));
        for (uint32_t r = 0; r < batch->n_rows; r++) {
            append(&rows, &batch->n_columns, sizeof batch->n_columns);
            for (uint32_t c = 0; c < batch->n_columns; c++)
                MUST(lb_codec_put_column(&rows, &batch->columns[c], r, &fuzz_error));
        }
    }
    lb_batch_builder_fini(&builder);
    MUST(lb_native_put_end(total, &file, &fuzz_error));
    fuzz_file_put(0, file.data, file.size);
    CHECK(check_file(&rows, damage, where));
    lb_buf_fini(&file);
    lb_buf_fini(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint32_t kind = fuzz_below(&input, 3), step = fuzz_byte(&input);
    uint32_t damage = fuzz_below(&input, 4), where = fuzz_below(&input, 65536);
    if (input.size > MOST)
        return 0;
    fuzz_files_begin(step == 0 ? SIZE_MAX : step);
    if (kind == 0) {
        fuzz_file_put(0, input.data, input.size);
        check_file(NULL, damage, where);
    } else if (kind == 1) {
        check_blocks(&input, damage, where);
    } else {
        check_rows(&input, damage, where);
    }
    return fuzz_files_end();
}
