/* Records kept in order, in memory or spilled. See store.h for the contract.
 *
 * IDEA    Writers fill chunks of their own and hang them, when their morsel ends, into the store's list; seal sorts the
 *         list by (morsel, chunk of the morsel). So writers hardly ever meet.
 * THREADS `lock` guards the list, the spill files' list and the settled count. After seal all is read-only. */
#include "core/ops/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/io/spill.h"

#ifdef LB_TINY
enum { CHUNK_BYTES = 256 };
#else
enum { CHUNK_BYTES = 128 << 10 };
#endif

struct chunk {
    uint64_t morsel;
    uint32_t part; /* number within its morsel */
    uint32_t n_rows;
    uint64_t first_row; /* set by seal */
    char *data;         /* NULL when spilled */
    size_t size;
    struct lb_spill *spill; /* borrowed from the store's list */
    struct lb_frame frame;
};

struct chunks {
    struct chunk *items;
    size_t n;
    size_t capacity;
};

struct lb_store {
    _Atomic uint32_t n_refs;
    struct lb_budget *budget;
    struct lb_spill_place place; /* with its own copy of the name */
    pthread_mutex_t lock;
    struct chunks chunks;
    struct lb_spill **spills;
    size_t n_spills;
    uint64_t *ended; /* rows + 1 of each morsel that has ended, 0 if not; by morsel number */
    size_t ended_capacity;
    uint64_t n_settled; /* morsels 0..n_settled-1 have ended */
    uint64_t settled_rows;
    uint64_t n_rows; /* set by seal */
    bool is_sealed;
    _Atomic bool is_damaged;
};

struct lb_store_writer {
    struct lb_store *store;
    struct lb_spill *spill; /* this writer's file, owned by the store */
    struct lb_buf buf;      /* the chunk being filled */
    uint32_t buf_rows;
    uint64_t morsel;
    uint64_t morsel_rows;
    struct chunks chunks; /* of the current morsel */
};

lb_status lb_store_new(struct lb_budget *budget, const struct lb_spill_place *place,
                       struct lb_store **out, struct lb_error *err)
{
    struct lb_store *store = lb_alloc_zero(sizeof *store);
    char *dir = lb_strdup(place->dir);
    if (store == NULL || dir == NULL) {
        lb_free(store, sizeof *store);
        lb_strfree(dir);
        return lb_error_memory(err, "a store", sizeof *store);
    }
    store->n_refs = 1;
    store->budget = budget;
    store->place = (struct lb_spill_place){dir, place->space};
    pthread_mutex_init(&store->lock, NULL);
    *out = store;
    return LB_OK;
}

struct lb_store *lb_store_ref(struct lb_store *store)
{
    atomic_fetch_add(&store->n_refs, 1);
    return store;
}

static void chunk_free(struct lb_store *store, struct chunk *chunk)
{
    if (chunk->data == NULL)
        return;
    lb_free(chunk->data, chunk->size);
    lb_budget_release(store->budget, chunk->size);
}

static void chunks_fini(struct lb_store *store, struct chunks *chunks)
{
    for (size_t i = 0; i < chunks->n; i++)
        chunk_free(store, &chunks->items[i]);
    lb_free(chunks->items, chunks->capacity * sizeof *chunks->items);
    *chunks = (struct chunks){0};
}

/* Room for `more` further chunks. */
static lb_status chunks_grow(struct chunks *chunks, size_t more, struct lb_error *err)
{
    if (chunks->capacity - chunks->n >= more)
        return LB_OK;
    size_t capacity = chunks->capacity * 2 + more;
    void *items = lb_realloc(chunks->items, chunks->capacity * sizeof *chunks->items,
                             capacity * sizeof *chunks->items);
    if (items == NULL)
        return lb_error_memory(err, "the list of a store", capacity * sizeof *chunks->items);
    chunks->items = items;
    chunks->capacity = capacity;
    return LB_OK;
}

void lb_store_unref(struct lb_store *store)
{
    if (store == NULL || atomic_fetch_sub(&store->n_refs, 1) != 1)
        return;
    chunks_fini(store, &store->chunks);
    for (size_t i = 0; i < store->n_spills; i++)
        lb_spill_delete(store->spills[i]);
    lb_free(store->spills, store->n_spills * sizeof *store->spills);
    lb_free(store->ended, store->ended_capacity * sizeof *store->ended);
    pthread_mutex_destroy(&store->lock);
    lb_strfree((char *)store->place.dir);
    lb_free(store, sizeof *store);
}

lb_status lb_store_writer_new(struct lb_store *store, struct lb_store_writer **writer,
                              struct lb_error *err)
{
    *writer = lb_alloc_zero(sizeof **writer);
    if (*writer == NULL)
        return lb_error_memory(err, "a store", sizeof **writer);
    (*writer)->store = store;
    return LB_OK;
}

lb_status lb_store_begin(struct lb_store_writer *writer, uint64_t morsel, struct lb_error *err)
{
    (void)err;
    writer->morsel = morsel;
    writer->morsel_rows = 0;
    writer->buf.size = 0;
    writer->buf_rows = 0;
    return LB_OK;
}

static lb_status open_spill(struct lb_store_writer *writer, struct lb_error *err)
{
    struct lb_store *store = writer->store;
    struct lb_spill *spill = NULL;
    LB_TRY(lb_spill_new(&store->place, &spill, err));
    pthread_mutex_lock(&store->lock);
    size_t size = store->n_spills * sizeof *store->spills;
    void *spills = lb_realloc(store->spills, size, size + sizeof *store->spills);
    if (spills != NULL) {
        store->spills = spills;
        store->spills[store->n_spills++] = spill;
    }
    pthread_mutex_unlock(&store->lock);
    if (spills == NULL) {
        lb_spill_delete(spill);
        return lb_error_memory(err, "the list of a store", size);
    }
    writer->spill = spill;
    return LB_OK;
}

/* Moves the filled buffer into a chunk. */
static lb_status flush(struct lb_store_writer *writer, struct lb_error *err)
{
    if (writer->buf_rows == 0)
        return LB_OK;
    LB_TRY(chunks_grow(&writer->chunks, 1, err));
    struct chunk chunk = {.morsel = writer->morsel,
                          .part = (uint32_t)writer->chunks.n,
                          .n_rows = writer->buf_rows,
                          .size = writer->buf.size};
    if (lb_budget_reserve_spare(writer->store->budget, chunk.size)) {
        chunk.data = lb_alloc(chunk.size);
        if (chunk.data == NULL) {
            lb_budget_release(writer->store->budget, chunk.size);
            return lb_error_memory(err, "a store's chunk", chunk.size);
        }
        memcpy(chunk.data, writer->buf.data, chunk.size);
    } else {
        if (writer->spill == NULL)
            LB_TRY(open_spill(writer, err));
        LB_TRY(
            lb_spill_append(writer->spill, writer->buf.data, writer->buf.size, &chunk.frame, err));
        chunk.spill = writer->spill;
    }
    writer->chunks.items[writer->chunks.n++] = chunk;
    writer->buf.size = 0;
    writer->buf_rows = 0;
    return LB_OK;
}

lb_status lb_store_add(struct lb_store_writer *writer, const struct lb_batch *batch,
                       struct lb_error *err)
{
    uint32_t n_columns = batch->n_columns;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        LB_TRY(lb_buf_append(&writer->buf, &n_columns, sizeof n_columns, err));
        for (uint32_t j = 0; j < n_columns; j++)
            LB_TRY(lb_codec_put_column(&writer->buf, &batch->columns[j], row, err));
        writer->buf_rows++;
        if (writer->buf.size >= CHUNK_BYTES)
            LB_TRY(flush(writer, err));
    }
    writer->morsel_rows += batch->n_selected;
    return LB_OK;
}

/* Notes that a morsel has ended with so many rows; called with the lock held. */
static lb_status settle(struct lb_store *store, uint64_t morsel, uint64_t n_rows,
                        struct lb_error *err)
{
    if (morsel >= store->ended_capacity) {
        size_t capacity = (size_t)morsel * 2 + 64;
        uint64_t *ended = lb_realloc(store->ended, store->ended_capacity * sizeof *ended,
                                     capacity * sizeof *ended);
        if (ended == NULL)
            return lb_error_memory(err, "the list of a store", capacity * sizeof *ended);
        memset(ended + store->ended_capacity, 0,
               (capacity - store->ended_capacity) * sizeof *ended);
        store->ended = ended;
        store->ended_capacity = capacity;
    }
    store->ended[morsel] = n_rows + 1;
    while (store->n_settled < store->ended_capacity && store->ended[store->n_settled] != 0)
        store->settled_rows += store->ended[store->n_settled++] - 1;
    return LB_OK;
}

lb_status lb_store_end(struct lb_store_writer *writer, struct lb_error *err)
{
    struct lb_store *store = writer->store;
    LB_TRY(flush(writer, err));
    pthread_mutex_lock(&store->lock);
    lb_status status = chunks_grow(&store->chunks, writer->chunks.n, err);
    if (status == LB_OK)
        status = settle(store, writer->morsel, writer->morsel_rows, err);
    if (status == LB_OK && writer->chunks.n > 0) {
        memcpy(store->chunks.items + store->chunks.n, writer->chunks.items,
               writer->chunks.n * sizeof *writer->chunks.items);
        store->chunks.n += writer->chunks.n;
        writer->chunks.n = 0;
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

void lb_store_writer_delete(struct lb_store_writer *writer)
{
    if (writer == NULL)
        return;
    chunks_fini(writer->store, &writer->chunks);
    lb_buf_fini(&writer->buf);
    lb_free(writer, sizeof *writer);
}

uint64_t lb_store_settled_rows(struct lb_store *store)
{
    pthread_mutex_lock(&store->lock);
    uint64_t rows = store->settled_rows;
    pthread_mutex_unlock(&store->lock);
    return rows;
}

static int compare_chunks(const void *a, const void *b)
{
    const struct chunk *x = a, *y = b;
    if (x->morsel != y->morsel)
        return x->morsel < y->morsel ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

lb_status lb_store_seal(struct lb_store *store, uint64_t limit, struct lb_error *err)
{
    (void)err;
    struct chunks *chunks = &store->chunks;
    if (chunks->n > 1)
        qsort(chunks->items, chunks->n, sizeof *chunks->items, compare_chunks);
    size_t kept = 0;
    uint64_t n_rows = 0;
    for (size_t i = 0; i < chunks->n; i++) {
        struct chunk *chunk = &chunks->items[i];
        if (n_rows >= limit) {
            chunk_free(store, chunk);
            continue;
        }
        if (chunk->n_rows > limit - n_rows)
            chunk->n_rows = (uint32_t)(limit - n_rows);
        chunk->first_row = n_rows;
        n_rows += chunk->n_rows;
        chunks->items[kept++] = *chunk;
    }
    chunks->n = kept;
    store->n_rows = n_rows;
    store->is_sealed = true;
    return LB_OK;
}

uint64_t lb_store_last_morsel(const struct lb_store *store, uint64_t limit)
{
    if (store->n_rows < limit)
        return UINT64_MAX;
    return store->chunks.n > 0 ? store->chunks.items[store->chunks.n - 1].morsel : 0;
}

uint64_t lb_store_n_rows(const struct lb_store *store)
{
    return store->n_rows;
}

uint64_t lb_store_spilled_bytes(const struct lb_store *store)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < store->n_spills; i++)
        bytes += lb_spill_bytes(store->spills[i]);
    return bytes;
}

bool lb_store_is_damaged(const struct lb_store *store)
{
    return atomic_load(&store->is_damaged);
}

uint32_t lb_store_n_chunks(const struct lb_store *store)
{
    return (uint32_t)store->chunks.n;
}

void lb_store_chunk(const struct lb_store *store, uint32_t i, uint32_t *n_rows, uint64_t *first_row)
{
    *n_rows = store->chunks.items[i].n_rows;
    *first_row = store->chunks.items[i].first_row;
}

lb_status lb_store_read(struct lb_store *store, uint32_t i, struct lb_buf *scratch,
                        const char **data, size_t *size, struct lb_error *err)
{
    const struct chunk *chunk = &store->chunks.items[i];
    *size = chunk->size;
    *data = chunk->data;
    if (chunk->data != NULL)
        return LB_OK;
    struct lb_buf packed = {0};
    scratch->size = 0;
    LB_TRY(lb_buf_reserve(scratch, chunk->size, err));
    lb_status status = lb_spill_read(chunk->spill, &chunk->frame, scratch->data, &packed, err);
    lb_buf_fini(&packed);
    if (status != LB_OK && status != LB_ERR_CANCELLED)
        atomic_store(&store->is_damaged, true);
    *data = scratch->data;
    return status;
}
