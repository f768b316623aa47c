/* The source "scan.window": walks through the partitions that a window sink has sorted, and gives the kept columns and
 * behind them one column per window function.
 *
 * IDEA   Rows are copied to the columns of a block until it holds a batch of whole partitions; then all functions
 *        are computed for it, one after the other, and it leaves. So a million small partitions cost no more than a few
 *        hundred blocks. A larger partition makes the block grow.
 * STATES whole: the block begins with the beginning of a partition.
 *        in pieces: the last partition of the block is longer than memory allows, and its functions can do with parts of
 *        it (algo/window.h): what has its result leaves, what later rows need is moved to the other block,
 *        which goes on from there.
 *        Where blocks and pieces end depends on the rows alone: later steps and what they leave out are the same for any memory.
 * MEMORY Blocks are reserved in the budget. Functions that need a whole partition get it as long as it fits into
 *        a worker's share; beyond that it is an error that names the function. Where the number of a partition's rows must
 *        be known, a second cursor counts them.
 * ORDER  of the result: by partition of the sorter, partition columns, order columns, input. */
#include "core/algo/window.h"
#include "core/base/sys.h"
#include "core/ops/ops.h"
#include "core/ops/window.h"

#ifdef LB_TINY
enum {
    FULL_ROWS = 5,
    CHECK_ROWS = 4,
    PIECE_BYTES = 2 << 10,
    MAX_BYTES = 1 << 20,
    OVERDRAFT_BYTES = 2 << 20
};
#else
enum {
    FULL_ROWS = LB_BATCH_ROWS - 64, /* a block with so many rows of whole partitions leaves */
    CHECK_ROWS = 1024,              /* rows between two looks at memory */
    PIECE_BYTES = 1 << 19, /* rows of so many bytes are given in pieces, where that is possible */
    MAX_BYTES = 0,         /* 0: a worker's share */
    OVERDRAFT_BYTES = 16 << 20 /* of all blocks, beside a tenth of the memory, beyond the budget */
};
#endif

struct block {
    struct lb_builder *columns; /* n_kept */
    uint8_t *is_peer;
    uint32_t n_rows;
    uint32_t peer_capacity;
    /* Of the rows as they are sorted, and a little for each value; of rows that were moved here their share. */
    size_t row_bytes;
};

struct scan_shared {
    const struct lb_window_shared *window; /* borrowed from the sink */
    uint32_t next_range;                   /* guarded by the stage's lock */
};

struct scan_local {
    uint32_t range;
    struct lb_sort_cursor *cursor;
    uint64_t n_read; /* rows of the range so far */
    const struct lb_sort_row *last;
    struct lb_window window;
    struct block blocks[2];
    struct block *block; /* the one in use */
    struct lb_window_part *parts;
    uint32_t n_parts;
    uint32_t parts_capacity;
    uint64_t part_start; /* n_read before the last part's first row */
    uint32_t next_check; /* rows of the block at which memory is looked at, */
    size_t next_bytes;   /* or their bytes */
    size_t reserved;
    struct lb_column *slices;
    uint64_t *valid;                /* of slices, LB_BATCH_ROWS bits each */
    uint32_t select[LB_BATCH_ROWS]; /* of slices, where rows are left out */
};

enum { VALID_WORDS = LB_BATCH_ROWS / 64 + 1 };

/* ---- opening and closing ---- */

static lb_status scan_open(struct lb_op *self, struct lb_error *err)
{
    struct scan_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    if (self->n_inputs == 1)
        shared->window = lb_window_op_shared(self->inputs[0]);
    if (shared->window == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no window", self->label);
    return LB_OK;
}

static void scan_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct scan_shared));
    self->shared = NULL;
}

static lb_status scan_attach(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    struct scan_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    state->block = &state->blocks[0];
    LB_TRY(lb_window_init(&state->window, &local->op->params, local->worker, err));
    uint32_t n = sink->n_kept + state->window.n_fns;
    if (n > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_USAGE, "%s: more than %d columns", local->op->label,
                            LB_MAX_COLUMNS);
    for (int i = 0; i < 2 && sink->n_kept > 0; i++) {
        struct block *block = &state->blocks[i];
        block->columns = lb_alloc(sink->n_kept * sizeof *block->columns);
        if (block->columns == NULL)
            return lb_error_memory(err, local->op->label, sink->n_kept * sizeof *block->columns);
        for (uint32_t j = 0; j < sink->n_kept; j++)
            lb_builder_init(&block->columns[j]);
    }
    state->slices = lb_alloc(LB_MAX_COLUMNS * sizeof *state->slices);
    state->valid = lb_alloc((size_t)LB_MAX_COLUMNS * VALID_WORDS * sizeof *state->valid);
    if (state->slices == NULL || state->valid == NULL)
        return lb_error_memory(err, local->op->label, LB_MAX_COLUMNS * sizeof *state->slices);
    return LB_OK;
}

static void drop_cursor(struct scan_local *state)
{
    if (state->cursor != NULL)
        lb_sort_cursor_delete(state->cursor);
    state->cursor = NULL;
    state->last = NULL;
}

static void scan_detach(struct lb_op_local *local)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    struct scan_local *state = local->state;
    drop_cursor(state);
    lb_window_fini(&state->window);
    for (int i = 0; i < 2; i++) {
        struct block *block = &state->blocks[i];
        for (uint32_t j = 0; block->columns != NULL && j < sink->n_kept; j++)
            lb_builder_fini(&block->columns[j]);
        lb_free(block->columns, sink->n_kept * sizeof *block->columns);
        lb_free(block->is_peer, block->peer_capacity);
    }
    lb_free(state->parts, state->parts_capacity * sizeof *state->parts);
    if (state->slices != NULL)
        lb_free(state->slices, LB_MAX_COLUMNS * sizeof *state->slices);
    if (state->valid != NULL)
        lb_free(state->valid, (size_t)LB_MAX_COLUMNS * VALID_WORDS * sizeof *state->valid);
    lb_budget_release(local->op->run->budget, state->reserved);
    lb_free(state, sizeof *state);
}

static lb_status scan_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct scan_shared *shared = local->op->shared;
    struct scan_local *state = local->state;
    *more = shared->next_range < lb_sorter_n_ranges(shared->window->sorter);
    if (*more)
        state->range = shared->next_range++;
    return LB_OK;
}

/* ---- the block ---- */

static void reset_block(struct lb_op_local *local, struct block *block)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    for (uint32_t i = 0; i < sink->n_kept; i++)
        lb_builder_reset(&block->columns[i]);
    block->n_rows = 0;
    block->row_bytes = 0;
}

static lb_status grow_peers(struct block *block, struct lb_error *err)
{
    uint32_t capacity = block->peer_capacity > 0 ? 2 * block->peer_capacity : 4096;
    uint8_t *peers = lb_realloc(block->is_peer, block->peer_capacity, capacity);
    if (peers == NULL)
        return lb_error_memory(err, "a window", capacity);
    block->is_peer = peers;
    block->peer_capacity = capacity;
    return LB_OK;
}

/* Ends the row: all its values are in the columns. */
static inline lb_status end_row(struct block *block, bool is_peer, struct lb_error *err)
{
    if (block->n_rows == block->peer_capacity)
        LB_TRY(grow_peers(block, err));
    block->is_peer[block->n_rows++] = is_peer;
    return LB_OK;
}

/* The builders' appends, compiled in where nothing is to be done but to store: they run for each value. */
static inline lb_status add_int(struct lb_builder *column, int64_t value, struct lb_error *err)
{
    if (__builtin_expect(column->type != LB_INT64 || column->n_rows >= column->capacity ||
                             column->n_nulls > 0,
                         0))
        return lb_builder_int(column, value, err);
    ((int64_t *)column->data)[column->n_rows++] = value;
    return LB_OK;
}

static inline lb_status add_float(struct lb_builder *column, double value, struct lb_error *err)
{
    if (__builtin_expect(column->type != LB_FLOAT64 || column->n_rows >= column->capacity ||
                             column->n_nulls > 0,
                         0))
        return lb_builder_float(column, value, err);
    ((double *)column->data)[column->n_rows++] = value;
    return LB_OK;
}

/* Appends one encoded value, and moves the cursor behind it. */
static inline lb_status add_value(struct lb_builder *column, const char **cursor,
                                  struct lb_error *err)
{
    const char *at = *cursor;
    int64_t i;
    double d;
    uint32_t size;
    switch (*at) {
    case 'i':
        memcpy(&i, at + 1, 8);
        *cursor += 9;
        return add_int(column, i, err);
    case 'd':
        memcpy(&d, at + 1, 8);
        *cursor += 9;
        return add_float(column, d, err);
    case 's':
        memcpy(&size, at + 1, 4);
        *cursor += 5 + (size_t)size;
        return lb_builder_string(column, at + 5, size, err);
    case 'n':
        *cursor += 1;
        if (column->type != LB_NULL || column->n_rows == UINT32_MAX)
            return lb_builder_null(column, err);
        column->n_rows++;
        column->n_nulls++;
        return LB_OK;
    default:
        *cursor += lb_codec_size(at);
        return lb_builder_encoded(column, at, (size_t)(*cursor - at), err);
    }
}

static lb_status begin_part(struct scan_local *state, struct lb_error *err)
{
    if (state->n_parts == state->parts_capacity) {
        uint32_t capacity = state->parts_capacity > 0 ? 2 * state->parts_capacity : 256;
        struct lb_window_part *parts = lb_realloc(
            state->parts, state->parts_capacity * sizeof *parts, (size_t)capacity * sizeof *parts);
        if (parts == NULL)
            return lb_error_memory(err, "a window", capacity * sizeof *parts);
        state->parts = parts;
        state->parts_capacity = capacity;
    }
    uint32_t row = state->block->n_rows;
    state->parts[state->n_parts++] =
        (struct lb_window_part){.first = row, .end = row, .out = row, .begins = true};
    return LB_OK;
}

/* The rows first..end of a column. */
static void slice(const struct lb_column *from, uint32_t first, uint32_t n, uint64_t *valid,
                  struct lb_column *to)
{
    static const uint8_t widths[] = {0, 1, 8, 8, 16, 16}; /* ORDER types */
    *to = *from;
    if (from->type == LB_NULL)
        return;
    to->data = (const char *)from->data + (size_t)first * widths[from->type];
    if (from->valid == NULL)
        return;
    unsigned shift = first % 64;
    const uint64_t *words = from->valid + first / 64;
    uint32_t last = (first + n - 1) / 64 - first / 64; /* words that have bits of these rows */
    for (uint32_t i = 0; i * 64 < n; i++) {
        valid[i] = words[i] >> shift;
        if (shift > 0 && i < last)
            valid[i] |= words[i + 1] << (64 - shift);
    }
    if (n % 64 != 0)
        valid[n / 64] &= ((uint64_t)1 << (n % 64)) - 1;
    to->valid = valid;
}

/* Pushes the rows first..end of the block with the functions' results, the first of which is that of row first. */
static lb_status give(struct lb_op_local *local, const struct lb_column *columns, uint32_t first,
                      uint32_t end, struct lb_error *err)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    struct scan_local *state = local->state;
    uint32_t n_fns = state->window.n_fns;
    for (uint32_t row = first; row < end;) {
        uint32_t n = end - row < LB_BATCH_ROWS ? end - row : LB_BATCH_ROWS;
        for (uint32_t i = 0; i < sink->n_kept + n_fns; i++) {
            uint64_t *valid = state->valid + (size_t)i * VALID_WORDS;
            if (i < sink->n_kept) {
                slice(&columns[i], row, n, valid, &state->slices[i]);
            } else {
                struct lb_column result =
                    lb_builder_finish(&state->window.fns[i - sink->n_kept].out);
                slice(&result, row - first, n, valid, &state->slices[i]);
            }
        }
        struct lb_batch batch = {
            .n_rows = n,
            .n_columns = sink->n_kept + n_fns,
            .n_selected = n,
            .columns = state->slices,
        };
        if (state->window.skips) {
            batch.n_selected = lb_window_select(&state->window, row, n, state->select);
            batch.select = batch.n_selected < n ? state->select : NULL;
        }
        if (batch.n_selected > 0)
            LB_TRY(lb_push(local->next, &batch, err));
        row += n;
    }
    return LB_OK;
}

/* Moves the rows keep.. of the block to the other one, which becomes the block. */
static lb_status move_rows(struct lb_op_local *local, const struct lb_column *columns,
                           uint32_t keep, struct lb_error *err)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    struct scan_local *state = local->state;
    struct block *from = state->block;
    struct block *to = from == &state->blocks[0] ? &state->blocks[1] : &state->blocks[0];
    reset_block(local, to);
    for (uint32_t i = 0; i < sink->n_kept; i++)
        for (uint32_t row = keep; row < from->n_rows; row++)
            LB_TRY(lb_builder_column(&to->columns[i], &columns[i], row, err));
    for (uint32_t row = keep; row < from->n_rows; row++)
        LB_TRY(end_row(to, from->is_peer[row], err));
    if (from->n_rows > 0)
        to->row_bytes = from->row_bytes / from->n_rows * to->n_rows;
    reset_block(local, from);
    state->block = to;
    return LB_OK;
}

/* Computes and gives what can be given; is_open: the last part goes on behind the block. */
static lb_status process(struct lb_op_local *local, bool is_open, struct lb_error *err)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    struct scan_local *state = local->state;
    struct block *block = state->block;
    struct lb_column columns[LB_MAX_COLUMNS];
    static const struct lb_column none = {.type = LB_NULL};
    if (state->n_parts == 0)
        return LB_OK;
    for (uint32_t i = 0; i < sink->n_kept; i++)
        columns[i] = lb_builder_finish(&block->columns[i]);
    struct lb_batch batch = {
        .n_rows = block->n_rows,
        .n_columns = sink->n_kept > 0 ? sink->n_kept : 1,
        .n_selected = block->n_rows,
        .columns = sink->n_kept > 0 ? columns : &none,
    };
    struct lb_window_part *last = &state->parts[state->n_parts - 1];
    last->end = last->out_end = block->n_rows;
    if (!is_open)
        last->n_total = last->before + (last->end - last->first);
    uint32_t keep = 0;
    LB_TRY(lb_window_compute(&state->window, &batch, block->is_peer, state->parts, state->n_parts,
                             is_open, &keep, err));
    LB_TRY(give(local, columns, state->parts[0].out, last->out_end, err));
    if (!is_open) {
        reset_block(local, block);
        state->n_parts = 0;
        return LB_OK;
    }
    struct lb_window_part rest = *last;
    LB_TRY(move_rows(local, columns, keep, err));
    rest.before += keep - rest.first;
    rest.begins = rest.begins && rest.out_end == rest.out;
    rest.out = rest.out_end - keep;
    rest.first = 0;
    state->parts[0] = rest;
    state->n_parts = 1;
    return LB_OK;
}

/* ---- memory ---- */

static size_t block_bytes(const struct lb_op_local *local)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    const struct scan_local *state = local->state;
    size_t bytes = lb_window_held_bytes(&state->window);
    for (int i = 0; i < 2; i++) {
        const struct block *block = &state->blocks[i];
        bytes += block->peer_capacity;
        for (uint32_t j = 0; j < sink->n_kept; j++)
            bytes += block->columns[j].capacity * (size_t)16 + block->columns[j].strings.held_bytes;
    }
    return bytes;
}

/* The first look at the memory of a block that is empty. */
static void plan_first_check(struct scan_local *state)
{
    state->next_check = FULL_ROWS + CHECK_ROWS;
    state->next_bytes = PIECE_BYTES;
}

/* Finds the number of rows of the last part, which has begun. */
static lb_status count_part(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    struct scan_local *state = local->state;
    struct lb_sort_cursor *cursor = NULL;
    struct lb_window_part *part = &state->parts[state->n_parts - 1];
    const struct lb_sort_row *row = NULL;
    LB_TRY(lb_sort_cursor_new(sink->sorter, state->range, &cursor, err));
    lb_status status = LB_OK;
    uint64_t n = 0;
    for (uint64_t at = 0; status == LB_OK; at++) {
        if (at % CHECK_ROWS == CHECK_ROWS - 1)
            lb_sort_cursor_release(cursor);
        status = lb_sort_cursor_next(cursor, &row, err);
        if (status != LB_OK || row == NULL)
            break;
        if (at < state->part_start)
            continue;
        if (row->group_size != state->last->group_size ||
            memcmp(row->bytes, state->last->bytes, row->group_size) != 0)
            break;
        n++;
    }
    lb_sort_cursor_delete(cursor);
    part->n_total = n;
    return status;
}

/* Looks at the memory of a growing block, and gives a piece of its last partition when it is time to. */
static lb_status check_memory(struct lb_op_local *local, struct lb_error *err)
{
    struct scan_local *state = local->state;
    struct lb_run *run = local->op->run;
    struct block *block = state->block;
    lb_sort_cursor_release(state->cursor);
    state->next_check = block->n_rows + CHECK_ROWS;
    state->next_bytes = block->row_bytes + PIECE_BYTES;
    size_t bytes = block_bytes(local);
    bool is_refused = false;
    if (bytes > state->reserved) {
        is_refused = !lb_budget_reserve(run->budget, bytes - state->reserved);
        if (is_refused)
            lb_budget_force(run->budget, bytes - state->reserved);
        state->reserved = bytes;
    }
    if (block->row_bytes < PIECE_BYTES)
        return LB_OK;
    bool needs_total = false;
    const char *whole = lb_window_needs_whole(&state->window, &needs_total);
    if (whole == NULL) {
        struct lb_window_part *part = &state->parts[state->n_parts - 1];
        uint32_t before = block->n_rows;
        if (needs_total && part->n_total == 0)
            LB_TRY(count_part(local, err));
        LB_TRY(process(local, true, err));
        /* What stays was moved: let as much again come before the next piece. */
        block = state->block;
        size_t twice = 2 * block->row_bytes;
        state->next_bytes = twice > PIECE_BYTES ? twice : PIECE_BYTES;
        if (block->n_rows < before / 2) {
            state->next_check = before > 2 * block->n_rows ? before : 2 * block->n_rows;
            return LB_OK;
        }
        state->next_check = 2 * block->n_rows;
        whole = "a frame";
    }
    size_t limit = MAX_BYTES > 0 ? (size_t)MAX_BYTES : lb_run_worker_bytes(run);
    /* Refused alone says little: a Lua heap takes all that is free before it collects, and gives it back when it is refused. */
    size_t overdraft = (run->options.memory_bytes / 10 + OVERDRAFT_BYTES) / run->options.n_threads;
    if (MAX_BYTES == 0 && limit < overdraft)
        limit = overdraft;
    if (bytes > limit || (is_refused && bytes > overdraft))
        return lb_error_set(err, LB_ERR_RESOURCE,
                            "%s: %llu rows of a partition, of which %s needs %s at once, take %.1f "
                            "MiB (the memory limit is %.1f MiB for %u threads; see --memory): give "
                            "it a frame of fewer rows, or select fewer columns before",
                            local->op->label, (unsigned long long)block->n_rows, whole,
                            strcmp(whole, "a frame") == 0 ? "so many" : "all",
                            (double)bytes / 1048576, (double)run->options.memory_bytes / 1048576,
                            run->options.n_threads);
    return LB_OK;
}

/* ---- the walk ---- */

static inline uint64_t word_at(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline bool is_same(const char *a, const char *b, size_t size)
{
    if (size < 8)
        return memcmp(a, b, size) == 0;
    for (size_t i = 0; i + 8 < size; i += 8)
        if (word_at(a + i) != word_at(b + i))
            return false;
    return word_at(a + size - 8) == word_at(b + size - 8);
}

static lb_status take_row(struct lb_op_local *local, const struct lb_sort_row *row,
                          struct lb_error *err)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    struct scan_local *state = local->state;
    const struct lb_sort_row *last = state->last;
    bool is_new = last == NULL || row->group_size != last->group_size ||
                  !is_same(row->bytes, last->bytes, row->group_size);
    if (is_new) {
        if (state->n_parts > 0) {
            struct lb_window_part *part = &state->parts[state->n_parts - 1];
            part->end = part->out_end = state->block->n_rows;
            part->n_total = part->before + (part->end - part->first);
            if (state->block->n_rows >= FULL_ROWS || state->block->row_bytes >= PIECE_BYTES) {
                LB_TRY(process(local, false, err));
                lb_sort_cursor_release(state->cursor);
                plan_first_check(state);
            }
        }
        LB_TRY(begin_part(state, err));
        state->part_start = state->n_read;
    }
    bool is_peer = !is_new && row->key_size == last->key_size &&
                   is_same(row->bytes + row->group_size, last->bytes + row->group_size,
                           row->key_size - row->group_size);
    const char *cursor = row->bytes + row->key_size;
    for (uint32_t i = 0; i < sink->n_kept; i++) {
        struct lb_builder *column = &state->block->columns[i];
        if (*cursor != LB_KEYED_INT && *cursor != LB_KEYED_FLOAT) {
            LB_TRY(add_value(column, &cursor, err));
            continue;
        }
        uint32_t key = sink->kept_key[i];
        double value = lb_window_keyed(row->bytes, key, sink->keys[key].descending);
        LB_TRY(*cursor++ == LB_KEYED_INT ? add_int(column, (int64_t)value, err)
                                         : add_float(column, value, err));
    }
    state->last = row;
    state->n_read++;
    state->block->row_bytes += row->key_size + row->payload_size + (size_t)8 * sink->n_kept;
    LB_TRY(end_row(state->block, is_peer, err));
    bool is_due =
        state->block->n_rows >= state->next_check || state->block->row_bytes >= state->next_bytes;
    return is_due ? check_memory(local, err) : LB_OK;
}

static lb_status scan_produce(struct lb_op_local *local, struct lb_error *err)
{
    const struct lb_window_shared *sink = ((struct scan_shared *)local->op->shared)->window;
    struct scan_local *state = local->state;
    drop_cursor(state);
    reset_block(local, state->block);
    state->n_parts = 0;
    state->n_read = 0;
    plan_first_check(state);
    LB_TRY(lb_sort_cursor_new(sink->sorter, state->range, &state->cursor, err));
    for (;;) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            break;
        LB_TRY(take_row(local, row, err));
    }
    LB_TRY(process(local, false, err));
    drop_cursor(state);
    return LB_OK;
}

const struct lb_op_class lb_op_scan_window = {
    .name = "scan.window",
    .kind = LB_OP_SOURCE,
    .open = scan_open,
    .attach = scan_attach,
    .claim = scan_claim,
    .produce = scan_produce,
    .detach = scan_detach,
    .close = scan_close,
};
