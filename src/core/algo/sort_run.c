/* Runs: sorted rows, in memory or in a spill file, and where a range of them begins and ends.
 *
 * FORMAT  A spilled run is a list of frames; a frame is rows back to back, each packed: a byte of what
 *         follows; unless they are the last row's, the sizes of the key and its group's part, and that of
 *         the payload, as numbers of 7 bits a byte, and the partition, u32; how far the sequence number is
 *         from the last row's, 0 to 8 bytes, zigzag; in a byte, with how many bytes of the last row's key
 *         the key begins, when it is worth it; the rest of the key, and the payload. The first row of a
 *         frame follows one of zeros. So a row of small values, the usual one, takes a third of the bytes
 *         it has in memory, before lz4 sees it. A frame holds rows of about frame_bytes in memory; a
 *         larger row alone has a frame of its own, as it is in memory. A partition begins a new frame
 *         unless the last one is still small: so a merge of one partition reads little else, and the
 *         number of frames depends on the bytes, not on the number of partitions.
 * INDEX   Per frame the first row's partition, sequence number and first key bytes stay in memory:
 *         about 100 bytes for a frame of 32 KiB or more. A range looks its first and last frame up by
 *         them; since the key is cut, the answer may be "perhaps", and then the cursor looks at the
 *         rows themselves. */
#include "core/algo/sort_private.h"

#include <endian.h>

/* Bits of a packed row's first byte; the low ones are the number of bytes of the sequence number. */
enum {
    SEQUENCE_BYTES = 15,
    SAME_KEY_SIZES = 16,
    SAME_PARTITION = 32,
    SAME_START = 64,
    SAME_PAYLOAD_SIZE = 128
};
enum { LEAST_START = 2 /* bytes in common that are worth a byte for their number */ };

enum {
#ifdef LB_TINY
    PARTITION_FRAME_BYTES = 256, /* a frame with so much is ended at the next partition */
#else
    PARTITION_FRAME_BYTES = 16 * 1024,
#endif
};

void lb_sort_chunks_free(struct lb_sort_chunk *chunks)
{
    while (chunks != NULL) {
        struct lb_sort_chunk *next = chunks->next;
        lb_free(chunks, chunks->bytes);
        chunks = next;
    }
}

lb_status lb_sort_file_new(const struct lb_sorter_config *config, struct lb_sort_file **file,
                           struct lb_error *err)
{
    struct lb_sort_file *made = lb_alloc_zero(sizeof *made);
    if (made == NULL)
        return lb_error_memory(err, "a spill file", sizeof *made);
    lb_status status = lb_spill_new(&config->spill, &made->spill, err);
    if (status != LB_OK) {
        lb_free(made, sizeof *made);
        return status;
    }
    atomic_init(&made->n_refs, 1);
    *file = made;
    return LB_OK;
}

void lb_sort_file_unref(struct lb_sort_file *file)
{
    if (file == NULL || atomic_fetch_sub(&file->n_refs, 1) != 1)
        return;
    lb_spill_delete(file->spill);
    lb_free(file, sizeof *file);
}

struct lb_sort_run *lb_sort_run_new(void)
{
    return lb_alloc_zero(sizeof(struct lb_sort_run));
}

void lb_sort_run_delete(struct lb_sort_run *run)
{
    if (run == NULL)
        return;
    lb_sort_chunks_free(run->chunks);
    lb_free(run->entries, run->capacity * sizeof *run->entries);
    if (run->slices != NULL)
        lb_free(run->slices, (run->n_partitions + (size_t)1) * sizeof *run->slices);
    if (run->reserved > 0)
        lb_budget_release(run->budget, run->reserved);
    lb_sort_file_unref(run->file);
    lb_free(run->frames, run->frames_capacity * sizeof *run->frames);
    lb_free(run, sizeof *run);
}

void lb_sort_run_common(struct lb_sort_run *run, const struct lb_sort_row *row, bool first)
{
    if (first) {
        run->common_size = row->key_size < LB_SORT_COMMON ? row->key_size : LB_SORT_COMMON;
        memcpy(run->common, row->bytes, run->common_size);
        return;
    }
    uint32_t size = row->key_size < run->common_size ? row->key_size : run->common_size;
    uint32_t same = 0;
    while (same < size && row->bytes[same] == run->common[same])
        same++;
    run->common_size = same;
}

/* ---- bounds ---- */

bool lb_sort_before(const struct lb_sorter_config *config, const struct lb_sort_row *row,
                    const struct lb_sort_bound *bound)
{
    if (!bound->by_key || row->partition != bound->partition)
        return row->partition < bound->partition;
    int order =
        lb_key_compare(row->bytes, lb_sort_range_size(config, row), bound->key, bound->key_size);
    if (order != 0)
        return config->descending ? order > 0 : order < 0;
    return config->split_keys && row->sequence < bound->sequence;
}

enum where { BEFORE, NOT_BEFORE, PERHAPS };

/* Whether the first row of a frame comes before a bound, as far as the index knows. */
static enum where frame_where(const struct lb_sorter_config *config,
                              const struct lb_sort_frame *frame, const struct lb_sort_bound *bound)
{
    if (!bound->by_key || frame->first_partition != bound->partition)
        return frame->first_partition < bound->partition ? BEFORE : NOT_BEFORE;
    uint32_t known = frame->key_size < LB_SORT_COMMON ? frame->key_size : LB_SORT_COMMON;
    uint32_t shared = known < bound->key_size ? known : bound->key_size;
    int order = memcmp(frame->key, bound->key, shared);
    if (order == 0) {
        if (known < frame->key_size && known < bound->key_size)
            return PERHAPS;
        order = (frame->key_size > bound->key_size) - (frame->key_size < bound->key_size);
    }
    if (order != 0)
        return (order < 0) != config->descending ? BEFORE : NOT_BEFORE;
    return config->split_keys && frame->sequence < bound->sequence ? BEFORE : NOT_BEFORE;
}

static size_t entries_before(const struct lb_sorter_config *config, const struct lb_sort_run *run,
                             const struct lb_sort_bound *bound)
{
    size_t low = run->slices[bound->partition];
    size_t high = run->slices[bound->partition + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lb_sort_before(config, run->entries[middle].row, bound))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void lb_sort_run_entries(const struct lb_sorter_config *config, const struct lb_sort_run *run,
                         const struct lb_sort_bound *low, const struct lb_sort_bound *high,
                         size_t *first, size_t *last)
{
    if (low != NULL && !low->by_key)
        *first = run->slices[low->partition];
    else
        *first = low == NULL ? 0 : entries_before(config, run, low);
    if (high != NULL && !high->by_key)
        *last = run->slices[high->partition];
    else
        *last = high == NULL ? run->n_rows : entries_before(config, run, high);
}

/* Frames whose first row is surely before the bound, or with `perhaps` those that may be. */
static uint32_t frames_before(const struct lb_sorter_config *config, const struct lb_sort_run *run,
                              const struct lb_sort_bound *bound, bool perhaps)
{
    uint32_t low = 0;
    uint32_t high = run->n_frames;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        enum where where = frame_where(config, &run->frames[middle], bound);
        if (where == BEFORE || (perhaps && where == PERHAPS))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void lb_sort_run_frames(const struct lb_sorter_config *config, const struct lb_sort_run *run,
                        const struct lb_sort_bound *low, const struct lb_sort_bound *high,
                        uint32_t *first, uint32_t *last, uint32_t *first_sure, uint32_t *last_sure)
{
    *first = 0;
    *first_sure = 0;
    *last = run->n_frames;
    *last_sure = run->n_frames;
    if (low != NULL) {
        /* The range may begin within the last frame that begins before it. */
        uint32_t n_before = frames_before(config, run, low, false);
        *first = n_before > 0 ? n_before - 1 : 0;
        *first_sure = frames_before(config, run, low, true);
        if (!low->by_key && n_before > 0 &&
            run->frames[n_before - 1].last_partition < low->partition)
            *first = n_before;
    }
    if (high != NULL) {
        /* A frame lies before the end when the next one begins before it. */
        *last = frames_before(config, run, high, true);
        uint32_t n_before = frames_before(config, run, high, false);
        *last_sure = n_before > 0 ? n_before - 1 : 0;
    }
}

/* ---- writing ---- */

/* Packed rows take at most one byte more than the heads of those in memory, which are 24 bytes, and up to 8 are
 * written where fewer count. */
static size_t packed_bytes(size_t rows_bytes)
{
    return rows_bytes + rows_bytes / sizeof(struct lb_sort_row) + 8;
}

/* A size of a row that is not alone in its frame, below 2^28: 4 bytes at most. */
static inline char *put_size(char *out, uint32_t size)
{
    for (; size >= 128; size >>= 7)
        *out++ = (char)(size | 128);
    *out++ = (char)size;
    return out;
}

static inline const char *get_size(const char *packed, uint32_t *size)
{
    uint32_t byte, value = 0;
    unsigned shift = 0;
    do {
        byte = (unsigned char)*packed++;
        value |= (byte & 127) << shift;
        shift += 7;
    } while (byte >= 128);
    *size = value;
    return packed;
}

/* With how many bytes, of `size`, both begin. */
static uint32_t same_start(const char *a, const char *b, uint32_t size)
{
    uint32_t same = 0;
    for (; same + 8 <= size; same += 8) {
        uint64_t x, y;
        memcpy(&x, a + same, sizeof x);
        memcpy(&y, b + same, sizeof y);
        if (x != y)
            return same + (uint32_t)__builtin_ctzll(le64toh(x ^ y)) / 8;
    }
    while (same < size && a[same] == b[same])
        same++;
    return same;
}

static void pack_row(struct lb_sort_run_writer *writer, const struct lb_sort_row *row)
{
    struct lb_sort_row *last = &writer->last;
    char *out = writer->at + 1;
    uint64_t step = row->sequence - last->sequence;
    step = step << 1 ^ -(step >> 63);
    unsigned tag = step == 0 ? 0 : (71 - (unsigned)__builtin_clzll(step)) / 8;
    if (row->key_size == last->key_size && row->group_size == last->group_size)
        tag |= SAME_KEY_SIZES;
    else
        out = put_size(put_size(out, row->key_size), row->group_size);
    if (row->payload_size == last->payload_size)
        tag |= SAME_PAYLOAD_SIZE;
    else
        out = put_size(out, row->payload_size);
    if (row->partition == last->partition) {
        tag |= SAME_PARTITION;
    } else {
        memcpy(out, &row->partition, 4);
        out += 4;
    }
    step = htole64(step);
    memcpy(out, &step, sizeof step);
    out += tag & SEQUENCE_BYTES;
    uint32_t known =
        row->key_size < sizeof writer->last_key ? row->key_size : (uint32_t)sizeof writer->last_key;
    uint32_t start = same_start(row->bytes, writer->last_key,
                                known < writer->last_known ? known : writer->last_known);
    if (start >= LEAST_START) {
        tag |= SAME_START;
        *out++ = (char)start;
    } else {
        start = 0;
    }
    size_t size = (size_t)row->key_size + row->payload_size - start;
    memcpy(out, row->bytes + start, size);
    *writer->at = (char)tag;
    writer->at = out + size;
    memcpy(writer->last_key + start, row->bytes + start, known - start);
    writer->last_known = known;
    *last = *row;
}

void lb_sort_frame_unpack(const char *packed, char *rows, size_t rows_bytes)
{
    struct lb_sort_row head = {0};
    const char *end = rows + rows_bytes, *last = NULL;
    while (rows < end) {
        unsigned tag = (unsigned char)*packed++;
        if (!(tag & SAME_KEY_SIZES))
            packed = get_size(get_size(packed, &head.key_size), &head.group_size);
        if (!(tag & SAME_PAYLOAD_SIZE))
            packed = get_size(packed, &head.payload_size);
        if (!(tag & SAME_PARTITION)) {
            memcpy(&head.partition, packed, 4);
            packed += 4;
        }
        unsigned n = tag & SEQUENCE_BYTES;
        uint64_t step = 0;
        memcpy(&step, packed, n);
        step = le64toh(step);
        packed += n;
        head.sequence += step >> 1 ^ -(step & 1);
        size_t start = tag & SAME_START ? (unsigned char)*packed++ : 0;
        size_t size = (size_t)head.key_size + head.payload_size - start;
        size_t bytes = lb_sort_row_bytes(&head);
        memset(rows + bytes - 8, 0, 8); /* the padding, if any */
        memcpy(rows, &head, sizeof head);
        if (start > 0)
            memcpy(rows + sizeof head, last + sizeof head, start);
        memcpy(rows + sizeof head + start, packed, size);
        packed += size;
        last = rows;
        rows += bytes;
    }
}

lb_status lb_sort_run_writer_init(struct lb_sort_run_writer *writer, struct lb_sorter *sorter,
                                  struct lb_sort_file *file, struct lb_error *err)
{
    memset(writer, 0, sizeof *writer);
    writer->sorter = sorter;
    writer->run = lb_sort_run_new();
    if (writer->run == NULL)
        return lb_error_memory(err, "a sorted run", sizeof *writer->run);
    atomic_fetch_add(&file->n_refs, 1);
    writer->run->file = file;
    writer->frame_bytes = sorter->frame_bytes;
    lb_budget_force(sorter->config.budget, writer->frame_bytes);
    writer->frame = lb_alloc(packed_bytes(writer->frame_bytes));
    if (writer->frame == NULL)
        return lb_error_memory(err, "a frame of a sorted run", writer->frame_bytes);
    return LB_OK;
}

void lb_sort_run_writer_fini(struct lb_sort_run_writer *writer)
{
    lb_free(writer->frame, packed_bytes(writer->frame_bytes));
    if (writer->frame_bytes > 0)
        lb_budget_release(writer->sorter->config.budget, writer->frame_bytes);
    lb_sort_run_delete(writer->run);
    memset(writer, 0, sizeof *writer);
}

/* Writes a frame with the index entry prepared in writer->head. */
static lb_status put_frame(struct lb_sort_run_writer *writer, const void *rows, size_t bytes,
                           struct lb_error *err)
{
    struct lb_sort_run *run = writer->run;
    if (run->n_frames == run->frames_capacity) {
        uint32_t capacity = run->frames_capacity == 0 ? 16 : run->frames_capacity * 2;
        struct lb_sort_frame *frames = lb_realloc(
            run->frames, run->frames_capacity * sizeof *frames, capacity * sizeof *frames);
        if (frames == NULL)
            return lb_error_memory(err, "the index of a sorted run", capacity * sizeof *frames);
        run->frames = frames;
        run->frames_capacity = capacity;
    }
    uint64_t before = lb_spill_bytes(run->file->spill);
    LB_TRY(lb_spill_append(run->file->spill, rows, bytes, &writer->head.at, err));
    atomic_fetch_add_explicit(&writer->sorter->spilled_bytes,
                              lb_spill_bytes(run->file->spill) - before, memory_order_relaxed);
    run->frames[run->n_frames++] = writer->head;
    return LB_OK;
}

static lb_status flush_frame(struct lb_sort_run_writer *writer, struct lb_error *err)
{
    if (writer->used == 0)
        return LB_OK;
    writer->head.rows_bytes = (uint32_t)writer->used;
    writer->used = 0;
    if (lb_sort_stopped(&writer->sorter->config))
        return lb_error_set(err, LB_ERR_CANCELLED, "sorting was stopped");
    return put_frame(writer, writer->frame, (size_t)(writer->at - writer->frame), err);
}

static void begin_frame(struct lb_sort_run_writer *writer, const struct lb_sort_row *row)
{
    struct lb_sort_frame *head = &writer->head;
    writer->at = writer->frame;
    memset(&writer->last, 0, sizeof writer->last);
    writer->last_known = 0;
    head->rows_bytes = 0;
    head->first_partition = row->partition;
    head->last_partition = row->partition;
    head->sequence = row->sequence;
    head->key_size = lb_sort_range_size(&writer->sorter->config, row);
    memset(head->key, 0, sizeof head->key);
    memcpy(head->key, row->bytes,
           head->key_size < sizeof head->key ? head->key_size : sizeof head->key);
}

lb_status lb_sort_run_writer_add(struct lb_sort_run_writer *writer, const struct lb_sort_row *row,
                                 struct lb_error *err)
{
    size_t bytes = lb_sort_row_bytes(row);
    lb_sort_run_common(writer->run, row, writer->run->n_rows == 0);
    writer->run->n_rows++;
    if (writer->used > 0 &&
        (writer->used + bytes > writer->frame_bytes ||
         (row->partition != writer->head.last_partition && writer->used >= PARTITION_FRAME_BYTES)))
        LB_TRY(flush_frame(writer, err));
    if (writer->used == 0)
        begin_frame(writer, row);
    if (bytes > writer->frame_bytes)
        return put_frame(writer, row, bytes, err);
    pack_row(writer, row);
    writer->used += bytes;
    writer->head.last_partition = row->partition;
    return LB_OK;
}

lb_status lb_sort_run_writer_finish(struct lb_sort_run_writer *writer, struct lb_sort_run **run,
                                    struct lb_error *err)
{
    *run = NULL;
    LB_TRY(flush_frame(writer, err));
    if (writer->run->n_rows > 0) {
        *run = writer->run;
        writer->run = NULL;
    }
    return LB_OK;
}
