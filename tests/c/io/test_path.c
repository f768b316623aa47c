/* Input paths: files, directories, globs, lists, and what is wrong with them. */
#include "core/io/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "folder.h"

/* Adds the space-separated paths; the names of the list must then be `expected`. */
static void expect(const char *paths, const char *expected)
{
    struct lb_file_list list = {0};
    struct lb_error err = {0};
    char copy[500];
    char names[1000] = "";
    strcpy(copy, paths);
    for (char *path = strtok(copy, " "); path != NULL; path = strtok(NULL, " "))
        assert_int_equal(lb_file_list_add(&list, path, &err), LB_OK);
    for (size_t i = 0; i < list.n_files; i++) {
        strcat(names, i > 0 ? " " : "");
        strcat(names, list.files[i].path);
    }
    assert_string_equal(names, expected);
    lb_file_list_fini(&list);
    assert_int_equal(list.n_files, 0);
}

static void expect_error(const char *path, const char *message)
{
    struct lb_file_list list = {0};
    struct lb_error err = {0};
    assert_int_equal(lb_file_list_add(&list, "a.txt", &err), LB_OK);
    assert_int_equal(lb_file_list_add(&list, path, &err), LB_ERR_USAGE);
    assert_string_equal(err.message, message);
    assert_int_equal(list.n_files, 1); /* as it was */
    lb_file_list_fini(&list);
}

static void test_names(void **state)
{
    (void)state;
    expect("a.txt b.txt a.txt", "a.txt b.txt a.txt");
    expect("-", "-");
    expect("d", "d/B d/a d/a1 d/b d/\xc3\xa9");
    expect("d/", "d/B d/a d/a1 d/b d/\xc3\xa9");
    expect("b.txt *.txt", "b.txt a.txt b.txt c.txt");
    expect("{c,a,a}.txt", "a.txt c.txt");
    expect("{c,nothing}.txt d/?", "c.txt d/B d/a d/b");
    expect("d/[a-b]*", "d/a d/a1 d/b");
    expect("odd[1].x", "odd[1].x");
    expect("year=*", "year=1/p year=2/p");
    expect("done", "");
    expect("hive", "hive/k=1/l=x/p hive/k=1/q hive/k=2/p hive/r");
}

static void test_trees(void **state)
{
    (void)state;
    expect("tree/**",
           "tree/a.txt tree/o[1]/b/c.csv tree/o[1]/b/c.txt tree/o[1]/d.txt tree/x/c.txt");
    expect("tree/**/*.txt", "tree/a.txt tree/o[1]/b/c.txt tree/o[1]/d.txt tree/x/c.txt");
    expect("tree/**/**/c*", "tree/o[1]/b/c.csv tree/o[1]/b/c.txt tree/x/c.txt");
    expect("t*/**/{b,x}/*.txt", "tree/o[1]/b/c.txt tree/x/c.txt");
    expect("**/c.csv", "tree/o[1]/b/c.csv");
    expect("tree//**//d.txt", "tree/o[1]/d.txt");
    expect("tree/x**", "tree/x/c.txt"); /* no component: as one star */
    expect_error("tree/**/nothing", "no input matches 'tree/**/nothing'");
    expect_error("none/**", "no input matches 'none/**'");
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("none.txt", "no such file: none.txt");
    expect_error("a.txt/", "no such file: a.txt/");
    expect_error("x/*.txt", "no input matches 'x/*.txt'");
    expect_error("*.nothing", "no input matches '*.nothing'");
    expect_error("{q,r}", "no input matches '{q,r}'");
    expect_error("empty", "no input files in directory 'empty'");
    expect_error("", "an input path is empty");
    expect_error("dangling", "no such file: dangling");
    if (getuid() != 0) {
        expect_error("secret", "cannot read 'secret': Permission denied");
        expect_error("closed", "cannot read directory 'closed': Permission denied");
        expect_error("closed/*", "cannot read directory 'closed': Permission denied");
    }
}

static void test_kinds(void **state)
{
    (void)state;
    struct lb_file_list list = {0};
    static const char *const paths[] = {"a.txt", "-", "pipe", "z.gz", "z.zst", "z.lz4", "z.bz2"};
    static const enum lb_compression wanted[] = {LB_PLAIN, LB_PLAIN, LB_PLAIN, LB_GZIP,
                                                 LB_ZSTD,  LB_LZ4,   LB_BZIP2};
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(lb_file_list_add(&list, paths[i], NULL), LB_OK);
        assert_int_equal(list.files[i].compression, wanted[i]);
        assert_int_equal(list.files[i].is_regular, i != 1 && i != 2);
        assert_int_equal(list.files[i].size_bytes, i == 0 ? 5 : 0);
    }
    lb_file_list_fini(&list);
    assert_int_equal(lb_compression_of(".gz"), LB_PLAIN);
    assert_int_equal(lb_compression_of("gz"), LB_PLAIN);
    assert_int_equal(lb_compression_of("a.gz.txt"), LB_PLAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_kinds),
    };
    folder_make();
    shell("printf hello > a.txt; touch b.txt c.txt z.gz z.zst z.lz4 z.bz2 'odd[1].x'; mkfifo pipe;"
          "mkdir -p d/sub empty done year=1 year=2 year=3 closed; cd d; touch b a a1 B _x .y sub/z;"
          "touch \"$(printf '\\303\\251')\"; cd ..; touch done/_SUCCESS year=1/p year=2/p;"
          "ln -s nowhere dangling; echo > secret; chmod 0 secret closed");
    shell(
        "mkdir -p hive/k=1/l=x hive/k=2/_l=1 hive/other hive/=3 'tree/o[1]/b' tree/x tree/.hidden "
        "tree/_h;"
        "touch hive/k=1/l=x/p hive/k=1/q hive/k=2/p hive/k=2/_l=1/p hive/other/p hive/=3/p hive/r;"
        "touch tree/a.txt 'tree/o[1]/b/c.txt' 'tree/o[1]/b/c.csv' 'tree/o[1]/d.txt' tree/x/c.txt;"
        "touch tree/.hidden/c.txt tree/_h/c.txt tree/.c.txt; ln -s .. tree/x/up");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    shell("chmod 700 closed");
    folder_remove();
    return failed;
}
