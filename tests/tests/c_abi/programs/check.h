#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <kddm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                           \
    do {                                                                                                      \
        if (!(what)) {                                                                                        \
            fprintf(stderr, "%s:%d: %s; kddm said last: %s\n", __FILE__, __LINE__, #what, kddm_last_error()); \
            exit(1);                                                                                          \
        }                                                                                                     \
    } while (0)

/* The call gives this negative errno, and says so in words with `part` in them. */
#define REFUSED(call, errno_, part)                     \
    do {                                                \
        CHECK((call) == -(errno_));                     \
        CHECK(strstr(kddm_last_error(), part) != NULL); \
    } while (0)

static inline kddm_session *attached(const char *socket)
{
    kddm_session *session;
    CHECK(kddm_attach(socket, NULL, &session) == 0);
    return session;
}

static inline kddm_set *created(kddm_session *session, const char *name, uint32_t object_size)
{
    kddm_set_options options = KDDM_SET_OPTIONS;
    kddm_set *set;
    options.object_size = object_size;
    CHECK(kddm_create_set(session, name, &options, &set) == 0);
    return set;
}

#endif
