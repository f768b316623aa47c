/* The line of an offset of a plain file, counted from where it looked last, in either direction. */
#ifndef LB_OPS_LINE_COUNTER_H
#define LB_OPS_LINE_COUNTER_H

#include <stdint.h>

#include "core/base/buf.h"

struct lb_line_counter {
    struct lb_buf path; /* with a NUL behind it */
    int fd;             /* -1: none */
    uint64_t offset, line;
};

void lb_line_counter_init(struct lb_line_counter *counter);
void lb_line_counter_fini(struct lb_line_counter *counter);
/* Says which file comes now. Fails only for want of memory. */
lb_status lb_line_counter_file(struct lb_line_counter *counter, const char *path, size_t size,
                               struct lb_error *err) LB_MUST_USE;
/* *line = the line of the byte at offset of that file, the first is 1. */
lb_status lb_line_count(struct lb_line_counter *counter, uint64_t offset, uint64_t *line,
                        struct lb_error *err) LB_MUST_USE;

#endif
