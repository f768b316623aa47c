/* The files that the write sink makes, one after the other: the one file, or the parts of a directory or of its folders.
 *
 * CALLS  put and end_morsel for each morsel in turn; begin and end only where there may be no morsel.
 *        Where places in a plain file are claimed, count alone. One thread at a time: it has the turn (write.c).
 * FORMAT A part begins with the header. A native one ends with the number of its rows; a compressed one without bytes would be
 *        taken for a truncated one, and gets one empty member. */
#ifndef LB_OPS_WRITE_PARTS_H
#define LB_OPS_WRITE_PARTS_H

#include "core/base/buf.h"
#include "core/io/output.h"

struct lb_write_parts {
    /* configuration */
    struct lb_output *output;
    enum lb_compression compression;
    bool is_native;
    bool part_per_morsel;    /* directories: a part for each morsel, */
    uint64_t max_part_bytes; /* else a new one beyond as many */
    struct lb_buf header;    /* csv and tsv of rows: the line of names; native: head and names */
    /* state */
    bool in_part;
    struct lb_buf folder; /* that of the last part, with a NUL; empty: there are none */
    uint32_t n_parts;     /* in this folder */
    uint64_t part_bytes, part_rows;
    uint64_t n_bytes, n_rows; /* of all parts */
};

/* From this byte of a morsel on records are of another folder. */
struct lb_write_mark {
    uint64_t at;
    uint64_t size; /* of the folder, which follows, with its NUL */
};

/* Opens a part, unless one is open, with its header; ends it. */
lb_status lb_write_parts_begin(struct lb_write_parts *parts, struct lb_error *err) LB_MUST_USE;
lb_status lb_write_parts_end(struct lb_write_parts *parts, struct lb_error *err) LB_MUST_USE;
/* Writes bytes of the turn's morsel; marks say where their folder changes. */
lb_status lb_write_parts_put(struct lb_write_parts *parts, const struct lb_buf *bytes,
                             const struct lb_buf *marks, uint64_t n_rows,
                             struct lb_error *err) LB_MUST_USE;
/* After a morsel's last bytes. goes_on: its partition does, with the next one. */
lb_status lb_write_parts_end_morsel(struct lb_write_parts *parts, bool goes_on,
                                    struct lb_error *err) LB_MUST_USE;
/* Counts bytes of the file that are written elsewhere. */
void lb_write_parts_count(struct lb_write_parts *parts, size_t size);

#endif
