/* What this process may use of the machine. */
#ifndef LB_LUA_MACHINE_H
#define LB_LUA_MACHINE_H

#include <stdint.h>

uint32_t lb_machine_n_cpus(void);       /* at least 1 */
uint64_t lb_machine_memory_bytes(void); /* physical, or less by the limit of a control group */

#endif
