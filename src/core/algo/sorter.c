/* The sorter itself: configuration, the list of runs, and what happens between writing and merging.
 *
 * IDEA   prepare makes ranges of the sample's quantiles, and merges spilled runs, smallest first,
 *        until a cursor can read all that are left with its share of merge_bytes. It merges no more
 *        runs than needed for that.
 * FRAMES A cursor holds one frame of each spilled run. Frames of 1/256 of a cursor's memory allow it to
 *        read about 250 runs at once, which a limit of a tenth of the data makes, without a merge beforehand; 32
 *        KiB are still enough for a disk. */
#include "core/algo/sort_private.h"

enum {
#ifdef LB_TINY
    MIN_FRAME_BYTES = 1024,
    MAX_FRAME_BYTES = 1024,
    MAX_FAN_IN = 2,
#else
    MIN_FRAME_BYTES = 32 * 1024,
    MAX_FRAME_BYTES = 256 * 1024,
    MAX_FAN_IN = 1024,
#endif
    RELEASE_ROWS = 512 /* rows copied between two releases of frames */
};

static uint32_t fan_in(size_t bytes, size_t frame_bytes)
{
    size_t n = bytes / frame_bytes;
    n = n > 5 ? n - 3 : 2; /* three more frames: one just handed out, one packed, one compressed */
    return n > MAX_FAN_IN ? MAX_FAN_IN : (uint32_t)n;
}

static void set_fan_in(struct lb_sorter *sorter, size_t frame_bytes)
{
    const struct lb_sorter_config *config = &sorter->config;
    size_t n_workers = config->n_workers > 0 ? config->n_workers : 1;
    sorter->fan_in = fan_in(config->merge_bytes / n_workers, frame_bytes);
    sorter->prepare_fan_in = fan_in(config->merge_bytes, frame_bytes);
}

lb_status lb_sorter_new(const struct lb_sorter_config *config, struct lb_sorter **out,
                        struct lb_error *err)
{
    if (config->n_partitions < 1 || config->n_partitions > UINT16_MAX)
        return lb_error_set(err, LB_ERR_INTERNAL, "a sorter cannot have %u partitions",
                            config->n_partitions);
    struct lb_sorter *sorter = lb_alloc_zero(sizeof *sorter);
    if (sorter == NULL)
        return lb_error_memory(err, "a sorter", sizeof *sorter);
    sorter->config = *config;
    size_t counts_bytes = config->n_partitions * sizeof *sorter->partition_rows;
    sorter->partition_rows = lb_alloc_zero(counts_bytes);
    if (config->spill.dir != NULL)
        sorter->config.spill.dir = lb_strdup(config->spill.dir);
    if (sorter->partition_rows == NULL ||
        (config->spill.dir != NULL && sorter->config.spill.dir == NULL)) {
        lb_strfree((char *)sorter->config.spill.dir);
        lb_free(sorter->partition_rows, sorter->partition_rows != NULL ? counts_bytes : 0);
        lb_free(sorter, sizeof *sorter);
        return lb_error_memory(err, "a sorter", counts_bytes);
    }
    size_t share = config->merge_bytes / (config->n_workers > 0 ? config->n_workers : 1);
    size_t frame = share / 256 & ~(size_t)4095;
    frame = frame < MIN_FRAME_BYTES ? MIN_FRAME_BYTES : frame;
    sorter->frame_bytes = frame > MAX_FRAME_BYTES ? MAX_FRAME_BYTES : frame;
    set_fan_in(sorter, sorter->frame_bytes);
    pthread_mutex_init(&sorter->lock, NULL);
    lb_sort_sample_init(&sorter->sample);
    *out = sorter;
    return LB_OK;
}

static void delete_runs(struct lb_sort_run *runs)
{
    while (runs != NULL) {
        struct lb_sort_run *next = runs->next;
        lb_sort_run_delete(runs);
        runs = next;
    }
}

void lb_sorter_delete(struct lb_sorter *sorter)
{
    if (sorter == NULL)
        return;
    delete_runs(sorter->runs);
    lb_free(sorter->bounds, sorter->n_bounds * sizeof *sorter->bounds);
    lb_sort_sample_fini(&sorter->sample);
    pthread_mutex_destroy(&sorter->lock);
    lb_strfree((char *)sorter->config.spill.dir);
    lb_free(sorter->partition_rows, sorter->config.n_partitions * sizeof *sorter->partition_rows);
    lb_free(sorter, sizeof *sorter);
}

static void add_run(struct lb_sorter *sorter, struct lb_sort_run *run)
{
    run->next = sorter->runs;
    sorter->runs = run;
    sorter->n_spilled += run->file != NULL;
}

lb_status lb_sorter_take(struct lb_sorter *sorter, struct lb_sort_run *runs,
                         struct lb_sort_sample *sample, struct lb_error *err)
{
    pthread_mutex_lock(&sorter->lock);
    lb_status status = lb_sort_sample_merge(&sorter->sample, sample, err);
    while (status == LB_OK && runs != NULL) {
        struct lb_sort_run *next = runs->next;
        sorter->n_rows += runs->n_rows;
        add_run(sorter, runs);
        runs = next;
    }
    pthread_mutex_unlock(&sorter->lock);
    return status;
}

/* ---- prepare ---- */

/* One bound between each two partitions. */
static lb_status split_partitions(struct lb_sorter *sorter, struct lb_error *err)
{
    uint32_t n = sorter->config.n_partitions - 1;
    sorter->bounds = lb_alloc_zero(n * sizeof *sorter->bounds);
    if (sorter->bounds == NULL)
        return lb_error_memory(err, "the ranges of a sort", n * sizeof *sorter->bounds);
    sorter->n_bounds = n;
    for (uint32_t i = 0; i < n; i++)
        sorter->bounds[i].partition = i + 1;
    return LB_OK;
}

static lb_status split_keys(struct lb_sorter *sorter, struct lb_error *err)
{
    uint64_t most = sorter->n_rows / LB_SORT_RANGE_ROWS + 1;
    uint32_t n_ranges = sorter->config.n_ranges;
    if (n_ranges > most)
        n_ranges = (uint32_t)most;
    if (n_ranges <= 1)
        return LB_OK;
    return lb_sort_sample_split(&sorter->sample, &sorter->config, n_ranges, &sorter->bounds,
                                &sorter->n_bounds, err);
}

/* Takes the smallest spilled run out of the list. */
static struct lb_sort_run *take_smallest(struct lb_sorter *sorter)
{
    struct lb_sort_run **smallest = NULL;
    for (struct lb_sort_run **link = &sorter->runs; *link != NULL; link = &(*link)->next)
        if ((*link)->file != NULL && (smallest == NULL || (*link)->n_rows < (*smallest)->n_rows))
            smallest = link;
    struct lb_sort_run *run = *smallest;
    *smallest = run->next;
    sorter->n_spilled--;
    return run;
}

/* Appends the rows of one range of some runs to another run. */
static lb_status copy_range(struct lb_sorter *sorter, const struct lb_sort_run *runs,
                            const struct lb_sort_bound *low, const struct lb_sort_bound *high,
                            struct lb_sort_run_writer *out, struct lb_error *err)
{
    struct lb_sort_cursor *cursor;
    LB_TRY(lb_sort_cursor_open(sorter, runs, low, high, &cursor, err));
    const struct lb_sort_row *row;
    uint32_t n_unreleased = 0;
    lb_status status = lb_sort_cursor_next(cursor, &row, err);
    while (status == LB_OK && row != NULL) {
        status = lb_sort_run_writer_add(out, row, err);
        if (++n_unreleased == RELEASE_ROWS || lb_sort_cursor_is_due(cursor)) {
            n_unreleased = 0;
            lb_sort_cursor_release(cursor);
        }
        if (status == LB_OK)
            status = lb_sort_cursor_next(cursor, &row, err);
    }
    lb_sort_cursor_delete(cursor);
    return status;
}

/* Where merged runs go: to files that hold 1, 2, 4 ... of them, so that few are open, however many merges it takes, and those of
 * early ones are gone before long. */
struct merge_files {
    struct lb_sort_file *file;
    uint32_t n_left; /* runs that it has room for */
    uint32_t n_next; /* that the next one will have */
};

static lb_status next_file(struct lb_sorter *sorter, struct merge_files *files,
                           struct lb_error *err)
{
    if (files->n_left == 0) {
        lb_sort_file_unref(files->file);
        files->file = NULL;
        LB_TRY(lb_sort_file_new(&sorter->config, &files->file, err));
        files->n_left = files->n_next;
        files->n_next *= 2;
    }
    files->n_left--;
    return LB_OK;
}

/* Merges runs into a new one. Within a range all rows have one partition, which is why the merge
 * itself never compares partitions. */
static lb_status merge_runs(struct lb_sorter *sorter, struct merge_files *files,
                            const struct lb_sort_run *runs, struct lb_sort_run **merged,
                            struct lb_error *err)
{
    LB_TRY(next_file(sorter, files, err));
    struct lb_sort_file *file = files->file;
    struct lb_sort_run_writer out;
    lb_status status = lb_sort_run_writer_init(&out, sorter, file, err);
    if (sorter->config.n_partitions == 1) {
        if (status == LB_OK)
            status = copy_range(sorter, runs, NULL, NULL, &out, err);
    } else {
        const struct lb_sort_bound *bounds = sorter->bounds;
        for (uint32_t i = 0; status == LB_OK && i <= sorter->n_bounds; i++)
            status = copy_range(sorter, runs, i == 0 ? NULL : &bounds[i - 1],
                                i == sorter->n_bounds ? NULL : &bounds[i], &out, err);
    }
    if (status == LB_OK)
        status = lb_sort_run_writer_finish(&out, merged, err);
    lb_sort_run_writer_fini(&out);
    return status;
}

/* The mean size of the frames on disk: greater than usual where rows are. */
static size_t mean_frame_bytes(const struct lb_sorter *sorter)
{
    uint64_t bytes = 0, n_frames = 0;
    for (const struct lb_sort_run *run = sorter->runs; run != NULL; run = run->next) {
        if (run->file == NULL)
            continue;
        n_frames += run->n_frames;
        for (size_t i = 0; i < run->n_frames; i++)
            bytes += run->frames[i].at.raw_size;
    }
    return n_frames > 0 ? (size_t)(bytes / n_frames) : 0;
}

static lb_status reduce_runs(struct lb_sorter *sorter, struct lb_error *err)
{
    size_t frame_bytes = mean_frame_bytes(sorter);
    if (frame_bytes > sorter->frame_bytes)
        set_fan_in(sorter, frame_bytes);
    struct merge_files files = {.n_next = 1};
    lb_status status = LB_OK;
    while (status == LB_OK && sorter->n_spilled > sorter->fan_in) {
        uint32_t n = sorter->n_spilled - sorter->fan_in + 1;
        if (n > sorter->prepare_fan_in)
            n = sorter->prepare_fan_in;
        struct lb_sort_run *group = NULL;
        for (uint32_t i = 0; i < n; i++) {
            struct lb_sort_run *run = take_smallest(sorter);
            run->next = group;
            group = run;
        }
        struct lb_sort_run *merged = NULL;
        status = merge_runs(sorter, &files, group, &merged, err);
        delete_runs(group);
        if (status == LB_OK)
            add_run(sorter, merged);
    }
    lb_sort_file_unref(files.file);
    return status;
}

lb_status lb_sorter_prepare(struct lb_sorter *sorter, struct lb_error *err)
{
    if (sorter->config.n_partitions > 1)
        LB_TRY(split_partitions(sorter, err));
    else
        LB_TRY(split_keys(sorter, err));
    return reduce_runs(sorter, err);
}

uint32_t lb_sorter_n_ranges(const struct lb_sorter *sorter)
{
    return sorter->n_bounds + 1;
}

uint64_t lb_sorter_n_rows(const struct lb_sorter *sorter)
{
    return sorter->n_rows;
}

uint64_t lb_sorter_row_bytes(const struct lb_sorter *sorter)
{
    return atomic_load_explicit(&((struct lb_sorter *)sorter)->row_bytes, memory_order_relaxed);
}

bool lb_sorter_has_pieces(const struct lb_sorter *sorter)
{
    return sorter->config.has_pieces && sorter->config.split_keys;
}

uint32_t lb_sorter_n_partitions(const struct lb_sorter *sorter)
{
    return sorter->config.n_partitions;
}

uint64_t lb_sorter_partition_rows(const struct lb_sorter *sorter, uint32_t partition)
{
    return atomic_load_explicit(&sorter->partition_rows[partition], memory_order_relaxed);
}

uint64_t lb_sorter_spilled_bytes(const struct lb_sorter *sorter)
{
    return atomic_load_explicit(&((struct lb_sorter *)sorter)->spilled_bytes, memory_order_relaxed);
}
