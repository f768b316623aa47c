/* The bump allocator's chunks.
 *
 * Allocations are cut from the newest chunk. A request larger than a quarter of the usual chunk
 * gets a chunk of its own, linked behind the newest one, whose rest stays in use. All chunk ends
 * are multiples of 8, so that a request that fits also fits rounded up. */
#include "core/base/arena.h"

#include <stdint.h>

#include "core/base/sys.h"

struct lb_arena_chunk {
    struct lb_arena_chunk *next; /* older */
    size_t size;                 /* of the whole block, this head included */
};

/* Where an arena without chunks points: nothing fits, yet an empty allocation is not NULL. */
static char no_chunk[8] __attribute__((aligned(8)));

void lb_arena_init(struct lb_arena *arena, size_t chunk_bytes)
{
    size_t least = sizeof(struct lb_arena_chunk) + 64;

    arena->chunk_bytes = ((chunk_bytes < least ? least : chunk_bytes) + 7) & ~(size_t)7;
    arena->cursor = no_chunk;
    arena->end = no_chunk;
    arena->held_bytes = 0;
    arena->used_bytes = 0;
    arena->newest = NULL;
}

void lb_arena_fini(struct lb_arena *arena)
{
    struct lb_arena_chunk *chunk = arena->newest;

    while (chunk != NULL) {
        struct lb_arena_chunk *next = chunk->next;

        lb_free(chunk, chunk->size);
        chunk = next;
    }
    lb_arena_init(arena, arena->chunk_bytes);
}

void lb_arena_reset(struct lb_arena *arena)
{
    struct lb_arena_chunk *kept = NULL;
    struct lb_arena_chunk *chunk = arena->newest;

    while (chunk != NULL) {
        struct lb_arena_chunk *next = chunk->next;

        if (kept == NULL && chunk->size == arena->chunk_bytes)
            kept = chunk;
        else
            lb_free(chunk, chunk->size);
        chunk = next;
    }
    lb_arena_init(arena, arena->chunk_bytes);
    if (kept != NULL) {
        kept->next = NULL;
        arena->newest = kept;
        arena->cursor = (char *)(kept + 1);
        arena->end = (char *)kept + kept->size;
        arena->held_bytes = kept->size;
    }
}

void *lb_arena_grow(struct lb_arena *arena, size_t size)
{
    size_t rounded = (size + 7) & ~(size_t)7;
    size_t chunk_size = arena->chunk_bytes;
    struct lb_arena_chunk *chunk;
    char *result;

    if (size > SIZE_MAX / 2)
        return NULL;
    if (rounded > arena->chunk_bytes / 4)
        chunk_size = sizeof *chunk + rounded;
    chunk = lb_alloc(chunk_size);
    if (chunk == NULL)
        return NULL;
    chunk->size = chunk_size;
    arena->held_bytes += chunk_size;
    result = (char *)(chunk + 1);

    if (chunk_size != arena->chunk_bytes && arena->newest != NULL) {
        chunk->next = arena->newest->next;
        arena->newest->next = chunk;
        return result;
    }
    chunk->next = arena->newest;
    arena->newest = chunk;
    arena->cursor = result + rounded;
    arena->end = (char *)chunk + chunk_size;
    return result;
}
