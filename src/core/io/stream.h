/* Byte streams: sequential reading, decompressing by the file's compression, or that which the first bytes of standard input or a
 * pipe show, to its very end. Of a regular file who reads text asks for these, too: others want its bytes as they are. Where the
 * user said what it is (is_told), first bytes tell nothing.
 *
 * Concatenated members or frames are read on; a file that ends inside one, or has garbage after
 * one, gives LB_ERR_DATA "PATH: truncated gzip data at byte N" (N counts compressed bytes). Errors
 * name the path. */
#ifndef LB_IO_STREAM_H
#define LB_IO_STREAM_H

#include <stdatomic.h>

#include "core/io/path.h"

struct lb_stream;

/* Standard input and pipes without name can be opened once in a process (once.h): what was read of them is gone. */
lb_status lb_stream_open(const struct lb_file *file, struct lb_stream **stream,
                         struct lb_error *err) LB_MUST_USE;
/* Sets file->compression of a regular file whose name says none, nor the user, and that begins as compressed data does. Before it is read. */
lb_status lb_stream_detect(struct lb_file *file, struct lb_error *err) LB_MUST_USE;
/* Reads that wait for a pipe or a terminal give up with LB_ERR_CANCELLED within 100 ms of *stop
 * becoming non-zero. Borrows stop. */
void lb_stream_watch(struct lb_stream *stream, const _Atomic int *stop);
/* From now on *bytes grows by what is read of the file or pipe, as it is there, and at once by what was read before. Borrows bytes. */
void lb_stream_count(struct lb_stream *stream, _Atomic uint64_t *bytes);
/* Fills data as far as possible: *got < size only at the end of the stream. */
lb_status lb_stream_read(struct lb_stream *stream, char *data, size_t size, size_t *got,
                         struct lb_error *err) LB_MUST_USE;
/* Puts back all that was read of an input that is no regular file: who opens it next gets these bytes and what comes behind
 * them. Takes the stream, also on failure. */
lb_status lb_stream_keep(struct lb_stream *stream, const struct lb_file *file, const char *data,
                         size_t size, struct lb_error *err) LB_MUST_USE;
uint64_t lb_stream_raw_bytes(const struct lb_stream *stream); /* compressed bytes consumed */
void lb_stream_close(struct lb_stream *stream);               /* NULL allowed */

#endif
