/* Stopping user code that does not stop by itself.
 *
 * IDEA   Another thread sets `interrupted` and sends the worker's thread a signal. The handler, which so
 *        runs on the worker's own thread between two machine instructions, gives the running Lua thread a
 *        hook, as lua.c does on SIGINT; the interpreter meets it at its next instruction. A count hook
 *        that is always there would cost every instruction; this costs nothing until it is needed.
 *        The hook raises the marker, and stays: code that caught it with pcall meets it again at once.
 * TIME   The limit of a record's time works by the same hook: another thread looks at the time since the call under way began, and
 *        stops just that call, known by its number. Whoever made the call ends it (guards in call.c).
 *        A C function does not look at hooks. Those of patterns ask (lb_pattern_ask), some others may take for ever: table.move over
 *        the integers. A call that does not end STUCK_NS after it was told to is given up, and the program with it: no thread can be
 *        taken out of a function from outside. Its thread must not go on while another reads where it is: leaving a call,
 *        and the hook, halt it.
 * SAMPLES The same signal, sent by the timer of samples.h, brings the hook that notes a line. It gives way to the one that stops, and
 *        to one that user code set by debug.sethook.
 * INSTRUCTIONS  Where their number is limited (--max-instructions) a count hook is always there while a function works on a record. It comes
 *        each COUNT_STEP instructions of a Lua thread, so resuming one costs as many: none can be cut into pieces that are
 *        too short to be seen. A call that has spent all of its own counts as late.
 * COROUTINES  A hook belongs to one Lua thread, so the worker must know which one runs: resume, wrap and
 *        close of its states keep `running`, and hook the thread they return to when stopping.
 * LUAJIT Hooks belong to the state there, and are met by interpreted code only. A compiled loop meets it when it leaves
 *        its trace: at every call of a C function (emit, patterns), a step of the collector, an unusual branch; and no
 *        record begins after the signal. So a shipped function with a loop that has no bound (while, repeat, goto) is
 *        not compiled (unship.c). What remains: `for` over very many numbers with mere arithmetic inside, endless tail
 *        calls, and loops of modules; they run to their end.
 *        WHY NOT leave the trace from outside: the signal may come at any instruction, and only those with a snapshot
 *        can be left. Compile a check into each loop: LuaJIT has that (LUAJIT_ENABLE_CHECKHOOK), but distributions
 *        build it without.
 * THREADS `running` is changed by the worker's thread only, and always before `interrupted` is looked at:
 *        a signal that comes in between finds the new one. An interrupt when no user code runs is
 *        found by the next lb_lua_call. The worker's thread must not have been joined. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/algo/pattern.h"
#include "core/base/meter.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/worker_private.h"

/* Quiet: its default action is to do nothing. */
enum { INTERRUPT_SIGNAL = SIGURG, COUNT_STEP = 100 };

/* Between two looks at a function's time: longer than a busy machine needs. */
static const uint64_t PAUSE_NS = 500 * 1000 * 1000;
static const uint64_t STUCK_NS = 2000 * 1000 * 1000ULL;

/* The worker whose state this thread runs. Initial-exec: reading it in a handler must not allocate. */
static _Thread_local struct lb_lua_worker_private *volatile current
    __attribute__((tls_model("initial-exec")));

static pthread_once_t handler_once = PTHREAD_ONCE_INIT;
static int handler_errno;

static const char marker = 'm';

void lb_lua_push_marker(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&marker);
}

bool lb_lua_is_marker(lua_State *L, int index)
{
    return lua_islightuserdata(L, index) && lua_touserdata(L, index) == (void *)(uintptr_t)&marker;
}

static void on_count(lua_State *L, lua_Debug *ar);

static void on_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct lb_lua_worker_private *p = lb_lua_private_of(L);
    if (!lb_lua_is_stopping(p)) { /* was meant for an earlier call */
        lua_sethook(L, lb_lua_counts(p) ? on_count : NULL, lb_lua_counts(p) ? LUA_MASKCOUNT : 0,
                    COUNT_STEP);
        return;
    }
    lb_lua_halt_if_given_up(p, atomic_load(&p->call_start_ns));
    if (lb_lua_is_late(p))
        lb_lua_tell_late(p, L);
    lb_lua_push_marker(L);
    lua_error(L);
}

void lb_lua_hook(lua_State *L)
{
    lua_sethook(L, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static void spend(struct lb_lua_worker_private *p, uint64_t n)
{
    if (p->instructions_left > n) {
        p->instructions_left -= n;
        return;
    }
    p->instructions_left = 0;
    p->spent_call = atomic_load(&p->call);
    atomic_store(&p->late_call, p->spent_call);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    struct lb_lua_worker_private *p = lb_lua_private_of(L);
    if (atomic_load_explicit(&p->call_start_ns, memory_order_relaxed) != 0)
        spend(p, COUNT_STEP);
    if (lb_lua_is_stopping(p)) {
        lb_lua_hook(L);
        on_hook(L, ar);
    }
}

void lb_lua_count(struct lb_lua_worker_private *p, lua_State *L)
{
    p->instructions_left = p->public.worker->run->options.max_instructions;
    if (!lb_lua_is_stopping(p))
        lua_sethook(L, on_count, LUA_MASKCOUNT, COUNT_STEP);
}

static void on_sample(lua_State *L, lua_Debug *ar)
{
    struct lb_lua_worker_private *p = lb_lua_private_of(L);
    lua_sethook(L, NULL, 0, 0);
    /* In this order: an interrupt from here on brings its own hook. */
    if (lb_lua_is_stopping(p))
        lb_lua_hook(L);
    else if (p->sampler != NULL)
        lb_lua_sample(p->sampler, L, ar);
}

static void on_signal(int number)
{
    (void)number;
    struct lb_lua_worker_private *p = current;
    if (p == NULL || p->running == NULL)
        return;
    if (lb_lua_is_stopping(p))
        lb_lua_hook(p->running);
    else if (p->sampler != NULL && lua_gethook(p->running) == NULL)
        lua_sethook(p->running, on_sample, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static void install_handler(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(INTERRUPT_SIGNAL, &action, NULL) != 0)
        handler_errno = errno;
}

static bool must_stop(void *state)
{
    struct lb_lua_worker_private *p = state;
    if (lb_lua_counts(p) && atomic_load(&p->call_start_ns) != 0)
        spend(p, LB_PATTERN_ASK_STEPS);
    if (lb_lua_is_stopping(p) && p->running != NULL)
        lb_lua_hook(p->running);
    return lb_lua_is_stopping(p);
}

lb_status lb_lua_interrupt_init(struct lb_lua_worker_private *p, struct lb_error *err)
{
    pthread_once(&handler_once, install_handler);
    if (handler_errno != 0)
        return lb_error_system(err, handler_errno, "cannot handle the signal that stops workers");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, INTERRUPT_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    p->thread = pthread_self();
    current = p;
    lb_pattern_ask(must_stop, p);
    return LB_OK;
}

lb_status lb_lua_sample_start(struct lb_lua_worker_private *p, struct lb_error *err)
{
    return lb_lua_sampler_start(INTERRUPT_SIGNAL, &p->sampler, err);
}

void lb_lua_interrupt_fini(void)
{
    current = NULL;
    lb_pattern_ask(NULL, NULL);
}

void lb_lua_interrupt(struct lb_lua_worker_private *p)
{
    if (!atomic_exchange(&p->interrupted, true))
        pthread_kill(p->thread, INTERRUPT_SIGNAL);
}

void lb_lua_halt_if_given_up(struct lb_lua_worker_private *p, uint64_t call_start_ns)
{
    (void)p;
    while (__builtin_expect(call_start_ns == LB_LUA_GIVEN_UP, 0))
        pause();
}

bool lb_lua_watch(struct lb_lua_worker_private *p, uint64_t timeout_ns, struct lb_error *err)
{
    uint64_t call = atomic_load(&p->call), start = atomic_load(&p->call_start_ns);
    uint64_t now = lb_clock_ns(), before = p->watched_ns;
    p->watched_ns = now;
    if (start == 0 || start == LB_LUA_GIVEN_UP)
        return false;
    if (now - before > PAUSE_NS) {
        /* Nobody watched, as the process was stopped (Ctrl-Z), maybe before the first look: that time is not the function's. Where
         * another call has begun, that one's start is right. */
        atomic_compare_exchange_strong(&p->call_start_ns, &start,
                                       now - (start < before ? before - start : 0));
        p->late_since_ns = now;
        return false;
    }
    if (now < start + timeout_ns || atomic_load(&p->call) != call)
        return false;
    if (atomic_exchange(&p->late_call, call) != call || p->late_since_ns < start)
        p->late_since_ns = now;
    pthread_kill(p->thread, INTERRUPT_SIGNAL);
    if (now - p->late_since_ns < STUCK_NS ||
        !atomic_compare_exchange_strong(&p->call_start_ns, &start, LB_LUA_GIVEN_UP))
        return false;
    lb_lua_tell_stuck(p, err);
    return true;
}

/* debug.sethook, which must not take away the hook that stops: user code could not be stopped any more. */
static int l_sethook(lua_State *L)
{
    struct lb_lua_worker_private *p = lb_lua_private_of(L);
    int n_args = lua_gettop(L);
    if (lb_lua_counts(p))
        return luaL_error(L, "debug.sethook cannot be used with --max-instructions");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    if (!lb_lua_is_stopping(p))
        lua_call(L, n_args, 0);
    if (lb_lua_is_stopping(p)) /* it may have begun meanwhile */
        lb_lua_hook(p->running != NULL ? p->running : L);
    return 0;
}

void lb_lua_open_debug(lua_State *L)
{
    lua_getglobal(L, LUA_DBLIBNAME);
    lua_getfield(L, -1, "sethook");
    lua_pushcclosure(L, l_sethook, 1);
    lua_setfield(L, -2, "sethook");
    lua_pop(L, 1);
}

/* Coroutines. What user code sees of them is as in Lua's own library (lcorolib.c). */

int lb_lua_resume(lua_State *L, lua_State *co, int n_args, int *n_results)
{
    struct lb_lua_worker_private *p = lb_lua_private_of(L);
    lua_State *before = p->running;
    p->running = co;
    if (lb_lua_counts(p)) {
        spend(p, COUNT_STEP);
        lua_sethook(co, on_count, LUA_MASKCOUNT, COUNT_STEP);
    }
    if (lb_lua_is_stopping(p))
        lb_lua_hook(co);
    int status = lua_resume(co, L, n_args, n_results);
    p->running = before;
    if (lb_lua_is_stopping(p))
        lb_lua_hook(L);
    return status;
}

#if LB_LUAJIT

void lb_lua_open_coroutines(lua_State *L)
{
    (void)L;
}

#else

/* xpcall. A handler of errors is called where the error was raised, so for that of the hook within the hook, when Lua has hooks off: one with a
 * loop could not be stopped. So such errors do not reach handlers. */

static int l_handle(lua_State *L)
{
    if (lb_lua_is_stopping(lb_lua_private_of(L)))
        return 1;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* Upvalue 1 is Lua's own function, which runs in our place. */
static int l_xpcall(lua_State *L)
{
    if (lua_isfunction(L, 2) && !lua_iscfunction(L, 2)) {
        lua_pushvalue(L, 2);
        lua_pushcclosure(L, l_handle, 1);
        lua_replace(L, 2);
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static void open_xpcall(lua_State *L)
{
    lua_getglobal(L, "xpcall");
    lua_pushcclosure(L, l_xpcall, 1);
    lua_setglobal(L, "xpcall");
}

/* Resumes co with the n_args values on top of L and moves its results or its error to L. Returns the
 * number of results, or -1 with the error on top. */
static int resume_with(lua_State *L, lua_State *co, int n_args)
{
    if (!lua_checkstack(co, n_args)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, n_args);
    int n_results = 0;
    int status = lb_lua_resume(L, co, n_args, &n_results);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, n_results + 1)) {
        lua_pop(co, n_results);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, n_results);
    return n_results;
}

static lua_State *check_thread(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "thread");
    return co;
}

static int l_coroutine_resume(lua_State *L)
{
    lua_State *co = check_thread(L);
    int n_results = resume_with(L, co, lua_gettop(L) - 1);
    lua_pushboolean(L, n_results >= 0);
    if (n_results < 0) {
        lua_insert(L, -2);
        return 2;
    }
    lua_insert(L, -(n_results + 1));
    return n_results + 1;
}

/* Closes co's pending to-be-closed variables, which may run user code. */
static int reset(lua_State *L, lua_State *co)
{
    struct lb_lua_worker_private *p = lb_lua_private_of(L);
    lua_State *before = p->running;
    p->running = co;
    int status = lua_resetthread(co);
    p->running = before;
    if (lb_lua_is_stopping(p))
        lb_lua_hook(L);
    return status;
}

static int l_coroutine_call_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n_results = resume_with(L, co, lua_gettop(L));
    if (n_results >= 0)
        return n_results;
    int status = lua_status(co);
    /* Failed inside: close what it left open. Not when it was stopped: the error of a hook leaves a coroutine with hooks off. */
    if (status != LUA_OK && status != LUA_YIELD && !lb_lua_is_stopping(lb_lua_private_of(L))) {
        reset(L, co);
        lua_xmove(co, L, 1); /* the error, or that of closing */
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int l_coroutine_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, l_coroutine_call_wrapped, 1);
    return 1;
}

static int l_coroutine_close(lua_State *L)
{
    lua_State *co = check_thread(L);
    lua_Debug ar;
    bool is_normal = co != L && lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar);
    if (co == L || is_normal)
        return luaL_error(L, "cannot close a %s coroutine", co == L ? "running" : "normal");
    if (lb_lua_is_stopping(lb_lua_private_of(L))) {
        lb_lua_push_marker(L);
        return lua_error(L);
    }
    if (reset(L, co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

void lb_lua_open_coroutines(lua_State *L)
{
    static const luaL_Reg functions[] = {{"resume", l_coroutine_resume},
                                         {"wrap", l_coroutine_wrap},
                                         {"close", l_coroutine_close},
                                         {NULL, NULL}};
    lua_getglobal(L, LUA_COLIBNAME);
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
    open_xpcall(L);
}

#endif
