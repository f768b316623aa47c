/* A bump allocator in chunks: allocations live until reset or fini; nothing is freed singly. */
#ifndef LB_BASE_ARENA_H
#define LB_BASE_ARENA_H

#include <stddef.h>

#include "core/base/error.h"

struct lb_arena_chunk;

struct lb_arena {
    size_t chunk_bytes; /* usual chunk size; larger requests get a chunk of their own */
    char *cursor;       /* next free byte of the newest chunk */
    char *end;          /* its end */
    size_t held_bytes;  /* all chunks together; what an arena held before plays into it */
    size_t used_bytes;  /* asked for since init or reset */
    struct lb_arena_chunk *newest; /* list of chunks, newest first */
};

void lb_arena_init(struct lb_arena *arena, size_t chunk_bytes);
void lb_arena_fini(struct lb_arena *arena);
/* Forgets every allocation; keeps one usual chunk for reuse. */
void lb_arena_reset(struct lb_arena *arena);
void *lb_arena_grow(struct lb_arena *arena, size_t size); /* slow path of lb_arena_alloc */

/* size bytes aligned to 8, not cleared; NULL only when out of memory (never for size 0). */
static inline void *lb_arena_alloc(struct lb_arena *arena, size_t size)
{
    arena->used_bytes += size;
    /* What is left is a multiple of 8: what fits also fits rounded up. */
    if (__builtin_expect(size <= (size_t)(arena->end - arena->cursor), 1)) {
        void *result = arena->cursor;
        arena->cursor += (size + 7) & ~(size_t)7;
        return result;
    }
    return lb_arena_grow(arena, size);
}

#endif
