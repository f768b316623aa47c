/* Sorting of entries in memory.
 *
 * IDEA   Two phases take turns. First the cached 8-byte prefixes are sorted as plain numbers,
 *        without a look at any row: most significant digit first, out of place between two arrays,
 *        a digit being the up to 8 topmost bits in which the prefixes of the bucket differ at all;
 *        buckets of a few entries are sorted by insertion. Then runs of equal prefixes are looked
 *        for. Small ones are sorted by comparing whole keys. Large ones load the next 8 key bytes
 *        as new prefixes, and the phases begin again with that run; where all of a run agree, the
 *        bytes that all share are skipped at once, so that many equal long keys cost one look at
 *        each.
 * ORDER  All steps are stable. So when entries arrive by ascending sequence number
 *        (order->in_sequence), equal keys need nothing more; else runs of equal keys are sorted by
 *        sequence number, with the number as the prefix.
 * STACK  sort_words nests at most 64 / MIN_BITS deep; sort_ties nests once for each time a run is
 *        split by new prefixes, which hostile keys could do without end: after MAX_NESTING levels a
 *        merge sort by comparison takes over.
 * WHY NOT digits of fixed bytes: text uses less than half of a byte's values and numbers agree in
 *        the first bits, so buckets get uneven. Reloading in every bucket at once: the rows are
 *        touched in small groups, with no time to prefetch. */
#include "core/algo/sort_private.h"

enum {
    SMALL = 16,   /* so few entries are sorted by insertion */
    MIN_BITS = 3, /* bits of a digit */
    MAX_BITS = 8,
    MAX_NESTING = 40,       /* of sort_ties */
    PREFETCH = 12,          /* entries ahead whose rows are called into the cache */
    CHECK_ENTRIES = 1 << 16 /* entries moved between two looks at `stop` */
};

/* Depths that are no place in the key: what the prefixes are then. */
static const size_t DEPTH_ENDED = SIZE_MAX - 1; /* the keys have ended: their sizes; ties by
                                                   sequence */
static const size_t DEPTH_SEQUENCE = SIZE_MAX;  /* sequence numbers; ties stay as they are */

struct sorting {
    const struct lb_sort_order *order;
    size_t unchecked; /* entries moved since the last look at `stop` */
    bool stopped;     /* give up: the entries may be left in any order */
};

static void sort_ties(struct sorting *sorting, struct lb_sort_entry *entries,
                      struct lb_sort_entry *scratch, size_t n, size_t depth, unsigned nesting);

static bool check_stop(struct sorting *sorting, size_t moved)
{
    sorting->unchecked += moved;
    if (sorting->unchecked >= CHECK_ENTRIES) {
        sorting->unchecked = 0;
        if (sorting->order->stop != NULL &&
            atomic_load_explicit(sorting->order->stop, memory_order_relaxed) != 0)
            sorting->stopped = true;
    }
    return sorting->stopped;
}

/* Sorts a few entries by prefix from `from` into `to`, which may be the same. */
static void insert_words(struct lb_sort_entry *to, const struct lb_sort_entry *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct lb_sort_entry entry = from[i];
        size_t at = i;
        for (; at > 0 && to[at - 1].prefix > entry.prefix; at--)
            to[at] = to[at - 1];
        to[at] = entry;
    }
}

/* Sorts entries by prefix. They are in `data`; the result is wanted in `other` when swap is set,
 * else in `data`. */
static void sort_words(struct sorting *sorting, struct lb_sort_entry *data,
                       struct lb_sort_entry *other, size_t n, bool swap)
{
    struct lb_sort_entry *target = swap ? other : data;
    if (n <= SMALL) {
        insert_words(target, data, n);
        return;
    }
    uint64_t any = data[0].prefix;
    uint64_t all = data[0].prefix;
    size_t n_ascending = 1;
    for (size_t i = 1; i < n; i++) {
        any |= data[i].prefix;
        all &= data[i].prefix;
        n_ascending += data[i - 1].prefix <= data[i].prefix;
    }
    if (n_ascending == n || check_stop(sorting, n)) {
        if (swap)
            memcpy(other, data, n * sizeof *data);
        return;
    }
    unsigned top = 64 - (unsigned)__builtin_clzll(any ^ all); /* bits up to the topmost that differs
                                                                 */
    unsigned bits = 64 - (unsigned)__builtin_clzll(n) - 1;
    bits = bits > MAX_BITS ? MAX_BITS : bits < MIN_BITS ? MIN_BITS : bits;
    bits = bits > top ? top : bits;
    unsigned shift = top - bits;
    uint64_t mask = ((uint64_t)1 << bits) - 1;

    size_t ends[1 << MAX_BITS]; /* first the counts, then where each bucket goes on */
    memset(ends, 0, sizeof *ends << bits);
    for (size_t i = 0; i < n; i++)
        ends[data[i].prefix >> shift & mask]++;
    size_t start = 0;
    for (size_t i = 0; i <= mask; i++) {
        size_t count = ends[i];
        ends[i] = start;
        start += count;
    }
    for (size_t i = 0; i < n; i++)
        other[ends[data[i].prefix >> shift & mask]++] = data[i];
    start = 0;
    for (size_t i = 0; i <= mask; i++) {
        size_t count = ends[i] - start;
        if (count > 1 && shift > 0)
            sort_words(sorting, other + start, data + start, count, !swap);
        else if (count > 0 && !swap)
            memcpy(data + start, other + start, count * sizeof *data);
        start += count;
    }
}

/* Sorts by whole keys that agree before depth: for few entries. */
static void insert_rows(const struct sorting *sorting, struct lb_sort_entry *entries, size_t n,
                        size_t depth)
{
    bool descending = sorting->order->descending;
    for (size_t i = 1; i < n; i++) {
        struct lb_sort_entry entry = entries[i];
        size_t at = i;
        for (; at > 0 && lb_sort_compare(entries[at - 1].row, entry.row, depth, descending) > 0;
             at--)
            entries[at] = entries[at - 1];
        entries[at] = entry;
    }
}

/* The same where all keys have one size, beyond depth: most are told apart by the 8 bytes there, so each
 * row is looked at once. */
static void insert_by_word(const struct sorting *sorting, struct lb_sort_entry *entries, size_t n,
                           size_t depth)
{
    bool descending = sorting->order->descending;
    uint64_t flip = descending ? ~(uint64_t)0 : 0;
    size_t next =
        depth + 8 < sorting->order->same_key_size ? depth + 8 : sorting->order->same_key_size;
    struct lb_sort_entry sorted[SMALL];
    for (size_t i = 0; i < n; i++) {
        struct lb_sort_entry entry = {.prefix = lb_sort_key_word(entries[i].row, depth) ^ flip,
                                      .row = entries[i].row};
        size_t at = i;
        for (; at > 0 && (sorted[at - 1].prefix > entry.prefix ||
                          (sorted[at - 1].prefix == entry.prefix &&
                           lb_sort_compare(sorted[at - 1].row, entry.row, next, descending) > 0));
             at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = entry;
    }
    for (size_t i = 0; i < n; i++)
        entries[i].row = sorted[i].row;
}

/* The same for any number: a bottom-up merge sort. */
static void merge_rows(struct sorting *sorting, struct lb_sort_entry *entries,
                       struct lb_sort_entry *scratch, size_t n, size_t depth)
{
    bool descending = sorting->order->descending;
    struct lb_sort_entry *from = entries;
    struct lb_sort_entry *to = scratch;
    for (size_t i = 0; i < n; i += SMALL)
        insert_rows(sorting, entries + i, n - i < SMALL ? n - i : SMALL, depth);
    for (size_t width = SMALL; width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            size_t middle = n - low < width ? n : low + width;
            size_t high = n - low < 2 * width ? n : low + 2 * width;
            size_t a = low;
            size_t b = middle;
            for (size_t out = low; out < high; out++) {
                bool take_b = b < high && (a == middle || lb_sort_compare(from[a].row, from[b].row,
                                                                          depth, descending) > 0);
                to[out] = from[take_b ? b++ : a++];
            }
            if (check_stop(sorting, high - low))
                return;
        }
        struct lb_sort_entry *swap = from;
        from = to;
        to = swap;
    }
    if (from != entries)
        memcpy(entries, from, n * sizeof *entries);
}

/* How many bytes all keys share; they agree before `from`. */
static size_t shared_bytes(const struct lb_sort_entry *entries, size_t n, size_t from)
{
    const struct lb_sort_row *first = entries[0].row;
    size_t shared = first->key_size;
    for (size_t i = 1; i < n; i++) {
        const struct lb_sort_row *row = entries[i].row;
        if (i + PREFETCH < n) {
            const char *ahead = entries[i + PREFETCH].row->bytes + from;
            __builtin_prefetch(ahead - from);
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead + 64);
        }
        size_t limit = row->key_size < shared ? row->key_size : shared;
        if (memcmp(first->bytes + from, row->bytes + from, limit - from) == 0) {
            shared = limit;
            continue;
        }
        shared = from;
        while (shared < limit && first->bytes[shared] == row->bytes[shared])
            shared++;
    }
    return shared;
}

static void sort_by_prefix(struct sorting *sorting, struct lb_sort_entry *entries,
                           struct lb_sort_entry *scratch, size_t n, size_t depth, unsigned nesting)
{
    sort_words(sorting, entries, scratch, n, false);
    sort_ties(sorting, entries, scratch, n, depth, nesting);
}

/* Sorts by sequence number entries that are equal in all else. */
static void sort_by_sequence(struct sorting *sorting, struct lb_sort_entry *entries,
                             struct lb_sort_entry *scratch, size_t n)
{
    if (sorting->order->in_sequence)
        return;
    for (size_t i = 0; i < n; i++) {
        if (i + PREFETCH < n)
            __builtin_prefetch(entries[i + PREFETCH].row);
        entries[i].prefix = entries[i].row->sequence;
    }
    sort_by_prefix(sorting, entries, scratch, n, DEPTH_SEQUENCE, 0);
}

/* Loads the prefixes at `depth` of keys that agree up to there. Keys that have ended there come
 * first (last when descending), sorted. Returns where the others are; *n becomes their number and
 * *equal whether all of them got the same prefix. */
static struct lb_sort_entry *load_prefixes(struct sorting *sorting, struct lb_sort_entry *entries,
                                           struct lb_sort_entry *scratch, size_t *n, size_t depth,
                                           bool *equal)
{
    bool descending = sorting->order->descending;
    uint64_t flip = descending ? ~(uint64_t)0 : 0;
    uint64_t any = 0;
    uint64_t all = ~(uint64_t)0;
    size_t total = *n;
    size_t n_on = 0; /* entries that go on are moved up in place, others put aside */
    size_t n_ended = 0;
    for (size_t i = 0; i < total; i++) {
        if (i + PREFETCH < total) {
            const struct lb_sort_row *ahead = entries[i + PREFETCH].row;
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead->bytes + depth);
        }
        struct lb_sort_entry entry = entries[i];
        if (entry.row->key_size > depth) {
            entry.prefix = lb_sort_key_word(entry.row, depth) ^ flip;
            any |= entry.prefix;
            all &= entry.prefix;
            entries[n_on++] = entry;
        } else {
            entry.prefix = entry.row->key_size ^ flip;
            scratch[n_ended++] = entry;
        }
    }
    *equal = n_on == 0 || any == all;
    *n = n_on;
    struct lb_sort_entry *ended = entries + n_on;
    struct lb_sort_entry *on = entries;
    if (!descending && n_ended > 0) {
        memmove(entries + n_ended, entries, n_on * sizeof *entries);
        ended = entries;
        on = entries + n_ended;
    }
    if (n_ended > 0) {
        memcpy(ended, scratch, n_ended * sizeof *ended);
        sort_by_prefix(sorting, ended, scratch, n_ended, DEPTH_ENDED, 0);
    }
    return on;
}

/* Sorts n entries with one prefix at `depth`; leaves their prefixes changed. */
static void sort_run(struct sorting *sorting, struct lb_sort_entry *entries,
                     struct lb_sort_entry *scratch, size_t n, size_t depth, unsigned nesting)
{
    if (depth == DEPTH_SEQUENCE)
        return;
    if (depth == DEPTH_ENDED) {
        sort_by_sequence(sorting, entries, scratch, n);
        return;
    }
    if (sorting->order->same_key_size <= depth + 8 && sorting->order->in_sequence)
        return;
    if (n <= SMALL) {
        if (sorting->order->same_key_size != UINT32_MAX &&
            sorting->order->same_key_size > depth + 8)
            insert_by_word(sorting, entries, n, depth + 8);
        else
            insert_rows(sorting, entries, n, depth);
        return;
    }
    if (nesting >= MAX_NESTING) {
        merge_rows(sorting, entries, scratch, n, depth);
        return;
    }
    for (;;) {
        bool equal;
        struct lb_sort_entry *on = load_prefixes(sorting, entries, scratch, &n, depth + 8, &equal);
        if (n == 0 || check_stop(sorting, n))
            return;
        scratch += on - entries;
        entries = on;
        depth += 8;
        if (!equal)
            break;
        /* All share the prefix at depth, zeros behind the end of a key included; the bytes that
         * keys really share may therefore end before depth + 8. */
        size_t shared = shared_bytes(entries, n, depth);
        if (shared > depth + 8)
            depth = shared - 8;
    }
    sort_by_prefix(sorting, entries, scratch, n, depth, nesting + 1);
}

/* Sorts each run of equal prefixes by what follows. */
static void sort_ties(struct sorting *sorting, struct lb_sort_entry *entries,
                      struct lb_sort_entry *scratch, size_t n, size_t depth, unsigned nesting)
{
    if (depth == DEPTH_SEQUENCE || (depth == DEPTH_ENDED && sorting->order->in_sequence) ||
        (sorting->order->same_key_size <= depth + 8 && sorting->order->in_sequence))
        return;
    size_t called = 1;
    for (size_t i = 0; i + 1 < n && !sorting->stopped;) {
        uint64_t prefix = entries[i].prefix;
        /* The rows of runs ahead; a long run calls its rows itself. */
        if (called < i + 1)
            called = i + 1;
        for (; called < i + 2 * PREFETCH && called < n; called++)
            if (entries[called].prefix == entries[called - 1].prefix) {
                __builtin_prefetch(entries[called - 1].row);
                __builtin_prefetch(entries[called].row);
            }
        size_t end = i + 1;
        while (end < n && entries[end].prefix == prefix)
            end++;
        if (end - i > 1) {
            sort_run(sorting, entries + i, scratch + i, end - i, depth, nesting);
            for (size_t k = i; k < end; k++)
                entries[k].prefix = prefix;
        }
        i = end;
    }
}

lb_status lb_sort_entries(struct lb_sort_entry *entries, struct lb_sort_entry *scratch, size_t n,
                          size_t depth, const struct lb_sort_order *order, struct lb_error *err)
{
    struct sorting sorting = {.order = order};
    sort_by_prefix(&sorting, entries, scratch, n, depth, 0);
    if (sorting.stopped)
        return lb_error_set(err, LB_ERR_CANCELLED, "sorting was stopped");
    return LB_OK;
}
