/* os.execute that does not swallow Ctrl-C: system() has SIGINT ignored in the whole process while a command runs.
 *
 * IDEA    In a worker the command is started and waited for and nothing else: a run hears signals, whatever its workers wait for.
 *         In the script, where no run hears them, system() is right, as in Lua's own library: the command may be an editor that makes
 *         something of Ctrl-C. As shells do, what ended it by SIGINT is taken for meant for the script, too. */
#include "lua_bindings/commands.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "lua_bindings/worker_private.h"

extern char **environ;

enum { HEARING_MS = 100 }; /* a Ctrl-C that has ended a command reaches the run, too */

static bool is_interrupted(int status)
{
    return status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGINT;
}

/* As system(), but for the signals of this process. */
static int execute(const char *command)
{
    char *arguments[] = {"sh", "-c", "--", (char *)(uintptr_t)command, NULL};
    pid_t pid;
    int status;
    errno = posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ);
    if (errno != 0)
        return -1;
    pid_t ended;
    while ((ended = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        continue;
    if (ended < 0)
        return -1;
    errno = 0;
    return status;
}

/* The function shall not begin another command before the run is stopped. */
static void wait_for_stop(const struct lb_run *run)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int ms = 0; ms < HEARING_MS && atomic_load(&run->stop) == 0; ms++)
        nanosleep(&pause, NULL);
}

/* As in Lua's own library (loslib.c), but for the signal. */
static int l_execute(lua_State *L)
{
    const char *command = luaL_optstring(L, 1, NULL);
    const struct lb_lua_worker_private *p = lb_lua_worker_of(L);
    errno = 0;
    int status = p == NULL || command == NULL ? system(command) : execute(command);
    int error = errno;
    if (command != NULL && is_interrupted(status)) {
        if (p == NULL)
            raise(SIGINT);
        else
            wait_for_stop(p->public.worker->run);
    }
#if LB_LUAJIT
    (void)error;
    lua_pushinteger(L, status);
    return 1;
#else
    if (command == NULL) {
        lua_pushboolean(L, status);
        return 1;
    }
    errno = error;
    return luaL_execresult(L, status);
#endif
}

void lb_lua_open_commands(lua_State *L)
{
    lua_getglobal(L, LUA_OSLIBNAME);
    lua_pushcfunction(L, l_execute);
    lua_setfield(L, -2, "execute");
    lua_pop(L, 1);
}
