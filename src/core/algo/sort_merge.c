/* Cursors: the rows of one range of some runs, in order.
 *
 * IDEA   A loser tree over the runs (Knuth, volume 3, 5.4.1): the leaves are the runs' next rows,
 *        each inner node keeps the loser of the match below it, and the winner of all is the next
 *        row; to go on, only the winner's path is played again: log2(k) comparisons. Most are
 *        decided by the nodes' cached prefixes: 8 key bytes behind those which all keys of these
 *        runs share. A cursor over one run has no tree. Rows of runs in memory are handed out where
 *        they lie; they lie in random order, so their cache lines are called for some rows ahead.
 * MEMORY One frame for each spilled run, and those whose rows were handed out since the last
 *        release. */
#include "core/algo/sort_private.h"

#ifdef LB_TINY
enum { DUE_BYTES = 16 << 10, PREFETCH = 16 };
#else
enum { DUE_BYTES = 1 << 20, PREFETCH = 16 };
#endif

/* The part of one run. */
struct source {
    const struct lb_sort_run *run;
    const struct lb_sort_row *row; /* the next one; NULL at the end */
    uint64_t prefix;               /* of row; the greatest at the end */
    /* in memory: */
    const struct lb_sort_entry *entry;
    const struct lb_sort_entry *end;
    /* on disk: */
    uint32_t frame; /* the next to read */
    uint32_t last;
    uint32_t first_sure; /* see lb_sort_run_frames */
    uint32_t last_sure;
    bool check_high; /* rows of this frame may be behind the range */
    struct lb_sort_chunk *buffer;
    const char *at; /* row's place in buffer */
    const char *limit;
};

struct node {
    uint64_t prefix;
    uint32_t source;
};

struct lb_sort_cursor {
    /* configuration */
    struct lb_sorter *sorter;
    const struct lb_sort_bound *low; /* NULL: open */
    const struct lb_sort_bound *high;
    size_t depth;  /* of the prefixes; keys agree before */
    uint64_t flip; /* all ones when descending */
    /* state */
    struct source *sources;
    struct node *nodes; /* [0] the winner; NULL with one source */
    uint32_t n_sources;
    uint32_t capacity;
    bool started; /* the winner was handed out */
    uint32_t until_check;
    const struct lb_sort_row *newest; /* handed out last */
    /* resources */
    struct lb_sort_chunk *retired; /* frames with rows handed out, */
    size_t retired_bytes;          /* those since the last release */
    struct lb_sort_chunk *spare;
    struct lb_buf packed; /* a frame as it was written */
    struct lb_buf scratch;
};

/* ---- frames ---- */

static void free_frames(struct lb_sort_cursor *cursor, struct lb_sort_chunk *frames)
{
    for (struct lb_sort_chunk *at = frames; at != NULL; at = at->next)
        lb_budget_release(cursor->sorter->config.budget, at->bytes);
    lb_sort_chunks_free(frames);
}

static lb_status new_frame(struct lb_sort_cursor *cursor, size_t raw_size,
                           struct lb_sort_chunk **frame, struct lb_error *err)
{
    size_t usual = cursor->sorter->frame_bytes;
    if (raw_size <= usual && cursor->spare != NULL) {
        *frame = cursor->spare;
        cursor->spare = cursor->spare->next;
        return LB_OK;
    }
    size_t bytes = sizeof **frame + (raw_size < usual ? usual : raw_size) + LB_SORT_SLACK;
    lb_budget_force(cursor->sorter->config.budget, bytes);
    struct lb_sort_chunk *made = lb_alloc(bytes);
    if (made == NULL) {
        lb_budget_release(cursor->sorter->config.budget, bytes);
        return lb_error_memory(err, "a frame of a merge", bytes);
    }
    made->bytes = bytes;
    *frame = made;
    return LB_OK;
}

/* Puts a frame nobody looks at any more where new_frame finds it, unless it is of unusual size. */
static void recycle_frame(struct lb_sort_cursor *cursor, struct lb_sort_chunk *frame)
{
    if (frame->bytes == sizeof *frame + cursor->sorter->frame_bytes + LB_SORT_SLACK) {
        frame->next = cursor->spare;
        cursor->spare = frame;
    } else {
        frame->next = NULL;
        free_frames(cursor, frame);
    }
}

/* Goes to the next frame; source->at == source->limit when there is none. */
static lb_status next_frame(struct lb_sort_cursor *cursor, struct source *source,
                            struct lb_error *err)
{
    if (source->buffer != NULL) {
        source->buffer->next = cursor->retired;
        cursor->retired = source->buffer;
        cursor->retired_bytes += source->buffer->bytes;
        source->buffer = NULL;
    }
    source->at = source->limit = NULL;
    if (source->frame == source->last)
        return LB_OK;
    const struct lb_sort_frame *frame = &source->run->frames[source->frame];
    struct lb_sort_chunk *buffer = NULL;
    bool packed = frame->rows_bytes > 0;
    size_t bytes = packed ? frame->rows_bytes : frame->at.raw_size;
    if (packed) {
        cursor->packed.size = 0;
        LB_TRY(lb_buf_reserve(&cursor->packed, frame->at.raw_size, err));
    }
    LB_TRY(new_frame(cursor, bytes, &buffer, err));
    lb_status status =
        lb_spill_read(source->run->file->spill, &frame->at,
                      packed ? cursor->packed.data : buffer->rows, &cursor->scratch, err);
    if (status != LB_OK) {
        recycle_frame(cursor, buffer);
        return status;
    }
    if (packed)
        lb_sort_frame_unpack(cursor->packed.data, buffer->rows, bytes);
    source->buffer = buffer;
    source->at = buffer->rows;
    source->limit = buffer->rows + bytes;
    source->check_high = source->frame >= source->last_sure;
    source->frame++;
    return LB_OK;
}

/* ---- sources ---- */

static void end_source(struct source *source)
{
    source->row = NULL;
    source->prefix = UINT64_MAX;
}

static void take_entry(const struct lb_sort_cursor *cursor, struct source *source)
{
    const struct lb_sort_entry *entry = source->entry;
    if (entry == source->end) {
        end_source(source);
        return;
    }
    if (source->end - entry > PREFETCH) {
        const char *ahead = (const char *)entry[PREFETCH].row;
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + 64);
        __builtin_prefetch(ahead + 128);
    }
    source->row = entry->row;
    source->prefix = source->run->prefix_depth == cursor->depth
                         ? entry->prefix
                         : lb_sort_key_word(entry->row, cursor->depth) ^ cursor->flip;
}

static lb_status take_row(struct lb_sort_cursor *cursor, struct source *source,
                          struct lb_error *err)
{
    if (source->at == source->limit) {
        LB_TRY(next_frame(cursor, source, err));
        if (source->at == source->limit) {
            end_source(source);
            return LB_OK;
        }
    }
    const struct lb_sort_row *row = (const struct lb_sort_row *)(const void *)source->at;
    if (source->check_high && cursor->high != NULL &&
        !lb_sort_before(&cursor->sorter->config, row, cursor->high)) {
        end_source(source);
        return LB_OK;
    }
    source->row = row;
    source->prefix = lb_sort_key_word(row, cursor->depth) ^ cursor->flip;
    return LB_OK;
}

static inline lb_status advance(struct lb_sort_cursor *cursor, struct source *source,
                                struct lb_error *err)
{
    if (source->run->file == NULL) {
        source->entry++;
        take_entry(cursor, source);
        return LB_OK;
    }
    source->at += lb_sort_row_bytes(source->row);
    return take_row(cursor, source, err);
}

/* Sets a source to the first row of the range. */
static lb_status begin_source(struct lb_sort_cursor *cursor, struct source *source,
                              struct lb_error *err)
{
    if (source->run->file == NULL) {
        take_entry(cursor, source);
        return LB_OK;
    }
    LB_TRY(take_row(cursor, source, err));
    while (source->row != NULL && source->frame - 1 < source->first_sure && cursor->low != NULL &&
           lb_sort_before(&cursor->sorter->config, source->row, cursor->low)) {
        source->at += lb_sort_row_bytes(source->row);
        if (source->at == source->limit) { /* no row of this frame was handed out */
            recycle_frame(cursor, source->buffer);
            source->buffer = NULL;
        }
        LB_TRY(take_row(cursor, source, err));
    }
    return LB_OK;
}

/* ---- the tree ---- */

/* Decides what equal prefixes leave open; a source at its end comes last. */
static bool row_is_less(const struct lb_sort_cursor *cursor, uint32_t a, uint32_t b)
{
    const struct lb_sort_row *left = cursor->sources[a].row;
    const struct lb_sort_row *right = cursor->sources[b].row;
    if (left == NULL || right == NULL)
        return left != NULL || (right == NULL && a < b);
    int order = lb_sort_compare(left, right, cursor->depth, cursor->flip != 0);
    return order != 0 ? order < 0 : a < b;
}

static inline bool node_is_less(const struct lb_sort_cursor *cursor, const struct node *a,
                                const struct node *b)
{
    if (__builtin_expect(a->prefix != b->prefix, 1))
        return a->prefix < b->prefix;
    return row_is_less(cursor, a->source, b->source);
}

/* Plays all matches below inner node i; leaves are n_sources.. . Returns the winner. */
static struct node build_tree(struct lb_sort_cursor *cursor, uint32_t i)
{
    if (i >= cursor->n_sources) {
        uint32_t source = i - cursor->n_sources;
        return (struct node){.prefix = cursor->sources[source].prefix, .source = source};
    }
    struct node left = build_tree(cursor, 2 * i);
    struct node right = build_tree(cursor, 2 * i + 1);
    bool left_wins = node_is_less(cursor, &left, &right);
    cursor->nodes[i] = left_wins ? right : left;
    return left_wins ? left : right;
}

static void replay(struct lb_sort_cursor *cursor)
{
    struct node winner = cursor->nodes[0];
    winner.prefix = cursor->sources[winner.source].prefix;
    for (uint32_t i = (winner.source + cursor->n_sources) / 2; i > 0; i /= 2) {
        if (node_is_less(cursor, &cursor->nodes[i], &winner)) {
            struct node loser = winner;
            winner = cursor->nodes[i];
            cursor->nodes[i] = loser;
        }
    }
    cursor->nodes[0] = winner;
}

/* ---- opening ---- */

/* Adds the run's part of the range as a source, if there is one. */
static void add_source(struct lb_sort_cursor *cursor, const struct lb_sort_run *run)
{
    const struct lb_sorter_config *config = &cursor->sorter->config;
    struct source source = {.run = run};
    if (run->file == NULL) {
        size_t first;
        size_t last;
        lb_sort_run_entries(config, run, cursor->low, cursor->high, &first, &last);
        if (first >= last)
            return;
        source.entry = run->entries + first;
        source.end = run->entries + last;
    } else {
        lb_sort_run_frames(config, run, cursor->low, cursor->high, &source.frame, &source.last,
                           &source.first_sure, &source.last_sure);
        if (source.frame >= source.last)
            return;
    }
    cursor->sources[cursor->n_sources++] = source;
}

/* How many first bytes all keys of all sources share. */
static size_t common_depth(const struct lb_sort_cursor *cursor)
{
    const struct lb_sort_run *first = cursor->sources[0].run;
    size_t depth = first->common_size;
    if (cursor->n_sources == 1)
        return first->file == NULL ? first->prefix_depth : 0; /* nothing will be compared */
    for (uint32_t i = 1; i < cursor->n_sources; i++) {
        const struct lb_sort_run *run = cursor->sources[i].run;
        size_t limit = run->common_size < depth ? run->common_size : depth;
        for (depth = 0; depth < limit && run->common[depth] == first->common[depth]; depth++)
            ;
    }
    /* The entries' own prefixes are at hand; deeper ones must pay for touching the rows early. */
    size_t at_hand = first->prefix_depth;
    if (first->file == NULL && at_hand <= depth && depth < at_hand + 4)
        depth = at_hand;
    return depth;
}

lb_status lb_sort_cursor_open(struct lb_sorter *sorter, const struct lb_sort_run *runs,
                              const struct lb_sort_bound *low, const struct lb_sort_bound *high,
                              struct lb_sort_cursor **out, struct lb_error *err)
{
    struct lb_sort_cursor *cursor = lb_alloc_zero(sizeof *cursor);
    if (cursor == NULL)
        return lb_error_memory(err, "a merge", sizeof *cursor);
    cursor->sorter = sorter;
    cursor->low = low;
    cursor->high = high;
    cursor->flip = sorter->config.descending ? ~(uint64_t)0 : 0;
    cursor->until_check = LB_SORT_CHECK_ROWS;
    for (const struct lb_sort_run *run = runs; run != NULL; run = run->next)
        cursor->capacity++;
    lb_status status = LB_OK;
    if (cursor->capacity == 0)
        goto done;
    cursor->sources = lb_alloc_zero(cursor->capacity * sizeof *cursor->sources);
    cursor->nodes = lb_alloc(cursor->capacity * sizeof *cursor->nodes);
    if (cursor->sources == NULL || cursor->nodes == NULL) {
        status = lb_error_memory(err, "a merge", cursor->capacity * sizeof *cursor->sources);
        goto fail;
    }
    for (const struct lb_sort_run *run = runs; run != NULL; run = run->next)
        add_source(cursor, run);
    if (cursor->n_sources == 0)
        goto done;
    cursor->depth = common_depth(cursor);
    for (uint32_t i = 0; i < cursor->n_sources; i++) {
        status = begin_source(cursor, &cursor->sources[i], err);
        if (status != LB_OK)
            goto fail;
    }
    cursor->nodes[0] = build_tree(cursor, 1);
done:
    *out = cursor;
    return LB_OK;
fail:
    lb_sort_cursor_delete(cursor);
    return status;
}

lb_status lb_sort_cursor_new(struct lb_sorter *sorter, uint32_t range,
                             struct lb_sort_cursor **cursor, struct lb_error *err)
{
    return lb_sort_cursor_open(sorter, sorter->runs, range == 0 ? NULL : &sorter->bounds[range - 1],
                               range == sorter->n_bounds ? NULL : &sorter->bounds[range], cursor,
                               err);
}

/* ---- reading ---- */

lb_status lb_sort_cursor_next(struct lb_sort_cursor *cursor, const struct lb_sort_row **row,
                              struct lb_error *err)
{
    if (cursor->n_sources == 0) {
        *row = NULL;
        return LB_OK;
    }
    if (--cursor->until_check == 0) {
        cursor->until_check = LB_SORT_CHECK_ROWS;
        if (lb_sort_stopped(&cursor->sorter->config))
            return lb_error_set(err, LB_ERR_CANCELLED, "merging was stopped");
    }
    struct source *winner = &cursor->sources[cursor->nodes[0].source];
    if (cursor->started && winner->row != NULL) {
        LB_TRY(advance(cursor, winner, err));
        if (cursor->n_sources > 1)
            replay(cursor);
        winner = &cursor->sources[cursor->nodes[0].source];
    }
    cursor->started = true;
    *row = winner->row;
    if (winner->row != NULL)
        cursor->newest = winner->row;
    return LB_OK;
}

bool lb_sort_cursor_is_due(const struct lb_sort_cursor *cursor)
{
    return cursor->retired_bytes >= DUE_BYTES;
}

void lb_sort_cursor_release(struct lb_sort_cursor *cursor)
{
    cursor->retired_bytes = 0;
    const char *newest = (const char *)cursor->newest;
    struct lb_sort_chunk *frame = cursor->retired;
    cursor->retired = NULL;
    while (frame != NULL) {
        struct lb_sort_chunk *next = frame->next;
        const char *start = (const char *)frame;
        if (newest > start && newest < start + frame->bytes) {
            frame->next = cursor->retired;
            cursor->retired = frame;
        } else {
            recycle_frame(cursor, frame);
        }
        frame = next;
    }
}

void lb_sort_cursor_delete(struct lb_sort_cursor *cursor)
{
    if (cursor == NULL)
        return;
    for (uint32_t i = 0; i < cursor->n_sources; i++)
        if (cursor->sources[i].buffer != NULL) {
            cursor->sources[i].buffer->next = NULL;
            free_frames(cursor, cursor->sources[i].buffer);
        }
    free_frames(cursor, cursor->retired);
    free_frames(cursor, cursor->spare);
    lb_buf_fini(&cursor->packed);
    lb_buf_fini(&cursor->scratch);
    lb_free(cursor->sources, cursor->capacity * sizeof *cursor->sources);
    lb_free(cursor->nodes, cursor->capacity * sizeof *cursor->nodes);
    lb_free(cursor, sizeof *cursor);
}
