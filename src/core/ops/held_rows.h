/* The rows of one key that a join keeps while the other side's go past: in memory up to a limit, what is older as frames of
 * a spill file, which are read back one at a time. One for each worker. */
#ifndef LB_OPS_HELD_ROWS_H
#define LB_OPS_HELD_ROWS_H

#include "core/base/buf.h"
#include "core/io/spill.h"
#include "core/ops/context.h"

struct lb_held_rows {
    size_t most_bytes;    /* of `newest`, before it should become a frame */
    struct lb_buf newest; /* the rows behind those of the frames */
    struct lb_spill
        *spill; /* of the frames: the caller opens it before the first, and deletes it */
    struct lb_frame *frames; /* in order */
    uint32_t n_frames, frame_capacity;
    struct lb_buf frame, packed; /* for reading frames: lb_spill_read_buf */
};

/* share: the part of a worker's memory that rows may take is one in so many, but not less than least_bytes. */
void lb_held_rows_init(struct lb_held_rows *held, const struct lb_run *run, size_t share,
                       size_t least_bytes);
/* Makes a frame of the newest rows. label: of the operator, for errors. */
lb_status lb_held_rows_spill(struct lb_held_rows *held, const char *label,
                             struct lb_error *err) LB_MUST_USE;
/* Forgets the rows; the spill file stays. */
void lb_held_rows_clear(struct lb_held_rows *held);
/* Frees all but the spill file. */
void lb_held_rows_fini(struct lb_held_rows *held);

#endif
