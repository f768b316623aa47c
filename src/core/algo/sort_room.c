/* The memory of a sort writer.
 *
 * IDEA   Rows lie in chunks, which are cut into pieces for the streams: with several streams pieces
 *        begin small and double, and a stream alone has the whole chunk.
 * MEMORY Chunks, entries, as much scratch again for sorting, and partition numbers; reserved before
 *        they are allocated, and kept for the next rows after a spill. When the next piece would go
 *        beyond writer_bytes, or the budget refuses it, there is no room. A quarter of writer_bytes
 *        is held in any case: else a full budget would make a run of every few rows. */
#include "core/algo/sort_writer.h"

enum { PIECE_MAX_BYTES = 4 * 1024 * 1024, FIRST_ENTRIES = 64 };

void lb_sort_room_force(struct lb_sort_writer *writer, size_t bytes)
{
    lb_budget_force(writer->sorter->config.budget, bytes);
    writer->reserved += bytes;
}

void lb_sort_room_release(struct lb_sort_writer *writer, size_t bytes)
{
    lb_budget_release(writer->sorter->config.budget, bytes);
    writer->reserved -= bytes;
}

/* Reserves memory for more rows; false means that those held should be spilled. */
static bool may_grow(struct lb_sort_writer *writer, size_t bytes)
{
    size_t limit = writer->sorter->config.writer_bytes;
    size_t least = limit / 4;
    size_t wanted = writer->reserved + bytes;
    if (wanted <= limit && lb_budget_reserve(writer->sorter->config.budget, bytes)) {
        writer->reserved += bytes;
        return true;
    }
    if (writer->n > 0 && (wanted > limit || wanted > least))
        return false;
    lb_sort_room_force(writer, bytes);
    return true;
}

lb_status lb_sort_room_resize(void **array, size_t item_bytes, size_t from, size_t to,
                              struct lb_error *err)
{
    void *moved = lb_realloc(*array, from * item_bytes, to * item_bytes);
    if (moved == NULL && to > 0)
        return lb_error_memory(err, "sorting", to * item_bytes);
    *array = moved;
    return LB_OK;
}

lb_status lb_sort_room_entries(struct lb_sort_writer *writer, bool *full, struct lb_error *err)
{
    size_t old = writer->capacity;
    size_t capacity = old == 0 ? FIRST_ENTRIES : old * 2;
    *full = !may_grow(writer, (capacity - old) * writer->entry_bytes);
    if (*full && old >= FIRST_ENTRIES * 16) {
        capacity = old + old / 4;
        *full = !may_grow(writer, (capacity - old) * writer->entry_bytes);
    }
    if (*full)
        return LB_OK;
    size_t bytes = (capacity - old) * writer->entry_bytes;
    lb_status status = LB_OK;
    struct lb_sort_entry *entries = writer->entries;
    /* Both arrays must end with one capacity, so the smaller one is grown first and cut again when
     * the other cannot follow; its place then holds fewer bytes than it could, which is harmless.
     * */
    if (writer->has_partitions) {
        uint16_t *partitions =
            lb_realloc(writer->partitions, old * sizeof *partitions, capacity * sizeof *partitions);
        if (partitions == NULL) {
            lb_sort_room_release(writer, bytes);
            return lb_error_memory(err, "sorting", capacity * sizeof *partitions);
        }
        writer->partitions = partitions;
    }
    entries = lb_realloc(entries, old * sizeof *entries, capacity * sizeof *entries);
    if (entries == NULL) {
        lb_sort_room_release(writer, bytes);
        status = lb_error_memory(err, "sorting", capacity * sizeof *entries);
        if (writer->has_partitions) {
            void *array = writer->partitions;
            if (lb_sort_room_resize(&array, sizeof *writer->partitions, capacity, old, NULL) ==
                LB_OK)
                writer->partitions = array;
        }
        return status;
    }
    writer->entries = entries;
    writer->capacity = capacity;
    return LB_OK;
}

/* Begins a chunk with room for a row of so many bytes. */
static lb_status add_chunk(struct lb_sort_writer *writer, size_t row_bytes, bool *full,
                           struct lb_error *err)
{
    size_t needed = sizeof(struct lb_sort_chunk) + row_bytes + LB_SORT_SLACK;
    struct lb_sort_chunk *chunk = writer->spare;
    *full = false;
    if (chunk != NULL && chunk->bytes >= needed) {
        writer->spare = chunk->next;
    } else {
        size_t bytes = writer->next_chunk_bytes < needed ? needed : writer->next_chunk_bytes;
        *full = !may_grow(writer, bytes);
        if (*full)
            return LB_OK;
        chunk = lb_alloc(bytes);
        if (chunk == NULL) {
            lb_sort_room_release(writer, bytes);
            return lb_error_memory(err, "rows to sort", bytes);
        }
        chunk->bytes = bytes;
        writer->next_chunk_bytes = lb_sort_clamp(2 * writer->next_chunk_bytes,
                                                 LB_SORT_MIN_CHUNK_BYTES, writer->max_chunk_bytes);
    }
    chunk->next = writer->chunks;
    writer->chunks = chunk;
    /* Rows of 64 bytes then take one cache line each. */
    size_t to_line = -(uintptr_t)chunk->rows & 63;
    writer->free_at = chunk->rows + (chunk->bytes >= needed + to_line ? to_line : 0);
    writer->free_end = (char *)chunk + chunk->bytes - LB_SORT_SLACK;
    return LB_OK;
}

lb_status lb_sort_room_piece(struct lb_sort_writer *writer, struct lb_sort_stream *stream,
                             size_t row_bytes, bool *full, struct lb_error *err)
{
    *full = false;
    if ((size_t)(writer->free_end - writer->free_at) < row_bytes)
        LB_TRY(add_chunk(writer, row_bytes, full, err));
    if (*full)
        return LB_OK;
    size_t bytes = (size_t)(writer->free_end - writer->free_at);
    if (writer->n_streams > 1) {
        size_t wanted = stream->next_bytes < row_bytes ? row_bytes : stream->next_bytes;
        bytes = bytes - wanted < LB_SORT_PIECE_BYTES || bytes < wanted ? bytes : wanted;
        size_t most = lb_sort_clamp(4 * writer->max_chunk_bytes / writer->n_streams,
                                    LB_SORT_PIECE_BYTES, PIECE_MAX_BYTES);
        stream->next_bytes = lb_sort_clamp(2 * stream->next_bytes, LB_SORT_PIECE_BYTES, most);
    }
    stream->at = writer->free_at;
    stream->end = writer->free_at += bytes;
    return LB_OK;
}

void lb_sort_room_drop_spare(struct lb_sort_writer *writer)
{
    while (writer->spare != NULL) {
        struct lb_sort_chunk *chunk = writer->spare;
        writer->spare = chunk->next;
        chunk->next = NULL;
        lb_sort_room_release(writer, chunk->bytes);
        lb_sort_chunks_free(chunk);
    }
}
