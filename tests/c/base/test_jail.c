/* Safe mode's wall around files: what may be opened, made and renamed, and that nothing else may; each case in a process of its own,
 * because the wall cannot be taken down. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/confine.h"
#include "core/base/jail.h"
#include "core/base/sys.h"

static char folder[] = "/tmp/test_jail_XXXXXX";

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(0, chdir(folder));
    mkdir("in", 0700);
    mkdir("in/deep", 0700);
    mkdir("out", 0700);
    mkdir("tmp", 0700);
    put("in/a", "a");
    put("secret", "s");
    put("one", "1");
    put("old", "o");
    mkdir("hidden", 0700);
    mkdir("far", 0700);
    mkdir("far/deep", 0700);
    put("far/deep/b", "b");
    assert_int_equal(0, symlink("in", "shortcut"));
    assert_int_equal(0, symlink("../hidden/../in/a", "in/through"));
    assert_int_equal(0, symlink("../nosuch/../in/a", "in/nowhere"));
    assert_int_equal(0, symlink("../nosuch", "in/dangling"));
    assert_int_equal(0, symlink("far/deep/../deep", "way"));
    assert_int_equal(0, symlink("loop", "in/loop"));
    assert_int_equal(0, symlink("../secret", "in/link"));
    assert_int_equal(0, symlink("../in/a", "out/good"));
    assert_int_equal(0, symlink("..", "out/up"));
    assert_int_equal(0, mkfifo("in/fifo", 0600));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return chdir("/") + system(command);
}

/* Runs a case behind the wall; it returns the line of what went wrong, or 0. */
static void behind(int (*run)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct lb_error err;
        if (lb_jail_allow(LB_JAIL_READ, "in", &err) != LB_OK ||
            lb_jail_allow(LB_JAIL_READ, "one", &err) != LB_OK ||
            lb_jail_allow(LB_JAIL_READ, "missing", &err) != LB_OK ||
            lb_jail_allow(LB_JAIL_READ, "way/b", &err) != LB_OK ||
            lb_jail_allow(LB_JAIL_READ, "gone/b", &err) != LB_OK ||
            lb_jail_allow(LB_JAIL_WRITE, "out", &err) != LB_OK ||
            lb_jail_allow(LB_JAIL_WRITE, "result", &err) != LB_OK ||
            lb_jail_allow(LB_JAIL_TMP, "tmp", &err) != LB_OK || lb_jail_close(&err) != LB_OK)
            _exit(1);
        int line = run();
        if (line != 0)
            fprintf(stderr, "failed: line %d\n", line);
        _exit(line != 0);
    }
    int status;
    assert_int_equal(child, waitpid(child, &status, 0));
    assert_int_equal(0, status);
}

#define REFUSED(call)                        \
    do {                                     \
        errno = 0;                           \
        if ((call) != -1 || errno != EACCES) \
            return __LINE__;                 \
    } while (0)
#define GIVES(errno_value, call)                  \
    do {                                          \
        errno = 0;                                \
        if ((call) != -1 || errno != errno_value) \
            return __LINE__;                      \
    } while (0)
#define WORKS(call)          \
    do {                     \
        if ((call) < 0)      \
            return __LINE__; \
    } while (0)

static int open_path(const char *path, int flags)
{
    return lb_sys.open(path, flags, 0600);
}

static int reading(void)
{
    struct stat info;
    WORKS(open_path("in/a", O_RDONLY));
    WORKS(open_path("in/deep/../a", O_RDONLY));
    WORKS(open_path("one", O_RDONLY));
    WORKS(open_path("out/good", O_RDONLY)); /* a link to what may be read */
    WORKS(open_path("/dev/null", O_RDONLY));
    GIVES(ENOENT, open_path("missing", O_RDONLY));
    GIVES(ENOENT, open_path("in/missing", O_RDONLY));
    REFUSED(open_path("secret", O_RDONLY));
    REFUSED(open_path("no-such-file", O_RDONLY));
    REFUSED(open_path("no-such-folder/file", O_RDONLY));
    REFUSED(open_path("in/../secret", O_RDONLY));
    REFUSED(open_path("in/link", O_RDONLY));
    REFUSED(open_path("out/up/secret", O_RDONLY));
    REFUSED(open_path("in/fifo", O_RDONLY));
    REFUSED(open_path("/dev/zero", O_RDONLY));
    REFUSED(open_path("/proc/self/maps", O_RDONLY));
    REFUSED(open_path("/proc/self/root/etc/passwd", O_RDONLY));
    REFUSED(open_path("tmp/x", O_RDONLY));
    GIVES(ENOTDIR, open_path("one/../secret", O_RDONLY));
    WORKS(lb_sys.stat("in/a", &info));
    REFUSED(lb_sys.stat("secret", &info));
    REFUSED(lb_sys.lstat("secret", &info));
    REFUSED(lb_sys.stat("no-such-file", &info));
    REFUSED(lb_sys.stat("in/link", &info));
    DIR *in = lb_sys.opendir("in");
    if (in == NULL || lb_sys.opendir(".") != NULL || errno != EACCES)
        return __LINE__;
    closedir(in);
    return 0;
}

/* What a way that leads in goes through tells nothing, unless a path that is allowed goes through it, too. */
static int ways(void)
{
    static const char *const paths[] = {"hidden/../in/a",  "nosuch/../in/a", "shortcut/a",
                                        "shortcut/../one", "in/through",     "in/nowhere",
                                        "in/dangling",     "in/link",        "in/loop",
                                        "secret/../one",   "in/../hidden"};
    char here[PATH_MAX], path[PATH_MAX + 40];
    struct stat info;
    if (getcwd(here, sizeof here) == NULL)
        return __LINE__;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (int is_absolute = 0; is_absolute < 2; is_absolute++) {
            snprintf(path, sizeof path, "%s%s%s", is_absolute ? here : "", is_absolute ? "/" : "",
                     paths[i]);
            REFUSED(open_path(path, O_RDONLY));
            REFUSED(open_path(path, O_WRONLY));
            REFUSED(lb_sys.stat(path, &info));
            REFUSED(lb_sys.access(path, F_OK));
            errno = 0;
            if (lb_sys.realpath(path, NULL) != NULL || errno != EACCES)
                return __LINE__;
        }
    static const char *const folders[] = {"hidden/../out/", "nosuch/../out/", "secret/../out/"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%sx", folders[i]);
        REFUSED(open_path(path, O_CREAT | O_EXCL | O_RDWR));
        REFUSED(open_path(folders[i], O_TMPFILE | O_RDWR));
        REFUSED(lb_sys.mkdir(path, 0700));
        REFUSED(lb_sys.rename("result", path));
        REFUSED(lb_sys.rename(path, "result"));
        REFUSED(lb_sys.unlink(path));
        REFUSED(lb_sys.rmdir(path));
        REFUSED(lb_sys.lstat(path, &info));
        errno = 0;
        if (lb_sys.opendir(folders[i]) != NULL || errno != EACCES)
            return __LINE__;
    }
    WORKS(open_path("way/b", O_RDONLY));
    WORKS(open_path("far/deep/b", O_RDONLY));
    WORKS(open_path("way/../../in/./deep//../a", O_RDONLY));
    WORKS(lb_sys.lstat("in/dangling", &info));
    REFUSED(open_path("far/deep/c", O_RDONLY));
    REFUSED(open_path("way/c", O_RDONLY));
    GIVES(ENOENT, open_path("gone/b", O_RDONLY)); /* the command line names it */
    snprintf(path, sizeof path, "%s/../%s/in/a", here, strrchr(here, '/') + 1);
    WORKS(open_path(path, O_RDONLY));
    char *real = lb_sys.realpath(".", NULL);
    if (real == NULL || strcmp(real, here) != 0)
        return __LINE__;
    free(real);
    return 0;
}

static int writing(void)
{
    WORKS(open_path("out/new", O_CREAT | O_EXCL | O_RDWR));
    WORKS(open_path("out/new", O_WRONLY | O_APPEND));
    WORKS(open_path("result", O_CREAT | O_EXCL | O_RDWR));
    WORKS(open_path(".result.luabatch-abc123", O_CREAT | O_EXCL | O_RDWR));
    WORKS(lb_sys.rename(".result.luabatch-abc123", "result"));
    WORKS(lb_sys.mkdir("out/sub", 0700));
    WORKS(lb_sys.rename("out/new", "out/sub/moved"));
    WORKS(lb_sys.unlink("out/sub/moved"));
    WORKS(lb_sys.rmdir("out/sub"));
    WORKS(open_path("tmp/.luabatch-1", O_CREAT | O_EXCL | O_RDWR));
    WORKS(lb_sys.unlink("tmp/.luabatch-1"));
    REFUSED(open_path("in/new", O_CREAT | O_EXCL | O_RDWR));
    REFUSED(open_path("in/a", O_WRONLY | O_APPEND));
    REFUSED(open_path("old", O_RDWR));
    REFUSED(open_path("new", O_CREAT | O_RDWR));
    REFUSED(open_path("out/good", O_WRONLY));
    REFUSED(open_path("out/up/new", O_CREAT | O_RDWR));
    REFUSED(open_path("out/../new", O_CREAT | O_RDWR));
    REFUSED(open_path("tmp/x", O_CREAT | O_EXCL | O_RDWR));
    REFUSED(open_path("tmp/.luabatch-1", O_CREAT | O_RDWR));
    REFUSED(open_path(".results.luabatch-abc123", O_CREAT | O_EXCL | O_RDWR));
    REFUSED(lb_sys.rename("secret", "out/secret"));
    REFUSED(lb_sys.rename("result", "old"));
    REFUSED(lb_sys.rename("result", "tmp/.luabatch-1"));
    REFUSED(lb_sys.rename_with("secret", "out/secret", 0));
    REFUSED(lb_sys.link("secret", "out/secret"));
    REFUSED(lb_sys.unlink("old"));
    REFUSED(lb_sys.unlink("in/a"));
    REFUSED(lb_sys.mkdir("new", 0700));
    REFUSED(lb_sys.rmdir("in/deep"));
    return 0;
}

static int nameless(void)
{
    char from[40];
    int fd = open_path("out", O_TMPFILE | O_RDWR);
    if (fd < 0) /* the file system has no such files */
        return errno == EOPNOTSUPP || errno == EISDIR ? 0 : __LINE__;
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    WORKS(lb_sys.link(from, "out/linked"));
    REFUSED(lb_sys.link(from, "linked"));
    WORKS(open_path("tmp", O_TMPFILE | O_RDWR));
    REFUSED(open_path("in", O_TMPFILE | O_RDWR));
    return 0;
}

static int closing(void)
{
    struct lb_error err;
    if (!lb_jail_is_closed() || lb_jail_allow(LB_JAIL_READ, "/", &err) == LB_OK)
        return __LINE__;
    REFUSED(open_path("secret", O_RDONLY));
    return 0;
}

static void *nothing(void *argument)
{
    return argument;
}

/* What the kernel holds, asked by calls that do not go through lb_sys. */
static int kernel(void)
{
    const char *means = lb_confine_means();
    pthread_t thread;
    WORKS(open("in/a", O_RDONLY));
    if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return __LINE__;
    if (strstr(means, "landlock") != NULL) {
        REFUSED(open("/etc/passwd", O_RDONLY));
        REFUSED(open("../test_jail_canary", O_CREAT | O_WRONLY, 0600));
    }
    if (strstr(means, "seccomp") != NULL) {
        char *arguments[] = {"true", NULL};
        GIVES(EPERM, execv("/bin/true", arguments));
        GIVES(EPERM, socket(AF_INET, SOCK_STREAM, 0));
        GIVES(EPERM, kill(getppid(), 0));
        GIVES(EPERM, fork());
    }
    return 0;
}

static void test_reading(void **state)
{
    (void)state;
    behind(reading);
}

static void test_ways(void **state)
{
    (void)state;
    behind(ways);
}

static void test_writing(void **state)
{
    (void)state;
    behind(writing);
}

static void test_nameless(void **state)
{
    (void)state;
    behind(nameless);
}

static void test_closing(void **state)
{
    (void)state;
    behind(closing);
}

static void test_kernel(void **state)
{
    (void)state;
    if (getenv("LB_VALGRIND") != NULL)
        skip(); /* it does not survive an execve that the kernel refuses */
    behind(kernel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading), cmocka_unit_test(test_ways),
        cmocka_unit_test(test_writing), cmocka_unit_test(test_nameless),
        cmocka_unit_test(test_closing), cmocka_unit_test(test_kernel)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
