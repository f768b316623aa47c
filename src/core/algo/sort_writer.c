/* Writers: collect rows, sort them, spill them.
 *
 * IDEA   Rows lie back to back in chunks; an entry per row holds its prefix and address. With memory
 *        to spare each partition has pieces of the chunks to itself, so that sorting and merging one
 *        walk through a small part of memory. A row's
 *        prefix is loaded when the next row comes: by then the caller has filled it in, and it is
 *        still in the cache. As long as all keys begin with one byte (the type tag, nearly always)
 *        the prefix begins behind it.
 * STATES collecting (rows in chunks, none sorted) -> [spill: sorted, written, chunks empty again]*
 *        -> finish: what is left is sorted and stays in memory as a run of its own.
 * MEMORY See sort_room.c. When it has no room for the next row, the rows are spilled.
 * WHY NOT huge pages: rows are written once and read twice, so there is little to gain; and where a
 *        virtual machine gives its free memory back, each fresh huge page costs it more than its small
 *        ones: 2.3 s of system time for 10 M rows of 64 bytes, 1.1 s without. */
#include "core/algo/sort_writer.h"
#include "core/base/hash.h"

enum { FIRST_CHUNK_BYTES = 256 * 1024, MAX_CHUNK_BYTES = 8 * 1024 * 1024, PREFETCH = 12 };

#ifdef LB_TINY
enum { STREAM_WORTH_BYTES = 1024 };
#else
enum { STREAM_WORTH_BYTES = 1024 * 1024 };
#endif

static size_t slices_bytes(const struct lb_sort_writer *writer)
{
    return (writer->sorter->config.n_partitions + (size_t)1) * sizeof(size_t);
}

static void forget_rows(struct lb_sort_writer *writer)
{
    writer->n = 0;
    writer->pending = false;
    writer->depth = 1;
    writer->in_sequence = true;
    writer->last_sequence = 0;
    for (uint32_t i = 0; i < writer->n_made; i++)
        writer->streams[i].at = writer->streams[i].end = NULL;
    writer->free_at = writer->free_end = NULL;
    memset(writer->slices, 0, slices_bytes(writer));
}

/* Whether there is memory to spare for a stream per partition. */
static uint32_t n_streams(const struct lb_sorter_config *config)
{
    return config->writer_bytes / STREAM_WORTH_BYTES >= config->n_partitions ? config->n_partitions
                                                                             : 1;
}

lb_status lb_sort_writer_new(struct lb_sorter *sorter, struct lb_sort_writer **out,
                             struct lb_error *err)
{
    struct lb_sort_writer *writer = lb_alloc_zero(sizeof *writer);
    if (writer == NULL)
        return lb_error_memory(err, "a sort writer", sizeof *writer);
    const struct lb_sorter_config *config = &sorter->config;
    writer->sorter = sorter;
    writer->flip = config->descending ? ~(uint64_t)0 : 0;
    writer->has_partitions = config->n_partitions > 1;
    writer->has_sample = config->has_pieces || (!writer->has_partitions && config->n_ranges > 1);
    writer->max_chunk_bytes =
        lb_sort_clamp(config->writer_bytes / 16, LB_SORT_MIN_CHUNK_BYTES, MAX_CHUNK_BYTES);
    writer->n_streams = writer->n_made = n_streams(config);
    writer->entry_bytes = 2 * sizeof(struct lb_sort_entry) +
                          (writer->has_partitions ? sizeof *writer->partitions : 0);
    lb_sort_sample_init(&writer->sample);
    size_t bytes = slices_bytes(writer);
    writer->slices = lb_alloc_zero(bytes);
    writer->streams = lb_alloc_zero(writer->n_made * sizeof *writer->streams);
    if (writer->slices == NULL || writer->streams == NULL) {
        if (writer->slices != NULL)
            lb_free(writer->slices, bytes);
        if (writer->streams != NULL)
            lb_free(writer->streams, writer->n_made * sizeof *writer->streams);
        lb_free(writer, sizeof *writer);
        return lb_error_memory(err, "the partitions of a sort writer", bytes);
    }
    for (uint32_t i = 0; i < writer->n_made; i++)
        writer->streams[i].next_bytes = LB_SORT_PIECE_BYTES;
    writer->next_chunk_bytes =
        lb_sort_clamp(writer->max_chunk_bytes, LB_SORT_MIN_CHUNK_BYTES, FIRST_CHUNK_BYTES);
    lb_sort_room_force(writer, bytes);
    forget_rows(writer);
    *out = writer;
    return LB_OK;
}

void lb_sort_writer_delete(struct lb_sort_writer *writer)
{
    if (writer == NULL)
        return;
    lb_sort_chunks_free(writer->chunks);
    lb_sort_chunks_free(writer->spare);
    lb_free(writer->entries, writer->capacity * sizeof *writer->entries);
    lb_free(writer->scratch, writer->scratch_capacity * sizeof *writer->scratch);
    if (writer->partitions != NULL)
        lb_free(writer->partitions, writer->capacity * sizeof *writer->partitions);
    if (writer->slices != NULL)
        lb_free(writer->slices, slices_bytes(writer));
    lb_free(writer->streams, writer->n_made * sizeof *writer->streams);
    while (writer->runs != NULL) {
        struct lb_sort_run *next = writer->runs->next;
        lb_sort_run_delete(writer->runs);
        writer->runs = next;
    }
    lb_sort_file_unref(writer->file);
    lb_sort_sample_fini(&writer->sample);
    if (writer->reserved > 0)
        lb_sort_room_release(writer, writer->reserved);
    lb_free(writer, sizeof *writer);
}

void lb_sort_writer_prefer(struct lb_sort_writer *writer)
{
    writer->preferred = true;
}

/* ---- sorting ---- */

/* Brings entries into partition order; slices become the starts. */
static void scatter_partitions(struct lb_sort_writer *writer)
{
    uint32_t n_partitions = writer->sorter->config.n_partitions;
    size_t *slices = writer->slices;
    size_t start = 0;
    for (uint32_t p = 0; p < n_partitions; p++) {
        size_t count = slices[p];
        slices[p] = start;
        start += count;
    }
    for (size_t i = 0; i < writer->n; i++)
        writer->scratch[slices[writer->partitions[i]]++] = writer->entries[i];
    /* Each slice now holds its end, which is the next one's start. */
    memmove(slices + 1, slices, n_partitions * sizeof *slices);
    slices[0] = 0;
    struct lb_sort_entry *scattered = writer->scratch;
    writer->scratch = writer->entries;
    writer->entries = scattered;
}

static lb_status make_scratch(struct lb_sort_writer *writer, struct lb_error *err)
{
    if (writer->scratch_capacity == writer->capacity)
        return LB_OK;
    lb_free(writer->scratch, writer->scratch_capacity * sizeof *writer->scratch);
    writer->scratch_capacity = 0;
    size_t bytes = writer->capacity * sizeof *writer->scratch;
    writer->scratch = lb_alloc(bytes);
    if (writer->scratch == NULL)
        return lb_error_memory(err, "sorting", bytes);
    writer->scratch_capacity = writer->capacity;
    return LB_OK;
}

static lb_status sort_rows(struct lb_sort_writer *writer, struct lb_error *err)
{
    const struct lb_sorter_config *config = &writer->sorter->config;
    struct lb_sort_order order = {.descending = config->descending,
                                  .in_sequence = writer->in_sequence,
                                  .same_key_size = writer->same_key_size,
                                  .stop = config->stop};
    LB_TRY(make_scratch(writer, err));
    for (uint32_t p = 0; p < config->n_partitions; p++)
        if (writer->slices[p] > 0)
            atomic_fetch_add_explicit(&writer->sorter->partition_rows[p], writer->slices[p],
                                      memory_order_relaxed);
    if (writer->has_partitions) {
        scatter_partitions(writer);
    } else {
        writer->slices[0] = 0;
        writer->slices[1] = writer->n;
    }
    for (uint32_t p = 0; p < config->n_partitions; p++) {
        size_t first = writer->slices[p];
        size_t n = writer->slices[p + 1] - first;
        if (n < 2)
            continue;
        if (lb_sort_stopped(config))
            return lb_error_set(err, LB_ERR_CANCELLED, "sorting was stopped");
        LB_TRY(lb_sort_entries(writer->entries + first, writer->scratch + first, n, writer->depth,
                               &order, err));
    }
    return LB_OK;
}

/* ---- the newest row ---- */

/* A key with another first byte has come: prefixes begin with the first byte from now on. */
static void include_first_byte(struct lb_sort_writer *writer)
{
    uint64_t first = (uint64_t)writer->first_byte << 56;
    for (size_t i = 0; i + 1 < writer->n; i++) {
        uint64_t word = writer->entries[i].prefix ^ writer->flip;
        writer->entries[i].prefix = (first | word >> 8) ^ writer->flip;
    }
    writer->depth = 0;
}

/* Takes in the key of the newest row, which the caller has filled by now. */
static inline lb_status settle(struct lb_sort_writer *writer, struct lb_error *err)
{
    if (!writer->pending)
        return LB_OK;
    struct lb_sort_entry *entry = &writer->entries[writer->n - 1];
    const struct lb_sort_row *row = entry->row;
    if (writer->n == 1) {
        writer->same_key_size = row->key_size;
        writer->depth = row->key_size > 0 ? 1 : 0;
        writer->first_byte = row->key_size > 0 ? (unsigned char)row->bytes[0] : 0;
    } else {
        if (row->key_size != writer->same_key_size)
            writer->same_key_size = UINT32_MAX;
        if (writer->depth == 1 &&
            (row->key_size == 0 || (unsigned char)row->bytes[0] != writer->first_byte))
            include_first_byte(writer);
    }
    uint64_t word = lb_sort_key_word(row, writer->depth);
    entry->prefix = word ^ writer->flip;
    writer->pending = false;
    if (writer->has_sample) {
        if (writer->depth == 1)
            word = (uint64_t)writer->first_byte << 56 | word >> 8;
        uint64_t hash = lb_hash_pair(row->sequence, word);
        if (writer->preferred)
            hash >>= 32;
        writer->preferred = false;
        if (hash <= writer->sample.limit)
            return lb_sort_sample_add(&writer->sample, hash, row,
                                      lb_sort_range_size(&writer->sorter->config, row), err);
    }
    return LB_OK;
}

/* ---- spilling ---- */

static lb_status write_entries(struct lb_sort_writer *writer, struct lb_sort_run_writer *run,
                               struct lb_error *err)
{
    for (size_t i = 0; i < writer->n; i++) {
        if (i + PREFETCH < writer->n) {
            const char *ahead = (const char *)writer->entries[i + PREFETCH].row;
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead + 64);
            __builtin_prefetch(ahead + 128);
        }
        LB_TRY(lb_sort_run_writer_add(run, writer->entries[i].row, err));
    }
    return LB_OK;
}

/* Sorts and writes all rows held; their memory is free for others then. */
static lb_status spill(struct lb_sort_writer *writer, struct lb_error *err)
{
    LB_TRY(settle(writer, err));
    LB_TRY(sort_rows(writer, err));
    if (writer->file == NULL)
        LB_TRY(lb_sort_file_new(&writer->sorter->config, &writer->file, err));
    struct lb_sort_run_writer out;
    struct lb_sort_run *run = NULL;
    lb_status status = lb_sort_run_writer_init(&out, writer->sorter, writer->file, err);
    if (status == LB_OK)
        status = write_entries(writer, &out, err);
    if (status == LB_OK)
        status = lb_sort_run_writer_finish(&out, &run, err);
    lb_sort_run_writer_fini(&out);
    LB_TRY(status);
    run->next = writer->runs;
    writer->runs = run;
    while (writer->chunks != NULL) {
        struct lb_sort_chunk *chunk = writer->chunks;
        writer->chunks = chunk->next;
        if (chunk->bytes > writer->max_chunk_bytes) {
            chunk->next = NULL;
            lb_sort_room_release(writer, chunk->bytes);
            lb_sort_chunks_free(chunk);
        } else {
            chunk->next = writer->spare;
            writer->spare = chunk;
        }
    }
    forget_rows(writer);
    /* Memory is not to spare: from now on chunks are used to their end. */
    writer->n_streams = 1;
    writer->next_chunk_bytes = writer->max_chunk_bytes;
    return LB_OK;
}

lb_status lb_sort_writer_spill(struct lb_sort_writer *writer, struct lb_error *err)
{
    return writer->n > 0 ? spill(writer, err) : LB_OK;
}

/* *stream is where the row goes; a spill may change that. */
static lb_status make_room(struct lb_sort_writer *writer, struct lb_sort_stream **stream,
                           size_t row_bytes, struct lb_error *err)
{
    if (lb_sort_stopped(&writer->sorter->config))
        return lb_error_set(err, LB_ERR_CANCELLED, "sorting was stopped");
    bool full = false;
    if (writer->n == writer->capacity)
        LB_TRY(lb_sort_room_entries(writer, &full, err));
    if (!full && (size_t)((*stream)->end - (*stream)->at) < row_bytes)
        LB_TRY(lb_sort_room_piece(writer, *stream, row_bytes, &full, err));
    if (!full)
        return LB_OK;
    LB_TRY(spill(writer, err));
    if (sizeof(struct lb_sort_chunk) + row_bytes + LB_SORT_SLACK > writer->max_chunk_bytes)
        lb_sort_room_drop_spare(writer);
    *stream = writer->streams;
    /* A writer without rows is never full. */
    return lb_sort_room_piece(writer, *stream, row_bytes, &full, err);
}

lb_status lb_sort_writer_add(struct lb_sort_writer *writer, uint32_t partition, uint64_t sequence,
                             uint32_t key_size, uint32_t group_size, uint32_t payload_size,
                             struct lb_sort_row **out, struct lb_error *err)
{
    size_t bytes = (sizeof(struct lb_sort_row) + (size_t)key_size + payload_size + 7) & ~(size_t)7;
    if (__builtin_expect(bytes > UINT32_MAX - 8, 0))
        return lb_error_set(err, LB_ERR_RESOURCE,
                            "a record of %zu bytes is too large to sort or group (4 GiB at most)",
                            bytes);
    LB_TRY(settle(writer, err));
    struct lb_sort_stream *stream = &writer->streams[writer->n_streams > 1 ? partition : 0];
    if (__builtin_expect(
            (size_t)(stream->end - stream->at) < bytes || writer->n == writer->capacity, 0))
        LB_TRY(make_room(writer, &stream, bytes, err));
    struct lb_sort_row *row = (struct lb_sort_row *)(void *)stream->at;
    stream->at += bytes;
    writer->row_bytes += bytes;
    memset(stream->at - 8, 0, 8); /* the padding */
    row->key_size = key_size;
    row->group_size = group_size;
    row->payload_size = payload_size;
    row->partition = partition;
    row->sequence = sequence;
    if (sequence < writer->last_sequence)
        writer->in_sequence = false;
    writer->last_sequence = sequence;
    if (writer->has_partitions)
        writer->partitions[writer->n] = (uint16_t)partition;
    writer->slices[partition]++;
    writer->entries[writer->n++] = (struct lb_sort_entry){.row = row};
    writer->pending = true;
    *out = row;
    return LB_OK;
}

/* ---- the end ---- */

/* Makes the rows held a run in memory. */
static lb_status keep_rows(struct lb_sort_writer *writer, struct lb_error *err)
{
    LB_TRY(settle(writer, err));
    if (writer->n == 0)
        return LB_OK;
    LB_TRY(sort_rows(writer, err));
    struct lb_sort_run *run = lb_sort_run_new();
    if (run == NULL)
        return lb_error_memory(err, "a sorted run", sizeof *run);
    run->n_partitions = writer->sorter->config.n_partitions;
    run->prefix_depth = writer->depth;
    for (uint32_t p = 0; p < run->n_partitions; p++) {
        size_t first = writer->slices[p];
        size_t last = writer->slices[p + 1];
        if (first == last)
            continue;
        lb_sort_run_common(run, writer->entries[first].row, first == 0);
        lb_sort_run_common(run, writer->entries[last - 1].row, false);
    }
    /* Whatever the run does not need goes back before the merge begins. */
    void *entries = writer->entries;
    run->capacity = writer->capacity;
    if (lb_sort_room_resize(&entries, sizeof *writer->entries, writer->capacity, writer->n, NULL) ==
        LB_OK)
        run->capacity = writer->n;
    run->entries = entries;
    run->n_rows = writer->n;
    run->chunks = writer->chunks;
    run->slices = writer->slices;
    run->budget = writer->sorter->config.budget;
    run->reserved = slices_bytes(writer) + run->capacity * sizeof *run->entries;
    for (const struct lb_sort_chunk *chunk = run->chunks; chunk != NULL; chunk = chunk->next)
        run->reserved += chunk->bytes;
    writer->reserved -= run->reserved;
    writer->entries = NULL;
    writer->chunks = NULL;
    writer->slices = NULL;
    lb_free(writer->partitions,
            writer->partitions == NULL ? 0 : writer->capacity * sizeof *writer->partitions);
    writer->partitions = NULL;
    writer->capacity = 0;
    run->next = writer->runs;
    writer->runs = run;
    return LB_OK;
}

lb_status lb_sort_writer_finish(struct lb_sort_writer *writer, struct lb_error *err)
{
    lb_status status = keep_rows(writer, err);
    if (status == LB_OK)
        status = lb_sorter_take(writer->sorter, writer->runs, &writer->sample, err);
    if (status == LB_OK)
        writer->runs = NULL;
    atomic_fetch_add_explicit(&writer->sorter->row_bytes, writer->row_bytes, memory_order_relaxed);
    lb_sort_writer_delete(writer);
    return status;
}
