/* os.execute that does not swallow Ctrl-C: system() has SIGINT ignored in the whole process while a command runs, so that of a Ctrl-C only the
 * command would end, and the job go on. As shells do, what ended the command by SIGINT is taken for meant for all.
 *
 * WHY NOT raise it in a worker, too: another worker's command may be running still, or again, and SIGINT be ignored. */
#include "lua_bindings/commands.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "core/exec/run.h"
#include "lua_bindings/worker_private.h"

static void end_job(lua_State *L)
{
    struct lb_lua_worker_private *p = lb_lua_worker_of(L);
    if (p == NULL) {
        raise(SIGINT);
        return;
    }
    lb_run_interrupt(p->public.worker->run);
    lb_lua_interrupt(p); /* this one now, before it begins another command */
}

/* As in Lua's own library (loslib.c), but for the signal. */
static int l_execute(lua_State *L)
{
    const char *command = luaL_optstring(L, 1, NULL);
    errno = 0;
    int status = system(command);
    int error = errno;
    if (command != NULL && status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)
        end_job(L);
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
