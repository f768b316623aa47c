/* The native file format: see native.h.
 *
 * IDEA   Blocks are verified whole (sizes and checksum) before a row of them is given out, and
 *        every value as it is read; a file without its end block, or whose end block counts other
 *        rows, is damaged. A size read from the file is not believed: stored bytes are read in
 *        pieces, and raw bytes are at most 255 times the stored ones, which is lz4's best.
 * MEMORY The reader holds one block. Rows are copied into the builder, so that blocks and batches
 *        need not end together. */
#include "core/io/native.h"

#include <lz4.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/codec.h"

static const char file_magic[] = "LUABATCH1\n";

enum {
    MAGIC_BYTES = sizeof file_magic - 1,
    HEAD_BYTES = 24,
    END_BYTES = 8,
    READ_STEP_BYTES = 1 << 20,
    LZ4_BEST_RATIO = 255,
#ifdef LB_TINY
    BLOCK_BYTES = 200
#else
    BLOCK_BYTES = 16 << 20 /* a batch of large rows becomes several blocks */
#endif
};

struct block_head {
    uint32_t raw_size;
    uint32_t stored_size;
    uint32_t n_rows;
    uint32_t is_names; /* 0 or 1 */
    uint64_t hash;
};
_Static_assert(sizeof(struct block_head) == HEAD_BYTES, "the head has no holes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "sizes are written as they are in memory");

/* ---- writing ---- */

lb_status lb_native_put_head(struct lb_buf *out, struct lb_error *err)
{
    return lb_buf_append(out, file_magic, MAGIC_BYTES, err);
}

lb_status lb_native_put_names(const char *list, size_t size, struct lb_buf *out,
                              struct lb_error *err)
{
    struct block_head head = {
        .raw_size = (uint32_t)size,
        .stored_size = (uint32_t)size,
        .is_names = 1,
        .hash = lb_hash_bytes(list, size),
    };
    LB_TRY(lb_buf_append(out, &head, HEAD_BYTES, err));
    return lb_buf_append(out, list, size, err);
}

lb_status lb_native_put_end(uint64_t n_rows, struct lb_buf *out, struct lb_error *err)
{
    struct block_head head = {.stored_size = END_BYTES, .hash = lb_hash_bytes(&n_rows, END_BYTES)};
    LB_TRY(lb_buf_append(out, &head, HEAD_BYTES, err));
    return lb_buf_append(out, &n_rows, END_BYTES, err);
}

static lb_status put_row(const struct lb_batch *batch, uint32_t row, struct lb_buf *raw,
                         struct lb_error *err)
{
    LB_TRY(lb_buf_append(raw, &batch->n_columns, sizeof batch->n_columns, err));
    for (uint32_t i = 0; i < batch->n_columns; i++)
        LB_TRY(lb_codec_put_column(raw, &batch->columns[i], row, err));
    return LB_OK;
}

static lb_status put_block(const struct lb_buf *raw, uint32_t n_rows, struct lb_buf *out,
                           struct lb_error *err)
{
    if (raw->size > LZ4_MAX_INPUT_SIZE)
        return lb_error_set(err, LB_ERR_RESOURCE,
                            "a record of %zu bytes is too large for the native format", raw->size);
    int bound = LZ4_compressBound((int)raw->size);
    LB_TRY(lb_buf_reserve(out, HEAD_BYTES + (size_t)bound, err));
    char *body = out->data + out->size + HEAD_BYTES;
    size_t stored = (size_t)LZ4_compress_default(raw->data, body, (int)raw->size, bound);
    if (stored == 0 || stored >= raw->size) {
        stored = raw->size;
        memcpy(body, raw->data, stored);
    }
    struct block_head head = {
        .raw_size = (uint32_t)raw->size,
        .stored_size = (uint32_t)stored,
        .n_rows = n_rows,
        .hash = lb_hash_bytes(body, stored),
    };
    memcpy(out->data + out->size, &head, HEAD_BYTES);
    out->size += HEAD_BYTES + stored;
    return LB_OK;
}

lb_status lb_native_put_batch(const struct lb_batch *batch, struct lb_buf *out,
                              struct lb_error *err)
{
    struct lb_buf raw = {0};
    uint32_t n_rows = 0;
    lb_status status = LB_OK;
    for (uint32_t i = 0; i < batch->n_selected && status == LB_OK; i++) {
        status = put_row(batch, lb_batch_row(batch, i), &raw, err);
        n_rows++;
        if (status == LB_OK && (raw.size >= BLOCK_BYTES || i + 1 == batch->n_selected)) {
            status = put_block(&raw, n_rows, out, err);
            raw.size = 0;
            n_rows = 0;
        }
    }
    lb_buf_fini(&raw);
    return status;
}

/* ---- reading ---- */

struct lb_native_reader {
    char *path; /* for messages */
    struct lb_stream *stream;
    uint64_t read_bytes;   /* of the (decompressed) file */
    uint64_t block_offset; /* where the current block begins */
    uint64_t n_file_rows;  /* rows of the blocks so far of the current file of several */
    bool in_file;          /* behind a magic, before its end block */
    bool at_start;         /* no block of the current file was read yet */
    bool knows_names;      /* of the first of several files: the others must have the same */
    struct lb_buf names;   /* a codec list; empty: its records are no rows */
    uint32_t n_names;      /* in it: columns that each row has, nil at the end left out or not */
    bool ended;
    struct lb_buf stored;
    struct lb_buf raw;  /* rows of the current block */
    const char *cursor; /* next row */
    const char *end;
    uint32_t n_rows_left; /* from cursor to end */
};

lb_status lb_native_open(const struct lb_file *file, struct lb_native_reader **reader,
                         struct lb_error *err)
{
    lb_status status;
    struct lb_native_reader *self = lb_alloc_zero(sizeof *self);
    if (self == NULL)
        return lb_error_memory(err, "a file reader", sizeof *self);
    self->path = lb_strdup(lb_file_label(file));
    status = self->path == NULL ? lb_error_memory(err, "a file reader", strlen(file->path))
                                : lb_stream_open(file, &self->stream, err);
    if (status != LB_OK) {
        lb_native_close(self);
        return status;
    }
    *reader = self;
    return LB_OK;
}

void lb_native_count(struct lb_native_reader *reader, _Atomic uint64_t *bytes)
{
    lb_stream_count(reader->stream, bytes);
}

void lb_native_close(struct lb_native_reader *reader)
{
    if (reader == NULL)
        return;
    lb_stream_close(reader->stream);
    lb_buf_fini(&reader->names);
    lb_buf_fini(&reader->stored);
    lb_buf_fini(&reader->raw);
    lb_strfree(reader->path);
    lb_free(reader, sizeof *reader);
}

static lb_status damaged(const struct lb_native_reader *reader, const char *what,
                         struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_DATA, "%s: damaged at byte %llu: %s", reader->path,
                        (unsigned long long)reader->block_offset, what);
}

static lb_status truncated(const struct lb_native_reader *reader, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_DATA, "%s: truncated at byte %llu", reader->path,
                        (unsigned long long)reader->read_bytes);
}

/* Reads size bytes; *got < size only at the end of the file. */
static lb_status read_bytes(struct lb_native_reader *reader, void *data, size_t size, size_t *got,
                            struct lb_error *err)
{
    LB_TRY(lb_stream_read(reader->stream, data, size, got, err));
    reader->read_bytes += *got;
    return LB_OK;
}

static lb_status read_stored(struct lb_native_reader *reader, size_t size, struct lb_error *err)
{
    reader->stored.size = 0;
    while (reader->stored.size < size) {
        size_t left = size - reader->stored.size;
        size_t step = left < READ_STEP_BYTES ? left : READ_STEP_BYTES;
        size_t got;
        LB_TRY(lb_buf_reserve(&reader->stored, step, err));
        LB_TRY(read_bytes(reader, reader->stored.data + reader->stored.size, step, &got, err));
        reader->stored.size += got;
        if (got < step)
            return truncated(reader, err);
    }
    return LB_OK;
}

/* The head of a further file, or the good end. */
static lb_status read_magic(struct lb_native_reader *reader, struct lb_error *err)
{
    char magic[MAGIC_BYTES];
    size_t got;
    reader->block_offset = reader->read_bytes;
    LB_TRY(read_bytes(reader, magic, MAGIC_BYTES, &got, err));
    if (got == 0 && reader->block_offset > 0) {
        reader->ended = true;
        return LB_OK;
    }
    if (memcmp(magic, file_magic, got) != 0)
        return reader->block_offset > 0
                   ? damaged(reader, "garbage behind the end", err)
                   : lb_error_set(err, LB_ERR_DATA,
                                  "%s: this is not a file written by save (byte 0)", reader->path);
    if (got < MAGIC_BYTES)
        return truncated(reader, err);
    reader->in_file = reader->at_start = true;
    reader->n_file_rows = 0;
    return LB_OK;
}

static lb_status end_file(struct lb_native_reader *reader, const struct block_head *head,
                          struct lb_error *err)
{
    uint64_t n_rows;
    if (head->stored_size != END_BYTES || head->n_rows != 0)
        return damaged(reader, "wrong end block", err);
    LB_TRY(read_stored(reader, END_BYTES, err));
    memcpy(&n_rows, reader->stored.data, END_BYTES);
    if (lb_hash_bytes(reader->stored.data, END_BYTES) != head->hash)
        return damaged(reader, "wrong checksum", err);
    if (n_rows != reader->n_file_rows)
        return damaged(reader, "wrong number of rows", err);
    reader->in_file = false;
    return LB_OK;
}

/* Verifies the list in `stored`: of strings, one for each column. */
static lb_status check_names(const struct lb_native_reader *reader, uint32_t *n_names,
                             struct lb_error *err)
{
    const struct lb_buf *stored = &reader->stored;
    const char *cursor = stored->data;
    struct lb_value list, name;
    lb_status status = lb_codec_verify(stored->data, stored->size, err);
    if (status == LB_ERR_DATA)
        return damaged(reader, "wrong names of columns", err);
    LB_TRY(status);
    lb_codec_next(&cursor, &list);
    if (list.tag != 'l' || list.count == 0 || list.count > LB_MAX_COLUMNS)
        return damaged(reader, "wrong names of columns", err);
    cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &name);
        if (name.tag != 's')
            return damaged(reader, "wrong names of columns", err);
    }
    *n_names = list.count;
    return LB_OK;
}

/* The names of the current file, which the first block has or has not, are those of the first of several. */
static lb_status meet_names(struct lb_native_reader *reader, const struct block_head *head,
                            struct lb_error *err)
{
    struct lb_buf none = {0};
    const struct lb_buf *names = &none;
    uint32_t n_names = 0;
    reader->at_start = false;
    if (head->is_names != 0) {
        if (head->raw_size == 0 || head->stored_size != head->raw_size || head->n_rows != 0)
            return damaged(reader, "wrong block head", err);
        LB_TRY(read_stored(reader, head->stored_size, err));
        if (lb_hash_bytes(reader->stored.data, head->stored_size) != head->hash)
            return damaged(reader, "wrong checksum", err);
        LB_TRY(check_names(reader, &n_names, err));
        names = &reader->stored;
    }
    if (!reader->knows_names) {
        reader->knows_names = true;
        reader->n_names = n_names;
        return names->size > 0 ? lb_buf_append(&reader->names, names->data, names->size, err)
                               : LB_OK;
    }
    if (names->size != reader->names.size ||
        (names->size > 0 && memcmp(names->data, reader->names.data, names->size) != 0))
        return damaged(reader, "rows of other columns behind the first ones", err);
    return LB_OK;
}

static lb_status read_block(struct lb_native_reader *reader, struct lb_error *err)
{
    struct block_head head;
    size_t got;
    reader->block_offset = reader->read_bytes;
    LB_TRY(read_bytes(reader, &head, HEAD_BYTES, &got, err));
    if (got < HEAD_BYTES)
        return truncated(reader, err);
    if (head.is_names > 1 || (head.is_names == 1 && !reader->at_start))
        return damaged(reader, "wrong block head", err);
    if (reader->at_start)
        LB_TRY(meet_names(reader, &head, err));
    if (head.is_names == 1)
        return LB_OK;
    if (head.raw_size == 0)
        return end_file(reader, &head, err);
    bool is_plain = head.stored_size == head.raw_size;
    if (head.stored_size > head.raw_size || head.n_rows == 0 ||
        (!is_plain &&
         (head.raw_size > LZ4_MAX_INPUT_SIZE || head.raw_size / LZ4_BEST_RATIO > head.stored_size)))
        return damaged(reader, "wrong block head", err);
    LB_TRY(read_stored(reader, head.stored_size, err));
    if (lb_hash_bytes(reader->stored.data, head.stored_size) != head.hash)
        return damaged(reader, "wrong checksum", err);
    const struct lb_buf *rows = &reader->stored;
    if (!is_plain) {
        reader->raw.size = 0;
        LB_TRY(lb_buf_reserve(&reader->raw, head.raw_size, err));
        if (LZ4_decompress_safe(reader->stored.data, reader->raw.data, (int)head.stored_size,
                                (int)head.raw_size) != (int)head.raw_size)
            return damaged(reader, "wrong lz4 data", err);
        rows = &reader->raw;
    }
    reader->cursor = rows->data;
    reader->end = rows->data + head.raw_size;
    reader->n_rows_left = head.n_rows;
    reader->n_file_rows += head.n_rows;
    return LB_OK;
}

/* The next value as encoded bytes, verified. */
static lb_status next_value(struct lb_native_reader *reader, const char **data, size_t *size,
                            struct lb_error *err)
{
    struct lb_value value;
    *data = reader->cursor;
    lb_status status = lb_codec_get(&reader->cursor, reader->end, &value, err);
    *size = (size_t)(reader->cursor - *data);
    if (status == LB_OK && (value.tag == 'l' || value.tag == 'm'))
        status = lb_codec_verify(*data, *size, err);
    if (status == LB_ERR_DATA)
        lb_error_prefix(err, "%s: damaged at byte %llu: ", reader->path,
                        (unsigned long long)reader->block_offset);
    return status;
}

static lb_status read_row(struct lb_native_reader *reader, struct lb_batch_builder *builder,
                          struct lb_error *err)
{
    uint32_t n_columns;
    if ((size_t)(reader->end - reader->cursor) < sizeof n_columns)
        return damaged(reader, "too few rows", err);
    memcpy(&n_columns, reader->cursor, sizeof n_columns);
    reader->cursor += sizeof n_columns;
    if (n_columns == 0 || n_columns > (reader->n_names > 0 ? reader->n_names : LB_MAX_COLUMNS))
        return damaged(reader, "wrong number of columns", err);
    for (uint32_t i = 0; i < n_columns; i++) {
        const char *data;
        size_t size;
        struct lb_builder *column;
        LB_TRY(next_value(reader, &data, &size, err));
        LB_TRY(lb_batch_builder_column(builder, i, &column, err));
        LB_TRY(lb_builder_encoded(column, data, size, err));
    }
    for (uint32_t i = n_columns; i < reader->n_names; i++) {
        struct lb_builder *column;
        LB_TRY(lb_batch_builder_column(builder, i, &column, err));
        LB_TRY(lb_builder_null(column, err));
    }
    reader->n_rows_left--;
    return lb_batch_builder_end_row(builder, 0, err);
}

/* Whether the next row is as long as those in the builder; what is damaged is left to read_row. */
static bool next_fits(const struct lb_native_reader *reader, const struct lb_batch_builder *builder)
{
    uint32_t n_columns;
    if ((size_t)(reader->end - reader->cursor) < sizeof n_columns)
        return true;
    memcpy(&n_columns, reader->cursor, sizeof n_columns);
    return lb_batch_builder_fits(builder, reader->n_names > 0 ? reader->n_names : n_columns);
}

lb_status lb_native_read(struct lb_native_reader *reader, struct lb_batch_builder *builder,
                         bool *more, struct lb_error *err)
{
    while (!reader->ended && !lb_batch_builder_is_full(builder)) {
        if (reader->n_rows_left > 0 && !next_fits(reader, builder))
            break;
        if (reader->n_rows_left > 0)
            LB_TRY(read_row(reader, builder, err));
        else if (reader->cursor != reader->end)
            return damaged(reader, "too many bytes", err);
        else if (reader->in_file)
            LB_TRY(read_block(reader, err));
        else
            LB_TRY(read_magic(reader, err));
    }
    *more = !reader->ended;
    return LB_OK;
}

lb_status lb_native_names(const struct lb_file *file, struct lb_buf *list, struct lb_error *err)
{
    struct lb_native_reader *reader;
    LB_TRY(lb_native_open(file, &reader, err));
    lb_status status = read_magic(reader, err);
    if (status == LB_OK && reader->in_file)
        status = read_block(reader, err);
    if (status == LB_OK && reader->names.size > 0)
        status = lb_buf_append(list, reader->names.data, reader->names.size, err);
    lb_native_close(reader);
    return status;
}
