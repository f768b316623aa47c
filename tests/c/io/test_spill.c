/* Spill files: round trips, damage at every byte, no trace in the folder. */
#include "core/io/spill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/base/sys.h"
#include "folder.h"
#include "random.h"

static struct lb_error err;

static char *random_bytes(size_t size, bool compressible)
{
    char *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = compressible ? "abcd"[random_below(3)] : (char)random_next();
    return data;
}

enum { N_FRAMES = 60 };
static struct lb_spill *shared_spill;
static struct lb_frame frames[N_FRAMES];
static char *contents[N_FRAMES];

static void *read_all(void *seed)
{
    struct lb_buf scratch = {0};
    struct lb_error error;
    size_t step = *(size_t *)seed;
    for (size_t i = 0; i < N_FRAMES; i++) {
        const struct lb_frame *frame = &frames[i * step % N_FRAMES];
        char *out = malloc(frame->raw_size + 1);
        if (lb_spill_read(shared_spill, frame, out, &scratch, &error) != LB_OK ||
            memcmp(out, contents[i * step % N_FRAMES], frame->raw_size) != 0)
            *(size_t *)seed = 0;
        free(out);
    }
    lb_buf_fini(&scratch);
    return NULL;
}

/* Where lz4 makes as many bytes as it was given, the frame must not pass for one that is not compressed. */
static void test_small_frames(void **state)
{
    (void)state;
    struct lb_spill *spill;
    struct lb_buf scratch = {0};
    char data[64], out[64];
    assert_int_equal(lb_spill_new(&(struct lb_spill_place){folder, NULL}, &spill, &err), LB_OK);
    for (size_t size = 0; size <= sizeof data; size++) {
        for (size_t n_equal = 0; n_equal <= size; n_equal++) {
            struct lb_frame frame;
            for (size_t i = 0; i < size; i++)
                data[i] = i < n_equal ? 'a' : (char)random_next();
            assert_int_equal(lb_spill_append(spill, data, size, &frame, &err), LB_OK);
            assert_int_equal(lb_spill_read(spill, &frame, out, &scratch, &err), LB_OK);
            assert_memory_equal(out, data, size);
        }
    }
    lb_buf_fini(&scratch);
    lb_spill_delete(spill);
}

/* After frames that do not shrink some are not tried, but it is found out when they shrink again. */
static void test_worth(void **state)
{
    (void)state;
    enum { SIZE = 8192, N = 40 };
    struct lb_spill *spill;
    struct lb_frame frame;
    struct lb_buf scratch = {0};
    char out[SIZE];
    assert_int_equal(lb_spill_new(&(struct lb_spill_place){folder, NULL}, &spill, &err), LB_OK);
    for (int i = 0; i < 3 * N; i++) {
        bool shrinks = i / N != 1;
        char *data = random_bytes(SIZE, shrinks);
        assert_int_equal(lb_spill_append(spill, data, SIZE, &frame, &err), LB_OK);
        if (!shrinks)
            assert_int_equal(frame.stored_size, SIZE);
        else if (i % N >= 16 || i < N)
            assert_true(frame.stored_size < SIZE);
        assert_int_equal(lb_spill_read(spill, &frame, out, &scratch, &err), LB_OK);
        assert_memory_equal(out, data, SIZE);
        free(data);
    }
    lb_buf_fini(&scratch);
    lb_spill_delete(spill);
}

static void test_round_trip(void **state)
{
    (void)state;
    uint64_t total = 0;
    assert_int_equal(lb_spill_new(&(struct lb_spill_place){folder, NULL}, &shared_spill, &err),
                     LB_OK);
    for (size_t i = 0; i < N_FRAMES; i++) {
        size_t size = i == 0 ? 0 : i == 1 ? 1 : i == 2 ? 1 << 20 : random_below(20000);
        contents[i] = random_bytes(size, i & 1);
        assert_int_equal(lb_spill_append(shared_spill, contents[i], size, &frames[i], &err), LB_OK);
        assert_int_equal(frames[i].raw_size, size);
        total += 24 + frames[i].stored_size;
    }
    assert_int_equal(lb_spill_bytes(shared_spill), total);
    DIR *directory = opendir(folder);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        assert_true(entry->d_name[0] == '.' &&
                    (entry->d_name[1] == '\0' || entry->d_name[1] == '.'));
    closedir(directory);
    pthread_t threads[2];
    size_t steps[2] = {7, 11};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &steps[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_true(steps[i] != 0);
    }
    for (size_t i = 0; i < N_FRAMES; i++)
        free(contents[i]);
    lb_spill_delete(shared_spill);
}

/* The sys layer changes one byte of what is read, or fails. */
static struct lb_sys real_sys;
static size_t flip_at;
static int fail_calls; /* > 0: the n-th write from now fails */
static int fail_errno;

static ssize_t flipping_pread(int fd, void *data, size_t size, off_t offset)
{
    ssize_t n = real_sys.pread(fd, data, size, offset);
    if (n > 0 && flip_at >= (size_t)offset && flip_at < (size_t)offset + (size_t)n)
        ((char *)data)[flip_at - (size_t)offset] ^= 1;
    return n;
}

/* Writes a few bytes at a time, then fails. */
static ssize_t failing_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (fail_calls > 0 && --fail_calls == 0) {
        errno = fail_errno;
        return -1;
    }
    return real_sys.pwrite(fd, data, size < 10 ? size : 10, offset);
}

static int no_nameless_open(const char *path, int flags, mode_t mode)
{
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return real_sys.open(path, flags, mode);
}

static void test_damage(void **state)
{
    (void)state;
    struct lb_spill *spill;
    struct lb_frame frame[2];
    struct lb_buf scratch = {0};
    char out[400];
    real_sys = lb_sys;
    lb_sys.pread = flipping_pread;
    for (int compressible = 0; compressible < 2; compressible++) {
        char *data = random_bytes(300, compressible);
        assert_int_equal(lb_spill_new(&(struct lb_spill_place){folder, NULL}, &spill, &err), LB_OK);
        for (int i = 0; i < 2; i++)
            assert_int_equal(lb_spill_append(spill, data, 300, &frame[i], &err), LB_OK);
        size_t end = (size_t)lb_spill_bytes(spill);
        for (flip_at = (size_t)frame[1].offset; flip_at < end; flip_at++) {
            assert_int_equal(lb_spill_read(spill, &frame[1], out, &scratch, &err), LB_ERR_RESOURCE);
            char wanted[60];
            snprintf(wanted, sizeof wanted,
                     "spill file damaged at byte %zu: ", (size_t)frame[1].offset);
            assert_memory_equal(err.message, wanted, strlen(wanted));
            assert_int_equal(lb_spill_read(spill, &frame[0], out, &scratch, &err), LB_OK);
            assert_memory_equal(out, data, 300);
        }
        frame[1].offset += 1; /* past the end of the file */
        assert_int_equal(lb_spill_read(spill, &frame[1], out, &scratch, &err), LB_ERR_RESOURCE);
        lb_spill_delete(spill);
        free(data);
    }
    lb_buf_fini(&scratch);
    lb_sys = real_sys;
}

/* What reads of shared_spill get: the bytes of a good frame elsewhere. */
static int foreign_fd = -1;
static off_t foreign_by;

static ssize_t foreign_pread(int fd, void *data, size_t size, off_t offset)
{
    return real_sys.pread(foreign_fd >= 0 ? foreign_fd : fd, data, size, offset + foreign_by);
}

static int opened_fd;

static int noting_open(const char *path, int flags, mode_t mode)
{
    return opened_fd = real_sys.open(path, flags, mode);
}

static void test_foreign(void **state)
{
    (void)state;
    struct lb_spill *spill, *other;
    struct lb_frame frame[2], same;
    struct lb_buf scratch = {0};
    char out[400], *data = random_bytes(300, true);
    real_sys = lb_sys;
    lb_sys.pread = foreign_pread;
    lb_sys.open = noting_open;
    assert_int_equal(lb_spill_new(&(struct lb_spill_place){folder, NULL}, &spill, &err), LB_OK);
    assert_int_equal(lb_spill_new(&(struct lb_spill_place){folder, NULL}, &other, &err), LB_OK);
    int other_fd = opened_fd;
    for (int i = 0; i < 2; i++)
        assert_int_equal(lb_spill_append(spill, data, 300, &frame[i], &err), LB_OK);
    assert_int_equal(lb_spill_append(other, data, 300, &same, &err), LB_OK);
    assert_int_equal(lb_spill_read(spill, &frame[0], out, &scratch, &err), LB_OK);
    foreign_by = (off_t)frame[1].offset;
    assert_int_equal(lb_spill_read(spill, &frame[0], out, &scratch, &err), LB_ERR_RESOURCE);
    assert_true(err.is_transient);
    assert_non_null(strstr(err.message, "spill file damaged at byte 0: wrong checksum"));
    foreign_by = 0;
    foreign_fd = other_fd;
    assert_int_equal(lb_spill_read(spill, &frame[0], out, &scratch, &err), LB_ERR_RESOURCE);
    assert_int_equal(lb_spill_read(other, &same, out, &scratch, &err), LB_OK);
    foreign_fd = -1;
    assert_int_equal(lb_spill_read(spill, &frame[0], out, &scratch, &err), LB_OK);
    lb_spill_delete(spill);
    lb_spill_delete(other);
    lb_buf_fini(&scratch);
    free(data);
    lb_sys = real_sys;
}

static void test_write_failure(void **state)
{
    (void)state;
    struct lb_spill *spill;
    struct lb_frame first;
    struct lb_frame frame;
    struct lb_buf scratch = {0};
    char out[100];
    char *data = random_bytes(100, false);
    real_sys = lb_sys;
    lb_sys.pwrite = failing_pwrite;
    lb_sys.open = no_nameless_open; /* the other way to be nameless */
    assert_int_equal(lb_spill_new(&(struct lb_spill_place){folder, NULL}, &spill, &err), LB_OK);
    assert_int_equal(shell("test -z \"$(ls -A)\""), 0);
    assert_int_equal(lb_spill_append(spill, data, 100, &first, &err), LB_OK);
    fail_calls = 4;
    fail_errno = ENOSPC;
    assert_int_equal(lb_spill_append(spill, data, 100, &frame, &err), LB_ERR_RESOURCE);
    assert_non_null(strstr(err.message, "(see --tmp): No space left on device"));
    fail_calls = 0;
    assert_int_equal(lb_spill_append(spill, data, 100, &frame, &err), LB_OK);
    assert_int_equal(lb_spill_read(spill, &frame, out, &scratch, &err), LB_OK);
    assert_memory_equal(out, data, 100);
    assert_int_equal(lb_spill_read(spill, &first, out, &scratch, &err), LB_OK);
    lb_spill_delete(spill);
    lb_buf_fini(&scratch);
    free(data);
    lb_sys = real_sys;
    assert_int_equal(lb_spill_new(&(struct lb_spill_place){"/no/such/folder", NULL}, &spill, &err),
                     LB_ERR_USAGE);
}

/* Files share the space of their place; what did not fit, and what a deleted file had, is free again. */
static void test_space(void **state)
{
    (void)state;
    struct lb_spill *one, *other;
    struct lb_frame frame;
    struct lb_buf scratch = {0};
    char out[100];
    char *data = random_bytes(100, false);
    struct lb_budget space;
    lb_budget_init(&space, 2 * 124);
    struct lb_spill_place place = {folder, &space};
    assert_int_equal(lb_spill_new(&place, &one, &err), LB_OK);
    assert_int_equal(lb_spill_new(&place, &other, &err), LB_OK);
    assert_int_equal(lb_spill_append(one, data, 100, &frame, &err), LB_OK);
    assert_int_equal(lb_spill_append(other, data, 100, &frame, &err), LB_OK);
    assert_int_equal(space.used_bytes, 2 * 124);
    assert_int_equal(lb_spill_append(other, data, 1, &frame, &err), LB_ERR_RESOURCE);
    assert_non_null(strstr(err.message, "more than the 0.2 KiB"));
    lb_spill_delete(one);
    assert_int_equal(space.used_bytes, 124);
    fail_calls = 1;
    fail_errno = ENOSPC;
    real_sys = lb_sys;
    lb_sys.pwrite = failing_pwrite;
    assert_int_equal(lb_spill_append(other, data, 100, &frame, &err), LB_ERR_RESOURCE);
    lb_sys = real_sys;
    fail_calls = 0;
    assert_int_equal(space.used_bytes, 124);
    assert_int_equal(lb_spill_append(other, data, 100, &frame, &err), LB_OK);
    assert_int_equal(lb_spill_read(other, &frame, out, &scratch, &err), LB_OK);
    assert_memory_equal(out, data, 100);
    lb_spill_delete(other);
    assert_int_equal(space.used_bytes, 0);
    lb_buf_fini(&scratch);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_frames), cmocka_unit_test(test_worth),
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_damage),
        cmocka_unit_test(test_foreign),      cmocka_unit_test(test_write_failure),
        cmocka_unit_test(test_space),
    };
    random_start("test_spill");
    folder_make();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove();
    return failed;
}
