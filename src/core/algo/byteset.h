/* Sets of bytes, and scanning memory for them with the widest vectors the machine has.
 *
 * IDEA   A byte is split in its two halves: 16 low halves, each with a mask of the high halves
 *        that are members. Two shuffles, one "bit of the high half" and one test answer for a
 *        whole vector, for any set (the trick is known as "truffle").
 * THREADSall functions are pure; the choice of kernels is made before main. */
#ifndef LB_ALGO_BYTESET_H
#define LB_ALGO_BYTESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Holds no pointers: it may be copied byte by byte. */
struct lb_byteset {
    uint8_t member[256]; /* 1 for members */
    uint8_t low[16];  /* [low half]: bit h set when byte (h << 4 | low half) is a member, h < 8 */
    uint8_t high[16]; /* the same for high halves 8 to 15 */
    int16_t only;     /* the one member, or -1 when there are more or none */
    int16_t except;   /* the one byte that is no member, or -1 */
    bool is_all;      /* every byte is a member */
    bool is_empty;
};

/* bits[b / 64] bit b % 64 tells whether b is a member. */
void lb_byteset_init(struct lb_byteset *set, const uint64_t bits[4]);
/* The first byte in [s, end) that is not a member; end when there is none. */
const char *lb_byteset_skip(const struct lb_byteset *set, const char *s, const char *end);
/* The first byte in [s, end) that is a member; end when there is none. */
const char *lb_byteset_seek(const struct lb_byteset *set, const char *s, const char *end);
/* Bit i tells whether s[i] is a member; size is at most 64, higher bits are 0. */
uint64_t lb_byteset_mask(const struct lb_byteset *set, const char *s, size_t size);

/* The first place of needle in [s, end), or NULL. An empty needle is found at s. */
const char *lb_bytes_find(const char *s, const char *end, const char *needle, size_t needle_size);

/* For tests and measurements, before other threads run: 0 portable kernels, 1 at most AVX2, 2 the
 * best. */
void lb_byteset_limit_kernels(int level);

/* Walks the maximal runs of members, 64 bytes at a time. */
struct lb_runs {
    const struct lb_byteset *set; /* borrowed */
    const char *block;            /* the bytes that `bits` speaks of start here */
    const char *end;              /* of the text */
    uint64_t bits;                /* members not handed out yet */
};

void lb_runs_init(struct lb_runs *runs, const struct lb_byteset *set, const char *s,
                  const char *end);
/* The next run [*start, *stop); false at the end of the text, then again and again. */
bool lb_runs_next(struct lb_runs *runs, const char **start, const char **stop);

#endif
