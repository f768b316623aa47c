/* Fault points: the environment is read at the first passing of any point. */
#include "core/base/fault.h"

#ifdef LB_DEBUG
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t read_once = PTHREAD_ONCE_INIT;
static char armed_name[64]; /* empty: none; written once, before any read */
static atomic_long n_left;  /* passings until the failing one */

static void read_environment(void)
{
    const char *text = getenv("LUABATCH_FAULT");
    const char *colon = text != NULL ? strrchr(text, ':') : NULL;

    if (colon == NULL || (size_t)(colon - text) >= sizeof armed_name)
        return;
    memcpy(armed_name, text, (size_t)(colon - text));
    atomic_store(&n_left, strtol(colon + 1, NULL, 10));
}

int lb_fault(const char *name)
{
    pthread_once(&read_once, read_environment);
    if (strcmp(name, armed_name) != 0)
        return 0;
    return atomic_fetch_sub(&n_left, 1) == 1 ? EIO : 0;
}
#else
typedef int lb_fault_unused; /* a translation unit may not be empty */
#endif
