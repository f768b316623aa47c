/* The signals that end a run: SIGINT, SIGTERM, SIGHUP.
 *
 * IDEA    libuv hands them to the run's loop: they are noticed while a stage runs, and held back between stages. The first
 *         one stops the run. A later SIGINT ends the process at once, for those who do not want to wait.
 * TWICE   timeout(1) sends its signal to a process and then to its group. What comes within TWICE_NS of the first is that one
 *         again, also when the run is over already and the program is about to tell what stopped it.
 * LATE    What comes after the last stage, or while that publishes and then has ended well, stops nothing. It is raised again when the
 *         run is over, for whatever the process does on it: a script of many short runs must not swallow it.
 * IGNORED Who had SIGHUP ignored (nohup) wants the run to outlive the terminal. SIGINT is heard nevertheless: scripts of a
 *         shell have it ignored in all that they start in the background.
 * CURRENT Who ends a job for another reason (--max-time) stops the run itself: a signal that comes a moment before or after a
 *         run would kill the process.
 * THREADS All but on_again and lb_run_terminate run on the run's thread. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "core/base/sys.h"
#include "core/exec/run_private.h"
#include "core/io/output.h"

static const uint64_t TWICE_NS = 500 * 1000 * 1000;

static const int numbers[LB_RUN_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

/* When the process's last run that a signal stopped was told so. */
static _Atomic uint64_t stopped_ns;

/* The run that hears signals, or NULL. From lb_run_new to lb_run_delete: its workers must not be joined. */
static struct lb_run *current;
static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;

bool lb_run_terminate(void)
{
    struct lb_error err;
    lb_error_set(&err, LB_ERR_TERMINATED, "interrupted");
    pthread_mutex_lock(&current_lock);
    bool is_there = current != NULL;
    if (is_there)
        lb_exec_stop(current, &err, true);
    pthread_mutex_unlock(&current_lock);
    return is_there;
}

static void set_current(struct lb_run *from, struct lb_run *to)
{
    pthread_mutex_lock(&current_lock);
    if (current == from)
        current = to;
    pthread_mutex_unlock(&current_lock);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct lb_run *run = handle->data;
    struct lb_run_private *p = run->private;
    uint64_t now = lb_clock_ns();
    if (p->signal_ns != 0 && now - p->signal_ns < TWICE_NS)
        return;
    if (p->is_over) {
        p->late_signal = number;
        return;
    }
    if (p->signal_ns != 0 && number == SIGINT) {
        lb_output_clear(); /* spill files are unlinked already */
        _exit(LB_ERR_CANCELLED);
    }
    p->signal_ns = now;
    p->signal_number = number;
    atomic_store(&stopped_ns, now);
    struct lb_error err;
    lb_error_set(&err,
                 number == SIGINT   ? LB_ERR_CANCELLED
                 : number == SIGHUP ? LB_ERR_HANGUP
                                    : LB_ERR_TERMINATED,
                 "interrupted");
    lb_exec_stop_by_signal(run, &err);
}

/* In place of the default action after a run that a signal stopped. */
static void on_again(int number)
{
    if (lb_clock_ns() - atomic_load(&stopped_ns) < TWICE_NS)
        return;
    signal(number, SIG_DFL);
    raise(number); /* comes when this returns */
}

int lb_exec_signals_start(struct lb_run *run)
{
    struct lb_run_private *p = run->private;
    for (int i = 0; i < LB_RUN_SIGNALS; i++) {
        int failed = uv_signal_init(&p->loop, &p->signals[i]);
        if (failed != 0)
            return failed;
        p->n_watched++;
        p->signals[i].data = run;
        sigaction(numbers[i], NULL, &p->before[i]);
        bool is_unwanted = numbers[i] == SIGHUP && p->before[i].sa_handler == SIG_IGN;
        if (run->options.handle_signals && !is_unwanted)
            failed = uv_signal_start(&p->signals[i], on_signal, numbers[i]);
        if (failed != 0)
            return failed;
    }
    if (run->options.handle_signals)
        set_current(NULL, run);
    return 0;
}

void lb_exec_signals_leave(struct lb_run *run)
{
    set_current(run, NULL);
}

/* None may come between libuv's handler, which goes, and what the process has instead. */
static void give_back(struct lb_run_private *p)
{
    struct sigaction again = {.sa_handler = on_again, .sa_flags = SA_RESTART};
    sigset_t held, before;
    sigemptyset(&again.sa_mask);
    sigemptyset(&held);
    for (int i = 0; i < LB_RUN_SIGNALS; i++)
        sigaddset(&held, numbers[i]);
    pthread_sigmask(SIG_BLOCK, &held, &before);
    uv_run(&p->loop, UV_RUN_NOWAIT);
    for (uint32_t i = 0; i < p->n_watched; i++) {
        bool is_default = p->before[i].sa_handler == SIG_DFL;
        uv_signal_stop(&p->signals[i]);
        sigaction(numbers[i], p->signal_ns != 0 && is_default ? &again : &p->before[i], NULL);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void lb_exec_signals_end(struct lb_run *run)
{
    struct lb_run_private *p = run->private;
    p->is_over = true;
    if (p->signal_ns != 0 && !p->is_told) {
        p->late_signal = p->signal_number;
        p->signal_ns = 0;
        atomic_store(&stopped_ns, 0);
    }
    if (run->options.handle_signals)
        give_back(p);
    for (uint32_t i = 0; i < p->n_watched; i++)
        uv_close((uv_handle_t *)&p->signals[i], NULL);
}
