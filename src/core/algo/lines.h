/* Large arrays that begin on a cache line, so that a state of 32 bytes never lies in two; in huge pages where the system has them. */
#ifndef LB_ALGO_LINES_H
#define LB_ALGO_LINES_H

#include <string.h>

#include "core/algo/advise.h"
#include "core/base/sys.h"

enum { LB_LINE_BYTES = 64 };

/* What lb_lines_new gave for so many bytes. NULL is allowed. */
static inline void lb_lines_free(void *lines, size_t bytes)
{
    void *block;
    if (lines == NULL)
        return;
    memcpy(&block, (char *)lines - sizeof block, sizeof block);
    lb_free(block, bytes + LB_LINE_BYTES);
}

/* The first used_bytes are those of `old`, which had old_bytes and is freed; the rest is zero. NULL: out of memory, old stays. */
static inline void *lb_lines_new(size_t bytes, void *old, size_t old_bytes, size_t used_bytes)
{
    char *block = lb_alloc(bytes + LB_LINE_BYTES);
    if (block == NULL)
        return NULL;
    /* Blocks are aligned to 16 bytes: there is room for the pointer. */
    char *lines = block + (LB_LINE_BYTES - (uintptr_t)block % LB_LINE_BYTES);
    memcpy(lines - sizeof block, &block, sizeof block);
    lb_advise_huge(lines, bytes);
    if (used_bytes > 0)
        memcpy(lines, old, used_bytes);
    memset(lines + used_bytes, 0, bytes - used_bytes);
    lb_lines_free(old, old_bytes);
    return lines;
}

#endif
