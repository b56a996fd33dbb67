/* Which entries of a vocabulary occur in a text as runs of whole tokens.
 *
 * Tokens are looked up in an open hash table of the vocabulary's tokens, compared in full, and runs
 * of tokens are walked along the edges of a prefix tree, which ends a walk at the first token that
 * no entry goes on with. A match is therefore exact. What a text costs is linear in its bytes and
 * in the matches it holds; memory beside the result is fixed, and bounded by the vocabulary.
 *
 * Two ways of parting a text:
 * spaced     MetaCLIP's spacing(): a space, tab, line feed or carriage return parts tokens; each of
 *            , . ; : ? ! ` is a token of its own with a space on both sides. Two spaces in a row
 *            have an empty token between them, as in str.split(" "). Entries are parted at spaces.
 * unspaced   a run of ASCII letters and digits is a token, and so is every other character.
 *
 * Works on bytes; they need not be UTF-8. Nothing here holds the interpreter's lock while matching.
 */
#include "_ngrams_tree.h"

/* Matching */

static int compare_ids(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Sorts the ids of the text under way and leaves one of each. */
static void settle(Found *f) {
    int32_t *ids = f->ids + f->start;
    size_t count = f->count - f->start, kept = 0;
    if (count > 48) {
        qsort(ids, count, sizeof(int32_t), compare_ids);
    } else {
        for (size_t n = 1; n < count; n++) {
            int32_t id = ids[n];
            size_t to = n;
            for (; to && ids[to - 1] > id; to--) ids[to] = ids[to - 1];
            ids[to] = id;
        }
    }
    for (size_t n = 0; n < count; n++)
        if (!n || ids[n] != ids[kept - 1]) ids[kept++] = ids[n];
    f->count = f->start + kept;
}

static inline int note(Found *f, int32_t entry) {
    if (f->count == f->size || f->count - f->start == f->compact) {
        settle(f); /* a long text: what it repeats takes no memory */
        size_t kept = f->count - f->start;
        f->compact = kept * 2 > 4096 ? kept * 2 : 4096;
        if (f->size - f->count < f->compact) {
            int32_t *grown = realloc(f->ids, (f->size * 2 + f->compact) * sizeof(int32_t));
            if (!grown) return NO_MEMORY;
            f->ids = grown;
            f->size = f->size * 2 + f->compact;
        }
    }
    f->ids[f->count++] = entry;
    return 0;
}

typedef struct {
    Token *tokens;
    uint32_t *states;
    int32_t *entries;
    size_t count, known; /* tokens, and how many of them have been looked up */
} Block;

static void look_up(const Matcher *m, Block *b) {
    for (; b->known < b->count; b->known++) {
        size_t n = b->known;
        const Word *w = find_word(m, &b->tokens[n]);
        b->states[n] = w->state;
        b->entries[n] = w->entry;
        if (n && (b->states[n - 1] & CHILDREN) && (w->state & CONTINUES))
            __builtin_prefetch(&m->edges[edge_slot(m, b->states[n - 1] & ID, w->state & ID)]);
    }
}

/* Notes the entries that start at tokens first..stop-1 and end before token `limit`. */
static int walk(const Matcher *m, const Block *b, size_t first, size_t stop, size_t limit,
                Found *f) {
    for (size_t n = first; n < stop; n++) {
        if (b->entries[n] >= 0 && note(f, b->entries[n])) return NO_MEMORY;
        uint32_t state = b->states[n];
        for (size_t to = n + 1;
             (state & CHILDREN) && to < limit && (b->states[to] & CONTINUES); to++) {
            const Edge *e = find_edge(m, state & ID, b->states[to] & ID);
            if (!e->from) break;
            if (e->entry >= 0 && note(f, e->entry)) return NO_MEMORY;
            state = e->state;
        }
    }
    return 0;
}

typedef struct {
    const uint8_t *data;
    size_t bytes;
    const char *offsets;
    size_t texts;
} Texts;

static inline int64_t offset_at(const Texts *texts, size_t n) {
    int32_t offset;
    memcpy(&offset, texts->offsets + 4 * n, 4);
    return offset;
}

/* Texts whose tokens are complete: `ends` are where each one's tokens end in the block. */
static int close_texts(const Matcher *m, const Block *b, const size_t *ends, size_t closed,
                       Found *f, int32_t *offsets) {
    for (size_t n = 0; n < closed; n++) {
        if (walk(m, b, n ? ends[n - 1] : 0, ends[n], ends[n], f)) return NO_MEMORY;
        settle(f);
        if (f->count > INT32_MAX) return MANY_MATCHES;
        offsets[n] = (int32_t)f->count;
        f->start = f->count;
        f->compact = 4096;
    }
    return 0;
}

static int match_block(const Matcher *m, const Texts *texts, Found *f, int32_t *offsets, Block *b,
                       size_t *ends) {
    size_t closed = 0, first = 0, size = BLOCK + m->depth;
    int64_t start = offset_at(texts, 0);
    if (start < 0) return BAD_OFFSETS;
    *offsets++ = 0;
    for (size_t text = 0; text < texts->texts; text++) {
        int64_t end = offset_at(texts, text + 1);
        if (end < start || (uint64_t)end > texts->bytes) return BAD_OFFSETS;
        const uint8_t *at = texts->data + start;
        Reader r = {at, at, texts->data + end, texts->data + texts->bytes, m->spaced || end > start, 0};
        start = end;
        while (r.open) {
            if (b->count + ROOM > size) {
                look_up(m, b);
                int failed = close_texts(m, b, ends, closed, f, offsets);
                if (failed) return failed;
                offsets += closed;
                closed = 0;
                /* the last tokens of a text under way may begin what the next ones end */
                size_t held = b->count - first;
                size_t keep = held < m->depth ? held : m->depth - 1;
                if (walk(m, b, first, b->count - keep, b->count, f)) return NO_MEMORY;
                memmove(b->states, b->states + b->count - keep, keep * sizeof *b->states);
                memmove(b->entries, b->entries + b->count - keep, keep * sizeof *b->entries);
                b->count = b->known = keep;
                first = 0;
            }
            b->count += part(m, &r, b->tokens + b->count);
        }
        ends[closed++] = first = b->count;
        if (closed == BLOCK) { /* texts without a token fill no block */
            look_up(m, b);
            int failed = close_texts(m, b, ends, closed, f, offsets);
            if (failed) return failed;
            offsets += closed;
            closed = first = b->count = b->known = 0;
        }
    }
    look_up(m, b);
    return close_texts(m, b, ends, closed, f, offsets);
}

/* Python */

static void matcher_dealloc(PyObject *self) {
    Matcher *m = (Matcher *)self;
    PyTypeObject *type = Py_TYPE(self);
    free(m->words);
    free(m->edges);
    free(m->pool);
    type->tp_free(self);
    Py_DECREF(type);
}

static int raise_fault(int fault) {
    if (fault == NO_MEMORY) PyErr_NoMemory();
    if (fault == BAD_OFFSETS) PyErr_SetString(PyExc_ValueError, "offsets do not ascend within the data");
    if (fault == MANY_MATCHES) PyErr_SetString(PyExc_OverflowError, "over 2^31 matches; take fewer texts");
    if (fault == TOO_LARGE) PyErr_SetString(PyExc_OverflowError, "entries of over 4 GB");
    if (fault == LONG_ENTRY) PyErr_Format(PyExc_ValueError, "an entry has over %d tokens", MAX_DEPTH);
    return -1;
}

/* Whether `count` + 1 offsets from `first` on lie in their buffer; *texts is then set. */
static int texts_of(const Py_buffer *offsets, const Py_buffer *data, Py_ssize_t first,
                    Py_ssize_t count, Texts *texts) {
    Py_ssize_t there = offsets->len / 4;
    if (first < 0 || count < 0 || first >= there || count > there - first - 1) return BAD_OFFSETS;
    texts->data = data->len ? data->buf : NOTHING;
    texts->bytes = (size_t)data->len;
    texts->offsets = (const char *)offsets->buf + 4 * first;
    texts->texts = (size_t)count;
    return 0;
}

static int build(Matcher *m, const Texts *texts) {
    if (texts->bytes > UINT32_MAX || texts->texts > INT32_MAX) return TOO_LARGE;
    m->depth = 1;
    m->pool = malloc(texts->bytes + 1);
    if (!m->pool || grow_words(m) || grow_edges(m)) return NO_MEMORY;
    memcpy(m->pool, texts->data, texts->bytes);
    int64_t start = offset_at(texts, 0);
    if (start < 0) return BAD_OFFSETS;
    for (size_t n = 0; n < texts->texts; n++) {
        int64_t end = offset_at(texts, n + 1);
        if (end < start || (uint64_t)end > texts->bytes) return BAD_OFFSETS;
        int fault = 0;
        if (m->spaced || end > start)
            fault = add_entry(m, m->pool + start, (size_t)(end - start), m->pool + texts->bytes,
                              (int32_t)n);
        if (fault) return fault;
        start = end;
    }
    return set_flags(m);
}

static PyObject *matcher_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"offsets", "data", "spaced", NULL};
    Py_buffer offsets, data;
    int spaced, fault;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*p", names, &offsets, &data, &spaced))
        return NULL;
    Matcher *m = (Matcher *)type->tp_alloc(type, 0);
    Texts texts;
    if (m) {
        m->spaced = spaced;
        fault = texts_of(&offsets, &data, 0, offsets.len / 4 - 1, &texts);
        if (!fault) {
            Py_BEGIN_ALLOW_THREADS
            fault = build(m, &texts);
            Py_END_ALLOW_THREADS
        }
        if (fault) {
            raise_fault(fault);
            Py_CLEAR(m);
        }
    }
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&data);
    return (PyObject *)m;
}

static int match(const Matcher *m, const Texts *texts, Found *f, int32_t *offsets) {
    size_t size = BLOCK + m->depth;
    size_t *ends = malloc(BLOCK * sizeof *ends);
    Block b = {malloc(size * sizeof(Token)), malloc(size * sizeof(uint32_t)),
               malloc(size * sizeof(int32_t)), 0, 0};
    int fault = NO_MEMORY;
    if (ends && b.tokens && b.states && b.entries)
        fault = match_block(m, texts, f, offsets, &b, ends);
    free(b.tokens);
    free(b.states);
    free(b.entries);
    free(ends);
    return fault;
}

static PyObject *matcher_match(PyObject *self, PyObject *args) {
    Py_buffer offsets, data;
    Py_ssize_t first, count;
    Texts texts;
    Found found = {NULL, 0, 0, 0, 4096};
    PyObject *made = NULL, *ids = NULL, *pair = NULL;
    if (!PyArg_ParseTuple(args, "y*y*nn", &offsets, &data, &first, &count)) return NULL;
    int fault = texts_of(&offsets, &data, first, count, &texts);
    if (!fault) made = PyBytes_FromStringAndSize(NULL, 4 * (count + 1));
    if (made) {
        int32_t *out = (int32_t *)PyBytes_AS_STRING(made);
        Py_BEGIN_ALLOW_THREADS
        fault = match((Matcher *)self, &texts, &found, out);
        Py_END_ALLOW_THREADS
    }
    if (fault)
        raise_fault(fault);
    else if (made)
        ids = PyBytes_FromStringAndSize((const char *)found.ids, 4 * (Py_ssize_t)found.count);
    if (ids) pair = PyTuple_Pack(2, made, ids);
    Py_XDECREF(made);
    Py_XDECREF(ids);
    free(found.ids);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&data);
    return pair;
}

static PyMethodDef matcher_methods[] = {
    {"match", matcher_match, METH_VARARGS,
     "match(offsets, data, first, count): (offsets, ids), int32 each, of the entries in `count`\n"
     "texts from the `first` on; ids ascend within a text and none comes twice."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot matcher_slots[] = {
    {Py_tp_doc, "Matcher(offsets, data, spaced): int32 offsets of entries into their bytes."},
    {Py_tp_new, matcher_new},
    {Py_tp_dealloc, matcher_dealloc},
    {Py_tp_methods, matcher_methods},
    {0, NULL},
};

static PyType_Spec matcher_spec = {
    "curation.operators.text._ngrams.Matcher", sizeof(Matcher), 0, Py_TPFLAGS_DEFAULT,
    matcher_slots};

static int fill_module(PyObject *module) {
    fill_kinds();
    PyObject *type = PyType_FromSpec(&matcher_spec);
    int failed = !type || PyModule_AddObjectRef(module, "Matcher", type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_ngrams", "Exact matches of whole-token n-grams.", 0, NULL, slots,
    NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__ngrams(void) { return PyModuleDef_Init(&definition); }
