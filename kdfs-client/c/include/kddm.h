/*
 * kddm.h - objects and files of a kDDM cluster, for programs in C and C++.
 *
 * A program attaches to the server of its node. Then it gets an object (a shared hold) or grabs it (an exclusive hold),
 * uses the bytes in its own memory, and puts it back: between a put and the next get or grab, on any node, there is never
 * an old byte. Files of kDFS are read and written through the same attachment, without a mount.
 * docs/c.md has a whole program, and how to build it.
 *
 * Results.   Functions that return int give 0, or a negative errno: -ENOENT, -EACCES, ... Those that return ssize_t give a
 *            count, or a negative errno. kddm_last_error() then says in words what was wrong and what to do.
 *            Whatever an error says, nothing was changed, unless the function's text says otherwise.
 *            Of every function:   -EINVAL       a pointer is NULL, a handle is none (any more) or of another kind
 *                                 -ENOTCONN     the attachment has ended: the server left, or the program detached
 *                                 -EOWNERDEAD   the handle is the parent process's, see Fork
 *                                 -ENOBUFS      the window has no room: put some holds, or attach with a larger one
 *                                 -EAGAIN       too many requests are under way (and see KDDM_TRY)
 *                                 -ENOTRECOVERABLE  a bug of this library; please report what kddm_last_error() says
 *
 * Handles.   kddm_session, kddm_set, ... are names, not addresses: never look behind them. What a function makes, it stores
 *            where its last parameter points (NULL there if it fails), and the program gives it back once: to kddm_detach,
 *            kddm_close_set, kddm_put, kddm_wait or kddm_cancel, kddm_close, kddm_closedir. A handle that was given back
 *            is refused with -EINVAL, and so is any other value.
 *
 * Threads.   Any thread may call any function with any handle. Threads that use the bytes of one hold at the same time
 *            arrange that between them. Waiting goes on when a signal comes. No function may be called from a signal
 *            handler.
 *
 * Ends.      When the process ends, in whatever way, its holds end at once; exclusive ones leave their objects as they were
 *            before. Nothing else changes.
 *
 * Fork.      A child has no part in the attachments of its parent: its handles give -EOWNERDEAD there, and the bytes of
 *            holds are not mapped. The parent's are as before. The child may attach itself.
 *
 * Text is UTF-8 where it names a set, any bytes where it is a path. Times are nanoseconds.
 */
#ifndef KDDM_H
#define KDDM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header. kddm_version() tells that of the library. */
#define KDDM_VERSION "0.1.0"

/* As long as it takes. */
#define KDDM_FOREVER ((int64_t)-1)

/* An attachment to the node's server. */
typedef struct kddm_session kddm_session;
/* A set of objects that the program has opened. */
typedef struct kddm_set kddm_set;
/* A shared or exclusive hold of an object. */
typedef struct kddm_hold kddm_hold;
/* A hold that is on its way. */
typedef struct kddm_pending kddm_pending;
/* An open file of kDFS. */
typedef struct kddm_file kddm_file;
/* An open directory of kDFS. */
typedef struct kddm_dir kddm_dir;

/*
 * What went wrong with the last call of this thread that failed, for people to read; "" if none has. The text stays until
 * the next call of this thread that fails.
 */
const char *kddm_last_error(void);

/* The version of the library, as "0.1.0". */
const char *kddm_version(void);

/* ---- Options -------------------------------------------------------------------------------------------------------
 *
 * Fields that are 0 mean what is usual, and so does NULL in the place of options. `size` is the size of the structure as
 * the program knows it: later versions add fields at the end. Start from the KDDM_..._OPTIONS value:
 *
 *     kddm_set_options options = KDDM_SET_OPTIONS;
 *     options.object_size = 64;
 *
 * Fields that this library does not know have to be 0: -E2BIG.
 */

/* How to attach. */
typedef struct kddm_attach_options {
    size_t size;
    const char *name;    /* what people see of the program; NULL: the name of its executable */
    int64_t spin_ns;     /* as kddm_spin; 0: 20 microseconds; negative: sleep at once */
    uint32_t window;     /* bytes that are held and read at the same time: whole pages, up to 64 MiB; 0: 4 MiB */
    uint32_t zero;       /* 0 */
} kddm_attach_options;
#define KDDM_ATTACH_OPTIONS { sizeof(kddm_attach_options), NULL, 0, 0, 0 }

/* Which node is the home of an object: where it is asked for. */
enum {
    KDDM_HOME_HASH = 0,         /* spread over the nodes */
    KDDM_HOME_NODE = 1,         /* the node `home_node`, for all objects */
    KDDM_HOME_OBJECT_BITS = 2,  /* the node that the uppermost 8 of the 32 bits of an object's number name */
    KDDM_HOME_UNKNOWN = 255     /* (told of a set) another way, which this library does not know */
};

/* What a new set is like. */
typedef struct kddm_set_options {
    size_t size;
    uint32_t object_size;  /* bytes of each object, up to 1 MiB; 0: objects are locks without bytes */
    uint32_t mode;         /* permission bits as of a file: who reads may get, who writes may grab; 0: 0600 */
    uint32_t home;         /* KDDM_HOME_... */
    uint32_t home_node;    /* with KDDM_HOME_NODE: which, 1 to 254; else 0 */
} kddm_set_options;
#define KDDM_SET_OPTIONS { sizeof(kddm_set_options), 0, 0, KDDM_HOME_HASH, 0 }

/* For kddm_hold_options.flags. */
enum {
    KDDM_TRY = 1,           /* fail with -EAGAIN rather than wait for somebody else's hold */
    KDDM_ONLY_EXISTING = 2  /* fail with -ENOENT where nobody has touched the object, rather than make it, all zeros */
};

/* How a hold is meant. */
typedef struct kddm_hold_options {
    size_t size;
    int64_t wait_ns;  /* how long to wait before it fails with -ETIMEDOUT; 0 or KDDM_FOREVER: as long as it takes */
    uint32_t flags;   /* KDDM_TRY, KDDM_ONLY_EXISTING */
    uint32_t zero;    /* 0 */
} kddm_hold_options;
#define KDDM_HOLD_OPTIONS { sizeof(kddm_hold_options), 0, 0, 0 }

/* ---- Attaching ---------------------------------------------------------------------------------------------------- */

/*
 * Attaches to the server that has its ring at `socket`: /run/kdfs/ID.ring, or DIR/run/ID.ring of a playground. What the
 * program may do there is what its user may. `options`: NULL is as usual.
 *
 * -ENOENT, -ECONNREFUSED: no server runs there. -EPROTO: server and library are of different versions, or the server has
 * as many programs as it can, or the window cannot be. -EACCES, -EMFILE, -ENOMEM: as the system says.
 */
int kddm_attach(const char *socket, const kddm_attach_options *options, kddm_session **session);

/*
 * Ends the attachment, and all handles that came of it: holds are put as if unchanged, files are closed, what was on its
 * way is given up. Calls in which other threads wait are not interrupted; they fail with -ENOTCONN when they have waited.
 */
int kddm_detach(kddm_session *session);

/* The id of the server's node, 1 to 254, or a negative errno. */
int kddm_node(kddm_session *session);

/* Asks the server for nothing but an answer: a round trip. */
int kddm_ping(kddm_session *session);

/*
 * Lets threads that wait look for an answer for up to `time_ns` before they sleep; how long in fact follows from how long
 * answers take. It pays where a core is to spare. 0: they sleep at once.
 */
int kddm_spin(kddm_session *session, int64_t time_ns);

/* ---- Sets --------------------------------------------------------------------------------------------------------- */

/*
 * Makes a set, which belongs to the program's user, and opens it. Its name is 1 to 200 bytes.
 *
 * -EEXIST: the name is taken. -ENAMETOOLONG: no set can have such a name. -EINVAL: no set can be like that.
 * -ENOSPC: there are as many sets as there can be.
 */
int kddm_create_set(kddm_session *session, const char *name, const kddm_set_options *options, kddm_set **set);

/* Opens a set. -ENOENT: none has that name. -EACCES: its owner and mode do not let the program's user in. */
int kddm_open_set(kddm_session *session, const char *name, kddm_set **set);

/* Gives a set back. The set itself, and holds of its objects, stay as they are. */
int kddm_close_set(kddm_set *set);

/*
 * Ends a set and its objects, for everybody; holds of them stay until they are put, and everything else fails with
 * -ESTALE from then on. -ENOENT: none has that name. -EACCES: it is not the program's user's.
 */
int kddm_destroy_set(kddm_session *session, const char *name);

/* What is told of a set. Later versions may add fields at the end. */
typedef struct kddm_set_info {
    const char *name;  /* gone when the visitor returns */
    uint64_t id;
    uint32_t object_size;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint32_t home;  /* KDDM_HOME_... */
    uint32_t home_node;
} kddm_set_info;

/* Is called for each of several; 0: go on, anything else ends it. It returns: no longjmp, no C++ exception. */
typedef int (*kddm_set_visitor)(const kddm_set_info *set, void *context);
typedef int (*kddm_object_visitor)(uint32_t object, void *context);

/* All sets of the cluster, by name. Returns what the visitor returned last, or a negative errno. */
int kddm_each_set(kddm_session *session, kddm_set_visitor visitor, void *context);

/* The id of a set, never 0; or 0: see kddm_last_error(). */
uint64_t kddm_set_id(kddm_set *set);

/* The bytes of each object of a set, or a negative errno. */
ssize_t kddm_set_object_size(kddm_set *set);

/* ---- Holds --------------------------------------------------------------------------------------------------------
 *
 * An object is named by its set and a number. What nobody has touched is all zeros. A program has up to 4096 holds
 * (-ENOLCK), and their bytes have to fit into its window (-ENOBUFS). A hold is nobody's in particular: a program that wants
 * what it holds exclusively itself, waits for itself.
 *
 * Of all that take a hold:  -EACCES       the set's mode lets the program's user not get, or not grab
 *                           -ESTALE       the set was destroyed
 *                           -EHOSTUNREACH a node that is needed is away
 *                           -EIO          the last copy was lost with a node, or a device failed
 *                           -ENOMEM       the node's memory is full of objects in use
 */

/* Takes a shared hold: nobody changes the object, anywhere, until it is put. Waits as long as it takes. */
int kddm_get(kddm_set *set, uint32_t object, kddm_hold **hold);

/* Takes an exclusive hold: nobody else has any hold of the object, anywhere, until it is put. Waits as long as it takes. */
int kddm_grab(kddm_set *set, uint32_t object, kddm_hold **hold);

/* As kddm_get and kddm_grab; -EAGAIN: somebody else's hold, or request, would have to be waited for. */
int kddm_try_get(kddm_set *set, uint32_t object, kddm_hold **hold);
int kddm_try_grab(kddm_set *set, uint32_t object, kddm_hold **hold);

/* As kddm_get and kddm_grab; -ETIMEDOUT: it could not be had in that time. */
int kddm_get_for(kddm_set *set, uint32_t object, int64_t time_ns, kddm_hold **hold);
int kddm_grab_for(kddm_set *set, uint32_t object, int64_t time_ns, kddm_hold **hold);

/* As kddm_get and kddm_grab, with options; NULL is as usual. */
int kddm_get_with(kddm_set *set, uint32_t object, const kddm_hold_options *options, kddm_hold **hold);
int kddm_grab_with(kddm_set *set, uint32_t object, const kddm_hold_options *options, kddm_hold **hold);

/*
 * Takes a hold of each of `count` objects from `first` on, into `holds`, in ascending order, so that those who take ranges
 * never wait for each other in a circle. Their bytes follow each other in memory, without gaps. If it fails, nothing of the
 * range is held, and all of `holds` is NULL.
 */
int kddm_get_range(kddm_set *set, uint32_t first, uint32_t count, kddm_hold **holds);
int kddm_grab_range(kddm_set *set, uint32_t first, uint32_t count, kddm_hold **holds);

/*
 * The object's bytes, until the hold is put; a shared hold's may only be read. They begin at a multiple of 64, unless the
 * hold is one of a range. NULL: see kddm_last_error().
 */
const void *kddm_hold_bytes(kddm_hold *hold);

/*
 * The bytes of an exclusive hold, to be changed until it is put; the put then takes over all of them.
 * NULL: see kddm_last_error(); of a shared hold, too.
 */
void *kddm_hold_mutable(kddm_hold *hold);

/* How many bytes there are, or a negative errno. */
ssize_t kddm_hold_length(kddm_hold *hold);

/* Forgets what was changed: unless kddm_hold_mutable is called again, the put leaves the object as it was. */
int kddm_hold_forget_changes(kddm_hold *hold);

/*
 * Puts a hold, with what was changed, and waits until the server has done it. The handle is given back in any case.
 * -ENOTCONN: the attachment has ended, and the hold before; nothing was changed.
 */
int kddm_put(kddm_hold *hold);

/*
 * As kddm_put, and does not wait: the server learns of it at once, and does it before anything that this program asks for
 * later. Nobody tells if the attachment ends just now, and with it the hold, unchanged.
 */
int kddm_put_nowait(kddm_hold *hold);

/* Puts `count` holds; NULL among them is passed over. All are given back; if some fail, the first error is returned. */
int kddm_put_range(kddm_hold **holds, size_t count);

/* ---- Holds that are on their way ----------------------------------------------------------------------------------
 *
 * Several may be under way, of many sets, and come in any order. A handle here is one thread's at a time: -EBUSY, another
 * waits for it. What a hold's options say of waiting counts from its begin.
 */

/* Begins to take a hold. `options`: NULL is as usual. */
int kddm_begin_get(kddm_set *set, uint32_t object, const kddm_hold_options *options, kddm_pending **pending);
int kddm_begin_grab(kddm_set *set, uint32_t object, const kddm_hold_options *options, kddm_pending **pending);

/* Waits for it. The handle is given back, unless it is -EBUSY. Errors are those of kddm_get. */
int kddm_wait(kddm_pending *pending, kddm_hold **hold);

/* As kddm_wait, for so long (0: only looks); -EINPROGRESS: it is on its way still, and the handle stays. */
int kddm_wait_for(kddm_pending *pending, int64_t time_ns, kddm_hold **hold);

/*
 * Waits until one of `count` that are of one attachment has come, or failed, for up to `time_ns`, and stores which in
 * `which`: kddm_wait then returns at once. NULL among them is passed over. -EINPROGRESS: the time is over.
 * -EINVAL: they are of several attachments, or there is none.
 */
int kddm_wait_any(kddm_pending *const *pending, size_t count, int64_t time_ns, size_t *which);

/*
 * Adds 1 to the eventfd(2) `descriptor`, once, when it has come, or failed: kddm_wait then returns at once. So it can be
 * waited for in poll(2), epoll(7) and any event loop. The library duplicates the descriptor, and starts a thread.
 * -EBADF: it is no open descriptor.
 */
int kddm_pending_notify(kddm_pending *pending, int descriptor);

/* Gives it up: the hold is not taken, or is put at once. The handle is given back, unless it is -EBUSY. */
int kddm_cancel(kddm_pending *pending);

/* ---- More to do with objects -------------------------------------------------------------------------------------- */

/* Begins to bring copies of `count` objects from `first` on to this node, so that gets find them there. */
int kddm_prefetch(kddm_set *set, uint32_t first, uint32_t count);

/* Ends an object: whoever comes later finds it untouched. Waits for all holds. -EACCES, -ESTALE, ... as of kddm_grab. */
int kddm_remove(kddm_set *set, uint32_t object);

/* Drops this node's copy of an object, unless it is held or the last. */
int kddm_flush(kddm_set *set, uint32_t object);

/* Writes an object to the device of its home, if its set has one. */
int kddm_sync(kddm_set *set, uint32_t object);

/*
 * The objects of a set that this node has a copy of, ascending; a copy may come or go at any time. Returns what the
 * visitor returned last, or a negative errno.
 */
int kddm_each_local(kddm_set *set, kddm_object_visitor visitor, void *context);

/* ---- Files --------------------------------------------------------------------------------------------------------
 *
 * Paths begin at the root of the file system, with or without a slash. The server looks at the permissions of the
 * program's user. Errors are those of the functions of POSIX with the same names: -ENOENT, -EACCES, -EISDIR, ...
 * The umask is not looked at. A program has up to 1024 files open (-EMFILE).
 */

/* Opens a file, as open(2), with its flags: O_RDWR | O_CREAT, ... */
int kddm_open(kddm_session *session, const char *path, int flags, mode_t mode, kddm_file **file);

/* Closes it. */
int kddm_close(kddm_file *file);

/* Reads at the file's place, which moves. 0: the file's end. Fewer bytes than were asked for only there. */
ssize_t kddm_read(kddm_file *file, void *bytes, size_t length);

/* Writes at the file's place, which moves, or at its end (O_APPEND): up to 1 MiB lies together there, what others append may lie between parts
 * of more. If it fails, a part may have been written. */
ssize_t kddm_write(kddm_file *file, const void *bytes, size_t length);

/* As kddm_read and kddm_write, at `offset`; the file's place stays. */
ssize_t kddm_pread(kddm_file *file, void *bytes, size_t length, off_t offset);
ssize_t kddm_pwrite(kddm_file *file, const void *bytes, size_t length, off_t offset);

/* Moves the file's place: `whence` is SEEK_SET or SEEK_CUR. Returns the place, or a negative errno. */
off_t kddm_lseek(kddm_file *file, off_t offset, int whence);

/* Cuts a file off, or fills it up with zeros. */
int kddm_ftruncate(kddm_file *file, off_t length);

/* Makes a file durable. */
int kddm_fsync(kddm_file *file);

/* What is at a path; kddm_stat follows a symbolic link, kddm_lstat tells of it. st_dev is 0. */
int kddm_stat(kddm_session *session, const char *path, struct stat *status);
int kddm_lstat(kddm_session *session, const char *path, struct stat *status);

/* An entry of a directory. */
typedef struct kddm_entry {
    uint64_t inode;
    uint32_t type;  /* DT_REG, DT_DIR, ... of <dirent.h> */
    uint32_t zero;
    char name[256];
} kddm_entry;

/* Opens a directory. */
int kddm_opendir(kddm_session *session, const char *path, kddm_dir **dir);

/* The next entry, "." and ".." among them, in no order. 1: there is one; 0: there are no more; or a negative errno. */
int kddm_readdir(kddm_dir *dir, kddm_entry *entry);

/* Closes it. */
int kddm_closedir(kddm_dir *dir);

int kddm_unlink(kddm_session *session, const char *path);
int kddm_mkdir(kddm_session *session, const char *path, mode_t mode);
int kddm_rmdir(kddm_session *session, const char *path);
int kddm_rename(kddm_session *session, const char *from, const char *to);
int kddm_symlink(kddm_session *session, const char *target, const char *path);

/* Where a symbolic link leads: as readlink(2), without a 0 at the end, cut off after `length` bytes. */
ssize_t kddm_readlink(kddm_session *session, const char *path, char *target, size_t length);

#ifdef __cplusplus
}
#endif

#endif /* KDDM_H */
