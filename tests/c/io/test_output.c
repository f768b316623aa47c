/* Outputs appear whole or not at all: every mode, every kind, every failing call. */
#include "core/io/output.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/base/sys.h"
#include "folder.h"
#include "random.h"

static struct lb_error err;
static struct lb_sys real_sys;
static bool without_nameless; /* pretend that the file system lacks O_TMPFILE */
static int fail_countdown;    /* > 0: that system call fails */
static int fail_errno;

#define OK(call) assert_int_equal((call), LB_OK)

static bool fails_now(void)
{
    if (fail_countdown > 0 && --fail_countdown == 0) {
        errno = fail_errno;
        return true;
    }
    return false;
}

static int faulty_open(const char *path, int flags, mode_t mode)
{
    if (without_nameless && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return fails_now() ? -1 : real_sys.open(path, flags, mode);
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return fails_now() ? -1 : real_sys.pwrite(fd, data, size, offset);
}

static ssize_t faulty_read(int fd, void *data, size_t size)
{
    return fails_now() ? -1 : real_sys.read(fd, data, size);
}

static int faulty_fsync(int fd)
{
    return fails_now() ? -1 : real_sys.fsync(fd);
}

static int faulty_rename(const char *from, const char *to)
{
    return fails_now() ? -1 : real_sys.rename(from, to);
}

static int faulty_mkdir(const char *path, mode_t mode)
{
    return fails_now() ? -1 : real_sys.mkdir(path, mode);
}

static void *faulty_realloc(void *pointer, size_t old_size, size_t new_size)
{
    if (new_size > 0 && fails_now())
        return NULL;
    return real_sys.realloc(pointer, old_size, new_size);
}

/* The folder holds exactly these names (as ls -A writes them, in one line). */
static void expect_names(const char *wanted)
{
    size_t size;
    assert_int_equal(shell("LC_ALL=C ls -A | tr '\\n' ' ' > ../%s.names", strrchr(folder, '/') + 1),
                     0);
    char path[300];
    snprintf(path, sizeof path, "%s.names", folder);
    char *names = file_get(path, &size);
    unlink(path);
    assert_string_equal(names, wanted);
    free(names);
}

static void expect_file(const char *path, const char *wanted)
{
    size_t size;
    char *data = file_get(path, &size);
    assert_non_null(data);
    assert_string_equal(data, wanted);
    free(data);
}

static lb_status write_file(const char *path, enum lb_output_mode mode, const char *text)
{
    struct lb_output *output;
    lb_status status = lb_output_new(path, mode, NULL, &output, &err);
    if (status != LB_OK)
        return status;
    status = lb_output_part(output, "", 0, &err);
    if (status == LB_OK)
        status = lb_output_write(output, text, strlen(text), &err);
    if (status == LB_OK)
        status = lb_output_commit(output, &err);
    lb_output_delete(output);
    return status;
}

static lb_status write_directory(const char *path, enum lb_output_mode mode, int n_parts,
                                 const char *text)
{
    struct lb_output *output;
    lb_status status = lb_output_new(path, mode, ".txt", &output, &err);
    if (status != LB_OK)
        return status;
    for (int i = 0; i < n_parts && status == LB_OK; i++) {
        status = lb_output_part(output, "", (uint32_t)i, &err);
        if (status == LB_OK)
            status = lb_output_write(output, text, strlen(text), &err);
    }
    if (status == LB_OK)
        status = lb_output_commit(output, &err);
    lb_output_delete(output);
    return status;
}

static int clear(void **state)
{
    (void)state;
    return shell("cd '%s' && rm -rf ./* ./.[!.]*", folder);
}

static void check_file(void)
{
    struct lb_output *output;
    struct stat info;
    umask(022);
    assert_false(lb_output_exists("f"));
    OK(lb_output_new("f", LB_MODE_ERROR, NULL, &output, &err));
    assert_true(lb_output_is_seekable(output));
    assert_false(lb_output_is_directory(output));
    OK(lb_output_write(output, "one\n", 4, &err));
    assert_int_not_equal(access("f", F_OK), 0);
    OK(lb_output_commit(output, &err));
    lb_output_delete(output);
    expect_file("f", "one\n");
    assert_int_equal(stat("f", &info), 0);
    assert_int_equal(info.st_mode & 07777, 0644);
    assert_true(lb_output_exists("f"));

    assert_int_equal(write_file("f", LB_MODE_ERROR, "x"), LB_ERR_USAGE);
    assert_string_equal(err.message, "f exists (mode = \"overwrite\" replaces it)");
    chmod("f", 0600);
    OK(write_file("f", LB_MODE_OVERWRITE, "two\n"));
    expect_file("f", "two\n");
    OK(write_file("f", LB_MODE_APPEND, "three\n"));
    expect_file("f", "two\nthree\n");
    assert_int_equal(stat("f", &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    OK(write_file("g", LB_MODE_APPEND, "new\n"));
    expect_file("g", "new\n");
    OK(write_file("g", LB_MODE_OVERWRITE, ""));
    expect_file("g", "");

    /* given up: nothing stays, the old is untouched */
    OK(lb_output_new("f", LB_MODE_OVERWRITE, NULL, &output, &err));
    OK(lb_output_write(output, "bad", 3, &err));
    lb_output_delete(output);
    expect_file("f", "two\nthree\n");

    /* somebody else was faster */
    OK(lb_output_new("h", LB_MODE_ERROR, NULL, &output, &err));
    file_put("h", "theirs", 6);
    assert_int_equal(lb_output_commit(output, &err), LB_ERR_USAGE);
    lb_output_delete(output);
    expect_file("h", "theirs");
    OK(lb_output_new("i", LB_MODE_OVERWRITE, NULL, &output, &err));
    file_put("i", "theirs", 6);
    OK(lb_output_write(output, "ours", 4, &err));
    OK(lb_output_commit(output, &err));
    lb_output_delete(output);
    expect_file("i", "ours");

    /* through a symbolic link */
    assert_int_equal(symlink("f", "link"), 0);
    OK(write_file("link", LB_MODE_OVERWRITE, "linked\n"));
    expect_file("f", "linked\n");
    assert_int_equal(lstat("link", &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    expect_names("f g h i link ");

    assert_int_equal(write_file("no/f", LB_MODE_ERROR, ""), LB_ERR_USAGE);
    mkdir("dir", 0700);
    assert_int_equal(write_file("dir", LB_MODE_OVERWRITE, ""), LB_ERR_USAGE);
    assert_int_equal(write_directory("f/", LB_MODE_OVERWRITE, 1, ""), LB_ERR_USAGE);
}

static void test_file(void **state)
{
    (void)state;
    check_file();
}

static void test_file_with_hidden_name(void **state)
{
    (void)state;
    without_nameless = true;
    lb_sys.open = faulty_open;
    check_file();
    struct lb_output *output;
    OK(lb_output_new("z", LB_MODE_ERROR, NULL, &output, &err));
    assert_int_equal(shell("ls -A | grep -q '^\\.z\\.luabatch-......$'"), 0);
    lb_output_delete(output);
    assert_int_not_equal(shell("ls -A | grep -q '^\\.z'"), 0);
    lb_sys = real_sys;
    without_nameless = false;
}

static void test_directory(void **state)
{
    (void)state;
    struct lb_output *output;
    OK(write_directory("out/", LB_MODE_ERROR, 3, "a\n"));
    assert_int_equal(shell("cd out; test \"$(echo *)\" = "
                           "'_SUCCESS part-00000.txt part-00001.txt part-00002.txt'"),
                     0);
    expect_file("out/part-00002.txt", "a\n");
    expect_file("out/_SUCCESS", "");
    assert_int_equal(write_directory("out/", LB_MODE_ERROR, 1, ""), LB_ERR_USAGE);
    assert_string_equal(err.message, "out/ exists (mode = \"overwrite\" replaces it)");
    OK(write_directory("out/", LB_MODE_APPEND, 2, "b\n"));
    expect_file("out/part-00002.txt", "a\n");
    expect_file("out/part-00004.txt", "b\n");
    assert_int_equal(shell("test $(ls out | wc -l) = 6"), 0);
    shell("mkdir -p out/deep; touch out/precious");
    assert_int_equal(write_directory("out/", LB_MODE_OVERWRITE, 1, "c\n"), LB_ERR_USAGE);
    expect_file("out/part-00002.txt", "a\n");
    shell("rm -r out/deep out/precious");
    OK(write_directory("out//", LB_MODE_OVERWRITE, 1, "c\n"));
    assert_int_equal(shell("test \"$(ls -A out | tr '\\n' ' ')\" = '_SUCCESS part-00000.txt '"), 0);
    expect_file("out/part-00000.txt", "c\n");

    OK(lb_output_new("out/", LB_MODE_OVERWRITE, ".txt", &output, &err));
    assert_true(lb_output_is_directory(output));
    assert_int_equal(lb_output_write(output, "x", 1, &err), LB_ERR_INTERNAL); /* no part yet */
    OK(lb_output_part(output, "", 0, &err));
    OK(lb_output_write(output, "x", 1, &err));
    lb_output_delete(output);
    expect_file("out/part-00000.txt", "c\n");
    OK(write_directory("empty/", LB_MODE_ERROR, 0, ""));
    expect_names("empty out ");
    assert_true(lb_output_exists("out/"));

    /* not to be replaced */
    assert_int_equal(chdir("empty"), 0);
    lb_status here = write_directory("./", LB_MODE_OVERWRITE, 1, "");
    lb_status by_name = write_directory("../empty/", LB_MODE_OVERWRITE, 1, "");
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(here, LB_ERR_USAGE);
    assert_int_equal(by_name, LB_ERR_USAGE);
    expect_names("empty out ");
}

static void test_special(void **state)
{
    (void)state;
    assert_false(lb_output_exists("/dev/null"));
    assert_false(lb_output_exists("-"));
    OK(write_file("/dev/null", LB_MODE_ERROR, "x"));
    assert_int_equal(write_file("/dev/full", LB_MODE_ERROR, "x"), LB_ERR_RESOURCE);
    assert_string_equal(err.message, "cannot write /dev/full: No space left on device");
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(shell("cat pipe > got & "), 0);
    OK(write_file("pipe", LB_MODE_ERROR, "through\n"));
    for (int i = 0; i < 200 && shell("grep -q through got") != 0; i++)
        usleep(10000);
    expect_file("got", "through\n");
    assert_int_equal(access("pipe", F_OK), 0);
}

/* One attempt that writes a text to the pipe, in two pieces, and is given up unless it is the last. */
static lb_status attempt(struct lb_delivery *delivery, const char *text, size_t cut, bool is_last)
{
    struct lb_output *output;
    size_t size = strlen(text);
    cut = cut < size ? cut : size;
    OK(lb_output_new("pipe", LB_MODE_ERROR, NULL, &output, &err));
    OK(lb_output_deliver(output, delivery, &err));
    lb_status status = lb_output_write(output, text, cut, &err);
    if (status == LB_OK)
        status = lb_output_write(output, text + cut, size - cut, &err);
    if (status == LB_OK && is_last)
        status = lb_output_commit(output, &err);
    lb_output_delete(output);
    return status;
}

static void test_delivery(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 12; cut++) {
        struct lb_delivery delivery = {.fd = -1};
        char got[64];
        assert_int_equal(mkfifo("pipe", 0600), 0);
        int fd = open("pipe", O_RDWR);
        OK(attempt(&delivery, "one two", cut, false));
        assert_true(delivery.fd >= 0);
        OK(attempt(&delivery, "one", cut, false));
        assert_int_equal(attempt(&delivery, "one", cut, true), LB_ERR_RESOURCE);
        assert_int_equal(attempt(&delivery, "one too three", cut, true), LB_ERR_RESOURCE);
        assert_non_null(strstr(err.message, "pipe: the repeated attempt gives other bytes than the "
                                            "7 that are out already"));
        OK(attempt(&delivery, "one two three", cut, true));
        ssize_t n = read(fd, got, sizeof got);
        assert_int_equal(n, 13);
        assert_memory_equal(got, "one two three", 13);
        lb_delivery_fini(&delivery);
        close(fd);
        unlink("pipe");
    }
}

static void test_append(void **state)
{
    (void)state;
    struct lb_output *output, *other;
    file_put("f", "old\n", 4);
    OK(lb_output_new("f", LB_MODE_APPEND, NULL, &output, &err));
    assert_int_equal(lb_output_new("f", LB_MODE_APPEND, NULL, &other, &err), LB_ERR_RESOURCE);
    assert_string_equal(err.message, "f: another run is appending to it");
    OK(lb_output_write(output, "new\n", 4, &err));
    assert_int_equal(shell("echo theirs >> f"), 0);
    assert_int_equal(lb_output_commit(output, &err), LB_ERR_RESOURCE);
    lb_output_delete(output);
    expect_file("f", "old\ntheirs\n");
    OK(write_file("f", LB_MODE_APPEND, "new\n"));
    expect_file("f", "old\ntheirs\nnew\n");
}

/* What is appended is compressed as the old bytes are. */
static void test_append_mix(void **state)
{
    (void)state;
    for (int old = LB_PLAIN; old <= LB_BZIP2; old++) {
        struct lb_buf member = {0};
        OK(lb_output_compress((enum lb_compression)old, "one\n", 4, &member, &err));
        file_put("f", member.data, member.size);
        for (int added = LB_PLAIN; added <= LB_BZIP2; added++)
            assert_int_equal(lb_output_check_mix("f", (enum lb_compression)added, &err),
                             added == old ? LB_OK : LB_ERR_USAGE);
        lb_buf_fini(&member);
    }
    assert_string_equal(err.message, "f holds bzip2 data: lz4 data cannot be appended to it");
    file_put("f", "", 0);
    OK(lb_output_check_mix("f", LB_GZIP, &err));
    /* What is no file has no old bytes; it must not be waited for, either. */
    assert_int_equal(mkfifo("pipe", 0600), 0);
    OK(lb_output_check_mix("pipe", LB_GZIP, &err));
    OK(lb_output_check_mix(".", LB_GZIP, &err));
    OK(lb_output_check_mix("missing", LB_GZIP, &err));
    OK(lb_output_check_mix("-", LB_GZIP, &err));
}

/* Standard output replaced by fd (closed: -1) for one write. */
static lb_status write_stdout(int fd, const char *path, const char *text)
{
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    if (fd >= 0)
        dup2(fd, STDOUT_FILENO);
    else
        close(STDOUT_FILENO);
    lb_status status = write_file(path, LB_MODE_ERROR, text);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    return status;
}

static void test_stdout(void **state)
{
    (void)state;
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    OK(write_stdout(fd, "-", "one\n"));
    OK(write_stdout(fd, "/dev/stdout", "two\n"));
    close(fd);
    expect_file("f", "one\ntwo\n");
    assert_int_equal(write_stdout(-1, "-", "x"), LB_ERR_RESOURCE);
    fd = open("/dev/full", O_WRONLY);
    assert_int_equal(write_stdout(fd, "-", "x"), LB_ERR_RESOURCE);
    assert_string_equal(err.message, "cannot write standard output: No space left on device");
    close(fd);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write_stdout(ends[1], "-", "x"), LB_ERR_PIPE);
    close(ends[1]);
    /* a pipe that does not wait */
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    pid_t child = fork();
    if (child == 0) {
        char data[1000];
        long total = 0;
        close(ends[1]);
        fcntl(ends[0], F_SETFL, 0);
        for (ssize_t n; (n = read(ends[0], data, sizeof data)) > 0;)
            total += n;
        _exit(total == 300000 ? 0 : 1);
    }
    close(ends[0]);
    char *text = malloc(300001);
    memset(text, 'x', 300000);
    text[300000] = '\0';
    OK(write_stdout(ends[1], "-", text));
    free(text);
    close(ends[1]);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

enum { N_PIECES = 400 };
static struct lb_output *shared;

static void *write_pieces(void *unused)
{
    char piece[777];
    struct lb_error error;
    (void)unused;
    for (int i = 0; i < N_PIECES; i++) {
        size_t size = 1 + (size_t)i * 7 % sizeof piece;
        uint64_t offset = lb_output_claim(shared, size);
        memset(piece, '.', size);
        piece[size - 1] = '\n';
        if (lb_output_write_at(shared, offset, piece, size, &error) != LB_OK)
            return (void *)1;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[3];
    OK(lb_output_new("f", LB_MODE_ERROR, NULL, &shared, &err));
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_pieces, NULL), 0);
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    OK(lb_output_commit(shared, &err));
    lb_output_delete(shared);
    size_t size;
    size_t lines = 0;
    char *data = file_get("f", &size);
    for (size_t i = 0; i < size; i++) {
        assert_true(data[i] == '.' || data[i] == '\n');
        lines += data[i] == '\n';
    }
    assert_int_equal(lines, 3 * N_PIECES);
    free(data);
}

/* Makes the n-th call of anything fail, for every n: no failure may leave a trace but the message,
 * nor touch what was there. */
static void every_failure(const char *path, enum lb_output_mode mode, int errno_value)
{
    bool is_directory = path[strlen(path) - 1] == '/';
    int n = 0;
    for (;;) {
        lb_status status;
        clear(NULL);
        if (mode != LB_MODE_ERROR)
            shell(is_directory ? "mkdir out; echo old > out/part-00000.txt; touch out/_SUCCESS"
                               : "echo old > f");
        lb_sys.open = faulty_open;
        lb_sys.pwrite = faulty_pwrite;
        lb_sys.read = faulty_read;
        lb_sys.fsync = faulty_fsync;
        lb_sys.rename = faulty_rename;
        lb_sys.mkdir = faulty_mkdir;
        lb_sys.realloc = faulty_realloc;
        fail_errno = errno_value;
        fail_countdown = ++n;
        status = is_directory ? write_directory(path, mode, 2, "new\n")
                              : write_file(path, mode, "new\n");
        bool done = fail_countdown > 0;
        fail_countdown = 0;
        lb_sys = real_sys;
        if (done)
            break;
        if (status == LB_OK)
            continue; /* what failed had another way */
        size_t size;
        assert_int_not_equal(err.message[0], '\0');
        assert_int_equal(shell("ls -A | grep -q '^\\.'"), 1);
        if (mode == LB_MODE_ERROR) {
            expect_names("");
        } else {
            char *data = file_get(is_directory ? "out/part-00000.txt" : "f", &size);
            /* After the rename only syncing the folder can fail: then the new is there, whole. */
            assert_non_null(data);
            assert_true(strcmp(data, "old\n") == 0 || strcmp(data, "new\n") == 0 ||
                        strcmp(data, "old\nnew\n") == 0);
            free(data);
        }
    }
    assert_true(n > 4);
}

static void test_failures(void **state)
{
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        without_nameless = pass == 1;
        for (int mode = LB_MODE_ERROR; mode <= LB_MODE_APPEND; mode++) {
            every_failure("f", (enum lb_output_mode)mode, ENOSPC);
            every_failure("out/", (enum lb_output_mode)mode, EIO);
        }
    }
    without_nameless = false;
}

/* A process that ends without a word to its outputs leaves nothing either. */
static void test_exit(void **state)
{
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            struct lb_output *output[2];
            without_nameless = pass == 0;
            lb_sys.open = faulty_open;
            if (lb_output_new("f", LB_MODE_ERROR, NULL, &output[0], &err) != LB_OK ||
                lb_output_write(output[0], "x", 1, &err) != LB_OK)
                _exit(9);
            if (pass == 1) {
                raise(SIGKILL);
            } else {
                if (lb_output_new("d/", LB_MODE_ERROR, NULL, &output[1], &err) != LB_OK ||
                    lb_output_part(output[1], "", 0, &err) != LB_OK)
                    _exit(9);
                pid_t grandchild = fork();
                if (grandchild == 0)
                    exit(0); /* must not remove what is its parent's */
                waitpid(grandchild, NULL, 0);
                if (shell("test -d .d.luabatch-*") != 0)
                    _exit(9);
            }
            fclose(stdout);
            exit(7);
        }
        int status;
        waitpid(child, &status, 0);
        if (pass == 0)
            assert_int_equal(WEXITSTATUS(status), 7);
        expect_names("");
    }
}

static bool is_moving; /* the next rename of a directory comes late */

static void *remove_temporaries(void *unused)
{
    (void)unused;
    lb_output_clear();
    return NULL;
}

/* Renames when another thread has begun to remove what is renamed. */
static int late_rename_with(const char *from, const char *to, unsigned flags)
{
    pthread_t remover;
    char path[300];
    bool is_whole = true;
    if (!is_moving)
        return real_sys.rename_with(from, to, flags);
    is_moving = false;
    assert_int_equal(pthread_create(&remover, NULL, remove_temporaries, NULL), 0);
    while (is_whole) {
        for (int i = 0; i < 10; i++) {
            snprintf(path, sizeof path, "%s/part-%05d.txt", from, i);
            is_whole &= access(path, F_OK) == 0;
        }
    }
    int result = real_sys.rename_with(from, to, flags), error = errno;
    pthread_join(remover, NULL);
    errno = error;
    return result;
}

/* --max-time ends the process from another thread, wherever a save may be: a directory is there whole, new or old, or not. */
static void test_clear_meanwhile(void **state)
{
    (void)state;
    enum { PARTS = 1000 };
    for (int pass = 0; pass < 3; pass++) {
        enum lb_output_mode mode = pass == 1 ? LB_MODE_OVERWRITE : LB_MODE_APPEND;
        if (pass > 0)
            OK(write_directory("d/", LB_MODE_ERROR, 2, "old"));
        lb_sys.rename_with = late_rename_with;
        is_moving = true;
        assert_int_not_equal(write_directory("d/", mode, PARTS, "new"), LB_OK);
        lb_sys.rename_with = real_sys.rename_with;
        assert_false(is_moving);
        expect_names(pass > 0 ? "d " : "");
        if (pass > 0) {
            expect_file("d/part-00000.txt", "old");
            expect_file("d/part-00001.txt", "old");
            assert_int_equal(shell("test -f d/_SUCCESS && rm -r d"), 0);
        }
    }
}

static int n_moved;

static void *end_process(void *unused)
{
    (void)unused;
    lb_output_clear();
    _exit(7);
}

static int slow_rename_with(const char *from, const char *to, unsigned flags)
{
    pthread_t ender;
    if (++n_moved == 3)
        assert_int_equal(pthread_create(&ender, NULL, end_process, NULL), 0);
    if (n_moved >= 3)
        usleep(50000);
    return real_sys.rename_with(from, to, flags);
}

static int no_link(const char *from, const char *to)
{
    (void)from;
    (void)to;
    errno = EPERM;
    return -1;
}

/* Where files have no second names the parts of an append move one by one: the end of the process waits for the last. */
static void test_clear_while_parts_move(void **state)
{
    (void)state;
    enum { PARTS = 6 };
    OK(write_directory("d/", LB_MODE_ERROR, 2, "old"));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        without_nameless = true;
        lb_sys.open = faulty_open;
        lb_sys.link = no_link;
        lb_sys.rename_with = slow_rename_with;
        (void)!write_directory("d/", LB_MODE_APPEND, PARTS, "new");
        pause();
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(shell("test $(ls d/part-* | wc -l) = %d", 2 + PARTS), 0);
    expect_names("d ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_file, clear),
        cmocka_unit_test_teardown(test_file_with_hidden_name, clear),
        cmocka_unit_test_teardown(test_directory, clear),
        cmocka_unit_test_teardown(test_special, clear),
        cmocka_unit_test_teardown(test_delivery, clear),
        cmocka_unit_test_teardown(test_append, clear),
        cmocka_unit_test_teardown(test_append_mix, clear),
        cmocka_unit_test_teardown(test_stdout, clear),
        cmocka_unit_test_teardown(test_threads, clear),
        cmocka_unit_test_teardown(test_failures, clear),
        cmocka_unit_test_teardown(test_exit, clear),
        cmocka_unit_test_teardown(test_clear_meanwhile, clear),
        cmocka_unit_test_teardown(test_clear_while_parts_move, clear),
    };
    real_sys = lb_sys;
    signal(SIGPIPE, SIG_IGN);
    folder_make();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove();
    return failed;
}
