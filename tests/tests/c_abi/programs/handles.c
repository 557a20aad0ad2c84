/* What is no handle, no option and no pointer is refused in words:  handles SOCKET */
#include "check.h"

static int no_set(const kddm_set_info *set, void *context)
{
    (void)set;
    (void)context;
    return 0;
}

static void handles(const char *socket)
{
    kddm_session *session = attached(socket), *other;
    kddm_set *set = created(session, "handles", 64), *again;
    kddm_hold *hold;
    REFUSED(kddm_get(NULL, 0, &hold), EINVAL, "the set is NULL");
    CHECK(hold == NULL);
    REFUSED(kddm_get(set, 0, NULL), EINVAL, "hold: the pointer is NULL");
    REFUSED(kddm_get((kddm_set *)session, 0, &hold), EINVAL, "is no set");
    REFUSED(kddm_get((kddm_set *)&hold, 0, &hold), EINVAL, "is no set");
    REFUSED(kddm_get((kddm_set *)(uintptr_t)-1, 0, &hold), EINVAL, "is no set");
    REFUSED(kddm_put((kddm_hold *)set), EINVAL, "is no hold");
    REFUSED(kddm_get(set, 0, (kddm_hold **)((char *)&hold + 1)), EINVAL, "not aligned");
    REFUSED(kddm_open_set(session, NULL, &again), EINVAL, "name: the pointer is NULL");
    REFUSED(kddm_open_set(session, "\xff\xff", &again), EINVAL, "UTF-8");
    REFUSED(kddm_each_set(session, NULL, NULL), EINVAL, "visitor");
    CHECK(kddm_each_set(session, no_set, NULL) == 0);
    CHECK(kddm_set_id(set) != 0 && kddm_set_id(NULL) == 0);

    CHECK(kddm_get(set, 0, &hold) == 0);
    CHECK(kddm_hold_mutable(hold) == NULL && strstr(kddm_last_error(), "grab the object"));
    CHECK(kddm_put(hold) == 0);
    REFUSED(kddm_put(hold), EINVAL, "given back already");
    CHECK(kddm_hold_bytes(hold) == NULL && kddm_hold_length(hold) == -EINVAL);
    CHECK(kddm_get(set, 0, &hold) == 0);
    CHECK(kddm_close_set(set) == 0);
    REFUSED(kddm_close_set(set), EINVAL, "given back already");

    /* What came of a session goes with it. */
    CHECK(kddm_detach(session) == 0);
    REFUSED(kddm_put(hold), EINVAL, "given back already");
    REFUSED(kddm_detach(session), EINVAL, "given back already");
    other = attached(socket);
    CHECK(kddm_node(other) == 1 && kddm_node(session) == -EINVAL && kddm_ping(other) == 0);
    CHECK(kddm_spin(other, 0) == 0 && kddm_spin(other, -1) == -EINVAL);
    CHECK(kddm_destroy_set(other, "handles") == 0);
    CHECK(kddm_detach(other) == 0);
}

static void options(const char *socket)
{
    struct {
        kddm_set_options known;
        uint64_t more;
    } later = { KDDM_SET_OPTIONS, 0 };
    kddm_attach_options attach = KDDM_ATTACH_OPTIONS;
    kddm_set_options of_set = KDDM_SET_OPTIONS;
    kddm_hold_options of_hold = KDDM_HOLD_OPTIONS;
    kddm_session *session;
    kddm_set *set;
    kddm_hold *hold;
    attach.name = "options";
    attach.spin_ns = -1;
    attach.window = 100;
    REFUSED(kddm_attach(socket, &attach, &session), EPROTO, "whole pages");
    CHECK(session == NULL);
    attach.window = 1 << 16;
    attach.zero = 1;
    REFUSED(kddm_attach(socket, &attach, &session), EINVAL, "`zero`");
    attach.zero = 0;
    CHECK(kddm_attach(socket, &attach, &session) == 0);

    of_set.size = 0;
    REFUSED(kddm_create_set(session, "options", &of_set, &set), EINVAL, "sizeof");
    of_set.size = sizeof of_set;
    of_set.home = 9;
    REFUSED(kddm_create_set(session, "options", &of_set, &set), EINVAL, "KDDM_HOME_");
    of_set.home = KDDM_HOME_NODE;
    of_set.home_node = 300;
    REFUSED(kddm_create_set(session, "options", &of_set, &set), EINVAL, "1 to 254");
    of_set.home_node = 2;
    of_set.mode = 010000;
    REFUSED(kddm_create_set(session, "options", &of_set, &set), EINVAL, "`mode`");
    of_set.mode = 0;
    of_set.object_size = (1 << 20) + 1;
    CHECK(kddm_create_set(session, "options", &of_set, &set) < 0);
    later.known.size = sizeof later;
    later.known.object_size = 8;
    later.more = 1;
    REFUSED(kddm_create_set(session, "options", &later.known, &set), E2BIG, "does not know");
    later.more = 0;
    CHECK(kddm_create_set(session, "options", &later.known, &set) == 0);

    of_hold.flags = 4;
    REFUSED(kddm_get_with(set, 0, &of_hold, &hold), EINVAL, "KDDM_TRY");
    of_hold.flags = KDDM_TRY;
    of_hold.wait_ns = 1;
    REFUSED(kddm_get_with(set, 0, &of_hold, &hold), EINVAL, "`wait_ns`");
    REFUSED(kddm_get_for(set, 0, -2, &hold), EINVAL, "KDDM_FOREVER");
    of_hold.flags = KDDM_ONLY_EXISTING;
    of_hold.wait_ns = KDDM_FOREVER;
    REFUSED(kddm_get_with(set, 7, &of_hold, &hold), ENOENT, "does not exist");
    REFUSED(kddm_get_range(set, (uint32_t)-1, 2, &hold), EINVAL, "range");
    CHECK(kddm_get_range(set, 0, 0, NULL) == 0);
    CHECK(kddm_get_for(set, 7, KDDM_FOREVER, &hold) == 0 && kddm_hold_length(hold) == 8);
    CHECK(kddm_destroy_set(session, "options") == 0);
    CHECK(kddm_detach(session) == 0);
}

int main(int argc, char **argv)
{
    kddm_session *session;
    CHECK(argc == 2 && strcmp(kddm_version(), KDDM_VERSION) == 0);
    CHECK(strcmp(kddm_last_error(), "") == 0);
    REFUSED(kddm_attach(NULL, NULL, &session), EINVAL, "socket: the pointer is NULL");
    REFUSED(kddm_attach("/nobody/1.ring", NULL, &session), ENOENT, "/nobody/1.ring");
    handles(argv[1]);
    options(argv[1]);
    return 0;
}
