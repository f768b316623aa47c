/* Records that a run leaves out: see skips.h.
 *
 * MEMORY  One entry for each verb, kind and place, of which there are as many as files and lines of code, and within a stage
 *         one number for each of them and morsel. */
#include "core/ops/skips.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/base/utf8.h"
#include "core/column/codec.h"
#include "core/ops/line_counter.h"
#include "core/ops/rejects.h"

enum { MESSAGE_BYTES = 1000, TOLD_PLACES = 5 };

/* The texts of a skip, each with a NUL: what tells entries from each other comes first. ORDER texts */
enum { TEXT_VERB, TEXT_KIND, TEXT_PLACE, TEXT_MESSAGE, TEXT_FILE, N_TEXTS };

struct entry {
    char *texts;
    size_t size, key_size;  /* of all texts; of those up to the place */
    uint64_t offset, line;  /* of the first record */
    uint64_t n;             /* records: of the morsel, or in stages that have ended */
    uint32_t stage;         /* where the first is: of the run's entries */
    uint64_t morsel, order; /* likewise; order among those of the morsel */
    struct lb_buf call;     /* of the first record */
    bool call_is_cut;
    struct entry *next;
};

/* Of one entry and one morsel, in the stage that runs. */
struct share {
    uint64_t morsel, n;
    struct entry *entry;
};

struct kept {
    struct lb_rejects *rejects;
    struct lb_frame frame;
};

/* What a worker has noted of its morsel. */
struct lb_skips_pending {
    struct entry *entries;
    uint64_t n_entries;
    struct lb_buf kept; /* of struct kept */
};

struct lb_skips {
    struct entry *entries;
    struct lb_buf shares; /* of struct share */
    uint64_t n;           /* in the stages so far, that which runs included */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what the runs keep */

static void entry_delete(struct entry *entry)
{
    lb_buf_fini(&entry->call);
    lb_free(entry->texts, entry->size);
    lb_free(entry, sizeof *entry);
}

static void entries_delete(struct entry **entries)
{
    while (*entries != NULL) {
        struct entry *first = *entries;
        *entries = first->next;
        entry_delete(first);
    }
}

static const char *text_of(const struct entry *entry, int number)
{
    const char *text = entry->texts;
    for (; number > 0; number--)
        text += strlen(text) + 1;
    return text;
}

/* How many may be left out. */
static uint64_t most_of(const struct lb_run *run)
{
    return run->options.limits_skipped ? run->options.max_skipped : UINT64_MAX;
}

/* ---- noting ---- */

static lb_status pending_of(struct lb_worker *worker, struct lb_skips_pending **pending,
                            struct lb_error *err)
{
    if (worker->skips == NULL)
        worker->skips = lb_alloc_zero(sizeof *worker->skips);
    *pending = worker->skips;
    return *pending != NULL ? LB_OK : lb_error_memory(err, "records left out", sizeof **pending);
}

static bool is_same(const struct entry *entry, const struct lb_skip *skip)
{
    const char *verb = entry->texts, *kind = verb + strlen(verb) + 1;
    return strcmp(verb, skip->verb) == 0 && strcmp(kind, skip->kind) == 0 &&
           strcmp(kind + strlen(kind) + 1, skip->place) == 0;
}

static lb_status entry_new(const struct lb_skip *skip, struct entry **out, struct lb_error *err)
{
    const char *file = skip->origin.file != NULL ? skip->origin.file : "";
    const char *texts[N_TEXTS] = {skip->verb, skip->kind, skip->place, skip->message, file};
    struct entry *entry = lb_alloc_zero(sizeof *entry);
    if (entry == NULL)
        return lb_error_memory(err, "records left out", sizeof *entry);
    size_t sizes[N_TEXTS];
    for (int i = 0; i < N_TEXTS; i++) {
        sizes[i] = strlen(texts[i]);
        if (i == TEXT_MESSAGE)
            sizes[i] = lb_utf8_cut(texts[i], sizes[i], MESSAGE_BYTES);
        entry->size += sizes[i] + 1;
        if (i == TEXT_PLACE)
            entry->key_size = entry->size;
    }
    char *at = entry->texts = lb_alloc(entry->size);
    if (at == NULL) {
        lb_free(entry, sizeof *entry);
        return lb_error_memory(err, "records left out", 0);
    }
    for (int i = 0; i < N_TEXTS; at += sizes[i++] + 1) {
        memcpy(at, texts[i], sizes[i]);
        at[sizes[i]] = '\0';
    }
    entry->offset = skip->origin.offset;
    entry->line = skip->origin.line;
    *out = entry;
    return LB_OK;
}

/* The entry of the morsel that the record belongs to; NULL: none yet. */
static struct entry *find_pending(const struct lb_skips_pending *pending,
                                  const struct lb_skip *skip)
{
    struct entry *entry = pending != NULL ? pending->entries : NULL;
    while (entry != NULL && !is_same(entry, skip))
        entry = entry->next;
    return entry;
}

bool lb_skips_is_first(const struct lb_worker *worker, const struct lb_skip *skip)
{
    return find_pending(worker->skips, skip) == NULL;
}

lb_status lb_skips_note(struct lb_worker *worker, struct lb_skip *skip, struct lb_error *err)
{
    struct lb_skips_pending *pending = NULL;
    struct entry *entry = NULL;
    lb_status status = pending_of(worker, &pending, err);
    if (status == LB_OK && (entry = find_pending(pending, skip)) == NULL)
        status = entry_new(skip, &entry, err);
    if (status != LB_OK || entry->n++ > 0) {
        lb_buf_fini(&skip->call);
        return status;
    }
    entry->call = skip->call;
    entry->call_is_cut = skip->call_is_cut;
    skip->call = (struct lb_buf){0};
    entry->order = pending->n_entries++;
    entry->next = pending->entries;
    pending->entries = entry;
    return LB_OK;
}

lb_status lb_skips_keep(struct lb_worker *worker, struct lb_rejects *rejects,
                        const struct lb_frame *frame, struct lb_error *err)
{
    struct lb_skips_pending *pending;
    struct kept kept = {.rejects = rejects, .frame = *frame};
    LB_TRY(pending_of(worker, &pending, err));
    return lb_buf_append(&pending->kept, &kept, sizeof kept, err);
}

void lb_skips_begin(struct lb_worker *worker)
{
    struct lb_skips_pending *pending = worker->skips;
    if (pending == NULL)
        return;
    entries_delete(&pending->entries);
    pending->n_entries = 0;
    pending->kept.size = 0;
}

/* ---- committing ---- */

/* The entry of the run with the same verb, kind and place. */
static struct entry *find(const struct lb_skips *skips, const struct entry *like)
{
    struct entry *entry = skips->entries;
    while (entry != NULL && (entry->key_size != like->key_size ||
                             memcmp(entry->texts, like->texts, like->key_size) != 0))
        entry = entry->next;
    return entry;
}

static void swap_first(struct entry *a, struct entry *b)
{
    struct entry held = *a;
    a->texts = b->texts, a->size = b->size, a->offset = b->offset, a->line = b->line;
    a->morsel = b->morsel, a->order = b->order;
    a->call = b->call, a->call_is_cut = b->call_is_cut;
    b->texts = held.texts, b->size = held.size, b->offset = held.offset, b->line = held.line;
    b->call = held.call;
}

/* Takes one entry of the worker's morsel; the lock is held. */
static lb_status add(struct lb_skips *skips, const struct lb_worker *worker, struct entry *entry,
                     struct lb_error *err)
{
    struct entry *found = find(skips, entry);
    struct share share = {.morsel = worker->morsel, .n = entry->n};
    entry->stage = worker->run->stage;
    entry->morsel = worker->morsel;
    share.entry = found != NULL ? found : entry;
    lb_status status = lb_buf_append(&skips->shares, &share, sizeof share, err);
    if (status != LB_OK) {
        entry_delete(entry);
        return status;
    }
    skips->n += entry->n;
    if (found == NULL) {
        entry->n = 0;
        entry->next = skips->entries;
        skips->entries = entry;
        return LB_OK;
    }
    if (found->stage == entry->stage && found->morsel > entry->morsel)
        swap_first(found, entry);
    entry_delete(entry);
    return LB_OK;
}

static lb_status add_all(struct lb_run *run, const struct lb_worker *worker, struct lb_error *err)
{
    struct lb_skips_pending *pending = worker->skips;
    lb_status status = LB_OK;
    if (run->skips == NULL)
        run->skips = lb_alloc_zero(sizeof *run->skips);
    if (run->skips == NULL)
        return lb_error_memory(err, "records left out", sizeof *run->skips);
    while (pending->entries != NULL && status == LB_OK) {
        struct entry *entry = pending->entries;
        pending->entries = entry->next;
        status = add(run->skips, worker, entry, err);
    }
    return status;
}

static int compare_shares(const void *a, const void *b)
{
    const struct share *x = a, *y = b;
    return (x->morsel > y->morsel) - (x->morsel < y->morsel);
}

/* The first morsel with which more records are left out than may be; UINT64_MAX: none. */
static uint64_t find_excess(struct lb_skips *skips, uint64_t before, uint64_t most)
{
    struct share *shares = (struct share *)(void *)skips->shares.data;
    size_t n = skips->shares.size / sizeof *shares;
    uint64_t sum = before;
    if (n > 1)
        qsort(shares, n, sizeof *shares, compare_shares);
    for (size_t i = 0; i < n; i++) {
        sum += shares[i].n;
        if (sum > most)
            return shares[i].morsel;
    }
    return UINT64_MAX;
}

lb_status lb_skips_commit(struct lb_worker *worker, bool may_enough, struct lb_error *err)
{
    struct lb_run *run = worker->run;
    struct lb_skips_pending *pending = worker->skips;
    if (pending == NULL || pending->entries == NULL)
        return LB_OK;
    const struct kept *kept = (const struct kept *)(const void *)pending->kept.data;
    lb_status status = LB_OK;
    for (size_t i = 0; i < pending->kept.size / sizeof *kept && status == LB_OK; i++)
        status = lb_rejects_commit(kept[i].rejects, worker, &kept[i].frame, err);
    pthread_mutex_lock(&lock);
    if (status == LB_OK)
        status = add_all(run, worker, err);
    bool are_many = status == LB_OK && !may_enough && run->skips->n > most_of(run);
    /* Where it became too much in the order of morsels, as far as is known: those before it end first, whoever came here first. */
    if (are_many)
        worker->morsel = find_excess(run->skips, atomic_load(&run->n_skipped), most_of(run));
    pthread_mutex_unlock(&lock);
    lb_skips_begin(worker);
    if (are_many) /* lb_skips_end_stage says more */
        return lb_error_set(err, LB_ERR_DATA, "more than %llu records are left out",
                            (unsigned long long)run->options.max_skipped);
    return status;
}

/* ---- the end of a stage ---- */

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    if (x->stage != y->stage)
        return x->stage < y->stage ? -1 : 1;
    if (x->morsel != y->morsel)
        return x->morsel < y->morsel ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Puts the entries in the order of their first records. */
static lb_status sort_entries(struct lb_skips *skips, struct lb_error *err)
{
    struct lb_buf list = {0};
    lb_status status = LB_OK;
    for (struct entry *entry = skips->entries; entry != NULL && status == LB_OK;
         entry = entry->next)
        status = lb_buf_append(&list, &entry, sizeof entry, err);
    size_t n = list.size / sizeof(struct entry *);
    struct entry **entries = (struct entry **)(void *)list.data;
    if (status == LB_OK && n > 1) {
        qsort(entries, n, sizeof *entries, compare_entries);
        for (size_t i = 0; i < n; i++)
            entries[i]->next = i + 1 < n ? entries[i + 1] : NULL;
        skips->entries = entries[0];
    }
    lb_buf_fini(&list);
    return status;
}

/* Adds up the shares of the morsels up to the last that counts; without them nothing is left of an entry that is new. */
static void fold(struct lb_skips *skips, uint64_t before, uint64_t last_morsel)
{
    const struct share *shares = (const struct share *)(const void *)skips->shares.data;
    size_t n = skips->shares.size / sizeof *shares;
    skips->n = before;
    for (size_t i = 0; i < n; i++) {
        if (shares[i].morsel <= last_morsel) {
            shares[i].entry->n += shares[i].n;
            skips->n += shares[i].n;
        }
    }
    skips->shares.size = 0;
    for (struct entry **at = &skips->entries; *at != NULL;) {
        struct entry *entry = *at;
        if (entry->n == 0) {
            *at = entry->next;
            entry_delete(entry);
        } else {
            at = &entry->next;
        }
    }
}

/* Whether a function or an expression of the job failed; else the data are bad. */
static bool is_function(const struct entry *entry)
{
    static const char *const kinds[] = {"error", "timeout", "instructions"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(text_of(entry, TEXT_KIND), kinds[i]) == 0)
            return true;
    }
    return false;
}

/* A line that cannot be counted any more, as the file is gone or has changed, stays 0. */
static lb_status count_line(struct lb_line_counter *counter, struct entry *entry,
                            struct lb_error *err)
{
    const char *file = text_of(entry, TEXT_FILE);
    if (*file == '\0' || entry->line > 0)
        return LB_OK;
    LB_TRY(lb_line_counter_file(counter, file, strlen(file), err));
    if (lb_line_count(counter, entry->offset, &entry->line, NULL) != LB_OK)
        entry->line = 0;
    return LB_OK;
}

/* Where the first record of an entry is, as far as that is known. */
static lb_status tell_first(struct lb_line_counter *counter, struct entry *entry,
                            struct lb_buf *text)
{
    const char *file = text_of(entry, TEXT_FILE);
    LB_TRY(count_line(counter, entry, NULL));
    if (entry->line == 0)
        return LB_OK;
    return lb_buf_printf(text, NULL, " (%s %s:%llu)", entry->n == 1 ? "at" : "the first at",
                         strcmp(file, "-") == 0 ? "standard input" : file,
                         (unsigned long long)entry->line);
}

/* The lines of the error about too many. */
static lb_status tell_excess(const struct lb_run *run, struct lb_error *err)
{
    lb_status status = LB_ERR_DATA;
    struct lb_buf text = {0};
    struct lb_line_counter counter;
    uint32_t n_told = 0, n_more = 0;
    lb_line_counter_init(&counter);
    for (struct entry *entry = run->skips->entries; entry != NULL; entry = entry->next) {
        if (is_function(entry))
            status = LB_ERR_USER;
        if (n_told == TOLD_PLACES) {
            n_more++;
            continue;
        }
        n_told++;
        const char *place = text_of(entry, TEXT_PLACE), *message = text_of(entry, TEXT_MESSAGE);
        bool has_place = *place == '\0' || strncmp(message, place, strlen(place)) == 0;
        if (lb_buf_printf(&text, NULL, "\n  %llu in %s%s%s: %s", (unsigned long long)entry->n,
                          text_of(entry, TEXT_VERB), has_place ? "" : " at ",
                          has_place ? "" : place, message) != LB_OK ||
            tell_first(&counter, entry, &text) != LB_OK)
            break; /* without memory the message is shorter */
    }
    lb_line_counter_fini(&counter);
    if (n_more > 0 && lb_buf_printf(&text, NULL, "\n  and in %u more places", n_more) != LB_OK)
        n_more = 0;
    lb_error_set(err, status, "%llu record%s left out, and --max-errors allows %llu%.*s",
                 (unsigned long long)run->skips->n, run->skips->n == 1 ? " is" : "s are",
                 (unsigned long long)run->options.max_skipped, (int)text.size,
                 text.size > 0 ? text.data : "");
    lb_buf_fini(&text);
    return status;
}

lb_status lb_skips_end_stage(struct lb_run *run, uint64_t last_morsel, struct lb_error *err)
{
    struct lb_skips *skips = run->skips;
    if (skips == NULL || skips->shares.size == 0)
        return LB_OK;
    uint64_t before = atomic_load(&run->n_skipped);
    uint64_t excess = find_excess(skips, before, most_of(run));
    bool are_many = excess <= last_morsel && excess != UINT64_MAX;
    if (are_many)
        last_morsel = excess;
    lb_rejects_end_stage(run, last_morsel);
    fold(skips, before, last_morsel);
    atomic_store(&run->n_skipped, skips->n);
    LB_TRY(sort_entries(skips, err));
    return are_many ? tell_excess(run, err) : LB_OK;
}

/* ---- telling ---- */

static lb_status put_text(struct lb_buf *out, const char *key, const char *text,
                          struct lb_error *err)
{
    LB_TRY(lb_codec_put_string(out, key, strlen(key), err));
    return lb_codec_put_string(out, text, strlen(text), err);
}

static lb_status put_number(struct lb_buf *out, const char *key, uint64_t number,
                            struct lb_error *err)
{
    LB_TRY(lb_codec_put_string(out, key, strlen(key), err));
    return lb_codec_put_int(out, (int64_t)number, err);
}

/* Keys in byte order. */
static lb_status put_entry(struct lb_line_counter *counter, struct entry *entry, struct lb_buf *out,
                           struct lb_error *err)
{
    size_t mark;
    const char *file = text_of(entry, TEXT_FILE);
    bool has_file = *file != '\0';
    LB_TRY(count_line(counter, entry, err));
    bool has_line = has_file && entry->line > 0, has_call = entry->call.size > 0;
    LB_TRY(lb_codec_begin(out, 'm', &mark, err));
    if (has_file)
        LB_TRY(put_number(out, "byte", entry->offset, err));
    if (has_call) {
        LB_TRY(lb_codec_put_string(out, "call", 4, err));
        LB_TRY(lb_codec_put_string(out, entry->call.data, entry->call.size, err));
        LB_TRY(lb_codec_put_string(out, "call_is_cut", 11, err));
        LB_TRY(lb_codec_put_bool(out, entry->call_is_cut, err));
    }
    if (has_file)
        LB_TRY(put_text(out, "file", file, err));
    LB_TRY(put_text(out, "kind", text_of(entry, TEXT_KIND), err));
    if (has_line)
        LB_TRY(put_number(out, "line", entry->line, err));
    LB_TRY(put_text(out, "message", text_of(entry, TEXT_MESSAGE), err));
    LB_TRY(put_number(out, "n", entry->n, err));
    LB_TRY(put_text(out, "place", text_of(entry, TEXT_PLACE), err));
    LB_TRY(put_text(out, "verb", text_of(entry, TEXT_VERB), err));
    lb_codec_end(out, mark, 5 + (has_file ? 2 : 0) + (has_line ? 1 : 0) + (has_call ? 2 : 0));
    return LB_OK;
}

lb_status lb_skips_tell(struct lb_run *run, struct lb_buf *out, struct lb_error *err)
{
    struct lb_line_counter counter;
    size_t mark;
    uint32_t n = 0;
    lb_line_counter_init(&counter);
    lb_status status = lb_codec_begin(out, 'l', &mark, err);
    struct entry *entry = run->skips != NULL ? run->skips->entries : NULL;
    for (; entry != NULL && status == LB_OK; entry = entry->next) {
        if (entry->n > 0) {
            status = put_entry(&counter, entry, out, err);
            n++;
        }
    }
    if (status == LB_OK)
        lb_codec_end(out, mark, n);
    lb_line_counter_fini(&counter);
    return status;
}

void lb_skips_worker_fini(struct lb_worker *worker)
{
    if (worker->skips == NULL)
        return;
    lb_skips_begin(worker);
    lb_buf_fini(&worker->skips->kept);
    lb_free(worker->skips, sizeof *worker->skips);
    worker->skips = NULL;
}

void lb_skips_fini(struct lb_run *run)
{
    if (run->skips == NULL)
        return;
    entries_delete(&run->skips->entries);
    lb_buf_fini(&run->skips->shares);
    lb_free(run->skips, sizeof *run->skips);
    run->skips = NULL;
}
