/* Shell commands: how they ended is known or said not to be, and their ends are waited for, whoever they are by then. */
#include "../support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/meter.h"
#include "core/ops/command.h"

enum { NOBODY = 65534 };

static struct lb_guard guard;
static int nothing;

static int begin(void **state)
{
    (void)state;
    nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    return lb_guard_start(&guard);
}

static int end(void **state)
{
    (void)state;
    lb_guard_end(&guard);
    close(nothing);
    return 0;
}

static struct lb_command start(char *text)
{
    struct lb_command command;
    assert_int_equal(lb_command_start(&command, &guard, text, nothing, nothing), 0);
    return command;
}

static int status_of(char *text)
{
    struct lb_command command = start(text);
    int status = 0;
    bool is_interrupted = true;
    while (!lb_command_has_ended(&command, &status, &is_interrupted))
        usleep(1000);
    assert_false(is_interrupted);
    assert_int_equal(command.pid, 0);
    return status;
}

static void test_status(void **state)
{
    (void)state;
    int status = status_of("exit 3");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    status = status_of("kill -INT $$");
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(status_of("exit 3"), -1);
    assert_int_equal(status_of("exit 0"), -1);
    struct lb_command command = start("exec sleep 60"); /* its end is still seen */
    lb_command_end(&command);
    signal(SIGCHLD, SIG_DFL);
}

/* As sudo leaves them: this process may not signal them. */
static void test_other_user(void **state)
{
    (void)state;
    if (getuid() != 0 || geteuid() != 0)
        skip();
    uint64_t start_ns = lb_clock_ns();
    struct lb_command quick = start("exec sleep 0.1"), slow = start("exec sleep 60");
    pid_t pid = slow.pid;
    assert_int_equal(setresuid(NOBODY, NOBODY, 0), 0);
    bool is_foreign = kill(pid, 0) != 0 && errno == EPERM;
    lb_command_end(&quick);
    uint64_t quick_ns = lb_clock_ns() - start_ns;
    lb_command_end(&slow);
    uint64_t slow_ns = lb_clock_ns() - start_ns;
    assert_int_equal(setresuid(0, 0, 0), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(is_foreign);
    assert_true(quick_ns >= 100 * UINT64_C(1000000));
    assert_true(slow_ns < 30 * UINT64_C(1000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status, begin, end),
        cmocka_unit_test_setup_teardown(test_other_user, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
