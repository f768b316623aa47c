/* See deadline.h: a thread that sleeps until then. The process cannot be talked out of it: the last step is _exit. */
#include "program/deadline.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_LATE = 1, GRACE_SECONDS = 2 };

static struct {
    struct timespec end;
    char *message;
    pthread_t main_thread;
    const volatile sig_atomic_t *is_busy;
} deadline;

static void sleep_until(const struct timespec *end)
{
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, end, NULL) == EINTR)
        ;
}

static void *watch(void *unused)
{
    (void)unused;
    sleep_until(&deadline.end);
    (void)!write(STDERR_FILENO, deadline.message, strlen(deadline.message));
    if (*deadline.is_busy) {
        pthread_kill(deadline.main_thread, SIGTERM);
        deadline.end.tv_sec += GRACE_SECONDS;
        sleep_until(&deadline.end);
    }
    _exit(STATUS_LATE);
}

int lb_deadline_start(double seconds, const char *message, const volatile sig_atomic_t *is_busy)
{
    pthread_t thread;
    sigset_t all, before;
    deadline.message = strdup(message);
    if (deadline.message == NULL)
        return ENOMEM;
    deadline.main_thread = pthread_self();
    deadline.is_busy = is_busy;
    clock_gettime(CLOCK_MONOTONIC, &deadline.end);
    double whole = seconds < 1e9 ? seconds : 1e9;
    deadline.end.tv_sec += (time_t)whole;
    deadline.end.tv_nsec += (long)((whole - (double)(time_t)whole) * 1e9);
    if (deadline.end.tv_nsec >= 1000000000) {
        deadline.end.tv_nsec -= 1000000000;
        deadline.end.tv_sec++;
    }
    /* Signals are for the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        pthread_detach(thread);
    return failed;
}
