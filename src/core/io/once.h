/* Inputs that can be read only once: who has begun them, and what was read of them to find the names and types of columns.
 *
 * IDEA    Standard input and the pipes that the process was given (`<(...)`, /dev/stdin) belong to the process, not to a run: a
 *         second reader would silently find the rest, or nothing. So who opens one must ask here, and is refused when it was
 *         opened before. A sniffer that has looked at the first bytes of an input leaves the stream here with these bytes put
 *         back; the scan takes it up. A pipe with a name in the file system can be opened again, for a further writer: it is
 *         known here only while its stream waits.
 * THREADS All calls may come from any thread. */
#ifndef LB_IO_ONCE_H
#define LB_IO_ONCE_H

#include "core/io/path.h"

struct lb_stream;

/* Before an input that is no regular file is opened. *kept: the stream that waits for it, now the caller's, or NULL: the caller
 * opens it. LB_ERR_USAGE: it was read already. */
lb_status lb_once_begin(const struct lb_file *file, struct lb_stream **kept,
                        struct lb_error *err) LB_MUST_USE;
/* Leaves a stream for the next lb_once_begin of the file. Takes it if LB_OK. */
lb_status lb_once_keep(const struct lb_file *file, struct lb_stream *stream,
                       struct lb_error *err) LB_MUST_USE;

#endif
