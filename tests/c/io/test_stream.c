/* Streams: what the command line tools and our own writer compressed comes back; what is cut,
 * damaged or has something behind it is refused. */
#include "core/io/stream.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/io/output.h"
#include "core/io/stream_codec.h"
#include "folder.h"
#include "random.h"

static const struct {
    enum lb_compression compression;
    const char *name;
    const char *path;
    const char *command; /* compresses standard input */
} kinds[] = {
    {LB_GZIP, "gzip", "f.gz", "gzip -c"},
    {LB_ZSTD, "zstd", "f.zst", "zstd -qc"},
    {LB_LZ4, "lz4", "f.lz4", "lz4 -qc"},
    {LB_BZIP2, "bzip2", "f.bz2", "bzip2 -c"},
};
enum { N_KINDS = 4 };

static struct lb_error err;

/* Reads a whole file in reads of `step` bytes (0: random ones). data is allocated. */
static lb_status slurp(const char *path, size_t step, char **data, size_t *size)
{
    struct lb_file file = {.path = (char *)(uintptr_t)path, .compression = lb_compression_of(path)};
    struct lb_stream *stream;
    size_t capacity = 1 << 16;
    lb_status status = lb_stream_open(&file, &stream, &err);
    *data = NULL;
    *size = 0;
    if (status != LB_OK)
        return status;
    *data = malloc(capacity);
    for (;;) {
        size_t wanted = step > 0 ? step : 1 + random_below(5000);
        size_t got;
        while (capacity - *size < wanted)
            *data = realloc(*data, capacity *= 2);
        status = lb_stream_read(stream, *data + *size, wanted, &got, &err);
        if (status != LB_OK)
            break;
        *size += got;
        if (got < wanted) {
            struct stat info;
            if (stat(path, &info) == 0 && S_ISREG(info.st_mode))
                assert_int_equal(lb_stream_raw_bytes(stream), info.st_size);
            break;
        }
    }
    lb_stream_close(stream);
    return status;
}

static void expect_content(const char *path, const char *wanted, size_t wanted_size)
{
    static const size_t steps[] = {0, 1 << 20, 97};
    for (int i = 0; i < 3; i++) {
        char *data;
        size_t size;
        err.message[0] = '\0';
        assert_int_equal(slurp(path, steps[i], &data, &size), LB_OK);
        assert_int_equal(size, wanted_size);
        assert_memory_equal(data, wanted, size);
        free(data);
    }
}

static void expect_failure(const char *path, lb_status status, const char *message)
{
    char *data;
    size_t size;
    err.message[0] = '\0';
    assert_int_equal(slurp(path, 0, &data, &size), status);
    if (message != NULL)
        assert_string_equal(err.message, message);
    free(data);
}

/* Half of it compresses well. */
static char *random_bytes(size_t size)
{
    char *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = i / 1000 % 2 ? (char)random_next() : "abc\n"[random_below(4)];
    return data;
}

static bool has_tool(const char *command)
{
    return shell("command -v %.*s > /dev/null", (int)strcspn(command, " "), command) == 0;
}

static void test_tools(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 5000, 700000};
    for (size_t i = 0; i < 4; i++) {
        char *data = random_bytes(sizes[i]);
        file_put("plain", data, sizes[i]);
        expect_content("plain", data, sizes[i]);
        for (int k = 0; k < N_KINDS; k++) {
            if (!has_tool(kinds[k].command))
                continue;
            assert_int_equal(shell("%s < plain > %s", kinds[k].command, kinds[k].path), 0);
            expect_content(kinds[k].path, data, sizes[i]);
        }
        free(data);
    }
}

/* Several members of several sizes, by our writer; the tools must read them, too. */
static void test_members(void **state)
{
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        struct lb_buf file = {0};
        struct lb_buf plain = {0};
        for (int i = 0; i < 6; i++) {
            size_t size = i == 2 ? 0 : i == 4 ? 300000 : random_below(3000);
            char *data = random_bytes(size);
            assert_int_equal(lb_output_compress(kinds[k].compression, data, size, &file, &err),
                             LB_OK);
            assert_int_equal(lb_buf_append(&plain, data, size, &err), LB_OK);
            free(data);
        }
        file_put(kinds[k].path, file.data, file.size);
        expect_content(kinds[k].path, plain.data, plain.size);
        if (has_tool(kinds[k].command)) {
            file_put("plain", plain.data, plain.size);
            assert_int_equal(shell("%s -d < %s | cmp - plain", kinds[k].command, kinds[k].path), 0);
        }
        lb_buf_fini(&file);
        lb_buf_fini(&plain);
    }
}

/* Cut at every byte; something behind; and bytes changed. */
static void test_damage(void **state)
{
    (void)state;
    char message[300];
    for (int k = 0; k < N_KINDS; k++) {
        struct lb_buf file = {0};
        const char *path = kinds[k].path;
        char *data = random_bytes(300);
        for (int i = 0; i < 2; i++)
            assert_int_equal(
                lb_output_compress(kinds[k].compression, data, 150 + 150 * (size_t)i, &file, &err),
                LB_OK);
        struct lb_buf first = {0};
        assert_int_equal(lb_output_compress(kinds[k].compression, data, 150, &first, &err), LB_OK);
        for (size_t size = 0; size < file.size; size++) {
            if (size == first.size)
                continue; /* one whole member */
            file_put(path, file.data, size);
            snprintf(message, sizeof message, "%s: truncated %s data at byte %zu", path,
                     kinds[k].name, size);
            expect_failure(path, LB_ERR_DATA, message);
        }
        for (size_t i = 0; i < file.size; i++) {
            file.data[i] ^= 0x40;
            file_put(path, file.data, file.size);
            char *got;
            size_t got_size;
            lb_status status = slurp(path, 0, &got, &got_size);
            /* Some header bytes (times, flags, names) mean nothing to the content. */
            if (status == LB_OK) {
                assert_int_equal(got_size, 450);
                assert_memory_equal(got, data, 150);
                assert_memory_equal(got + 150, data, 300);
            } else {
                assert_true(status == LB_ERR_DATA || status == LB_ERR_RESOURCE);
                if (strncmp(err.message, path, strlen(path)) != 0)
                    fail_msg("no path in '%s'", err.message);
            }
            free(got);
            file.data[i] ^= 0x40;
        }
        size_t whole = file.size;
        assert_int_equal(lb_buf_append(&file, "garbage", 7, &err), LB_OK);
        file_put(path, file.data, file.size);
        snprintf(message, sizeof message, "%s: garbage after %s data at byte %zu", path,
                 kinds[k].name, whole);
        expect_failure(path, LB_ERR_DATA, message);
        file_put(path, "no such data", 12);
        snprintf(message, sizeof message, "%s: this is not %s data (byte 0)", path, kinds[k].name);
        expect_failure(path, LB_ERR_DATA, message);
        free(data);
        lb_buf_fini(&file);
        lb_buf_fini(&first);
    }
}

static void test_gzip_padding(void **state)
{
    (void)state;
    struct lb_buf file = {0};
    char zeros[1000] = {0};
    assert_int_equal(lb_output_compress(LB_GZIP, "hello\n", 6, &file, &err), LB_OK);
    size_t whole = file.size;
    assert_int_equal(lb_buf_append(&file, zeros, sizeof zeros, &err), LB_OK);
    file_put("f.gz", file.data, file.size);
    expect_content("f.gz", "hello\n", 6);
    file.data[whole + 700] = 'x';
    file_put("f.gz", file.data, file.size);
    char message[100];
    snprintf(message, sizeof message, "f.gz: garbage after gzip data at byte %zu", whole + 700);
    expect_failure("f.gz", LB_ERR_DATA, message);
    lb_buf_fini(&file);
}

static void test_pipes(void **state)
{
    (void)state;
    char *data = random_bytes(200000);
    file_put("plain", data, 200000);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(mkfifo("pipe.gz", 0600), 0);
    char *got;
    size_t size;
    assert_int_equal(shell("(dd if=plain of=pipe bs=777 2> /dev/null) & "), 0);
    assert_int_equal(slurp("pipe", 0, &got, &size), LB_OK);
    assert_int_equal(size, 200000);
    assert_memory_equal(got, data, size);
    free(got);
    if (has_tool("gzip")) {
        assert_int_equal(shell("(gzip -c plain | dd of=pipe.gz bs=777 2> /dev/null) & "), 0);
        assert_int_equal(slurp("pipe.gz", 0, &got, &size), LB_OK);
        assert_int_equal(size, 200000);
        assert_memory_equal(got, data, size);
        free(got);
    }
    int saved = dup(STDIN_FILENO);
    int fd = open("plain", O_RDONLY);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(slurp("-", 0, &got, &size), LB_OK);
    assert_int_equal(size, 200000);
    free(got);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(fd);
    free(data);
}

/* What was looked at and kept is what the next one reads first; nobody reads a nameless pipe twice. */
static void test_kept(void **state)
{
    (void)state;
    size_t size = 200000, looked = 5 + random_below(100000), got = 0;
    char *data = random_bytes(size), *all;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    file_put("plain", data, size);
    char command[100], path[40];
    snprintf(command, sizeof command, "(cat plain >&%d) &", ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_int_equal(shell(command), 0);
    close(ends[1]);
    struct lb_file_list list = {0};
    struct lb_stream *stream = NULL;
    assert_int_equal(lb_file_list_add(&list, path, &err), LB_OK);
    assert_int_equal(lb_stream_open(&list.files[0], &stream, &err), LB_OK);
    struct lb_stream *second = NULL;
    assert_int_equal(lb_stream_open(&list.files[0], &second, &err), LB_ERR_USAGE);
    assert_non_null(strstr(err.message, "was read already"));
    char *head = malloc(looked);
    assert_int_equal(lb_stream_read(stream, head, looked, &got, &err), LB_OK);
    assert_int_equal(got, looked);
    assert_memory_equal(head, data, looked);
    assert_int_equal(lb_stream_keep(stream, &list.files[0], head, looked, &err), LB_OK);
    /* Bytes that were read before the count began are in it. */
    _Atomic uint64_t counted = 0;
    all = malloc(size + 1);
    assert_int_equal(lb_stream_open(&list.files[0], &second, &err), LB_OK);
    lb_stream_count(second, &counted);
    assert_true(counted >= looked);
    assert_int_equal(lb_stream_read(second, all, size + 1, &got, &err), LB_OK);
    assert_int_equal(got, size);
    assert_int_equal(counted, size);
    assert_memory_equal(all, data, size);
    lb_stream_close(second);
    assert_int_equal(lb_stream_open(&list.files[0], &second, &err), LB_ERR_USAGE);
    assert_false(lb_file_list_bytes(&list, &(uint64_t){0}));
    lb_file_list_fini(&list);
    close(ends[0]);
    free(head);
    free(all);
    free(data);
}

/* Every lz4 frame is charged with its own blocks, not only the first. */
static void test_lz4_blocks(void **state)
{
    (void)state;
    if (!has_tool("lz4"))
        skip();
    assert_int_equal(shell("(seq 100000 | lz4 -qc -B4; seq 2000000 | lz4 -qc -B7) > f.lz4"), 0);
    const struct lb_file file = {.path = (char *)(uintptr_t) "f.lz4", .compression = LB_LZ4};
    struct lb_stream *stream;
    char *data = malloc(1 << 16);
    size_t got = 0;
    assert_int_equal(lb_stream_open(&file, &stream, &err), LB_OK);
    assert_int_equal(lb_stream_read(stream, data, 1 << 16, &got, &err), LB_OK);
    assert_int_equal(stream->charged_bytes, 4 << 16);
    while (got > 0)
        assert_int_equal(lb_stream_read(stream, data, 1 << 16, &got, &err), LB_OK);
    assert_int_equal(stream->charged_bytes, 2 * ((4 << 20) + (1 << 16)));
    lb_stream_close(stream);
    free(data);
}

/* Detects what a file is compressed by whose name does not say it; reading it gives its bytes before, and its content afterwards. */
static enum lb_compression detected(const char *name, const char *content, size_t size)
{
    struct lb_file_list list = {0};
    struct lb_stream *stream;
    size_t raw_size, got;
    char *raw = file_get(name, &raw_size);
    char *data = malloc(raw_size + size + 1);
    assert_int_equal(lb_file_list_add(&list, name, &err), LB_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lb_stream_open(&list.files[0], &stream, &err), LB_OK);
        assert_int_equal(lb_stream_read(stream, data, raw_size + size + 1, &got, &err), LB_OK);
        lb_stream_close(stream);
        assert_int_equal(got, i == 0 ? raw_size : size);
        assert_memory_equal(data, i == 0 ? raw : content, got);
        assert_int_equal(lb_stream_detect(&list.files[0], &err), LB_OK);
    }
    enum lb_compression found = list.files[0].compression;
    lb_file_list_fini(&list);
    free(raw);
    free(data);
    return found;
}

static void test_detected(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "\n",
                                        "\x1f",
                                        "\x1f\x8b",
                                        "\x1f\x8b\nline\n",
                                        "BZh9",
                                        "BZh9 is how bzip2 begins\n",
                                        "(\xb5/",
                                        "PK\n"};
    size_t size = 1 + random_below(100000);
    char *data = random_bytes(size);
    for (int i = 0; i < N_KINDS; i++) {
        if (!has_tool(kinds[i].name))
            continue;
        file_put("plain", data, size);
        char command[100];
        snprintf(command, sizeof command, "%s < plain > unnamed", kinds[i].command);
        assert_int_equal(shell(command), 0);
        assert_int_equal(detected("unnamed", data, size), kinds[i].compression);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        file_put("text", texts[i], strlen(texts[i]));
        assert_int_equal(detected("text", texts[i], strlen(texts[i])), LB_PLAIN);
    }
    /* What is told is not looked for. */
    struct lb_file_list told = {0};
    enum lb_compression named = LB_BZIP2;
    file_put("text", "\x1f\x8b\x08\xff", 4);
    assert_int_equal(lb_file_list_add(&told, "text", &err), LB_OK);
    assert_int_equal(lb_file_list_tell(&told, "lzma", &err), LB_ERR_USAGE);
    assert_int_equal(lb_file_list_tell(&told, "auto", &err), LB_OK);
    assert_int_equal(lb_stream_detect(&told.files[0], &err), LB_OK);
    assert_int_equal(told.files[0].compression, LB_GZIP);
    assert_int_equal(lb_file_list_tell(&told, "none", &err), LB_OK);
    assert_int_equal(lb_stream_detect(&told.files[0], &err), LB_OK);
    assert_int_equal(told.files[0].compression, LB_PLAIN);
    assert_true(lb_compression_named("lz4", &named) && named == LB_LZ4);
    assert_false(lb_compression_named("", &named));
    lb_file_list_fini(&told);
    file_put("text", "a", 1);
    struct lb_file_list list = {0};
    assert_int_equal(lb_file_list_add(&list, "text", &err), LB_OK);
    assert_int_equal(unlink("text"), 0);
    assert_int_equal(lb_stream_detect(&list.files[0], &err), LB_ERR_DATA);
    assert_string_equal(err.message, "text was removed while it was read");
    lb_file_list_fini(&list);
    free(data);
}

static void test_missing(void **state)
{
    (void)state;
    expect_failure("none", LB_ERR_USAGE, "cannot open 'none': No such file or directory");
    expect_failure(".", LB_ERR_USAGE, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tools),    cmocka_unit_test(test_members),
        cmocka_unit_test(test_damage),   cmocka_unit_test(test_gzip_padding),
        cmocka_unit_test(test_pipes),    cmocka_unit_test(test_kept),
        cmocka_unit_test(test_missing),  cmocka_unit_test(test_lz4_blocks),
        cmocka_unit_test(test_detected),
    };
    random_start("test_stream");
    folder_make();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove();
    return failed;
}
