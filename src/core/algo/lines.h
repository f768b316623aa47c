/* Large arrays that begin on a cache line, so that a state of 32 bytes never lies in two; large ones on a huge page, so that they lie
 * in such where the system has them. */
#ifndef LB_ALGO_LINES_H
#define LB_ALGO_LINES_H

#include <string.h>

#include "core/algo/advise.h"
#include "core/base/sys.h"

enum { LB_LINE_BYTES = 64, LB_HUGE_PAGE_BYTES = 2 << 20 };

static inline size_t lb_lines_alignment(size_t bytes)
{
    return bytes >= LB_HUGE_PAGE_BYTES ? LB_HUGE_PAGE_BYTES : LB_LINE_BYTES;
}

/* What lb_lines_new gave for so many bytes. NULL is allowed. */
static inline void lb_lines_free(void *lines, size_t bytes)
{
    void *block;
    if (lines == NULL)
        return;
    memcpy(&block, (char *)lines - sizeof block, sizeof block);
    lb_free(block, bytes + lb_lines_alignment(bytes));
}

/* The first used_bytes are those of `old`, which had old_bytes and is freed; the rest is zero. NULL: out of memory, old stays. */
static inline void *lb_lines_new(size_t bytes, void *old, size_t old_bytes, size_t used_bytes)
{
    size_t alignment = lb_lines_alignment(bytes);
    char *block = lb_alloc(bytes + alignment);
    if (block == NULL)
        return NULL;
    /* Blocks are aligned to 16 bytes: there is room for the pointer. */
    char *lines = block + (alignment - (uintptr_t)block % alignment);
    memcpy(lines - sizeof block, &block, sizeof block);
    lb_advise_huge(lines, bytes);
    if (used_bytes > 0)
        memcpy(lines, old, used_bytes);
    memset(lines + used_bytes, 0, bytes - used_bytes);
    lb_lines_free(old, old_bytes);
    return lines;
}

#endif
