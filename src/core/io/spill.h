/* Spill files: frames of bytes on disk, lz4-compressed and checksummed, unlinked from birth.
 *
 * FORMAT  frame = u32 magic, u32 raw size, u32 stored size (equal: not compressed), u32 zero, u64
 *         xxh3 of the stored bytes, mixed with the file's own random number and the frame's offset:
 *         so a good frame of another place or another file is found out, too. Then the stored
 *         bytes. A frame that fails any check is LB_ERR_RESOURCE "spill file damaged at byte N",
 *         and transient: the run begins again (attempts.h). Never wrong rows.
 * THREADS One thread appends; any number read frames already appended. */
#ifndef LB_IO_SPILL_H
#define LB_IO_SPILL_H

#include <stdint.h>

#include "core/base/budget.h"
#include "core/base/buf.h"

struct lb_spill;

/* Where spill files go, and what they may take of the disk all together. */
struct lb_spill_place {
    const char *dir;
    struct lb_budget *space; /* bytes on disk; NULL: all that there is */
};

/* Where a frame is; enough to read it back. */
struct lb_frame {
    uint64_t offset;
    uint32_t raw_size;
    uint32_t stored_size; /* head not counted */
};

/* Opened with O_TMPFILE in the place's directory, or under a name and unlinked at once. The space must outlive the file; the
 * directory's name is copied. */
lb_status lb_spill_new(const struct lb_spill_place *place, struct lb_spill **spill,
                       struct lb_error *err) LB_MUST_USE;
void lb_spill_delete(struct lb_spill *spill);
/* LB_ERR_RESOURCE when the space of the place would not do. */
lb_status lb_spill_append(struct lb_spill *spill, const void *data, size_t size,
                          struct lb_frame *frame, struct lb_error *err) LB_MUST_USE;
/* out has frame->raw_size bytes; scratch is reused between calls. */
lb_status lb_spill_read(struct lb_spill *spill, const struct lb_frame *frame, void *out,
                        struct lb_buf *scratch, struct lb_error *err) LB_MUST_USE;
/* The same into a buffer, whose bytes it replaces. */
lb_status lb_spill_read_buf(struct lb_spill *spill, const struct lb_frame *frame,
                            struct lb_buf *out, struct lb_buf *scratch,
                            struct lb_error *err) LB_MUST_USE;
uint64_t lb_spill_bytes(const struct lb_spill *spill);

#endif
