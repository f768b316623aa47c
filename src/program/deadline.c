/* See deadline.h: a thread that sleeps until then. The process cannot be talked out of it: the last step is _exit. */
#include "program/deadline.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/io/output.h"

enum { STATUS_LATE = 1, GRACE_SECONDS = 2 };

static struct {
    struct timespec end;
    char *message;
    bool (*stop_run)(void);
    _Atomic bool is_over;
} deadline;

static void sleep_until(const struct timespec *end)
{
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, end, NULL) == EINTR)
        ;
}

/* `seconds` from now. */
static struct timespec in_time(double seconds)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    double whole = seconds < 1e9 ? seconds : 1e9;
    end.tv_sec += (time_t)whole;
    end.tv_nsec += (long)((whole - (double)(time_t)whole) * 1e9);
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    return end;
}

static void end_process(int status)
{
    lb_output_clear();
    _exit(status);
}

/* Starts a thread; signals are for the main one. */
static int start(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        pthread_detach(thread);
    return failed;
}

static void *watch(void *unused)
{
    (void)unused;
    sleep_until(&deadline.end);
    atomic_store(&deadline.is_over, true);
    /* A pipe that nobody reads must not hold us up. */
    struct pollfd errors = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&errors, 1, 0) == 1)
        (void)!write(STDERR_FILENO, deadline.message, strlen(deadline.message));
    if (deadline.stop_run()) {
        deadline.end.tv_sec += GRACE_SECONDS;
        sleep_until(&deadline.end);
    }
    end_process(STATUS_LATE);
    return NULL;
}

int lb_deadline_start(double seconds, const char *message, bool (*stop_run)(void))
{
    deadline.message = strdup(message);
    if (deadline.message == NULL)
        return ENOMEM;
    deadline.stop_run = stop_run;
    deadline.end = in_time(seconds);
    return start(watch, NULL);
}

bool lb_deadline_is_over(void)
{
    return atomic_load(&deadline.is_over);
}

static struct timespec last_end;

static void *wait_for_last(void *status)
{
    sleep_until(&last_end);
    end_process((int)(intptr_t)status);
    return NULL;
}

void lb_deadline_last(double seconds, int status)
{
    last_end = in_time(seconds);
    (void)!start(wait_for_last, (void *)(intptr_t)status);
}
