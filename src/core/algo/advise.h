/* A hint to the kernel for large memory that is read in random order. */
#ifndef LB_ALGO_ADVISE_H
#define LB_ALGO_ADVISE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

/* Asks for huge pages where memory spans whole ones: fewer page faults and address translations.
 * Only a hint: whether it is taken changes nothing but speed. memory may be NULL. */
static inline void lb_advise_huge(void *memory, size_t bytes)
{
    const uintptr_t page = 2 * 1024 * 1024;
    uintptr_t start = ((uintptr_t)memory + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)memory + bytes) & ~(page - 1);
    if (memory != NULL && start < end)
        (void)madvise((void *)start, end - start, MADV_HUGEPAGE);
}

#endif
