/* The program: starts Lua with the library inside and runs luabatch.cli. */
#include <fcntl.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/exec/run.h"
#include "embedded.h"
#include "lua_bindings/commands.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/execute.h"
#include "lua_bindings/safe.h"
#include "lua_bindings/strings.h"
#include "luabatch.h"
#include "program/deadline.h"
#include "program/terminal.h"

enum { STATUS_LATE = 1, STATUS_RESOURCE = 5, STATUS_INTERNAL = 70, STATUS_PIPE = 141 };

/* The engine is at work and sees for itself when its output breaks. */
static volatile sig_atomic_t is_busy;
/* The reader of standard output was gone when something was written to a pipe. */
static volatile sig_atomic_t is_broken;

/* SIGPIPE must not kill the engine at work, but a script that prints for ever has to end when its reader is gone:
 * print does not look at write errors. */
static void broken_pipe(int signal_number)
{
    (void)signal_number;
    int saved = errno;
    struct pollfd output = {.fd = STDOUT_FILENO};
    if (poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0) {
        if (!is_busy)
            _exit(STATUS_PIPE);
        is_broken = 1;
    }
    errno = saved;
}

/* A file may not grow further (ulimit -f): the write that tried fails with EFBIG and is told. Not SIG_IGN, which commands
 * that are started would inherit. */
static void size_limit(int signal_number)
{
    (void)signal_number;
}

/* Loads an embedded module: the first argument is its name. Has no upvalues, so that workers' states can
 * have it in their package.preload too. */
static int l_main_load(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++) {
        if (strcmp(file->name, name) != 0)
            continue;
        /* The library knows its own frames by the name of the chunk: "[luabatch]/dataset.lua". */
        const char *module = strchr(name, '.');
        lua_pushfstring(L, "=[luabatch]/%s.lua", module != NULL ? module + 1 : "init");
        if (luaL_loadbufferx(L, file->text, file->size, lua_tostring(L, -1), "t") != LUA_OK)
            return lua_error(L);
        if (lb_lua_push_library_globals(L))
            lua_setupvalue(L, -2, 1);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        return 1;
    }
    return luaL_error(L, "module '%s' is not inside the program", name);
}

/* The module luabatch.sources: the texts of the library's modules by name. */
static int l_main_sources(lua_State *L)
{
    lua_newtable(L);
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++) {
        lua_pushlstring(L, file->text, file->size);
        lua_setfield(L, -2, file->name);
    }
    return 1;
}

static int l_main_busy(lua_State *L)
{
    is_busy = lua_toboolean(L, 1);
    return 0;
}

/* program.deadline(seconds, message) */
static int l_main_deadline(lua_State *L)
{
    if (lb_deadline_start(luaL_checknumber(L, 1), luaL_checkstring(L, 2), lb_run_terminate) != 0)
        return luaL_error(L, "cannot watch the time");
    return 0;
}

/* program.end_within(seconds, status) */
static int l_main_end_within(lua_State *L)
{
    lb_deadline_last(luaL_checknumber(L, 1), (int)luaL_checkinteger(L, 2));
    return 0;
}

/* What a write to standard output most likely failed with, where stdio has forgotten it. */
static int output_error(void)
{
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    return flags == -1 || (flags & O_ACCMODE) == O_RDONLY ? EBADF : ENOSPC;
}

/* The status with which the program ends, for that which the job would have: what print could not write is noticed here at the latest,
 * and told. */
static int final_status(int status)
{
    if (status == 0 && lb_deadline_is_over())
        status = STATUS_LATE;
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (errno == EPIPE || is_broken)
            return status != 0 ? status : STATUS_PIPE;
        if (status == 0) {
            fprintf(stderr, "luabatch: cannot write to standard output: %s\n",
                    strerror(errno != 0 ? errno : output_error()));
            status = STATUS_RESOURCE;
        }
    }
    return status;
}

/* program.final_status(status) -> status */
static int l_main_final_status(lua_State *L)
{
    lua_pushinteger(L, final_status((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* Opens everything and calls luabatch.cli.main; arguments: argc, argv. Returns the status. */
static int l_main_run(lua_State *L)
{
    int argc = (int)lua_tointeger(L, 1);
    char **argv = lua_touserdata(L, 2);
    luaL_openlibs(L);
    lb_lua_open_missing(L);
    lb_lua_open_strings(L);
    lb_lua_open_commands(L);

    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++) {
        lua_pushcfunction(L, l_main_load);
        lua_setfield(L, -2, file->name);
    }
    lua_pushcfunction(L, luaopen_luabatch_core);
    lua_setfield(L, -2, "luabatch.core");
    lua_pushcfunction(L, luaopen_luabatch_terminal);
    lua_setfield(L, -2, "luabatch.terminal");
    lua_pushcfunction(L, l_main_sources);
    lua_setfield(L, -2, "luabatch.sources");
    lua_pop(L, 1);
#if !LB_LUAJIT
    lua_pushboolean(L, true); /* program/collector.c */
    lua_setfield(L, LUA_REGISTRYINDEX, LB_LUA_METERS_GC_FIELD);
#endif

    lua_getglobal(L, "require");
    lua_pushstring(L, "luabatch.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_createtable(L, argc, 0);
    for (int i = 1; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_createtable(L, 0, 5);
    lua_pushstring(L, argc > 0 ? argv[0] : "luabatch");
    lua_setfield(L, -2, "name");
    lua_pushcfunction(L, l_main_busy);
    lua_setfield(L, -2, "busy");
    lua_pushcfunction(L, l_main_deadline);
    lua_setfield(L, -2, "deadline");
    lua_pushcfunction(L, l_main_end_within);
    lua_setfield(L, -2, "end_within");
    lua_pushcfunction(L, l_main_final_status);
    lua_setfield(L, -2, "final_status");
    lua_call(L, 2, 1);
    return 1;
}

/* A descriptor from 0 to 2 that came closed would be given to the next file opened, and output or messages would
 * land in it. Opened the wrong way round, reading or writing it fails as it should. */
static void hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* What a parent leaves as exec does: dispositions and the mask. A shell's script has SIGINT ignored in all that it starts in the
 * background, so that whoever means to end a job there by SIGINT could not. Overridden on purpose, though a terminal's Ctrl-C ends such
 * jobs, too, and those under `trap '' INT`; SIGHUP is what nohup is for. With SIGCHLD ignored nobody is told how a command ended. Blocked
 * signals would never be heard. From the start: one must not be lost before a run hears it. */
static void hear_signals(void)
{
    static const int overridden[] = {SIGINT, SIGCHLD};
    struct sigaction action;
    sigset_t heard;
    for (size_t i = 0; i < sizeof overridden / sizeof *overridden; i++)
        if (sigaction(overridden[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            signal(overridden[i], SIG_DFL);
    sigemptyset(&heard);
    sigaddset(&heard, SIGINT);
    sigaddset(&heard, SIGTERM);
    sigaddset(&heard, SIGHUP);
    sigprocmask(SIG_UNBLOCK, &heard, NULL);
}

static lua_Alloc plain_alloc;

/* The script's own values count as all memory does. */
static void *counted_alloc(void *user_data, void *block, size_t old_size, size_t new_size)
{
    size_t before = block != NULL ? lb_memory_of_block(old_size) : 0;
    size_t after = lb_memory_of_block(new_size);
    if (new_size > (block != NULL ? old_size : 0) && LB_FAULT(LUA, NULL))
        return NULL;
    if (after > before && !lb_memory_take(after - before))
        return NULL;
    void *moved = plain_alloc(user_data, block, old_size, new_size);
    if (after > before && moved == NULL)
        lb_memory_give(after - before);
    else if (after < before && (moved != NULL || new_size == 0))
        lb_memory_give(before - after);
    return moved;
}

static lua_State *new_state(void)
{
    lua_State *L = luaL_newstate();
    void *user_data;
    if (L != NULL) {
        plain_alloc = lua_getallocf(L, &user_data);
        lua_setallocf(L, counted_alloc, user_data);
    }
    return L;
}

int main(int argc, char **argv)
{
    /* Large blocks go back to the kernel when they are freed, and not only some of the time: glibc raises the threshold by
     * itself, up to 32 MiB that it then keeps per thread. */
    mallopt(M_MMAP_THRESHOLD, LB_MEMORY_LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
    hold_standard_descriptors();
    struct sigaction on_pipe = {.sa_handler = broken_pipe, .sa_flags = SA_RESTART};
    sigaction(SIGPIPE, &on_pipe, NULL);
    struct sigaction on_size = {.sa_handler = size_limit, .sa_flags = SA_RESTART};
    sigaction(SIGXFSZ, &on_size, NULL);
    hear_signals();
    lua_State *L = new_state();
    if (L == NULL) {
        fputs("luabatch: out of memory\n", stderr);
        return STATUS_RESOURCE;
    }
    lua_pushcfunction(L, l_main_run);
    lua_pushinteger(L, argc);
    lua_pushlightuserdata(L, argv);
    int status = STATUS_INTERNAL;
    int outcome = lua_pcall(L, 2, 1, 0);
    if (outcome == LUA_OK) {
        if (lua_isnumber(L, -1))
            status = (int)lua_tointeger(L, -1);
    } else if (outcome == LUA_ERRMEM) {
        fputs("luabatch: out of memory\n", stderr);
        status = STATUS_RESOURCE;
    } else {
        const char *message = lua_tostring(L, -1);
        fprintf(stderr, "luabatch: %s\n", message != NULL ? message : "unknown error");
    }
    lua_close(L);
    return final_status(status);
}
