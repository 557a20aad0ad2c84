/* Somebody else's set:  foreign SOCKET SET read|none */
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    kddm_session *session = attached(argv[1]);
    kddm_set *set;
    kddm_hold *hold;
    REFUSED(kddm_destroy_set(session, argv[2]), EACCES, "kddm set stat");
    if (strcmp(argv[3], "none") == 0) {
        REFUSED(kddm_open_set(session, argv[2], &set), EACCES, "kddm set stat");
        CHECK(set == NULL);
        return 0;
    }
    CHECK(kddm_open_set(session, argv[2], &set) == 0);
    REFUSED(kddm_grab(set, 0, &hold), EACCES, "kddm set stat");
    REFUSED(kddm_remove(set, 0), EACCES, "kddm set stat");
    CHECK(kddm_get(set, 0, &hold) == 0 && kddm_put(hold) == 0);
    return 0;
}
