/* The compiled form of a pattern: written by pattern.c, run by pattern_match.c, seen by nobody
 * else.
 *
 * FORMAT One block of memory without pointers into itself, so that it may be copied: struct
 *        lb_pattern, the items of one or two programs, the byte sets, the literal bytes. Places
 *        are offsets from the start of the block; offset 0 means none. */
#ifndef LB_ALGO_PATTERN_PROGRAM_H
#define LB_ALGO_PATTERN_PROGRAM_H

#include "core/algo/byteset.h"
#include "core/algo/pattern.h"

enum { LB_PATTERN_DEPTH = 200 }; /* MAXCCALLS of Lua's matcher */

/* "The rest" of an item is all items behind it. */
enum pattern_op {
    OP_MATCH,   /* end of the pattern: success */
    OP_LITERAL, /* the bytes text[0, size) */
    OP_ONE,     /* one byte of set */
    OP_RUN, /* as many bytes of set as there are, at least `min`; fewer can never help the rest */
    OP_GREEDY,   /* as OP_RUN, but fewer are tried when the rest fails */
    OP_LAZY,     /* as few bytes of set as let the rest match */
    OP_OPTION,   /* one byte of set, or none when the rest fails */
    OP_OPEN,     /* capture `capture` starts */
    OP_POSITION, /* capture `capture` is this position */
    OP_CLOSE,    /* capture `capture` ends */
    OP_END,      /* end of the subject */
    OP_BALANCE,  /* from first_byte to the last_byte that balances it */
    OP_FRONTIER, /* the byte before is not in set, this one is; outside the subject both are 0 */
    OP_AGAIN     /* the text of capture `capture` once more */
};

struct pattern_item {
    uint8_t op; /* enum pattern_op */
    uint8_t min;
    uint8_t capture;
    uint8_t first_byte;
    uint8_t last_byte;
    uint32_t size;   /* of text */
    uint32_t text;   /* offset */
    uint32_t set;    /* offset */
    uint32_t follow; /* offset of the bytes the rest can start with; none: it may start anywhere.
                      * Always tried at the end of the subject. */
    uint32_t stop;   /* OP_LAZY: offset of follow plus what is not in set */
};

enum pattern_shape {
    SHAPE_ANY,       /* nothing special */
    SHAPE_RUN,       /* one set with +, perhaps captured, and nothing else */
    SHAPE_RUN_AT_END /* one run, perhaps captured, then $ */
};

struct pattern_program {
    uint32_t items;     /* offset */
    uint32_t first;     /* offset of the set a match starts with; none: it may start anywhere */
    uint32_t lead;      /* with lead_run: number of OP_OPEN and OP_POSITION in front of that run */
    uint32_t min_bytes; /* no match is shorter */
    uint32_t n_captures;
    uint8_t shape; /* enum pattern_shape */
    bool anchored; /* only tried where the search starts */
    bool lead_run; /* starts with a run; where it fails it fails for all starts in that run */
    bool is_deep;  /* LB_PATTERN_DEPTH can be reached: nothing is specialised, depth is counted */
};

struct lb_pattern {
    size_t block_bytes;          /* of all */
    struct pattern_program find; /* a leading '^' is an anchor */
    struct pattern_program next; /* a leading '^' is itself */
};

#endif
