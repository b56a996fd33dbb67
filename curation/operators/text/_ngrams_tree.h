/* Tokens of a text, and the vocabulary: a hash table of tokens and a prefix tree of their runs. */
#ifndef CURATION_NGRAMS_TREE_H
#define CURATION_NGRAMS_TREE_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define CHILDREN 0x80000000u  /* flag of a state: some entry goes on from here */
#define CONTINUES 0x40000000u /* flag of a token: some entry has it after its first token */
#define ID 0x3fffffffu        /* a state without its flags */
#define DEEP 0x20000000u      /* part of the id: a state of two tokens or more */
#define BLOCK 1024            /* tokens looked up together, so that their cache misses overlap */
#define CHUNK 64              /* bytes parted together */
#define ROOM (2 * CHUNK + 1)  /* tokens that one chunk can give */
#define MAX_DEPTH 65536

typedef struct { /* a token of the vocabulary; `state` 0 marks an empty slot */
    uint64_t head, tail; /* bytes 0-7 and 8-15, zero-filled; over 16 bytes, tail is the hash */
    uint32_t length, offset, state;
    int32_t entry; /* the entry that is this token alone, or -1 */
} Word;

typedef struct { /* state and token -> longer state; `from` 0 marks an empty slot */
    uint32_t from, token, state;
    int32_t entry;
} Edge;

typedef struct {
    PyObject_HEAD
    Word *words;
    Edge *edges;
    uint8_t *pool; /* the entries' bytes, for tokens of more than 16 */
    uint32_t word_mask, word_count, edge_mask, edge_count;
    uint32_t depth; /* tokens of the longest entry */
    int spaced;
} Matcher;

typedef struct { /* a token of a text */
    uint64_t head, tail;
    const uint8_t *at;
    uint32_t length, slot;
} Token;

typedef struct { /* a text that is being parted */
    const uint8_t *token, *at, *end, *readable; /* `readable` ends the buffer that holds it */
    int open, entry;
} Reader;

typedef struct { /* ids found so far; those of the text under way start at `start` */
    int32_t *ids;
    size_t count, size, start, compact;
} Found;

static const uint8_t NOTHING[1] = {0}, SPACE[1] = {' '};

enum { NO_MEMORY = -1, BAD_OFFSETS = -2, MANY_MATCHES = -3, LONG_ENTRY = -4, TOO_LARGE = -5 };

enum { OTHER, BLANK, POINT, ALNUM };
static uint8_t kinds[256];

static void fill_kinds(void) {
    for (const char *c = " \t\n\r"; *c; c++) kinds[(uint8_t)*c] = BLANK;
    for (const char *c = ",.;:?!`"; *c; c++) kinds[(uint8_t)*c] = POINT;
    for (int c = 0; c < 26; c++) kinds['a' + c] = kinds['A' + c] = ALNUM;
    for (int c = 0; c < 10; c++) kinds['0' + c] = ALNUM;
}

/* Tokens */

static inline uint64_t mix(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load(const uint8_t *at, size_t length, const uint8_t *readable) {
    uint64_t word = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (readable - at >= 8) {
        memcpy(&word, at, 8);
        return length >= 8 ? word : word & ((1ull << (8 * length)) - 1);
    }
#endif
    memcpy(&word, at, length < 8 ? length : 8);
    return word;
}

static inline uint64_t hash_of(uint64_t head, uint64_t tail, size_t length) {
    return mix(head ^ 0x9e3779b97f4a7c15ull ^ length, tail ^ 0xd6e8feb86659fd93ull);
}

static inline Token token_of(const Matcher *m, const uint8_t *at, size_t length,
                             const uint8_t *readable) {
    Token token = {load(at, length, readable), 0, at, (uint32_t)length, 0};
    if (length > 16) {
        for (size_t n = 0; n < length; n += 8)
            token.tail = mix(token.tail ^ load(at + n, length - n, readable),
                             0x9e3779b97f4a7c15ull ^ length);
    } else if (length > 8) {
        token.tail = load(at + 8, length - 8, readable);
    }
    token.slot = (uint32_t)hash_of(token.head, token.tail, length) & m->word_mask;
    __builtin_prefetch(&m->words[token.slot]);
    return token;
}

/* A bit for each of the next `count` (1-64) bytes that parts tokens. */
static inline uint64_t parting(const uint8_t *at, size_t count, const uint8_t *readable) {
    uint64_t bits = 0;
#ifdef __SSE2__
    uint8_t copy[CHUNK];
    if (readable - at < CHUNK) {
        memset(copy, 0, CHUNK);
        memcpy(copy, at, count);
        at = copy;
    }
#define IS(x, c) _mm_cmpeq_epi8(x, _mm_set1_epi8(c))
#define EITHER(a, b) _mm_or_si128(a, b)
    for (size_t n = 0; n < count; n += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(at + n));
        __m128i low = _mm_or_si128(x, _mm_set1_epi8(1)), two = _mm_or_si128(x, _mm_set1_epi8(2));
        __m128i any = EITHER(EITHER(IS(low, '!'), IS(low, ';')), /* space ! and : ; */
                             EITHER(IS(two, '.'), IS(x, '?')));  /* , . and ? */
        any = EITHER(any, EITHER(EITHER(IS(x, '\t'), IS(x, '\n')), EITHER(IS(x, '\r'), IS(x, '`'))));
        bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(any) << n;
    }
#else
    (void)readable;
    for (size_t n = 0; n < count; n++)
        bits |= (uint64_t)(kinds[at[n]] == BLANK || kinds[at[n]] == POINT) << n;
#endif
    return count < 64 ? bits & ((1ull << count) - 1) : bits;
}

static size_t part_spaced(const Matcher *m, Reader *r, Token *out) {
    size_t made = 0, left = (size_t)(r->end - r->at), count = left < CHUNK ? left : CHUNK;
    uint64_t bits = count ? parting(r->at, count, r->readable) : 0;
    for (; bits; bits &= bits - 1) {
        const uint8_t *stop = r->at + __builtin_ctzll(bits);
        if (r->entry && *stop != ' ') continue;
        out[made++] = token_of(m, r->token, (size_t)(stop - r->token), r->readable);
        if (kinds[*stop] == POINT) out[made++] = token_of(m, stop, 1, r->readable);
        r->token = stop + 1;
    }
    r->at += count;
    if (r->at == r->end) {
        out[made++] = token_of(m, r->token, (size_t)(r->end - r->token), r->readable);
        r->open = 0;
    }
    return made;
}

static size_t part_unspaced(const Matcher *m, Reader *r, Token *out) {
    size_t made = 0;
    while (r->at < r->end && made < ROOM) {
        const uint8_t *at = r->at, *next = at + 1;
        if (kinds[*at] == ALNUM) {
            while (next < r->end && kinds[*next] == ALNUM) next++;
        } else if (*at >= 0xc0) {
            int more = *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : 1;
            while (more-- && next < r->end && (*next & 0xc0) == 0x80) next++;
        }
        int blank = kinds[*at] == BLANK && !r->entry;
        out[made++] = blank ? token_of(m, SPACE, 1, SPACE + 1)
                            : token_of(m, at, (size_t)(next - at), r->readable);
        r->at = next;
    }
    r->open = r->at < r->end;
    return made;
}

static inline size_t part(const Matcher *m, Reader *r, Token *out) {
    return m->spaced ? part_spaced(m, r, out) : part_unspaced(m, r, out);
}

/* The vocabulary */

static inline Word *find_word(const Matcher *m, const Token *t) {
    for (uint32_t slot = t->slot;; slot = (slot + 1) & m->word_mask) {
        Word *w = &m->words[slot];
        if (!w->state || (w->head == t->head && w->tail == t->tail && w->length == t->length &&
                          (t->length <= 16 || !memcmp(m->pool + w->offset, t->at, t->length))))
            return w;
    }
}

static inline uint32_t edge_slot(const Matcher *m, uint32_t from, uint32_t token) {
    uint64_t key = ((uint64_t)from << 32 | token) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(key >> 32) & m->edge_mask;
}

static inline Edge *find_edge(const Matcher *m, uint32_t from, uint32_t token) {
    for (uint32_t slot = edge_slot(m, from, token);; slot = (slot + 1) & m->edge_mask) {
        Edge *e = &m->edges[slot];
        if (!e->from || (e->from == from && e->token == token)) return e;
    }
}

/* Doubles a table that is half full; both grow up to 2^29 members. */
static int grow_words(Matcher *m) {
    uint32_t size = m->words ? m->word_mask + 1 : 0, wanted = size ? size * 2 : 64;
    Word *old = m->words, *made = size > DEEP ? NULL : calloc(wanted, sizeof(Word));
    if (!made) return NO_MEMORY;
    for (uint32_t n = 0; n < wanted; n++) made[n].entry = -1;
    m->words = made;
    m->word_mask = wanted - 1;
    for (uint32_t n = 0; n < size; n++) {
        if (!old[n].state) continue;
        uint64_t hash = hash_of(old[n].head, old[n].tail, old[n].length);
        uint32_t slot = (uint32_t)hash & m->word_mask;
        while (made[slot].state) slot = (slot + 1) & m->word_mask;
        made[slot] = old[n];
    }
    free(old);
    return 0;
}

static int grow_edges(Matcher *m) {
    uint32_t size = m->edges ? m->edge_mask + 1 : 0, wanted = size ? size * 2 : 64;
    Edge *old = m->edges, *made = size > DEEP ? NULL : calloc(wanted, sizeof(Edge));
    if (!made) return NO_MEMORY;
    m->edges = made;
    m->edge_mask = wanted - 1;
    for (uint32_t n = 0; n < size; n++)
        if (old[n].from) *find_edge(m, old[n].from, old[n].token) = old[n];
    free(old);
    return 0;
}

static int add_entry(Matcher *m, const uint8_t *at, size_t length, const uint8_t *readable,
                     int32_t entry) {
    Reader r = {at, at, at + length, readable, 1, 1};
    Token tokens[ROOM];
    uint32_t state = 0, depth = 0;
    int32_t *last = NULL; /* where the entry is noted if no token follows; written before growth */
    while (r.open) {
        size_t made = part(m, &r, tokens);
        for (size_t n = 0; n < made; n++) {
            if (m->word_count > m->word_mask / 2 && grow_words(m)) return NO_MEMORY;
            if (m->edge_count > m->edge_mask / 2 && grow_edges(m)) return NO_MEMORY;
            Token t = token_of(m, tokens[n].at, tokens[n].length, readable);
            Word *w = find_word(m, &t);
            if (!w->state)
                *w = (Word){t.head, t.tail, t.length, (uint32_t)(t.at - m->pool), ++m->word_count, -1};
            if (++depth == 1) {
                state = w->state;
                last = &w->entry;
                continue;
            }
            Edge *e = find_edge(m, state, w->state);
            if (!e->from) *e = (Edge){state, w->state, DEEP | ++m->edge_count, -1};
            state = e->state;
            last = &e->entry;
        }
    }
    if (last) *last = entry;
    if (depth > m->depth) m->depth = depth;
    return depth > MAX_DEPTH ? LONG_ENTRY : 0;
}

/* Notes in every state whether an entry goes on from it, and in every token whether it comes late. */
static int set_flags(Matcher *m) {
    uint8_t *words = calloc((size_t)m->word_count + 1, 1);
    uint8_t *deep = calloc((size_t)m->edge_count + 1, 1);
    if (words && deep) {
        for (uint32_t n = 0; n <= m->edge_mask; n++) {
            Edge *e = &m->edges[n];
            if (!e->from) continue;
            words[e->token] |= 2;
            if (e->from & DEEP) deep[e->from & ~DEEP] = 1;
            else words[e->from] |= 1;
        }
        for (uint32_t n = 0; n <= m->word_mask; n++) {
            Word *w = &m->words[n];
            if (!w->state) continue;
            uint8_t known = words[w->state];
            w->state |= (known & 1 ? CHILDREN : 0) | (known & 2 ? CONTINUES : 0);
        }
        for (uint32_t n = 0; n <= m->edge_mask; n++) {
            Edge *e = &m->edges[n];
            if (e->from && deep[e->state & ~DEEP]) e->state |= CHILDREN;
        }
    }
    int failed = !words || !deep;
    free(words);
    free(deep);
    return failed ? NO_MEMORY : 0;
}

#endif
