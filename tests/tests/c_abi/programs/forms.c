/* Every form of a hold, and the rest of what is done with objects:  forms SOCKET OTHER-NODE'S-SOCKET */
#include "check.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SIZE = 4096, RANGE = 16 };

static kddm_set *here, *there;

/* Somebody else's exclusive hold. */
static kddm_hold *held_there(uint32_t object)
{
    kddm_hold *hold;
    CHECK(kddm_grab(there, object, &hold) == 0);
    return hold;
}

static void expect(kddm_hold *hold, unsigned char value)
{
    const unsigned char *bytes = kddm_hold_bytes(hold);
    CHECK(bytes && kddm_hold_length(hold) == SIZE);
    for (int at = 0; at < SIZE; at++)
        CHECK(bytes[at] == value);
}

static void changes(void)
{
    kddm_hold *hold;
    CHECK(kddm_grab(here, 0, &hold) == 0);
    expect(hold, 0);
    memset(kddm_hold_mutable(hold), 1, SIZE);
    CHECK(kddm_put(hold) == 0);
    CHECK(kddm_grab(there, 0, &hold) == 0);
    expect(hold, 1);
    memset(kddm_hold_mutable(hold), 2, SIZE);
    CHECK(kddm_hold_forget_changes(hold) == 0 && kddm_put(hold) == 0);
    CHECK(kddm_grab(here, 0, &hold) == 0);
    expect(hold, 1);
    memset(kddm_hold_mutable(hold), 3, SIZE);
    CHECK(kddm_put_nowait(hold) == 0);
    CHECK(kddm_get(there, 0, &hold) == 0);
    expect(hold, 3);
    CHECK(kddm_put(hold) == 0);
}

static void tries(void)
{
    kddm_hold *hold, *other = held_there(1);
    REFUSED(kddm_try_get(here, 1, &hold), EAGAIN, "somebody holds");
    REFUSED(kddm_try_grab(here, 1, &hold), EAGAIN, "somebody holds");
    REFUSED(kddm_get_for(here, 1, 20000000, &hold), ETIMEDOUT, "given time");
    REFUSED(kddm_grab_for(here, 1, 20000000, &hold), ETIMEDOUT, "given time");
    CHECK(hold == NULL && kddm_put(other) == 0);
    CHECK(kddm_grab_for(here, 1, 2000000000, &hold) == 0 && kddm_put(hold) == 0);
    CHECK(kddm_try_grab(here, 1, &hold) == 0 && kddm_put(hold) == 0);
    CHECK(kddm_try_get(here, 1, &hold) == 0 && kddm_put(hold) == 0);
}

static void ranges(void)
{
    kddm_hold *holds[RANGE], *other;
    CHECK(kddm_prefetch(here, 100, RANGE) == 0);
    CHECK(kddm_grab_range(here, 100, RANGE, holds) == 0);
    for (int at = 0; at < RANGE; at++)
        memset(kddm_hold_mutable(holds[at]), 100 + at, SIZE);
    REFUSED(kddm_try_get(there, 107, &other), EAGAIN, "somebody holds");
    CHECK(kddm_put_range(holds, RANGE) == 0);
    CHECK(kddm_get_range(there, 100, RANGE, holds) == 0);
    for (int at = 0; at < RANGE; at++)
        expect(holds[at], (unsigned char)(100 + at));
    CHECK((uintptr_t)kddm_hold_bytes(holds[0]) % 64 == 0);
    CHECK((const char *)kddm_hold_bytes(holds[RANGE - 1]) == (const char *)kddm_hold_bytes(holds[0]) + (RANGE - 1) * SIZE);
    CHECK(kddm_put(holds[3]) == 0);
    CHECK(kddm_put_range(holds, RANGE) == -EINVAL); /* one was put already; the others are now */
    CHECK(kddm_grab_for(here, 107, 5000000000, &other) == 0 && kddm_put(other) == 0);

    static kddm_hold *many[5000];
    memset(many, 1, sizeof many);
    REFUSED(kddm_get_range(here, 0, 5000, many), ENOBUFS, "larger window");
    CHECK(many[0] == NULL && many[4999] == NULL);
}

static void on_the_way(void)
{
    kddm_hold *others[2] = { held_there(200), held_there(201) }, *hold;
    kddm_pending *pending[4] = { NULL };
    size_t which = 99;
    CHECK(kddm_begin_get(here, 200, NULL, &pending[0]) == 0);
    CHECK(kddm_begin_grab(here, 201, NULL, &pending[2]) == 0);
    REFUSED(kddm_wait_for(pending[0], 0, &hold), EINPROGRESS, "on its way");
    REFUSED(kddm_wait_any(pending, 4, 10000000, &which), EINPROGRESS, "on their way");
    CHECK(kddm_put(others[1]) == 0);
    CHECK(kddm_wait_any(pending, 4, KDDM_FOREVER, &which) == 0 && which == 2);
    CHECK(kddm_wait(pending[2], &hold) == 0 && kddm_hold_mutable(hold) && kddm_put(hold) == 0);
    REFUSED(kddm_wait(pending[2], &hold), EINVAL, "given back");
    pending[2] = NULL;

    /* In an event loop: an eventfd becomes readable. */
    int bell = eventfd(0, 0);
    struct pollfd polled = { bell, POLLIN, 0 };
    REFUSED(kddm_pending_notify(pending[0], 9999), EBADF, "9999");
    CHECK(kddm_pending_notify(pending[0], bell) == 0);
    CHECK(poll(&polled, 1, 20) == 0);
    CHECK(kddm_put(others[0]) == 0);
    CHECK(poll(&polled, 1, 10000) == 1);
    CHECK(kddm_wait_for(pending[0], 0, &hold) == 0 && kddm_put(hold) == 0);

    /* One that has come before it is asked for rings at once. */
    eventfd_t count;
    CHECK(eventfd_read(bell, &count) == 0 && count == 1);
    CHECK(kddm_begin_get(here, 202, NULL, &pending[0]) == 0);
    CHECK(kddm_wait_any(pending, 1, KDDM_FOREVER, &which) == 0 && which == 0);
    CHECK(kddm_pending_notify(pending[0], bell) == 0);
    CHECK(poll(&polled, 1, 10000) == 1);
    CHECK(kddm_wait_any(pending, 1, 0, &which) == 0 && which == 0);
    CHECK(kddm_wait(pending[0], &hold) == 0 && kddm_put(hold) == 0);
    close(bell);

    /* What is given up is not held, whether it has come or not. */
    others[0] = held_there(203);
    CHECK(kddm_begin_grab(here, 203, NULL, &pending[0]) == 0);
    CHECK(kddm_begin_grab(here, 204, NULL, &pending[1]) == 0);
    CHECK(kddm_wait_any(pending, 2, KDDM_FOREVER, &which) == 0 && which == 1);
    CHECK(kddm_cancel(pending[0]) == 0 && kddm_cancel(pending[1]) == 0);
    REFUSED(kddm_cancel(pending[0]), EINVAL, "given back");
    CHECK(kddm_put(others[0]) == 0);
    CHECK(kddm_grab_for(there, 203, 5000000000, &hold) == 0 && kddm_put(hold) == 0);
    CHECK(kddm_grab_for(there, 204, 5000000000, &hold) == 0 && kddm_put(hold) == 0);
    REFUSED(kddm_wait_any(pending, 0, 0, &which), EINVAL, "none to wait for");

    /* A time of the hold's own. */
    kddm_hold_options options = KDDM_HOLD_OPTIONS;
    options.wait_ns = 10000000;
    others[0] = held_there(205);
    CHECK(kddm_begin_get(here, 205, &options, &pending[0]) == 0);
    REFUSED(kddm_wait(pending[0], &hold), ETIMEDOUT, "given time");
    CHECK(kddm_begin_get(here, 205, NULL, &pending[0]) == 0);
    CHECK(kddm_begin_get(there, 206, NULL, &pending[1]) == 0);
    REFUSED(kddm_wait_any(pending, 2, 0, &which), EINVAL, "several attachments");
    CHECK(kddm_cancel(pending[0]) == 0 && kddm_cancel(pending[1]) == 0 && kddm_put(others[0]) == 0);
}

static int count_until(uint32_t object, void *context)
{
    uint32_t *seen = context;
    CHECK(seen[0] == 0 || object > seen[1]);
    seen[1] = object;
    return ++seen[0] == 5 ? 77 : 0;
}

static void the_rest(kddm_session *session)
{
    kddm_hold *hold;
    uint32_t seen[2] = { 0, 0 };
    CHECK(kddm_each_local(here, count_until, seen) == 77 && seen[0] == 5);
    CHECK(kddm_grab(here, 300, &hold) == 0);
    memset(kddm_hold_mutable(hold), 9, SIZE);
    CHECK(kddm_put(hold) == 0);
    CHECK(kddm_flush(there, 300) == 0 && kddm_sync(there, 300) == 0);
    CHECK(kddm_remove(there, 300) == 0);
    CHECK(kddm_get(here, 300, &hold) == 0);
    expect(hold, 0);
    CHECK(kddm_put(hold) == 0);

    /* A lock has no bytes. */
    kddm_set *locks = created(session, "locks", 0);
    CHECK(kddm_set_object_size(locks) == 0);
    CHECK(kddm_grab(locks, 5, &hold) == 0 && kddm_hold_length(hold) == 0 && kddm_hold_mutable(hold));
    static kddm_hold *many[4096];
    REFUSED(kddm_get_range(locks, 0, 4096, many), ENOLCK, "as many as it may");
    CHECK(kddm_put(hold) == 0);
    CHECK(kddm_get_range(locks, 0, 4096, many) == 0 && kddm_put_range(many, 4096) == 0);
    CHECK(kddm_destroy_set(session, "locks") == 0);
}

static int find(const kddm_set_info *set, void *context)
{
    if (strcmp(set->name, "forms") != 0)
        return 0;
    CHECK(set->object_size == SIZE && set->mode == 0600 && set->home == KDDM_HOME_HASH && set->id);
    return set->id == *(uint64_t *)context ? 1 : -1000;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    kddm_session *session = attached(argv[1]), *other = attached(argv[2]);
    here = created(session, "forms", SIZE);
    REFUSED(kddm_create_set(session, "forms", NULL, &there), EEXIST, "that name");
    REFUSED(kddm_open_set(session, "nobody's", &there), ENOENT, "kddm set list");
    REFUSED(kddm_create_set(session, "", NULL, &there), ENAMETOOLONG, "200 bytes");
    CHECK(kddm_open_set(other, "forms", &there) == 0 && kddm_set_object_size(there) == SIZE);
    uint64_t id = kddm_set_id(there);
    CHECK(kddm_each_set(session, find, &id) == 1);
    changes();
    tries();
    ranges();
    on_the_way();
    the_rest(session);
    CHECK(kddm_destroy_set(other, "forms") == 0);
    kddm_hold *hold;
    CHECK(kddm_get(here, 0, &hold) == -ESTALE);
    CHECK(kddm_detach(other) == 0 && kddm_detach(session) == 0);
    return 0;
}
