/* Random numbers for the tests of this room: one seed, printed at the start, LB_SEED sets it. */
#ifndef TEST_IO_RANDOM_H
#define TEST_IO_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_state;

static inline void random_start(const char *name)
{
    const char *wish = getenv("LB_SEED");
    uint64_t seed = wish != NULL ? strtoull(wish, NULL, 10) : (uint64_t)time(NULL);
    printf("%s: LB_SEED=%llu\n", name, (unsigned long long)seed);
    random_state = seed * 2654435769u + 1;
}

static inline uint64_t random_next(void) /* splitmix64 */
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static inline size_t random_below(size_t limit)
{
    return (size_t)(random_next() % limit);
}

#endif
