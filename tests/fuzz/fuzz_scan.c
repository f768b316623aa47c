/* Whole sources in whole plans: a file of CSV, JSON, lines or words gives the same rows, the same number of bad ones and the same
 * error however it is split, on one thread or several, as a file that can be cut and as a compressed stream.
 *
 * INPUT  bytes: kind, what is done with bad records and with types, bytes of a split, threads; the file. */
#include <sys/mman.h>
#include <unistd.h>

#include "core/io/output.h"
#include "core/plan/plan.h"
#include "fuzz.h"

enum { MOST = 3000, N_COLUMNS = 3 };
enum kind { CSV, JSON, LINES, WORDS, N_KINDS };

static int fds[2] = {-1, -1}; /* the file as it is, and compressed */
static char paths[2][80];

struct question {
    enum kind kind;
    bool skips, is_typed, has_header;
    int64_t split_bytes; /* 0: not split */
    uint32_t n_threads;
    const char *path;
};

struct outcome {
    lb_status status;
    uint64_t n_skipped;
    struct lb_buf rows;
    char message[LB_ERROR_MESSAGE_BYTES];
};

/* ---- the plan ---- */

static void put_text(struct lb_buf *out, const char *text)
{
    MUST(lb_codec_put_string(out, text, strlen(text), &fuzz_error));
}

static void put_pair(struct lb_buf *out, const char *key, const char *text)
{
    put_text(out, key);
    put_text(out, text);
}

static void put_list(struct lb_buf *out, const char *key, const char *const *items, uint32_t n)
{
    size_t mark;
    put_text(out, key);
    MUST(lb_codec_begin(out, 'l', &mark, &fuzz_error));
    for (uint32_t i = 0; i < n; i++)
        put_text(out, items[i]);
    lb_codec_end(out, mark, n);
}

/* A map's keys stand in the order of their bytes. */
static void put_scan(struct lb_buf *out, const struct question *q)
{
    static const char *const names[] = {"a", "b", "c"}, *const ops[] = {"scan.csv", "scan.json",
                                                                        "scan.text", "scan.text"};
    static const char *const typed[] = {"integer", "float", "boolean"};
    static const char *const strings[] = {"string", "string", "string"};
    static const char *const any[] = {"any", "any", "any"};
    const char *compression =
        q->path == paths[0] ? "none" : "gzip"; /* text may begin as gzip does */
    uint32_t n = 1;
    size_t node, mark;
    MUST(lb_codec_begin(out, 'm', &node, &fuzz_error));
    if (q->kind == CSV) {
        put_text(out, "columns");
        MUST(lb_codec_begin(out, 'l', &mark, &fuzz_error));
        for (int i = 1; i <= N_COLUMNS; i++)
            MUST(lb_codec_put_int(out, i, &fuzz_error));
        lb_codec_end(out, mark, N_COLUMNS);
        put_pair(out, "compression", compression);
        put_list(out, "file_names", names, N_COLUMNS);
        put_text(out, "header");
        MUST(lb_codec_put_bool(out, q->has_header, &fuzz_error));
        n += 3;
    } else if (q->kind == JSON) {
        put_list(out, "columns", names, N_COLUMNS);
        put_pair(out, "compression", compression);
        put_list(out, "known", names, N_COLUMNS);
        n += 2;
    } else {
        put_pair(out, "compression", compression);
        put_pair(out, "mode", q->kind == LINES ? "lines" : "words");
        n++;
    }
    if (q->kind <= JSON) {
        put_pair(out, "on_bad", q->skips ? "skip" : "fail");
        n++;
    }
    put_pair(out, "op", ops[q->kind]);
    put_list(out, "paths", &q->path, 1);
    put_text(out, "split_bytes");
    MUST(lb_codec_put_int(out, q->split_bytes, &fuzz_error));
    n += 3;
    if (q->kind <= JSON) {
        put_list(out, "types", q->is_typed ? typed : q->kind == CSV ? strings : any, N_COLUMNS);
        n++;
    }
    lb_codec_end(out, node, n);
}

static void put_plan(struct lb_buf *out, const struct question *q)
{
    size_t root, nodes, node, inputs;
    MUST(lb_codec_begin(out, 'm', &root, &fuzz_error));
    put_text(out, "nodes");
    MUST(lb_codec_begin(out, 'l', &nodes, &fuzz_error));
    put_scan(out, q);
    MUST(lb_codec_begin(out, 'm', &node, &fuzz_error));
    put_text(out, "inputs");
    MUST(lb_codec_begin(out, 'l', &inputs, &fuzz_error));
    MUST(lb_codec_put_int(out, 1, &fuzz_error));
    lb_codec_end(out, inputs, 1);
    put_pair(out, "op", "store");
    put_text(out, "result");
    MUST(lb_codec_put_bool(out, true, &fuzz_error));
    lb_codec_end(out, node, 3);
    lb_codec_end(out, nodes, 2);
    lb_codec_end(out, root, 1);
}

/* ---- running it ---- */

static void take_rows(struct lb_store *store, struct lb_buf *out)
{
    struct lb_buf scratch = {0};
    for (uint32_t i = 0; i < lb_store_n_chunks(store); i++) {
        const char *cursor = NULL;
        size_t size = 0;
        MUST(lb_store_read(store, i, &scratch, &cursor, &size, &fuzz_error));
        MUST(lb_buf_append(out, cursor, size, &fuzz_error));
    }
    lb_buf_fini(&scratch);
}

static void ask(const struct question *q, struct outcome *outcome)
{
    struct lb_buf bytes = {0};
    struct lb_plan *plan = NULL;
    struct lb_run *run = NULL;
    struct lb_run_options options = {
        .n_threads = q->n_threads, .memory_bytes = 64 << 20, .tmp_dir = "/tmp"};
    put_plan(&bytes, q);
    MUST(lb_plan_new(bytes.data, bytes.size, &plan, &fuzz_error));
    MUST(lb_run_new(&options, &run, &fuzz_error));
    outcome->rows.size = 0;
    outcome->message[0] = '\0';
    outcome->status = lb_plan_execute(plan, run, &fuzz_error);
    CHECK(outcome->status == LB_OK || outcome->status == LB_ERR_DATA);
    if (outcome->status == LB_OK)
        take_rows(lb_plan_result(plan, 0).store, &outcome->rows);
    else
        memcpy(outcome->message, fuzz_error.message, sizeof outcome->message);
    outcome->n_skipped = run->n_skipped;
    lb_plan_delete(plan);
    lb_run_delete(run);
    lb_buf_fini(&bytes);
}

/* Of several threads any one may be the first to fail. */
static void check_same(const struct outcome *a, const struct outcome *b, bool and_message)
{
    if (a->status != b->status)
        FUZZ_FAIL("'%s' became '%s'", a->message, b->message);
    if (a->status != LB_OK) {
        CHECK(!and_message || strcmp(a->message, b->message) == 0);
        return;
    }
    CHECK(a->n_skipped == b->n_skipped);
    CHECK(a->rows.size == b->rows.size);
    CHECK(a->rows.size == 0 || memcmp(a->rows.data, b->rows.data, a->rows.size) == 0);
}

static void write_file(int i, const void *data, size_t size)
{
    if (fds[i] < 0) {
        static const char *const names[] = {"plain", "x.gz"};
        fds[i] = memfd_create(names[i], 0);
        CHECK(fds[i] >= 0);
        snprintf(paths[i], sizeof paths[i], "/tmp/luabatch-fuzz-%d-%s", (int)getpid(), names[i]);
    }
    CHECK(ftruncate(fds[i], 0) == 0);
    CHECK(pwrite(fds[i], data, size, 0) == (ssize_t)size);
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fds[i]);
    CHECK(symlink(link, paths[i]) == 0); /* for the name's end, which says how it is compressed */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, cut;
    struct fuzz_input input = {data, size};
    struct question q = {.kind = (enum kind)fuzz_below(&input, N_KINDS), .n_threads = 1};
    uint32_t flags = fuzz_byte(&input);
    q.skips = flags & 1;
    q.is_typed = flags & 2;
    q.has_header = flags & 4;
    int64_t split_bytes = 1 + fuzz_byte(&input);
    uint32_t n_threads = 1 + fuzz_below(&input, 3);
    if (input.size > MOST || input.size / (size_t)split_bytes > 300)
        return 0;
    fuzz_begin();
    struct lb_buf packed = {0};
    write_file(0, input.data, input.size);
    MUST(lb_output_compress(LB_GZIP, (const char *)input.data, input.size, &packed, &fuzz_error));
    write_file(1, packed.data, packed.size);
    q.path = paths[0];
    ask(&q, &whole);
    q.split_bytes = split_bytes;
    ask(&q, &cut);
    check_same(&whole, &cut, true);
    if (n_threads > 1) {
        q.n_threads = n_threads;
        ask(&q, &cut);
        check_same(&whole, &cut, false);
    }
    q.path = paths[1];
    ask(&q, &cut);
    check_same(&whole, &cut, false);
    unlink(paths[0]);
    unlink(paths[1]);
    lb_buf_fini(&packed);
    lb_buf_fini(&whole.rows);
    lb_buf_fini(&cut.rows);
    return fuzz_end();
}
