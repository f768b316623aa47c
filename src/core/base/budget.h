/* One memory budget for the process. Everything that can grow reserves here first; a refused reservation
 * means "spill". Thread-safe, lock-free. */
#ifndef LB_BASE_BUDGET_H
#define LB_BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct lb_budget {
    _Atomic size_t limit_bytes; /* set by each run that starts */
    _Atomic size_t used_bytes;
    _Atomic size_t peak_bytes;
    bool heeds_memory; /* refuses, too, when the process has little left to take (memory.h) */
};

void lb_budget_init(struct lb_budget *budget, size_t limit_bytes);
/* True when the bytes fit and are now reserved; none always fit, also in a budget that is overdrawn. */
bool lb_budget_reserve(struct lb_budget *budget, size_t bytes);
/* The same for what can as well be on disk: refused when less than a quarter of the limit would be left for what cannot. */
bool lb_budget_reserve_spare(struct lb_budget *budget, size_t bytes);
/* Reserves even beyond the limit: for the minimum without which nothing can go on. */
void lb_budget_force(struct lb_budget *budget, size_t bytes);
void lb_budget_release(struct lb_budget *budget, size_t bytes);

#endif
