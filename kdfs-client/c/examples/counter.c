/* Counts together with other programs, on any node:  counter SOCKET SET TIMES */
#include <errno.h>
#include <inttypes.h>
#include <kddm.h>
#include <stdio.h>
#include <stdlib.h>

static void must(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "counter: %s: %s\n", what, kddm_last_error());
        exit(1);
    }
}

/* Opens a set; whoever comes first makes it. */
static kddm_set *open_or_create(kddm_session *session, const char *name)
{
    kddm_set *set;
    int result = kddm_open_set(session, name, &set);
    if (result == -ENOENT) {
        kddm_set_options options = KDDM_SET_OPTIONS;
        options.object_size = sizeof(uint64_t);
        result = kddm_create_set(session, name, &options, &set);
        if (result == -EEXIST)
            result = kddm_open_set(session, name, &set);
    }
    must(result, name);
    return set;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: counter SOCKET SET TIMES\n");
        return 2;
    }
    kddm_session *session;
    must(kddm_attach(argv[1], NULL, &session), "attach");
    kddm_set *set = open_or_create(session, argv[2]);
    kddm_hold *hold;
    for (long n = strtol(argv[3], NULL, 10); n > 0; n--) {
        must(kddm_grab(set, 0, &hold), "grab"); /* from here on, nobody else has any hold of it */
        uint64_t *counter = kddm_hold_mutable(hold);
        ++*counter;
        must(kddm_put(hold), "put"); /* from here on, everybody sees it */
    }
    must(kddm_get(set, 0, &hold), "get");
    printf("%" PRIu64 "\n", *(const uint64_t *)kddm_hold_bytes(hold));
    must(kddm_put(hold), "put");
    must(kddm_detach(session), "detach");
    return 0;
}
