/* Cutting partitions into pieces; see sort_pieces.h.
 *
 * IDEA     One walk over the sample in the order of rows, group by group. A sampled row stands for n_rows / n_samples
 *          rows. The open piece is the last of pieces->items; `cut` ends it and opens the next one.
 * TAILS    The cuts within a group are quantiles of its sampled tail rows. Where the sample has few of them
 *          beside many of the head, the tail is read itself, as far as MOST_TAIL rows.
 * WHY NOT  Cuts where the sketch of algo/heavy_hitters.h sees heavy keys: it depends on which thread saw which rows. */
#include "core/algo/sort_pieces.h"

#include "core/algo/sort_private.h"

enum {
    PIECES = 64,      /* a piece is about so small a part of all rows */
    LARGE = 4,        /* a partition of so many pieces is cut */
    MOST_TAIL = 4096, /* tail rows read to be cut exactly */
    MOST_TURNED = 16, /* tail rows for which the head is read again and again */
    TAIL_BYTE = 0xFF
};

struct planner {
    struct lb_sort_pieces *pieces;
    const struct lb_sort_pieces_config *config;
    double weight;     /* rows that a sampled one stands for */
    double piece_rows; /* wanted */
    uint32_t partition;
    bool is_large;
    double since; /* rows since the open piece began */
};

static lb_status out_of_memory(size_t bytes, struct lb_error *err)
{
    return lb_error_memory(err, "the pieces of a sort", bytes);
}

/* A bound of this partition at a key, or with key NULL at the partition's beginning. */
static lb_status new_bound(struct planner *planner, uint32_t partition, const char *key,
                           size_t key_size, int tail, uint64_t sequence,
                           const struct lb_sort_bound **bound, struct lb_error *err)
{
    size_t bytes = sizeof **bound + key_size + 1;
    struct lb_sort_bound *made = lb_arena_alloc(&planner->pieces->arena, bytes);
    if (made == NULL)
        return out_of_memory(bytes, err);
    char *copy = (char *)(made + 1);
    if (key_size > 0)
        memcpy(copy, key, key_size);
    if (tail >= 0)
        copy[key_size++] = (char)tail;
    *made = (struct lb_sort_bound){.partition = partition,
                                   .by_key = key != NULL,
                                   .key_size = (uint32_t)key_size,
                                   .sequence = sequence,
                                   .key = copy};
    *bound = made;
    return LB_OK;
}

static lb_status grow(void **items, uint32_t *capacity, size_t item_bytes, struct lb_error *err)
{
    uint32_t more = *capacity * 2 + 64;
    void *moved = lb_realloc(*items, *capacity * item_bytes, more * item_bytes);
    if (moved == NULL)
        return out_of_memory(more * item_bytes, err);
    *items = moved;
    *capacity = more;
    return LB_OK;
}

static lb_status open_piece(struct planner *planner, const struct lb_sort_bound *low,
                            struct lb_sort_piece **piece, struct lb_error *err)
{
    struct lb_sort_pieces *pieces = planner->pieces;
    if (pieces->n == pieces->capacity) {
        void *items = pieces->items;
        LB_TRY(grow(&items, &pieces->capacity, sizeof *pieces->items, err));
        pieces->items = items;
    }
    *piece = &pieces->items[pieces->n++];
    **piece = (struct lb_sort_piece){.partition = planner->partition, .low = low, .counts = true};
    planner->since = 0;
    return LB_OK;
}

/* Whether a bound lies behind (> 0) where the open piece begins, there (0), or before it: which happens only where the
 * sample knows no more than the beginning of a key. */
static int place(const struct planner *planner, const struct lb_sort_bound *at)
{
    const struct lb_sort_bound *low = planner->pieces->items[planner->pieces->n - 1].low;
    if (!low->by_key)
        return 1;
    int order = lb_key_compare(at->key, at->key_size, low->key, low->key_size);
    return order != 0 ? order : (at->sequence > low->sequence) - (at->sequence < low->sequence);
}

/* Ends the open piece and opens the next. */
static lb_status cut(struct planner *planner, const struct lb_sort_bound *at,
                     struct lb_sort_piece **next, struct lb_error *err)
{
    planner->pieces->items[planner->pieces->n - 1].high = at;
    return open_piece(planner, at, next, err);
}

/* ---- within a group ---- */

/* A group that is being cut, and its sampled rows: those of the head, then those of the tail. */
struct group {
    const char *key;
    uint32_t size;
    const struct lb_sort_sampled *head, *tail;
    size_t n_head, n_tail;
    uint32_t wanted; /* pieces */
    uint32_t split;
    const struct lb_sort_bound *start, *tail_start;
};

/* Sequence numbers of the group's tail rows; *n is MOST_TAIL + 1 when there are more. */
static lb_status read_tail(struct planner *planner, const struct group *group, uint64_t *sequences,
                           size_t *n, struct lb_error *err)
{
    struct lb_sorter *sorter = planner->pieces->sorter;
    const struct lb_sort_bound *end = NULL;
    struct lb_sort_cursor *cursor = NULL;
    const struct lb_sort_row *row = NULL;
    *n = 0;
    LB_TRY(new_bound(planner, planner->partition, group->key, group->size, TAIL_BYTE, UINT64_MAX,
                     &end, err));
    LB_TRY(lb_sort_cursor_open(sorter, sorter->runs, group->tail_start, end, &cursor, err));
    lb_status status = lb_sort_cursor_next(cursor, &row, err);
    while (status == LB_OK && row != NULL && *n <= MOST_TAIL) {
        sequences[(*n)++] = row->sequence;
        if (*n % 256 == 0)
            lb_sort_cursor_release(cursor);
        status = lb_sort_cursor_next(cursor, &row, err);
    }
    lb_sort_cursor_delete(cursor);
    return status;
}

/* The open piece goes up to the tail row of this sequence number, the next one begins with it. */
static lb_status cut_tail(struct planner *planner, const struct group *group, uint64_t sequence,
                          struct lb_error *err)
{
    const struct lb_sort_bound *at = NULL;
    struct lb_sort_piece *piece = &planner->pieces->items[planner->pieces->n - 1];
    LB_TRY(new_bound(planner, planner->partition, group->key, group->size, TAIL_BYTE, sequence, &at,
                     err));
    piece->ends = true;
    piece->split = group->split;
    LB_TRY(cut(planner, at, &piece, err));
    piece->begins = true;
    piece->split = group->split;
    piece->head_low = group->start;
    piece->head_high = group->tail_start;
    return LB_OK;
}

/* A piece for one tail row (NULL: there is none) and each part of the head. */
static lb_status turn_row(struct planner *planner, const struct group *group,
                          const uint64_t *sequence, size_t n_parts, bool counts,
                          struct lb_error *err)
{
    const struct lb_sort_bound *low = group->tail_start, *high = group->tail_start;
    const struct lb_sort_bound *at = group->start;
    struct lb_sort_piece *piece = &planner->pieces->items[planner->pieces->n - 1];
    if (sequence != NULL) {
        LB_TRY(new_bound(planner, planner->partition, group->key, group->size, TAIL_BYTE, *sequence,
                         &low, err));
        LB_TRY(new_bound(planner, planner->partition, group->key, group->size, TAIL_BYTE,
                         *sequence + 1, &high, err));
    }
    for (size_t i = 0; i < n_parts; i++) {
        if (piece->high != NULL) /* the first piece is open already */
            LB_TRY(open_piece(planner, at, &piece, err));
        const struct lb_sort_sampled *next = &group->head[group->n_head * (i + 1) / n_parts];
        if (i + 1 < n_parts)
            LB_TRY(new_bound(planner, planner->partition, next->key, next->key_size, -1,
                             next->sequence, &at, err));
        else
            at = group->tail_start;
        piece->begins = piece->ends = piece->turned = true;
        piece->is_alone = sequence == NULL;
        piece->counts = counts;
        piece->split = group->split;
        piece->head_low = low;
        piece->head_high = high;
        piece->high = at;
    }
    return LB_OK;
}

static lb_status turn(struct planner *planner, const struct group *group, const uint64_t *sequences,
                      size_t n, struct lb_error *err)
{
    const struct lb_sort_bound *end = NULL;
    struct lb_sort_piece *piece = NULL;
    size_t rows = n > 0 ? n : 1;
    size_t n_parts = (group->wanted + rows - 1) / rows;
    if (n_parts > group->n_head)
        n_parts = group->n_head;
    atomic_store(&planner->pieces->splits[group->split].n_rows, n);
    for (size_t i = 0; i < rows; i++)
        LB_TRY(turn_row(planner, group, n > 0 ? &sequences[i] : NULL, n_parts, i == 0, err));
    LB_TRY(new_bound(planner, planner->partition, group->key, group->size, TAIL_BYTE, UINT64_MAX,
                     &end, err));
    return open_piece(planner, end, &piece, err);
}

/* Where the sample knows little of the tail. */
static lb_status cut_by_reading(struct planner *planner, const struct group *group, bool *is_done,
                                struct lb_error *err)
{
    uint64_t *sequences = lb_alloc((MOST_TAIL + 1) * sizeof *sequences);
    size_t n = 0;
    if (sequences == NULL)
        return out_of_memory((MOST_TAIL + 1) * sizeof *sequences, err);
    lb_status status = read_tail(planner, group, sequences, &n, err);
    *is_done = status == LB_OK && n <= MOST_TAIL;
    /* nil matches nothing: its head has nothing to do with its tail. */
    bool turns = planner->config->turned && n <= MOST_TURNED && group->n_head >= 2 &&
                 (unsigned char)group->key[0] != LB_KEY_NIL;
    if (*is_done && turns) {
        status = turn(planner, group, sequences, n, err);
    } else if (*is_done) {
        size_t n_pieces = group->wanted < n ? group->wanted : n;
        for (size_t i = 1; status == LB_OK && i < n_pieces; i++)
            status = cut_tail(planner, group, sequences[n * i / n_pieces], err);
    }
    lb_free(sequences, (MOST_TAIL + 1) * sizeof *sequences);
    return status;
}

static lb_status cut_inside(struct planner *planner, struct group *group, struct lb_error *err)
{
    struct lb_sort_pieces *pieces = planner->pieces;
    struct lb_sort_piece *piece = NULL;
    LB_TRY(new_bound(planner, planner->partition, group->key, group->size, TAIL_BYTE, 0,
                     &group->tail_start, err));
    group->start = group->tail_start;
    if (!planner->config->headless)
        LB_TRY(new_bound(planner, planner->partition, group->key, group->size, -1, 0, &group->start,
                         err));
    int where = place(planner, group->start);
    if (where < 0)
        return LB_OK;
    if (pieces->n_splits == pieces->splits_capacity) {
        void *splits = pieces->splits;
        LB_TRY(grow(&splits, &pieces->splits_capacity, sizeof *pieces->splits, err));
        pieces->splits = splits;
    }
    group->split = pieces->n_splits;
    struct lb_sort_split *split = &pieces->splits[pieces->n_splits];
    *split = (struct lb_sort_split){.group = group->tail_start->key, .group_size = group->size};
    if (where > 0)
        LB_TRY(cut(planner, group->start, &piece, err));
    uint32_t n_before = pieces->n - 1;
    bool is_done = false;
    if (group->n_tail < group->wanted && group->n_tail < group->n_head)
        LB_TRY(cut_by_reading(planner, group, &is_done, err));
    size_t n = group->wanted < group->n_tail ? group->wanted : group->n_tail;
    for (size_t i = 1; !is_done && i < n; i++)
        LB_TRY(cut_tail(planner, group, group->tail[group->n_tail * i / n].sequence, err));
    split->n_pieces = pieces->n - n_before;
    if (pieces->items[pieces->n - 1].begins == false)
        split->n_pieces--; /* it is behind the group, or the whole of it */
    pieces->n_splits += split->n_pieces > 1;
    return LB_OK;
}

/* ---- all groups ---- */

static uint32_t known_size(const struct lb_sort_sampled *item)
{
    return item->group_size < item->key_size ? item->group_size : item->key_size;
}

static bool same_group(const struct lb_sort_sampled *a, const struct lb_sort_sampled *b)
{
    return a->partition == b->partition && a->group_size == b->group_size &&
           memcmp(a->key, b->key, known_size(a)) == 0;
}

static lb_status plan_group(struct planner *planner, const struct lb_sort_sampled *items, size_t n,
                            struct lb_error *err)
{
    const struct lb_sort_pieces_config *config = planner->config;
    struct group group = {.key = items->key, .size = items->group_size, .head = items};
    double n_rows = (double)n * planner->weight;
    uint32_t wanted = LB_SORT_AS_FOUND;
    bool may_cut = config->inside && items->key_size > items->group_size && n >= 2;
    if (may_cut && config->ask != NULL)
        LB_TRY(config->ask(config->context, group.key, group.size, &wanted, err));
    if (wanted == LB_SORT_AS_FOUND)
        wanted = planner->is_large && n_rows >= 2 * planner->piece_rows
                     ? (uint32_t)(n_rows / planner->piece_rows + 0.5)
                     : 1;
    if (may_cut && wanted > 1) {
        while (group.n_head < n && (unsigned char)items[group.n_head].key[group.size] != TAIL_BYTE)
            group.n_head++;
        group.tail = items + group.n_head;
        group.n_tail = n - group.n_head;
        group.wanted = wanted;
        LB_TRY(cut_inside(planner, &group, err));
        planner->since = n_rows / wanted;
        return LB_OK;
    }
    if (config->between && planner->is_large && planner->since >= planner->piece_rows) {
        const struct lb_sort_bound *start = NULL;
        struct lb_sort_piece *piece = NULL;
        uint32_t size = config->headless ? items->key_size : known_size(items);
        LB_TRY(new_bound(planner, planner->partition, items->key, size, -1, 0, &start, err));
        if (place(planner, start) > 0)
            LB_TRY(cut(planner, start, &piece, err));
    }
    planner->since += n_rows;
    return LB_OK;
}

static lb_status plan_partition(struct planner *planner, const struct lb_sort_sampled *items,
                                size_t n, struct lb_error *err)
{
    struct lb_sort_pieces *pieces = planner->pieces;
    const struct lb_sort_bound *low = NULL, *high = NULL;
    struct lb_sort_piece *piece = NULL;
    uint32_t partition = planner->partition;
    planner->is_large =
        (double)lb_sorter_partition_rows(pieces->sorter, partition) > LARGE * planner->piece_rows;
    LB_TRY(new_bound(planner, partition, NULL, 0, -1, 0, &low, err));
    LB_TRY(new_bound(planner, partition + 1, NULL, 0, -1, 0, &high, err));
    LB_TRY(open_piece(planner, low, &piece, err));
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && same_group(&items[i], &items[end]); end++)
            ;
        LB_TRY(plan_group(planner, items + i, end - i, err));
    }
    piece = &pieces->items[pieces->n - 1];
    piece->high = high;
    piece->is_last = true;
    return LB_OK;
}

static lb_status plan_all(struct planner *planner, struct lb_error *err)
{
    struct lb_sorter *sorter = planner->pieces->sorter;
    struct lb_sort_sample *sample = &sorter->sample;
    lb_sort_sample_order(sample, &sorter->config);
    double n_rows = (double)sorter->n_rows;
    planner->weight = sample->n > 0 ? n_rows / (double)sample->n : 0;
    planner->piece_rows = n_rows / PIECES;
    if (planner->piece_rows < LB_SORT_RANGE_ROWS)
        planner->piece_rows = LB_SORT_RANGE_ROWS;
    size_t first = 0;
    for (uint32_t p = 0; p < sorter->config.n_partitions; p++) {
        size_t end = first;
        while (end < sample->n && sample->items[end].partition == p)
            end++;
        planner->partition = p;
        const struct lb_sort_sampled *items = end > first ? sample->items + first : NULL;
        LB_TRY(plan_partition(planner, items, end - first, err));
        first = end;
    }
    return LB_OK;
}

lb_status lb_sort_pieces_new(struct lb_sorter *sorter, const struct lb_sort_pieces_config *config,
                             struct lb_sort_pieces **out, struct lb_error *err)
{
    if (!sorter->config.has_pieces || !sorter->config.split_keys || sorter->config.descending)
        return lb_error_set(err, LB_ERR_INTERNAL, "a sorter that cannot be cut into pieces");
    struct lb_sort_pieces *pieces = lb_alloc_zero(sizeof *pieces);
    if (pieces == NULL)
        return out_of_memory(sizeof *pieces, err);
    pieces->sorter = sorter;
    lb_arena_init(&pieces->arena, 4096);
    struct planner planner = {.pieces = pieces, .config = config};
    lb_status status = plan_all(&planner, err);
    if (status != LB_OK) {
        lb_sort_pieces_delete(pieces);
        return status;
    }
    *out = pieces;
    return LB_OK;
}

void lb_sort_pieces_delete(struct lb_sort_pieces *pieces)
{
    if (pieces == NULL)
        return;
    lb_free(pieces->items, pieces->capacity * sizeof *pieces->items);
    lb_free(pieces->splits, pieces->splits_capacity * sizeof *pieces->splits);
    lb_arena_fini(&pieces->arena);
    lb_free(pieces, sizeof *pieces);
}

lb_status lb_sort_pieces_cursor(const struct lb_sort_pieces *pieces, uint32_t i,
                                struct lb_sort_cursor **cursor, struct lb_error *err)
{
    const struct lb_sort_piece *piece = &pieces->items[i];
    return lb_sort_cursor_open(pieces->sorter, pieces->sorter->runs, piece->low, piece->high,
                               cursor, err);
}

lb_status lb_sort_pieces_head(const struct lb_sort_pieces *pieces, uint32_t i,
                              struct lb_sort_cursor **cursor, struct lb_error *err)
{
    const struct lb_sort_piece *piece = &pieces->items[i];
    return lb_sort_cursor_open(pieces->sorter, pieces->sorter->runs, piece->head_low,
                               piece->head_high, cursor, err);
}
