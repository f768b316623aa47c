/* Named fault points, for tests of what follows a failure. LB_FAULT("spill.write") is the errno
 * value to fail with, or 0. With LUABATCH_FAULT=spill.write:3 in the environment the third passing
 * of that point by any thread gives EIO. Release builds have no fault points. */
#ifndef LB_BASE_FAULT_H
#define LB_BASE_FAULT_H

#ifdef LB_DEBUG
#define LB_FAULT(name) lb_fault(name)
int lb_fault(const char *name);
#else
#define LB_FAULT(name) 0
#endif

#endif
