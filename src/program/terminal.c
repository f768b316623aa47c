/* The terminal, for the program's interactive mode: a line editor, Ctrl-C as an error.
 *
 * IDEA    libedit edits and keeps the lines to go back to; what Tab completes is found by a Lua function. While a line
 *         is edited Ctrl-C is a key, which gives the line up. While Lua code runs it is a signal, whose handler
 *         gives the state a hook, as lua.c does: the interpreter meets it at its next instruction and raises.
 *         While the engine runs, the engine has the signal (exec/run.c) and gives it back afterwards.
 * MEMORY  An editor is a userdata; its handles are closed by close(), or by collection. */
#include "program/terminal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <lauxlib.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define EDITOR_TYPE "luabatch.editor"

#if LUA_VERSION_NUM < 504 /* LuaJIT */
#define lua_newuserdatauv(L, size, n_values) lua_newuserdata(L, size)
#endif

enum { MAX_HISTORY = 5000 };

struct editor {
    EditLine *line;
    History *history;
    lua_State *L;     /* that reads, while it does */
    int complete;     /* reference to the function for Tab, or LUA_NOREF */
    char *prompt;     /* owned */
    bool is_given_up; /* the line was ended by Ctrl-C */
};

static const char *get_prompt(EditLine *line)
{
    struct editor *editor = NULL;
    el_get(line, EL_CLIENTDATA, &editor);
    return editor->prompt != NULL ? editor->prompt : "";
}

static unsigned char give_up(EditLine *line, int key)
{
    (void)key;
    struct editor *editor = NULL;
    el_get(line, EL_CLIENTDATA, &editor);
    editor->is_given_up = true;
    fputs("^C", stdout);
    return CC_NEWLINE;
}

/* Calls complete(text up to the cursor) -> text to insert, lines to show. */
static unsigned char complete(EditLine *line, int key)
{
    (void)key;
    struct editor *editor = NULL;
    el_get(line, EL_CLIENTDATA, &editor);
    lua_State *L = editor->L;
    if (editor->complete == LUA_NOREF || L == NULL || !lua_checkstack(L, 8))
        return CC_ERROR;
    const LineInfo *info = el_line(line);
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, editor->complete);
    lua_pushlstring(L, info->buffer, (size_t)(info->cursor - info->buffer));
    unsigned char result = CC_ERROR;
    if (lua_pcall(L, 1, 2, 0) == LUA_OK) {
        const char *insert = lua_tostring(L, -2), *list = lua_tostring(L, -1);
        if (list != NULL) {
            printf("\n%s\n", list);
            result = CC_REDISPLAY;
        }
        if (insert != NULL && insert[0] != '\0' && el_insertstr(line, insert) == 0)
            result = list != NULL ? CC_REDISPLAY : CC_REFRESH;
    }
    lua_settop(L, top);
    return result;
}

static int l_editor_close(lua_State *L)
{
    struct editor *editor = luaL_checkudata(L, 1, EDITOR_TYPE);
    if (editor->line != NULL)
        el_end(editor->line);
    if (editor->history != NULL)
        history_end(editor->history);
    free(editor->prompt);
    luaL_unref(L, LUA_REGISTRYINDEX, editor->complete);
    *editor = (struct editor){.complete = LUA_NOREF};
    return 0;
}

static struct editor *check_editor(lua_State *L)
{
    struct editor *editor = luaL_checkudata(L, 1, EDITOR_TYPE);
    if (editor->line == NULL)
        luaL_error(L, "the editor is closed");
    return editor;
}

/* ---- signals while a line is edited ---- */

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

enum { N_ENDING = sizeof ending_signals / sizeof *ending_signals };

static struct termios modes_before; /* of the terminal, when has_modes */
static bool has_modes;

/* The editor has the terminal in a mode of its own: it is given back before the signal ends the program. */
static void on_ending(int number)
{
    if (has_modes)
        tcsetattr(STDIN_FILENO, TCSANOW, &modes_before);
    signal(number, SIG_DFL);
    raise(number);
}

static const char *read_line(EditLine *line, int *n)
{
    struct sigaction on = {.sa_handler = on_ending}, old[N_ENDING];
    sigemptyset(&on.sa_mask);
    has_modes = tcgetattr(STDIN_FILENO, &modes_before) == 0;
    for (int i = 0; i < N_ENDING; i++)
        sigaction(ending_signals[i], &on, &old[i]);
    const char *text = el_gets(line, n);
    for (int i = 0; i < N_ENDING; i++)
        sigaction(ending_signals[i], &old[i], NULL);
    return text;
}

/* editor:read(prompt) -> line without its end; false after Ctrl-C; nil at the end of input */
static int l_editor_read(lua_State *L)
{
    struct editor *editor = check_editor(L);
    const char *prompt = luaL_checkstring(L, 2);
    free(editor->prompt);
    editor->prompt = strdup(prompt);
    editor->L = L;
    editor->is_given_up = false;
    fflush(stdout);
    int n = 0;
    const char *text = read_line(editor->line, &n);
    editor->L = NULL;
    if (editor->is_given_up) {
        lua_pushboolean(L, 0);
    } else if (text == NULL || n <= 0) {
        lua_pushnil(L);
    } else {
        while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
            n--;
        lua_pushlstring(L, text, (size_t)n);
    }
    return 1;
}

/* editor:add(text): the keys up and down come to it */
static int l_editor_add(lua_State *L)
{
    struct editor *editor = check_editor(L);
    HistEvent event;
    history(editor->history, &event, H_ENTER, luaL_checkstring(L, 2));
    return 0;
}

/* terminal.editor(complete) -> editor of standard input and output */
static int l_terminal_editor(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct editor *editor = lua_newuserdatauv(L, sizeof *editor, 0);
    *editor = (struct editor){.complete = LUA_NOREF};
    luaL_setmetatable(L, EDITOR_TYPE);
    /* Only so that characters of several bytes are edited whole; numbers and messages stay as they are. */
    setlocale(LC_CTYPE, "");
    editor->line = el_init("luabatch", stdin, stdout, stderr);
    editor->history = history_init();
    if (editor->line == NULL || editor->history == NULL)
        return luaL_error(L, "cannot start the line editor");
    lua_pushvalue(L, 1);
    editor->complete = luaL_ref(L, LUA_REGISTRYINDEX);
    HistEvent event;
    history(editor->history, &event, H_SETSIZE, MAX_HISTORY);
    history(editor->history, &event, H_SETUNIQUE, 1);
    el_set(editor->line, EL_CLIENTDATA, editor);
    el_set(editor->line, EL_HIST, history, editor->history);
    el_set(editor->line, EL_EDITOR, "emacs");
    el_set(editor->line, EL_PROMPT, get_prompt);
    el_set(editor->line, EL_SETTY, "-d", "-isig", NULL);
    el_set(editor->line, EL_ADDFN, "lb-give-up", "Give up the line", give_up);
    el_set(editor->line, EL_ADDFN, "lb-complete", "Complete the word", complete);
    el_set(editor->line, EL_BIND, "^C", "lb-give-up", NULL);
    el_set(editor->line, EL_BIND, "^I", "lb-complete", NULL);
    el_set(editor->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(editor->line, NULL); /* the user's ~/.editrc, when there is one */
    return 1;
}

static lua_State *volatile interruptible;

static void on_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted");
}

static void on_interrupt(int number)
{
    (void)number;
    if (interruptible != NULL)
        lua_sethook(interruptible, on_hook,
                    LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* terminal.call(f, handler, ...) -> as xpcall(f, handler, ...); Ctrl-C is an error "interrupted" in f */
static int l_terminal_call(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_remove(L, 2);
    lua_insert(L, 1); /* handler, f, arguments */
    lua_State *before = interruptible;
    struct sigaction on = {.sa_handler = on_interrupt}, old;
    sigemptyset(&on.sa_mask);
    sigaction(SIGINT, &on, &old);
    interruptible = L;
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 1);
    interruptible = before;
    sigaction(SIGINT, &old, NULL);
    lua_sethook(L, NULL, 0, 0); /* one that came too late */
    lua_pushboolean(L, status == LUA_OK);
    lua_replace(L, 1);
    return lua_gettop(L);
}

static int fail(lua_State *L, const char *path, int error)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(error));
    return 2;
}

/* terminal.private_file(path) -> true, or nil and a message: makes the file and its directories when they are not
 * there; only the user may read it */
static int l_terminal_private_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        lua_pushlstring(L, path, (size_t)(slash - path));
        const char *directory = lua_tostring(L, -1);
        if (mkdir(directory, 0700) != 0 && errno != EEXIST)
            return fail(L, directory, errno);
        lua_pop(L, 1);
    }
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0)
        return fail(L, path, errno);
    int error = fchmod(file, 0600) == 0 ? 0 : errno;
    close(file);
    if (error != 0)
        return fail(L, path, error);
    lua_pushboolean(L, 1);
    return 1;
}

/* terminal.list_directory(path) -> names; those of directories end in '/'. A directory that cannot be read has none. */
static int l_terminal_list_directory(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_newtable(L);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return 1;
    lua_Integer n = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct stat info;
        bool is_directory =
            fstatat(dirfd(directory), entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
        lua_pushfstring(L, "%s%s", entry->d_name, is_directory ? "/" : "");
        lua_rawseti(L, -2, ++n);
    }
    closedir(directory);
    return 1;
}

__attribute__((visibility("default"))) int luaopen_luabatch_terminal(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"read", l_editor_read}, {"add", l_editor_add}, {"close", l_editor_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"editor", l_terminal_editor},
                                         {"call", l_terminal_call},
                                         {"private_file", l_terminal_private_file},
                                         {"list_directory", l_terminal_list_directory},
                                         {NULL, NULL}};
    luaL_newmetatable(L, EDITOR_TYPE);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_editor_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
