/* Running compiled patterns.
 *
 * IDEA   `run` walks the items and calls itself only where there is a choice to come back to.
 *        Captures need no undoing: what is set behind a choice is set again when the choice is
 *        taken differently. The search tries only places where a match can start, and never
 *        twice within one leading run: all its suffixes end at the same place and go on, and
 *        fail, in the same way.
 * TIME   `patience` counts calls and bytes, so that a match that takes long asks whether it shall go on (lb_pattern_ask).
 * STATES `depth` counts what Lua's recursive matcher would have on its stack, so that the same
 *        patterns are too complex. Only deep patterns can reach the limit; they are compiled
 *        without short cuts, hence try exactly what Lua tries. */
#include <string.h>

#include "core/algo/pattern.h"
#include "core/algo/pattern_program.h"

enum { BYTES_OF_A_STEP = 256 };

struct matcher {
    const char *pattern; /* the block, for offsets */
    const char *subject;
    const char *end;
    struct lb_match *match;
    int64_t patience;  /* steps until it asks */
    bool has_given_up; /* everything: too complex, or stopped */
    bool is_stopped;
};

/* Of this thread. */
static _Thread_local struct {
    bool (*must_stop)(void *state);
    void *state;
} asked;

void lb_pattern_ask(bool (*must_stop)(void *state), void *state)
{
    asked.must_stop = must_stop;
    asked.state = state;
}

/* The patience is at its end. */
static void ask(struct matcher *m)
{
    m->patience = LB_PATTERN_ASK_STEPS;
    if (asked.must_stop != NULL && asked.must_stop(asked.state))
        m->is_stopped = m->has_given_up = true;
}

/* The bytes from s to stop were looked at. */
static inline void count_bytes(struct matcher *m, const char *s, const char *stop)
{
    m->patience -= (stop - s) / BYTES_OF_A_STEP;
}

static const struct lb_byteset *set_at(const struct matcher *m, uint32_t offset)
{
    return (const struct lb_byteset *)(const void *)(m->pattern + offset);
}

static bool is_member(const struct matcher *m, uint32_t offset, const char *s)
{
    return set_at(m, offset)->member[(uint8_t)*s];
}

static const char *skip(const struct matcher *m, uint32_t offset, const char *s)
{
    return lb_byteset_skip(set_at(m, offset), s, m->end);
}

/* The byte behind the one that balances *s, or NULL. */
static const char *balance(struct matcher *m, const struct pattern_item *item, const char *s)
{
    if (s == m->end || (uint8_t)*s != item->first_byte)
        return NULL;
    const char *start = s;
    size_t n_open = 1;
    for (s++; s < m->end && n_open > 0; s++) {
        if ((uint8_t)*s == item->last_byte)
            n_open--;
        else if ((uint8_t)*s == item->first_byte)
            n_open++;
    }
    count_bytes(m, start, s);
    return n_open == 0 ? s : NULL;
}

static bool is_frontier(const struct matcher *m, const struct pattern_item *item, const char *s)
{
    const struct lb_byteset *set = set_at(m, item->set);
    uint8_t before = s == m->subject ? 0 : (uint8_t)s[-1];
    uint8_t here = s == m->end ? 0 : (uint8_t)*s;
    return !set->member[before] && set->member[here];
}

static const char *run(struct matcher *m, const struct pattern_item *item, const char *s,
                       unsigned depth);

/* From the longest to the shortest; [s, longest] is not empty. */
static const char *run_greedy(struct matcher *m, const struct pattern_item *item, const char *s,
                              const char *longest, unsigned depth)
{
    const char *shortest = s + item->min;
    const uint8_t *follow = item->follow != 0 ? set_at(m, item->follow)->member : NULL;
    for (const char *stop = longest;; stop--) {
        if (follow == NULL || stop == m->end || follow[(uint8_t)*stop]) {
            const char *result = run(m, item + 1, stop, depth + 1);
            if (result != NULL || m->has_given_up)
                return result;
        }
        if (stop == shortest)
            return NULL;
    }
}

/* From the shortest to the longest; *s is in the set. */
static const char *run_lazy(struct matcher *m, const struct pattern_item *item, const char *s,
                            unsigned depth)
{
    const struct lb_byteset *stop = item->stop != 0 ? set_at(m, item->stop) : NULL;
    for (;; s++) {
        if (stop != NULL) {
            const char *start = s;
            s = lb_byteset_seek(stop, s, m->end);
            count_bytes(m, start, s);
        }
        const char *result = run(m, item + 1, s, depth + 1);
        if (result != NULL || m->has_given_up)
            return result;
        if (s == m->end || !is_member(m, item->set, s))
            return NULL;
    }
}

/* The end of the match of the items from `item` on at s, or NULL. */
static const char *run(struct matcher *m, const struct pattern_item *item, const char *s,
                       unsigned depth)
{
    struct lb_capture *captures = m->match->captures;
    if (__builtin_expect(--m->patience < 0, 0))
        ask(m);
    if (__builtin_expect(m->has_given_up, 0))
        return NULL;
    for (;; item++) {
        if (depth > LB_PATTERN_DEPTH) {
            m->has_given_up = true;
            return NULL;
        }
        switch ((enum pattern_op)item->op) {
        case OP_MATCH:
            return s;
        case OP_LITERAL:
            if ((size_t)(m->end - s) < item->size || *s != m->pattern[item->text] ||
                memcmp(s, m->pattern + item->text, item->size) != 0)
                return NULL;
            s += item->size;
            break;
        case OP_ONE:
            if (s == m->end || !is_member(m, item->set, s))
                return NULL;
            s++;
            break;
        case OP_RUN: {
            const char *stop = skip(m, item->set, s);
            if (stop - s < item->min)
                return NULL;
            count_bytes(m, s, stop);
            s = stop;
            break;
        }
        case OP_GREEDY: {
            const char *stop = skip(m, item->set, s);
            count_bytes(m, s, stop);
            if (stop - s < item->min)
                return NULL;
            if (stop != s)
                return run_greedy(m, item, s, stop, depth);
            break;
        }
        case OP_LAZY:
            if (s != m->end && is_member(m, item->set, s))
                return run_lazy(m, item, s, depth);
            break;
        case OP_OPTION:
            if (s != m->end && is_member(m, item->set, s)) {
                const char *result = run(m, item + 1, s + 1, depth + 1);
                if (result != NULL || m->has_given_up)
                    return result;
            }
            break;
        case OP_OPEN:
            captures[item->capture].data = s;
            depth++;
            break;
        case OP_POSITION:
            captures[item->capture].data = s;
            captures[item->capture].size = -1;
            depth++;
            break;
        case OP_CLOSE:
            captures[item->capture].size = s - captures[item->capture].data;
            depth++;
            break;
        case OP_END:
            if (s != m->end)
                return NULL;
            break;
        case OP_BALANCE:
            s = balance(m, item, s);
            if (s == NULL)
                return NULL;
            break;
        case OP_FRONTIER:
            if (!is_frontier(m, item, s))
                return NULL;
            break;
        case OP_AGAIN: {
            const struct lb_capture *capture = &captures[item->capture];
            if (capture->size < 0 || m->end - s < capture->size ||
                (capture->size > 0 && memcmp(capture->data, s, (size_t)capture->size) != 0))
                return NULL;
            count_bytes(m, s, s + capture->size);
            s += capture->size;
            break;
        }
        }
    }
}

/* As run for a whole program whose leading run is [s, stop). */
static const char *run_behind_lead(struct matcher *m, const struct pattern_program *program,
                                   const struct pattern_item *items, const char *s,
                                   const char *stop)
{
    struct lb_capture *captures = m->match->captures;
    for (uint32_t i = 0; i < program->lead; i++) {
        captures[items[i].capture].data = s;
        captures[items[i].capture].size = -1;
    }
    return run(m, items + program->lead + 1, stop, 1 + program->lead);
}

/* The first match at or behind s that does not end at last_end; its end, or NULL. */
static const char *search(struct matcher *m, const struct pattern_program *program, const char *s,
                          const char *last_end)
{
    const struct pattern_item *items =
        (const struct pattern_item *)(const void *)(m->pattern + program->items);
    const struct pattern_item *lead = items + program->lead;
    const char *result;
    if (program->anchored) {
        result = run(m, items, s, 1);
        m->match->start = s;
        return result == last_end ? NULL : result;
    }
    if (program->shape == SHAPE_RUN_AT_END) {
        const char *stop = m->end;
        while (stop > s && is_member(m, lead->set, stop - 1))
            stop--;
        if (m->end - stop < lead->min)
            return NULL;
        s = stop;
    }
    for (;; s++) {
        if ((size_t)(m->end - s) < program->min_bytes)
            return NULL;
        if (items->op == OP_LITERAL) {
            s = lb_bytes_find(s, m->end, m->pattern + items->text, items->size);
            if (s == NULL)
                return NULL;
            result = run(m, items + 1, s + items->size, 1);
        } else {
            if (program->first != 0)
                s = lb_byteset_seek(set_at(m, program->first), s, m->end);
            if (program->lead_run) {
                const char *stop = skip(m, lead->set, s);
                result = stop - s < lead->min ? NULL : run_behind_lead(m, program, items, s, stop);
                if (result == NULL || result == last_end) {
                    s = stop;
                    result = NULL;
                }
            } else {
                result = run(m, items, s, 1);
            }
        }
        if (result != NULL && result != last_end) {
            m->match->start = s;
            return result;
        }
        if (m->has_given_up || s == m->end)
            return NULL;
    }
}

static lb_status find(const struct lb_pattern *pattern, const struct pattern_program *program,
                      const char *subject, size_t size, size_t from, const char *last_end,
                      struct lb_match *match, bool *found, struct lb_error *err)
{
    *found = false;
    if (from > size)
        return LB_OK;
    if (subject == NULL)
        subject = ""; /* a NULL place means "no match" */
    struct matcher m = {
        .pattern = (const char *)pattern,
        .subject = subject,
        .end = subject + size,
        .match = match,
        .patience = LB_PATTERN_ASK_STEPS,
    };
    const char *end = search(&m, program, subject + from, last_end);
    if (m.is_stopped)
        return lb_error_set(err, LB_ERR_CANCELLED, "stopped");
    if (m.has_given_up)
        return lb_error_set(err, LB_ERR_USAGE, "pattern too complex");
    if (end != NULL) {
        match->end = end;
        match->n_captures = program->n_captures;
        *found = true;
    }
    return LB_OK;
}

lb_status lb_pattern_find(const struct lb_pattern *pattern, const char *subject, size_t size,
                          size_t from, struct lb_match *match, bool *found, struct lb_error *err)
{
    return find(pattern, &pattern->find, subject, size, from, NULL, match, found, err);
}

lb_status lb_pattern_next(const struct lb_pattern *pattern, const char *subject, size_t size,
                          size_t from, const char *last_end, struct lb_match *match, bool *found,
                          struct lb_error *err)
{
    return find(pattern, &pattern->next, subject, size, from, last_end, match, found, err);
}
