/* The journal of checkpoints: any bytes as its text give the lines that a reader written here finds; lines that were appended come
 * back, before and after the process that wrote them ended, and of a file that was cut off or damaged all those that the damage
 * has not met, and no other; and it can be gone on with.
 *
 * INPUT  bytes: how to read the rest (text as it is, or lines to be appended), damage and its place (2); text, or lines, each a
 *        size and its bytes. */
#include <fcntl.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/io/journal.h"
#include "fuzz.h"

enum { MOST = 2000, MOST_LINES = 30 };

static char folder[60], path[80];

static int no_fsync(int fd)
{
    (void)fd;
    return 0;
}

static void append(struct lb_buf *out, const void *data, size_t size)
{
    MUST(lb_buf_append(out, data, size, &fuzz_error));
}

/* ---- any text ---- */

static bool naive_is_good(const char *line, size_t size)
{
    char wanted[18];
    if (size < 17)
        return false;
    snprintf(wanted, sizeof wanted, "%016llx ",
             (unsigned long long)lb_hash_bytes(line + 17, size - 17));
    return memcmp(line, wanted, 17) == 0;
}

static void check_text(const char *text, size_t size)
{
    char *exact = fuzz_copy(text, size, 0, 0);
    const char *cursor = exact, *end = exact + size, *line = NULL;
    size_t line_size = 0;
    uint64_t n_damaged = 0, n_wrong = 0;
    for (size_t from = 0; from < size;) {
        size_t to = from;
        while (to < size && exact[to] != '\n')
            to++;
        if (naive_is_good(exact + from, to - from)) {
            CHECK(lb_journal_next(&cursor, end, &line, &line_size, &n_damaged));
            CHECK(line == exact + from + 17 && line_size == to - from - 17);
            CHECK(n_damaged == n_wrong);
        } else {
            n_wrong += to > from;
        }
        from = to + 1;
    }
    CHECK(!lb_journal_next(&cursor, end, &line, &line_size, &n_damaged));
    CHECK(n_damaged == n_wrong);
    free(exact);
}

/* ---- lines ---- */

struct lines {
    const char *data[MOST_LINES];
    size_t size[MOST_LINES], start[MOST_LINES]; /* where each begins in the file */
    size_t n, file_size;
};

static void add_line(struct lines *lines, const char *data, size_t size)
{
    lines->data[lines->n] = data;
    lines->size[lines->n] = size;
    lines->start[lines->n++] = lines->file_size;
    lines->file_size += 17 + size + 1;
}

/* The file has the lines that are marked, and perhaps some of the others, each where it was written. */
static void check_lines(struct lb_journal *journal, const struct lines *lines, const bool *must)
{
    struct lb_buf text = {0};
    MUST(lb_journal_load(journal, &text, &fuzz_error));
    const char *cursor = text.data, *line = NULL;
    size_t size = 0, i = 0;
    uint64_t n_damaged = 0;
    while (text.size > 0 &&
           lb_journal_next(&cursor, text.data + text.size, &line, &size, &n_damaged)) {
        size_t start = (size_t)(line - text.data) - 17;
        while (i < lines->n && lines->start[i] != start)
            CHECK(!must[i++]);
        CHECK(i < lines->n && size == lines->size[i] && memcmp(line, lines->data[i], size) == 0);
        i++;
    }
    for (; i < lines->n; i++)
        CHECK(!must[i]);
    lb_buf_fini(&text);
}

static void damage_file(struct lines *lines, uint32_t kind, uint32_t where, bool *must)
{
    if (lines->file_size == 0 || kind == 0)
        return;
    size_t at = where % lines->file_size;
    char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    if (kind == 1) { /* cut off */
        CHECK(ftruncate(fd, (off_t)at) == 0);
    } else {
        CHECK(pread(fd, &byte, 1, (off_t)at) == 1);
        byte ^= (char)(1 << where % 8);
        CHECK(pwrite(fd, &byte, 1, (off_t)at) == 1);
    }
    close(fd);
    for (size_t i = 0; i < lines->n; i++) {
        size_t end =
            lines->start[i] + 17 + lines->size[i] + 1; /* a lost newline spoils both its lines */
        if (kind == 1)
            must[i] = must[i] && end - 1 <= at;
        else
            must[i] = must[i] && (at < lines->start[i] || at >= end) && at + 1 != lines->start[i];
    }
    while (kind == 1 && lines->n > 0 && lines->start[lines->n - 1] >= at)
        must[--lines->n] = true; /* the next one's */
}

static void check_appended(struct fuzz_input *input, uint32_t kind, uint32_t where)
{
    struct lines lines = {.n = 0};
    struct lb_journal *journal = NULL;
    struct lb_buf scratch = {0};
    bool must[MOST_LINES];
    memset(must, true, sizeof must);
    MUST(lb_journal_open(folder, &journal, &fuzz_error));
    MUST(lb_journal_clear(journal, &fuzz_error));
    while (input->size > 0 && lines.n < MOST_LINES - 1) {
        size_t size = fuzz_below(input, 60);
        size = size < input->size ? size : input->size;
        const char *data = (const char *)input->data;
        const char *newline = size > 0 ? memchr(data, '\n', size) : NULL;
        input->data += size;
        input->size -= size;
        size = newline != NULL ? (size_t)(newline - data) : size;
        MUST(lb_journal_append(journal, data, size, &fuzz_error));
        add_line(&lines, data, size);
    }
    check_lines(journal, &lines, must);
    lb_journal_close(journal);
    damage_file(&lines, kind, where, must);
    MUST(lb_journal_open(folder, &journal, &fuzz_error));
    MUST(lb_journal_load(journal, &scratch, &fuzz_error));
    MUST(lb_journal_append(journal, "one more", 8, &fuzz_error));
    bool is_torn = scratch.size > 0 && scratch.data[scratch.size - 1] != '\n';
    lines.file_size = scratch.size + is_torn;
    add_line(&lines, "one more", 8);
    check_lines(journal, &lines, must);
    lb_journal_remove(journal, false);
    lb_journal_close(journal);
    CHECK(access(folder, F_OK) != 0);
    lb_buf_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    bool is_text = fuzz_byte(&input) & 1;
    uint32_t kind = fuzz_below(&input, 3), where = fuzz_below(&input, 65536);
    if (input.size > MOST)
        return 0;
    fuzz_begin();
    lb_sys.fsync = no_fsync;
    snprintf(folder, sizeof folder, "%s/luabatch-fuzz-%d-journal",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
    snprintf(path, sizeof path, "%s/journal", folder);
    if (is_text) {
        struct lb_buf text = {0};
        char head[18];
        append(&text, input.data, input.size);
        check_text(text.data, text.size);
        snprintf(head, sizeof head, "%016llx ", /* as one good line, or several parts of one */
                 (unsigned long long)lb_hash_bytes(input.data, input.size));
        text.size = 0;
        append(&text, head, 17);
        append(&text, input.data, input.size);
        append(&text, "\n", 1);
        append(&text, head, where % 18);
        check_text(text.data, text.size);
        lb_buf_fini(&text);
    } else {
        check_appended(&input, kind, where);
    }
    return fuzz_end();
}
