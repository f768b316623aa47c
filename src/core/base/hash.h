/* Hashing. One seed for the whole program: partitions must not depend on the process. */
#ifndef LB_BASE_HASH_H
#define LB_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t lb_hash_bytes(const void *data, size_t size); /* xxh3, 64 bit */

/* The hash of a stream of bytes, however it is cut: starts as zeros. */
struct lb_running_hash {
    uint64_t n_bytes; /* added so far */
    uint64_t folded;  /* the hash of the whole blocks */
    char block[1024]; /* the bytes behind them */
};
void lb_running_hash_add(struct lb_running_hash *hash, const void *data, size_t size);
uint64_t lb_running_hash_value(const struct lb_running_hash *hash);

/* Mixes two words into one (the multiply-fold of wyhash, public domain by Wang Yi). */
static inline uint64_t lb_hash_pair(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)(a ^ 0xa0761d6478bd642fULL) * (b ^ 0xe7037ed1a0b428dbULL);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#endif
