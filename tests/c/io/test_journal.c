/* The journal: lines come back, damaged ones do not, and one process has it at a time. */
#include "core/io/journal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/support.h"
#include "core/base/sys.h"

enum { MAX_LINES = 20 };

static char folder[256];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lb-journal-XXXXXX");
    assert_non_null(mkdtemp(folder));
    strcat(folder, "/a/b");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%.*s'", (int)strlen("/tmp/lb-journal-XXXXXX"),
             folder);
    return system(command) == 0 ? 0 : -1;
}

static struct lb_journal *open_journal(void)
{
    struct lb_journal *journal = NULL;
    struct lb_error err;
    assert_int_equal(lb_journal_open(folder, &journal, &err), LB_OK);
    return journal;
}

/* Reads the good lines; each must be "line N", N ascending; sets found[N]. */
static uint64_t read_lines(struct lb_journal *journal, bool found[MAX_LINES + 1])
{
    struct lb_buf text = {0};
    struct lb_error err;
    assert_int_equal(lb_journal_load(journal, &text, &err), LB_OK);
    const char *cursor = text.data, *line;
    size_t size;
    uint64_t n_damaged = 0;
    memset(found, 0, (MAX_LINES + 1) * sizeof *found);
    while (lb_journal_next(&cursor, text.data + text.size, &line, &size, &n_damaged)) {
        int n = 0;
        char copy[40] = {0};
        assert_true(size < sizeof copy);
        memcpy(copy, line, size);
        assert_int_equal(sscanf(copy, "line %d", &n), 1);
        assert_true(n >= 1 && n <= MAX_LINES && !found[n]);
        found[n] = true;
    }
    lb_buf_fini(&text);
    return n_damaged;
}

static void append(struct lb_journal *journal, int n)
{
    char line[40];
    struct lb_error err;
    snprintf(line, sizeof line, "line %d", n);
    assert_int_equal(lb_journal_append(journal, line, strlen(line), &err), LB_OK);
}

static void test_lines_come_back(void **state)
{
    (void)state;
    bool found[MAX_LINES + 1];
    struct lb_journal *journal = open_journal();
    assert_int_equal(read_lines(journal, found), 0);
    for (int i = 1; i <= 3; i++)
        append(journal, i);
    lb_journal_close(journal);
    journal = open_journal();
    assert_int_equal(read_lines(journal, found), 0);
    append(journal, 4);
    assert_int_equal(read_lines(journal, found), 0);
    assert_true(found[1] && found[2] && found[3] && found[4]);
    struct stat info;
    assert_int_equal(stat(folder, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    lb_journal_remove(journal, true);
    lb_journal_close(journal);
    assert_int_not_equal(stat(folder, &info), 0);
}

/* Cut off or changed at any byte: the lines before and behind are good, and later lines can be added. */
static void test_damage_at_every_byte(void **state)
{
    (void)state;
    char path[300];
    bool found[MAX_LINES + 1];
    struct lb_journal *journal = open_journal();
    for (int i = 1; i <= 5; i++)
        append(journal, i);
    lb_journal_close(journal);
    snprintf(path, sizeof path, "%s/journal", folder);
    char whole[400];
    int fd = open(path, O_RDWR);
    ssize_t size = read(fd, whole, sizeof whole);
    assert_int_equal(size, 5 * 24);
    for (ssize_t at = 0; at < size; at++) {
        for (int kind = 0; kind < 2; kind++) {
            char copy[400];
            memcpy(copy, whole, (size_t)size);
            copy[at] ^= 1 << (at % 8);
            assert_int_equal(ftruncate(fd, 0), 0);
            ssize_t left = kind == 0 ? at : size;
            assert_int_equal(pwrite(fd, kind == 0 ? whole : copy, (size_t)left, 0), left);
            journal = open_journal();
            read_lines(journal, found);
            append(journal, 20);
            read_lines(journal, found);
            for (int i = 1; i <= 5; i++) {
                bool touched = at / 24 == i - 1 || (kind == 1 && at == (i - 1) * 24 - 1);
                bool expected = kind == 0 ? at >= i * 24 - 1 : !touched;
                assert_int_equal(found[i], expected);
            }
            assert_true(found[20]);
            lb_journal_close(journal);
        }
    }
    close(fd);
}

static void test_one_process_has_it(void **state)
{
    (void)state;
    struct lb_journal *journal = open_journal();
    struct lb_journal *other = NULL;
    struct lb_error err;
    assert_int_equal(lb_journal_open(folder, &other, &err), LB_ERR_USAGE);
    assert_non_null(strstr(err.message, "another run"));
    lb_journal_close(journal);
    pid_t child = fork();
    if (child == 0) {
        static struct lb_journal *volatile kept; /* not lost to a check for leaks */
        kept = open_journal();
        _exit(kept != NULL ? 7 : 1); /* the lock ends with the process */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 7);
    lb_journal_close(open_journal());
}

static void test_keep_removes_the_rest(void **state)
{
    (void)state;
    struct lb_journal *journal = open_journal();
    const char *const names[] = {"kept"};
    char path[300];
    struct stat info;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i == 0 ? "kept" : "stale");
        assert_int_equal(mkdir(path, 0700), 0);
        strcat(path, "/file");
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    append(journal, 1);
    lb_journal_keep(journal, names, 1);
    snprintf(path, sizeof path, "%s/kept/file", folder);
    assert_int_equal(stat(path, &info), 0);
    snprintf(path, sizeof path, "%s/stale", folder);
    assert_int_not_equal(stat(path, &info), 0);
    bool found[MAX_LINES + 1];
    read_lines(journal, found);
    assert_true(found[1]);
    lb_journal_close(journal);
}

static void test_file_hash(void **state)
{
    (void)state;
    char path[300];
    struct lb_error err;
    uint64_t hash, other, size;
    struct lb_journal *journal = open_journal();
    snprintf(path, sizeof path, "%s/data", folder);
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    static char data[3 << 20];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 31 >> 3);
    assert_int_equal(write(fd, data, sizeof data), sizeof data);
    assert_int_equal(lb_file_hash(path, &hash, &size, &err), LB_OK);
    assert_int_equal(size, sizeof data);
    static const off_t places[] = {0, 1 << 20, (2 << 20) - 1, (3 << 20) - 1};
    for (int i = 0; i < 4; i++) {
        char byte = (char)(data[places[i]] ^ 4);
        assert_int_equal(pwrite(fd, &byte, 1, places[i]), 1);
        assert_int_equal(lb_file_hash(path, &other, &size, &err), LB_OK);
        assert_true(other != hash);
        assert_int_equal(pwrite(fd, &data[places[i]], 1, places[i]), 1);
    }
    assert_int_equal(lb_file_hash(path, &other, &size, &err), LB_OK);
    assert_true(other == hash);
    assert_int_equal(ftruncate(fd, 2 << 20), 0);
    assert_int_equal(lb_file_hash(path, &other, &size, &err), LB_OK);
    assert_true(other != hash);
    close(fd);
    lb_journal_close(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_at_every_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_process_has_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keep_removes_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_hash, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
