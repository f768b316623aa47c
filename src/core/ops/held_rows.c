/* See held_rows.h. */
#include "core/ops/held_rows.h"

#include "core/base/sys.h"

void lb_held_rows_init(struct lb_held_rows *held, const struct lb_run *run, size_t share,
                       size_t least_bytes)
{
    size_t bytes = lb_run_worker_bytes(run) / share;
#ifdef LB_TINY
    bytes = least_bytes;
#endif
    held->most_bytes = bytes < least_bytes ? least_bytes : bytes;
}

lb_status lb_held_rows_spill(struct lb_held_rows *held, const char *label, struct lb_error *err)
{
    if (held->n_frames == held->frame_capacity) {
        uint32_t capacity = held->frame_capacity * 2 + 16;
        void *frames = lb_realloc(held->frames, held->frame_capacity * sizeof *held->frames,
                                  capacity * sizeof *held->frames);
        if (frames == NULL)
            return lb_error_memory(err, label, capacity * sizeof *held->frames);
        held->frames = frames;
        held->frame_capacity = capacity;
    }
    LB_TRY(lb_spill_append(held->spill, held->newest.data, held->newest.size,
                           &held->frames[held->n_frames], err));
    held->n_frames++;
    held->newest.size = 0;
    return LB_OK;
}

void lb_held_rows_clear(struct lb_held_rows *held)
{
    held->newest.size = 0;
    held->n_frames = 0;
}

void lb_held_rows_fini(struct lb_held_rows *held)
{
    lb_free(held->frames, held->frame_capacity * sizeof *held->frames);
    lb_buf_fini(&held->newest);
    lb_buf_fini(&held->frame);
    lb_buf_fini(&held->packed);
}
