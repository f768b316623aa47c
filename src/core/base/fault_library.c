/* Faults of what libraries allocate, and of files that Lua's own library opens: the program's definitions of malloc and fopen
 * stand before those of the C library, count calls and pass them on. See fault.h. */
#include "core/base/fault.h"

#ifdef LB_DEBUG
/* Where malloc cannot be put in front (the thread sanitizer, clang's static runtimes) there are no such faults. */
#if defined __SANITIZE_THREAD__ || defined __clang__
void lb_fault_find_libraries(void)
{
}
#else
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#define REAL(function) __interceptor_##function
#else
#define REAL(function) __libc_##function
#endif
void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *pointer, size_t size);

enum { MAX_RANGES = 32 };

/* Not the dynamic loader and libuv: they end the process when there is no memory (exec/run.c looks before). So does the
 * address sanitizer when the C library has none for its questions about threads. */
static const char *const names[] = {"/libz.",      "/libzstd.",  "/liblz4.",  "/libbz2.",
                                    "/libpcre2-8", "/libmd.so.", "/libedit.",
#ifndef __SANITIZE_ADDRESS__
                                    "/libc.so."
#endif
};

/* Written while one thread runs, then only read. */
static struct {
    uintptr_t begin, end;
} ranges[MAX_RANGES];
static int n_ranges;

static int add_ranges(struct dl_phdr_info *info, size_t size, void *argument)
{
    bool is_wanted = false;
    (void)size;
    (void)argument;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        is_wanted |= strstr(info->dlpi_name, names[i]) != NULL;
    for (int i = 0; is_wanted && i < info->dlpi_phnum && n_ranges < MAX_RANGES; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0)
            continue;
        ranges[n_ranges].begin = info->dlpi_addr + part->p_vaddr;
        ranges[n_ranges].end = ranges[n_ranges].begin + part->p_memsz;
        n_ranges++;
    }
    return 0;
}

void lb_fault_find_libraries(void)
{
    n_ranges = 0;
    dl_iterate_phdr(add_ranges, NULL);
}

static bool fails(const void *caller)
{
    for (int i = 0; i < n_ranges; i++)
        if ((uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end)
            return LB_FAULT(LIBRARY, NULL);
    return false;
}

void *malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : REAL(malloc)(size);
}

void *calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : REAL(calloc)(n, size);
}

void *realloc(void *pointer, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : REAL(realloc)(pointer, size);
}

FILE *fopen(const char *path, const char *mode)
{
    return LB_FAULT(OPEN, NULL) ? NULL : fopen64(path, mode);
}
#endif
#else
typedef int lb_fault_library_unused; /* a translation unit may not be empty */
#endif
