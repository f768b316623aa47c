/* Spill files: frames of any bytes are read back in any order; of a file that was damaged, cut off, or whose frames were put in
 * another's place, each frame is either refused or what was written.
 *
 * INPUT  bytes: bytes that a read moves at once, the damage and its place (4); frames, each its size, how often its bytes are
 *        repeated, and the bytes. */
#include "core/io/spill.h"
#include "fuzz_files.h"

enum { MOST_FRAMES = 20 };

struct piece {
    struct lb_buf bytes;
    struct lb_frame frame;
};

static void take_piece(struct fuzz_input *input, struct lb_buf *bytes)
{
    size_t size = fuzz_below(input, 90), times = 1 + fuzz_below(input, 30);
    size = size < input->size ? size : input->size;
    for (size_t i = 0; i < times; i++)
        MUST(lb_buf_append(bytes, input->data, size, &fuzz_error));
    input->data += size;
    input->size -= size;
}

/* True: what was read is what was written. */
static bool read_piece(struct lb_spill *spill, const struct piece *piece, struct lb_buf *scratch)
{
    size_t size = piece->bytes.size;
    char *out = malloc(size + (size == 0));
    CHECK(out != NULL);
    lb_status status = lb_spill_read(spill, &piece->frame, out, scratch, &fuzz_error);
    CHECK(status == LB_OK || status == LB_ERR_RESOURCE);
    CHECK(status != LB_OK || size == 0 || memcmp(out, piece->bytes.data, size) == 0);
    free(out);
    return status == LB_OK;
}

/* Where another frame lies than should: a sector written to the wrong place. */
static void move_frame(struct fuzz_file *file, const struct lb_frame *from,
                       const struct lb_frame *to)
{
    size_t size = 24 + (size_t)from->stored_size;
    if (to->offset + size <= file->size)
        memmove(file->data + to->offset, file->data + from->offset, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct piece pieces[MOST_FRAMES];
    struct lb_spill *spill = NULL;
    struct lb_buf scratch = {0};
    uint32_t step = fuzz_byte(&input), damage = fuzz_below(&input, 4);
    uint32_t where = fuzz_below(&input, 65536), what = fuzz_byte(&input);
    size_t n = 0;
    if (size > 4000)
        return 0;
    fuzz_files_begin(step == 0 ? SIZE_MAX : step);
    MUST(lb_spill_new(&(struct lb_spill_place){"memory", NULL}, &spill, &fuzz_error));
    while (input.size > 0 && n < MOST_FRAMES) {
        pieces[n].bytes = (struct lb_buf){0};
        take_piece(&input, &pieces[n].bytes);
        MUST(lb_spill_append(spill, pieces[n].bytes.data, pieces[n].bytes.size, &pieces[n].frame,
                             &fuzz_error));
        CHECK(pieces[n].frame.raw_size == pieces[n].bytes.size);
        n++;
    }
    struct fuzz_file *file = &fuzz_files[0];
    CHECK(file->size == lb_spill_bytes(spill));
    for (size_t i = n; i-- > 0;)
        CHECK(read_piece(spill, &pieces[i], &scratch));
    if (n > 0 && damage == 1)
        file->data[where % file->size] ^= (char)(what | 1);
    else if (n > 0 && damage == 2)
        file->size = where % file->size;
    else if (n > 0 && damage == 3)
        move_frame(file, &pieces[where % n].frame, &pieces[what % n].frame);
    for (size_t i = 0; i < n; i++)
        read_piece(spill, &pieces[i], &scratch);
    for (size_t i = 0; i < n; i++)
        lb_buf_fini(&pieces[i].bytes);
    lb_buf_fini(&scratch);
    lb_spill_delete(spill);
    return fuzz_files_end();
}
