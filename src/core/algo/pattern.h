/* Lua patterns, compiled once and matched fast; the meaning is exactly that of Lua 5.4's manual,
 * 6.4.1.
 *
 * IDEA   A pattern is compiled into items; a search first looks for the literal byte or class
 *        the match must start with by vector code; runs of a class are skipped by table. THREADS
 *        a compiled pattern is immutable and may be shared. */
#ifndef LB_ALGO_PATTERN_H
#define LB_ALGO_PATTERN_H

#include "core/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LB_PATTERN_CAPTURES = 32 };

struct lb_byteset;
struct lb_pattern;

struct lb_capture {
    const char *data;
    ptrdiff_t size; /* -1: a position capture; the position is data - subject + 1 */
};

/* What matched; only the first n_captures captures are set. A pattern without captures has none,
 * as in Lua's matcher. */
struct lb_match {
    const char *start;
    const char *end;
    uint32_t n_captures;
    struct lb_capture captures[LB_PATTERN_CAPTURES];
};

/* A malformed pattern gives LB_ERR_USAGE with Lua's own words ("malformed pattern (missing ']')"),
 * also where Lua would notice only when the matcher gets there. Classes are those of the C locale.
 * The pattern's text is copied. */
lb_status lb_pattern_new(const char *pattern, size_t size, struct lb_pattern **out,
                         struct lb_error *err) LB_MUST_USE;
void lb_pattern_delete(struct lb_pattern *pattern);
/* Looks for the first match in subject[from, size). *found tells. Fails as Lua does ("pattern too
 * complex"). */
lb_status lb_pattern_find(const struct lb_pattern *pattern, const char *subject, size_t size,
                          size_t from, struct lb_match *match, bool *found,
                          struct lb_error *err) LB_MUST_USE;
/* As find, for gmatch: no match may end at `last_end` (NULL: none). */
lb_status lb_pattern_next(const struct lb_pattern *pattern, const char *subject, size_t size,
                          size_t from, const char *last_end, struct lb_match *match, bool *found,
                          struct lb_error *err) LB_MUST_USE;

/* Matching may take for ever. On this thread the calls above ask now and then, every LB_PATTERN_ASK_STEPS (a millisecond or so), whether
 * to give up, and do so with LB_ERR_CANCELLED. NULL, as it is at first: they do not ask. */
enum { LB_PATTERN_ASK_STEPS = 1 << 17 };
void lb_pattern_ask(bool (*must_stop)(void *state), void *state);

/* A compiled pattern is one relocatable block: it may be copied to memory of lb_pattern_bytes,
 * aligned to 8, that the caller owns; such a copy is forgotten, not deleted. */
size_t lb_pattern_bytes(const struct lb_pattern *pattern);
struct lb_pattern *lb_pattern_copy(const struct lb_pattern *pattern, void *memory);

/* When all that lb_pattern_next finds are the maximal runs of one set ("%a+", "([^,]+)"): that
 * set, for struct lb_runs; else NULL. It lives as long as the pattern. */
const struct lb_byteset *lb_pattern_run(const struct lb_pattern *pattern);
/* The pattern is so long that "pattern too complex" can come up. */
bool lb_pattern_is_deep(const struct lb_pattern *pattern);

#endif
