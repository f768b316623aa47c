/* The native file format of `save`/`read`: exact records of any shape.
 *
 * FORMAT  file = "LUABATCH1\n", blocks, end block. block = u32 raw size, u32 stored size (equal:
 *         not compressed; lz4), u32 n_rows, u32 zero, u64 xxh3 of the stored bytes, stored bytes.
 *         The raw bytes are rows: u32 number of columns, then that many codec values. Records that are rows have a names block
 *         first: 1 in place of zero, n_rows 0, not compressed, a codec list of the columns' names. The end
 *         block has raw size 0, stored size 8 and the u64 total number of rows: without it the
 *         file is truncated. Several such files may stand one behind the other, when their names are the same.
 * Everything read is verified; damage is LB_ERR_DATA naming file and byte. */
#ifndef LB_IO_NATIVE_H
#define LB_IO_NATIVE_H

#include "core/column/batch.h"
#include "core/column/builder.h"
#include "core/io/stream.h"

/* Appends a block of all selected rows of the batch to out. */
lb_status lb_native_put_batch(const struct lb_batch *batch, struct lb_buf *out,
                              struct lb_error *err) LB_MUST_USE;
lb_status lb_native_put_head(struct lb_buf *out, struct lb_error *err) LB_MUST_USE;
/* Behind the head: the names of the columns, as a codec list of strings. */
lb_status lb_native_put_names(const char *list, size_t size, struct lb_buf *out,
                              struct lb_error *err) LB_MUST_USE;
lb_status lb_native_put_end(uint64_t n_rows, struct lb_buf *out, struct lb_error *err) LB_MUST_USE;

struct lb_native_reader;
lb_status lb_native_open(const struct lb_file *file, struct lb_native_reader **reader,
                         struct lb_error *err) LB_MUST_USE;
/* Appends the list of a file's names, as lb_native_put_names had it; nothing where its records are no rows. */
lb_status lb_native_names(const struct lb_file *file, struct lb_buf *list,
                          struct lb_error *err) LB_MUST_USE;
/* Appends rows to the builder until it is full, the next row has another length, or the file ends (*more false). */
lb_status lb_native_read(struct lb_native_reader *reader, struct lb_batch_builder *builder,
                         bool *more, struct lb_error *err) LB_MUST_USE;
void lb_native_count(struct lb_native_reader *reader,
                     _Atomic uint64_t *bytes); /* see lb_stream_count */
void lb_native_close(struct lb_native_reader *reader);

#endif
