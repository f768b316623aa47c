/* median and quantile, exact.
 *
 * IDEA   The result is a float, and rounding integers to floats keeps their order: so every value becomes a word that orders as the
 *        float does. A worker only appends (slot, word) to a log; a flush sorts that by slot, by counting. The final merge
 *        selects from a group's words, without sorting them, as long as they are few.
 * STATES of a worker: where a slot's words begin in `sorted`, made by the first save after an update. Of the final merge: words
 *        (raw), and when these have become many, the distinct ones in order with their counts: so memory grows with the
 *        distinct values of one group.
 * FORMAT of a partial: a byte of enum form, uint64 number of items, items: words, or words with their uint64 counts.
 * WHY NOT a hash table of (slot, value), as group_state_set.c has: 1000 values in each of 10 000 groups, nearly all distinct, took 0.8 us a
 *        row and 1.8 GB; the log takes 40 ns and a tenth. */
#include <math.h>

#include "core/algo/advise.h"
#include "core/algo/group_state_private.h"
#include "core/base/sys.h"

enum form { FORM_WORDS, FORM_COUNTED };

#ifdef LB_TINY
enum { COMPACT_AT = 16, COUNT_FROM = 6, KEEP_BYTES = 1 << 10, MOST_LOGGED = 1 << 16 };
#else
enum { COMPACT_AT = 64 << 10, COUNT_FROM = 256, KEEP_BYTES = 1 << 20, MOST_LOGGED = 1 << 26 };
#endif
enum { SAMPLE = 32, FIRST_CAPACITY = 2 * LB_BATCH_ROWS };

struct quantile_state {
    size_t start; /* in sorted; set by sort_log */
    size_t n;
};

struct counted {
    uint64_t word;
    uint64_t count;
};

struct quantile_extra {
    /* workers */
    uint32_t *slots; /* of the log */
    uint64_t *words; /* likewise */
    size_t n, capacity;
    uint64_t *sorted; /* n_sorted words by slot; NULL: to be made */
    size_t n_sorted;
    /* final merge */
    uint64_t *raw;
    size_t n_raw, raw_capacity;
    struct counted *counted;
    size_t n_counted;
    uint64_t seed; /* of pivots */
};

/* ---- words ---- */

/* -0.0 before 0.0; one NaN, above all. */
static inline uint64_t word_of(double value)
{
    uint64_t bits;
    if (isnan(value))
        value = (double)NAN;
    memcpy(&bits, &value, sizeof bits);
    return bits ^ ((uint64_t)((int64_t)bits >> 63) | 0x8000000000000000ULL);
}

static inline double value_of(uint64_t word)
{
    double value;
    word ^= word >> 63 ? 0x8000000000000000ULL : ~(uint64_t)0;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* Sorts by bytes from the lowest one, leaving out those that all words share; scratch has room for n words. */
static void sort_words(uint64_t *words, uint64_t *scratch, size_t n)
{
    enum { FEW = 48 };
    uint64_t *from = words, *to = scratch;
    if (n <= FEW) {
        for (size_t i = 1; i < n; i++) {
            uint64_t moved = words[i];
            size_t j = i;
            for (; j > 0 && words[j - 1] > moved; j--)
                words[j] = words[j - 1];
            words[j] = moved;
        }
        return;
    }
    uint64_t all = ~(uint64_t)0, any = 0;
    for (size_t i = 0; i < n; i++) {
        all &= words[i];
        any |= words[i];
    }
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t starts[257] = {0};
        if (((all ^ any) >> shift & 255) == 0)
            continue;
        for (size_t i = 0; i < n; i++)
            starts[(from[i] >> shift & 255) + 1]++;
        for (size_t i = 1; i < 256; i++)
            starts[i] += starts[i - 1];
        for (size_t i = 0; i < n; i++)
            to[starts[from[i] >> shift & 255]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != words)
        memcpy(words, from, n * sizeof *words);
}

/* ---- memory ---- */

static lb_status quantile_open(struct lb_group_state *self, struct lb_error *err)
{
    struct quantile_extra *extra = self->extra = lb_alloc_zero(sizeof *extra);
    if (extra == NULL)
        return lb_error_memory(err, self->label, sizeof *extra);
    extra->seed = 1;
    return LB_OK;
}

static void drop_log(struct quantile_extra *extra)
{
    lb_free(extra->slots, extra->capacity * sizeof *extra->slots);
    lb_free(extra->words, extra->capacity * sizeof *extra->words);
    extra->slots = NULL;
    extra->words = NULL;
    extra->capacity = 0;
}

static void drop_sorted(struct quantile_extra *extra)
{
    lb_free(extra->sorted, extra->n_sorted * sizeof *extra->sorted);
    extra->sorted = NULL;
    extra->n_sorted = 0;
}

static void drop_counted(struct quantile_extra *extra)
{
    lb_free(extra->counted, extra->n_counted * sizeof *extra->counted);
    extra->counted = NULL;
    extra->n_counted = 0;
}

static void quantile_close(struct lb_group_state *self)
{
    struct quantile_extra *extra = self->extra;
    drop_log(extra);
    drop_sorted(extra);
    drop_counted(extra);
    lb_free(extra->raw, extra->raw_capacity * sizeof *extra->raw);
    lb_free(extra, sizeof *extra);
    self->extra = NULL;
}

static void quantile_forget(struct lb_group_state *self)
{
    struct quantile_extra *extra = self->extra;
    drop_sorted(extra);
    drop_counted(extra);
    if (extra->capacity * (sizeof *extra->slots + sizeof *extra->words) > KEEP_BYTES)
        drop_log(extra);
    extra->n = extra->n_raw = 0;
}

static size_t quantile_bytes(const struct lb_group_state *self)
{
    const struct quantile_extra *extra = self->extra;
    size_t width = sizeof *extra->slots + sizeof *extra->words;
    if (extra->n == 0) /* what it keeps is not given back by a flush */
        return 0;
    if (extra->n >= MOST_LOGGED) /* a partial must not become too large: as if there were no room */
        return SIZE_MAX / 1024;
    size_t bytes = extra->capacity * width;
    if (extra->n + LB_BATCH_ROWS > extra->capacity)
        bytes *= 3; /* it is about to double */
    return bytes + (extra->n + LB_BATCH_ROWS) * sizeof *extra->sorted;
}

/* ---- workers ---- */

static lb_status reserve(struct lb_group_state *self, uint32_t n, struct lb_error *err)
{
    struct quantile_extra *extra = self->extra;
    size_t capacity = extra->capacity > 0 ? 2 * extra->capacity : FIRST_CAPACITY;
    drop_sorted(extra);
    if (extra->n + n <= extra->capacity)
        return LB_OK;
    uint32_t *slots = lb_alloc(capacity * sizeof *slots);
    uint64_t *words = lb_alloc(capacity * sizeof *words);
    if (slots == NULL || words == NULL) {
        lb_free(slots, capacity * sizeof *slots);
        lb_free(words, capacity * sizeof *words);
        return lb_error_memory(err, self->label, capacity * (sizeof *slots + sizeof *words));
    }
    lb_advise_huge(slots, capacity * sizeof *slots);
    lb_advise_huge(words, capacity * sizeof *words);
    if (extra->n > 0) {
        memcpy(slots, extra->slots, extra->n * sizeof *slots);
        memcpy(words, extra->words, extra->n * sizeof *words);
    }
    drop_log(extra);
    extra->slots = slots;
    extra->words = words;
    extra->capacity = capacity;
    return LB_OK;
}

static lb_status quantile_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                                 struct lb_error *err)
{
    struct quantile_extra *extra = self->extra;
    const struct lb_batch *batch = rows->batch;
    const struct lb_column *column = &batch->columns[self->column];
    uint32_t n = batch->n_selected;
    LB_TRY(reserve(self, n, err));
    uint32_t *slots = extra->slots + extra->n;
    uint64_t *words = extra->words + extra->n;
    if (column->type == LB_FLOAT64 && column->valid == NULL) {
        for (uint32_t i = 0; i < n; i++)
            words[i] = word_of(column->floats[lb_batch_row(batch, i)]);
        memcpy(slots, rows->slots, n * sizeof *slots);
        extra->n += n;
        return LB_OK;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct lb_value value = lb_column_value(column, row);
        if (value.tag == 'n')
            continue;
        if (value.tag != 'i' && value.tag != 'd')
            return lb_group_wrong_type(self, batch, row, err);
        *slots++ = rows->slots[i];
        *words++ = word_of(value.tag == 'i' ? (double)value.i : value.d);
        extra->n++;
    }
    return LB_OK;
}

static lb_status sort_log(struct lb_group_state *self, struct lb_error *err)
{
    struct quantile_extra *extra = self->extra;
    if (extra->sorted != NULL || extra->n == 0)
        return LB_OK;
    extra->sorted = lb_alloc(extra->n * sizeof *extra->sorted);
    if (extra->sorted == NULL)
        return lb_error_memory(err, self->label, extra->n * sizeof *extra->sorted);
    extra->n_sorted = extra->n;
    lb_advise_huge(extra->sorted, extra->n * sizeof *extra->sorted);
    struct quantile_state *state;
    for (size_t slot = 0; slot < self->n_slots; slot++) {
        state = lb_group_slot(self, slot);
        state->n = 0;
    }
    for (size_t i = 0; i < extra->n; i++) {
        state = lb_group_slot(self, extra->slots[i]);
        state->n++;
    }
    size_t start = 0;
    for (size_t slot = 0; slot < self->n_slots; slot++) {
        state = lb_group_slot(self, slot);
        state->start = start;
        start += state->n;
        state->n = 0;
    }
    for (size_t i = 0; i < extra->n; i++) {
        state = lb_group_slot(self, extra->slots[i]);
        extra->sorted[state->start + state->n++] = extra->words[i];
    }
    return LB_OK;
}

/* Whether a few words taken evenly repeat themselves. */
static bool repeats(const uint64_t *words, size_t n)
{
    uint64_t sample[SAMPLE];
    unsigned taken = n < SAMPLE ? (unsigned)n : SAMPLE, n_repeated = 0;
    for (unsigned i = 0; i < taken; i++) {
        sample[i] = words[i * (n / taken)];
        for (unsigned j = 0; j < i; j++) {
            if (sample[j] == sample[i]) {
                n_repeated++;
                break;
            }
        }
    }
    return 2 * n_repeated > taken;
}

static lb_status put_head(struct lb_buf *out, enum form form, uint64_t n, struct lb_error *err)
{
    LB_TRY(lb_buf_append_byte(out, (char)form, err));
    return lb_buf_append(out, &n, sizeof n, err);
}

static lb_status save_counted(struct lb_group_state *self, uint64_t *words, size_t n,
                              struct lb_buf *out, struct lb_error *err)
{
    size_t bytes = n * sizeof *words;
    uint64_t *scratch = lb_alloc(bytes);
    if (scratch == NULL)
        return lb_error_memory(err, self->label, bytes);
    sort_words(words, scratch, n);
    lb_free(scratch, bytes);
    uint64_t n_distinct = 1;
    for (size_t i = 1; i < n; i++)
        n_distinct += words[i] != words[i - 1];
    LB_TRY(put_head(out, FORM_COUNTED, n_distinct, err));
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && words[end] == words[i];)
            end++;
        struct counted item = {words[i], end - i};
        LB_TRY(lb_buf_append(out, &item, sizeof item, err));
    }
    return LB_OK;
}

static lb_status quantile_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                               struct lb_error *err)
{
    struct quantile_extra *extra = self->extra;
    LB_TRY(sort_log(self, err));
    const struct quantile_state *state = lb_group_slot(self, slot);
    if (extra->n == 0 || state->n == 0)
        return put_head(out, FORM_WORDS, 0, err);
    uint64_t *words = extra->sorted + state->start;
    if (state->n >= COUNT_FROM && repeats(words, state->n))
        return save_counted(self, words, state->n, out, err);
    LB_TRY(put_head(out, FORM_WORDS, state->n, err));
    return lb_buf_append(out, words, state->n * sizeof *words, err);
}

/* ---- the final merge ---- */

/* Puts more counted words, ascending, among those there are. */
static lb_status merge_counted(struct lb_group_state *self, const struct counted *more, size_t n,
                               struct lb_error *err)
{
    struct quantile_extra *extra = self->extra;
    size_t n_new = 0, i = 0, j = 0;
    struct counted *merged = lb_alloc((extra->n_counted + n) * sizeof *merged);
    if (merged == NULL)
        return lb_error_memory(err, self->label, (extra->n_counted + n) * sizeof *merged);
    while (i < extra->n_counted || j < n) {
        const struct counted *next;
        if (j == n || (i < extra->n_counted && extra->counted[i].word <= more[j].word))
            next = &extra->counted[i++];
        else
            next = &more[j++];
        if (n_new > 0 && merged[n_new - 1].word == next->word)
            merged[n_new - 1].count += next->count;
        else
            merged[n_new++] = *next;
    }
    size_t n_old = extra->n_counted + n;
    drop_counted(extra);
    extra->counted = lb_realloc(merged, n_old * sizeof *merged, n_new * sizeof *merged);
    if (extra->counted == NULL) {
        lb_free(merged, n_old * sizeof *merged);
        return lb_error_memory(err, self->label, n_new * sizeof *merged);
    }
    extra->n_counted = n_new;
    return LB_OK;
}

/* Counts the raw words. */
static lb_status compact(struct lb_group_state *self, struct lb_error *err)
{
    struct quantile_extra *extra = self->extra;
    size_t n = extra->n_raw, n_distinct = 0;
    if (n == 0)
        return LB_OK;
    /* Scratch for sorting, then the counted words. */
    struct counted *items = lb_alloc(n * sizeof *items);
    if (items == NULL)
        return lb_error_memory(err, self->label, n * sizeof *items);
    sort_words(extra->raw, (uint64_t *)(void *)items, n);
    for (size_t i = 0; i < n; i++) {
        if (n_distinct > 0 && items[n_distinct - 1].word == extra->raw[i])
            items[n_distinct - 1].count++;
        else
            items[n_distinct++] = (struct counted){extra->raw[i], 1};
    }
    extra->n_raw = 0;
    lb_status status = merge_counted(self, items, n_distinct, err);
    lb_free(items, n * sizeof *items);
    return status;
}

/* Words that may not be aligned. */
static lb_status add_raw(struct lb_group_state *self, const char *words, uint64_t n,
                         struct lb_error *err)
{
    struct quantile_extra *extra = self->extra;
    while (n > 0) {
        size_t most = extra->n_counted > COMPACT_AT ? extra->n_counted : COMPACT_AT;
        if (extra->n_raw >= most)
            LB_TRY(compact(self, err));
        size_t taken = most - extra->n_raw;
        if (taken > n)
            taken = (size_t)n;
        if (extra->n_raw + taken > extra->raw_capacity) {
            size_t capacity = extra->raw_capacity > 0 ? extra->raw_capacity : 16;
            while (capacity < extra->n_raw + taken)
                capacity *= 2;
            uint64_t *raw =
                lb_realloc(extra->raw, extra->raw_capacity * sizeof *raw, capacity * sizeof *raw);
            if (raw == NULL)
                return lb_error_memory(err, self->label, capacity * sizeof *raw);
            extra->raw = raw;
            extra->raw_capacity = capacity;
        }
        memcpy(extra->raw + extra->n_raw, words, taken * sizeof *extra->raw);
        extra->n_raw += taken;
        words += taken * sizeof *extra->raw;
        n -= taken;
    }
    return LB_OK;
}

static lb_status quantile_merge(struct lb_group_state *self, const char **cursor, const char *end,
                                struct lb_error *err)
{
    unsigned char form;
    uint64_t n;
    LB_GROUP_LOAD(self, cursor, end, form, err);
    LB_GROUP_LOAD(self, cursor, end, n, err);
    size_t width = form == FORM_WORDS ? sizeof(uint64_t) : sizeof(struct counted);
    if (n > (size_t)(end - *cursor) / width)
        return lb_group_bad_partial(self, err);
    const char *items = *cursor;
    *cursor += n * width;
    if (form == FORM_WORDS || n == 0)
        return add_raw(self, items, n, err);
    struct counted *more = lb_alloc(n * width);
    if (more == NULL)
        return lb_error_memory(err, self->label, n * width);
    memcpy(more, items, n * width);
    lb_status status = merge_counted(self, more, n, err);
    lb_free(more, n * width);
    return status;
}

/* Puts the word of this place in order there, none greater before it and none less behind it. Pivots are drawn, so that no order of
 * words makes it slow. */
static void select_word(struct quantile_extra *extra, uint64_t *words, size_t n, size_t place)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        extra->seed = extra->seed * 6364136223846793005ULL + 1442695040888963407ULL;
        uint64_t pivot = words[low + (extra->seed >> 33) % (high - low + 1)];
        size_t i = low, j = high;
        for (;;) {
            while (words[i] < pivot)
                i++;
            while (words[j] > pivot)
                j--;
            if (i >= j)
                break;
            uint64_t swap = words[i];
            words[i++] = words[j];
            words[j--] = swap;
        }
        /* words[..j] <= pivot <= words[j + 1..]; when i is j, that word is the pivot. */
        if (i == j && place == i)
            return;
        if (place <= j)
            high = i == j ? j - 1 : j;
        else
            low = j + 1;
    }
}

/* The counted words twice, and what raw ones take to be sorted and counted: compact and merge_counted make new arrays. */
static size_t quantile_merged(const struct lb_group_state *self)
{
    const struct quantile_extra *extra = self->extra;
    return extra->raw_capacity * sizeof *extra->raw +
           2 * (extra->n_raw + extra->n_counted) * sizeof *extra->counted;
}

/* The value at (n - 1) p, counted from 0 in order; between two values on the line between them. */
static lb_status quantile_result(struct lb_group_state *self, struct lb_builder *out,
                                 struct lb_error *err)
{
    struct quantile_extra *extra = self->extra;
    uint64_t seen = 0;
    if (extra->n_counted > 0)
        LB_TRY(compact(self, err));
    uint64_t n = extra->n_raw;
    for (size_t i = 0; i < extra->n_counted; i++)
        n += extra->counted[i].count;
    if (n == 0)
        return lb_builder_null(out, err);
    double place = (double)(n - 1) * self->p;
    uint64_t below = (uint64_t)place;
    double part = place - (double)below;
    double value = 0, next = 0;
    if (extra->n_counted == 0) {
        select_word(extra, extra->raw, extra->n_raw, below);
        value = value_of(extra->raw[below]);
        if (part > 0) {
            uint64_t least = ~(uint64_t)0;
            for (size_t i = below + 1; i < extra->n_raw; i++)
                least = extra->raw[i] < least ? extra->raw[i] : least;
            next = value_of(least);
        }
    } else {
        const struct counted *at = extra->counted;
        while (seen + at->count <= below)
            seen += at++->count;
        value = value_of(at->word);
        next = below + 1 >= seen + at->count && part > 0 ? value_of(at[1].word) : value;
    }
    if (part > 0 && next != value)
        value = lb_group_between(value, next, part);
    return lb_builder_float(out, value, err);
}

#define QUANTILE_CLASS(text)                                                                 \
    {                                                                                        \
        .name = text, .state_bytes = sizeof(struct quantile_state), .n_columns = 1,          \
        .takes = LB_GROUP_TAKES_NUMBERS, .open = quantile_open, .close = quantile_close,     \
        .update = quantile_update, .save = quantile_save, .merge = quantile_merge,           \
        .result = quantile_result, .forget = quantile_forget, .extra_bytes = quantile_bytes, \
        .merged_bytes = quantile_merged                                                      \
    }

const struct lb_group_state_class lb_group_median = QUANTILE_CLASS("median");
const struct lb_group_state_class lb_group_quantile = QUANTILE_CLASS("quantile");
