/* Paths of inputs: patterns over a small tree of files against a matcher written here, and columns in the names of folders.
 *
 * INPUT  the pattern, each byte one of `letters`; then taken as it is for a path with folders. */
#include <fnmatch.h>
#include <ftw.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/io/hive.h"
#include "core/io/path.h"
#include "fuzz.h"

enum { MOST = 40, MOST_FOUND = 200, PATH_BYTES = 200 };

static const char letters[] = "ab*?/[]{},-!.c=1k_d^s";

/* Folders end with a slash. */
static const char *const tree[] = {
    "a",     "ab",      "b.a",      ".a",     "_a",      "[a]",    "a-b",     "c/", "c/a",
    "c/b",   "c/.b",    "c/_b",     "c/d/",   "c/d/a",   "c/d/c/", "c/d/c/b", "d/", "k=1/",
    "k=1/a", "k=1/c=/", "k=1/c=/b", "k=1/d/", "k=1/d/a", "=1/",    "=1/a",    "s/", "s/_SUCCESS"};
enum { N_TREE = sizeof tree / sizeof *tree };

static char base[60];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info, (void)kind, (void)at;
    return remove(path);
}

static void remove_tree(void)
{
    nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_tree(void)
{
    char path[PATH_BYTES];
    snprintf(base, sizeof base, "%s/luabatch-fuzz-%d-path",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
    CHECK(mkdir(base, 0700) == 0);
    atexit(remove_tree);
    for (int i = 0; i < N_TREE; i++) {
        size_t size = strlen(tree[i]);
        snprintf(path, sizeof path, "%s/%s", base, tree[i]);
        if (tree[i][size - 1] == '/') {
            CHECK(mkdir(path, 0700) == 0);
        } else {
            FILE *file = fopen(path, "w");
            CHECK(file != NULL && fclose(file) == 0);
        }
    }
}

/* ---- the matcher ---- */

/* Which of the tree's files are found. */
struct found {
    bool is[N_TREE];
    bool is_good; /* there is a file, or a folder that says that it is empty */
};

static bool is_folder(int i)
{
    return tree[i][strlen(tree[i]) - 1] == '/';
}

/* The files right in a folder ("" or with a slash), and those of its folders that are columns. */
static void find_in_folder(const char *folder, struct found *found)
{
    size_t size = strlen(folder);
    for (int i = 0; i < N_TREE; i++) {
        const char *rest = tree[i] + size;
        const char *slash = NULL;
        if (strncmp(tree[i], folder, size) != 0 || *rest == '\0')
            continue;
        if (strcmp(rest, "_SUCCESS") == 0)
            found->is_good = true;
        slash = strchr(rest, '/');
        if (*rest == '.' || *rest == '_' || (slash != NULL && slash[1] != '\0'))
            continue;
        if (slash == NULL)
            found->is[i] = found->is_good = true;
        else if (*rest != '=' && strchr(rest, '=') != NULL)
            find_in_folder(tree[i], found);
    }
}

/* Whether a path of the tree fits a pattern without braces; a part ** is any number of visible folders. */
static bool fits(const char *pattern, const char *path)
{
    char part[PATH_BYTES], name[PATH_BYTES];
    size_t size = strcspn(pattern, "/"), n = strcspn(path, "/");
    bool is_last = pattern[size] == '\0', is_end = path[n] == '\0' || path[n + 1] == '\0';
    if (size == 2 && memcmp(pattern, "**", 2) == 0) {
        const char *rest = pattern + size + strspn(pattern + size, "/");
        if (*rest != '\0' && fits(rest, path))
            return true;
        if (*path == '.' || *path == '_')
            return false;
        if (*rest == '\0' && is_end) /* ** alone at the end stands for files as well */
            return true;
        return !is_end && fits(pattern, path + n + 1);
    }
    snprintf(part, sizeof part, "%.*s", (int)size, pattern);
    snprintf(name, sizeof name, "%.*s", (int)n, path);
    if (fnmatch(part, name, FNM_PERIOD) != 0)
        return false;
    if (is_last || is_end)
        return is_last && is_end;
    return fits(pattern + size + 1, path + n + 1);
}

/* All that a pattern without braces finds. */
static void find_plain(const char *pattern, bool is_tree, struct found *found)
{
    for (int i = 0; i < N_TREE; i++) {
        if (!fits(pattern, tree[i]))
            continue;
        if (!is_folder(i))
            found->is[i] = found->is_good = true;
        else if (!is_tree)
            find_in_folder(tree[i], found);
    }
}

/* ---- the two compared ---- */

static bool has_tree(const char *pattern)
{
    for (const char *at = pattern; (at = strstr(at, "**")) != NULL; at += strspn(at, "*"))
        if ((at == pattern || at[-1] == '/') && (at[2] == '/' || at[2] == '\0'))
            return true;
    return false;
}

/* Not what the C library is left to decide: braces, parts that are empty or name the folder or the one above it, ranges. */
static bool is_decided(const char *pattern)
{
    if (strpbrk(pattern, "{},[]") != NULL || strstr(pattern, "//") != NULL || *pattern == '/' ||
        *pattern == '\0' || pattern[strlen(pattern) - 1] == '/')
        return false;
    for (const char *part = pattern;; part = strchr(part, '/') + 1) {
        if (part[0] == '.')
            return false;
        if (strchr(part, '/') == NULL)
            return true;
    }
}

static int number_of(const char *path)
{
    size_t size = strlen(base);
    CHECK(strncmp(path, base, size) == 0 && path[size] == '/');
    for (int i = 0; i < N_TREE; i++)
        if (strcmp(path + size + 1, tree[i]) == 0)
            return i;
    return -1;
}

/* Whether a part may stand for the folder above, and so lead out of the tree. */
static bool may_lead_out(const char *pattern)
{
    const char *dot = strchr(pattern, '.');
    if (dot != NULL && strpbrk(pattern, "{[") != NULL)
        return true;
    for (; dot != NULL; dot = strchr(dot + 1, '.'))
        if (dot[1] != '\0' && strchr(".*?", dot[1]) != NULL)
            return true;
    return false;
}

static void check_pattern(const char *pattern)
{
    struct lb_file_list list = {0};
    struct found found = {0};
    char path[PATH_BYTES];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", base, pattern);
    bool is_there = stat(path, &info) == 0;
    lb_status status = lb_file_list_add(&list, path, &fuzz_error);
    CHECK(status == LB_OK || status == LB_ERR_USAGE);
    CHECK(status == LB_OK || list.n_files == 0);
    for (size_t i = 0; i < list.n_files; i++)
        CHECK(list.files[i].is_regular);
    if (!is_there && is_decided(pattern) && strpbrk(pattern, "*?") != NULL) {
        find_plain(pattern, has_tree(pattern), &found);
        CHECK((status == LB_OK) == found.is_good);
        for (size_t i = 0; i < list.n_files; i++) {
            int number = number_of(list.files[i].path);
            CHECK(number >= 0);
            if (!found.is[number])
                FUZZ_FAIL("'%s' finds %s", pattern, tree[number]);
            CHECK(i == 0 || has_tree(pattern) ||
                  strcmp(list.files[i - 1].path, list.files[i].path) != 0);
            found.is[number] = false;
        }
        for (int i = 0; i < N_TREE; i++)
            if (found.is[i])
                FUZZ_FAIL("'%s' does not find %s", pattern, tree[i]);
    }
    lb_file_list_fini(&list);
}

/* ---- columns in names ---- */

static int digit_of(char c)
{
    const char *digits = "0123456789abcdefABCDEF";
    const char *found = c != '\0' ? strchr(digits, c) : NULL;
    return found == NULL         ? -1
           : found - digits < 16 ? (int)(found - digits)
                                 : (int)(found - digits) - 6;
}

static void check_decoded(const char *text, size_t size)
{
    struct lb_buf out = {0};
    size_t at = 0;
    MUST(lb_hive_decode(text, size, &out, &fuzz_error));
    for (size_t i = 0; i < size; i++) {
        bool is_code = text[i] == '%' && size - i > 2 && digit_of(text[i + 1]) >= 0 &&
                       digit_of(text[i + 2]) >= 0;
        char wanted =
            is_code ? (char)(digit_of(text[i + 1]) * 16 + digit_of(text[i + 2])) : text[i];
        CHECK(at < out.size && out.data[at++] == wanted);
        i += is_code ? 2 : 0;
    }
    CHECK(at == out.size);
    lb_buf_fini(&out);
}

static void check_columns(const char *path)
{
    const char *cursor = path;
    struct lb_hive_part part;
    for (const char *folder = path, *end; (end = strchr(folder, '/')) != NULL; folder = end + 1) {
        const char *equals = memchr(folder, '=', (size_t)(end - folder));
        if (equals == NULL || equals == folder)
            continue;
        CHECK(lb_hive_next(&cursor, &part));
        CHECK(part.name == folder && part.name_size == (size_t)(equals - folder));
        CHECK(part.value == equals + 1 && part.value_size == (size_t)(end - equals - 1));
        check_decoded(part.name, part.name_size);
        check_decoded(part.value, part.value_size);
    }
    CHECK(!lb_hive_next(&cursor, &part));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char pattern[MOST + 1];
    if (size > MOST)
        return 0;
    if (base[0] == '\0')
        make_tree();
    fuzz_begin();
    for (size_t i = 0; i < size; i++)
        pattern[i] = letters[data[i] % (sizeof letters - 1)];
    pattern[size] = '\0';
    size_t n_stars = 0;
    for (size_t i = 0; i < size; i++)
        n_stars += pattern[i] == '*' || pattern[i] == '{';
    if (n_stars <= 8 && !may_lead_out(pattern)) /* each star may try every folder */
        check_pattern(pattern);
    char *path = fuzz_copy(data, size, 1, 0);
    check_columns(path);
    free(path);
    return fuzz_end();
}
