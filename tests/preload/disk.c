/* A disk that loses what was not synced, under an unchanged program: cc -shared -fPIC -O1 -o disk.so disk.c -ldl
 *
 * Preloaded, it stands between a program and the kernel for every file below $LIAISON_DISK_ROOT. Before anything
 * changes, what undoes the change goes to the log $LIAISON_DISK_LOG/log; a sync of the file or the directory is
 * logged too, and no real one is made. After a kill the log says what no sync covered, and `disk::cut_power` undoes
 * it: that is what a power cut leaves.
 *
 * $LIAISON_DISK_PLAN makes it fail: KIND@N=WHAT, separated by commas. KIND is write, sync or any (of the two); N counts
 * from 1. A plan in the file $LIAISON_DISK_LOG/plan takes its place as soon as it is there. From then on it may name a
 * step: a write, a sync, or a send over a socket.
 *   EIO, ENOSPC  the call fails; what a failed sync should have covered is lost for ever (as Linux loses it)
 *   SHORT        half of it is written
 *   CUT          the process is killed just before the call
 *   LIE          from here on syncs succeed and cover nothing
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct entry {
    char kind;
    char unused[7];
    uint64_t inode, offset, written, size, payload;
};

enum kind { WRITE, SYNC, SEND, ANY, STEP, KINDS };
enum verdict { PASS, SHORT_WRITE, FAIL };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *log_folder;
static size_t root_length;
static int log_fd = -1, is_lying;
static unsigned long counts[KINDS], links;

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("LIAISON_DISK_ROOT");
    log_folder = getenv("LIAISON_DISK_LOG");
    if (!folder || !log_folder) return;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/log", log_folder);
    log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    root = folder;
    root_length = strlen(root);
}

static int is_watched_path(const char *path) {
    return log_fd >= 0 && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

/* The file's inode if it is ours, else 0. */
static uint64_t watched(int fd, struct stat *status) {
    char link[64], path[PATH_MAX];
    if (log_fd < 0 || fd == log_fd || fstat(fd, status) != 0) return 0;
    if (!S_ISREG(status->st_mode) && !S_ISDIR(status->st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_watched_path(path) ? status->st_ino : 0;
}

static void record(struct entry entry, const void *payload) {
    struct iovec parts[2] = {{&entry, sizeof entry}, {(void *)payload, entry.payload}};
    if (syscall(SYS_writev, log_fd, parts, entry.payload ? 2 : 1) < 0) abort();
}

/* The plan in the file, once there is one; then for ever. */
static const char *armed(void) {
    static char plan[64];
    char path[PATH_MAX];
    if (*plan) return plan;
    snprintf(path, sizeof path, "%s/plan", log_folder);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    if (syscall(SYS_read, fd, plan, sizeof plan - 1) <= 0) abort();
    syscall(SYS_close, fd);
    return plan;
}

/* What the plan says about this call. */
static enum verdict planned(enum kind kind) {
    static const char *names[KINDS] = {"write", "sync", "send", "any", "step"};
    const char *in_file = armed(), *plan = in_file ? in_file : getenv("LIAISON_DISK_PLAN");
    int counted[KINDS] = {[ANY] = kind != SEND, [STEP] = in_file != NULL};
    counted[kind] = 1;
    for (int which = 0; which < KINDS; which++) counts[which] += counted[which];
    for (; plan && *plan; plan = strchr(plan, ',') ? strchr(plan, ',') + 1 : NULL) {
        for (int which = 0; which < KINDS; which++) {
            size_t length = strlen(names[which]);
            if (!counted[which] || strncmp(plan, names[which], length) || plan[length] != '@') continue;
            char *what;
            if (strtoul(plan + length + 1, &what, 10) != counts[which] || *what++ != '=') continue;
            if (!strncmp(what, "CUT", 3)) kill(getpid(), SIGKILL), pause();
            if (!strncmp(what, "LIE", 3)) is_lying = 1;
            if (!strncmp(what, "SHORT", 5)) return SHORT_WRITE;
            if (!strncmp(what, "EIO", 3)) return errno = EIO, FAIL;
            if (!strncmp(what, "ENOSPC", 6)) return errno = ENOSPC, FAIL;
        }
    }
    return PASS;
}

/* Keeps the bytes from `offset` to `end` that are about to change. `written`: how many will be written there, or,
 * for a new size (kind T), that size. */
static void keep_old(int fd, const struct stat *status, char kind, uint64_t offset, uint64_t end, uint64_t written) {
    uint64_t size = status->st_size, old;
    if (end > size) end = size;
    old = offset < end ? end - offset : 0;
    char *bytes = malloc(old + 1), link[64];
    /* The program may have opened it for writing only. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int reader = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
    for (uint64_t done = 0; done < old;) {
        ssize_t got = syscall(SYS_pread64, reader, bytes + done, old - done, offset + done);
        if (got <= 0) abort();
        done += got;
    }
    syscall(SYS_close, reader);
    record((struct entry){kind, {0}, status->st_ino, offset, written, size, old}, bytes);
    free(bytes);
}

static uint64_t parent(const char *path) {
    char folder[PATH_MAX];
    struct stat status;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    return stat(slash ? folder : ".", &status) == 0 ? status.st_ino : 0;
}

/* A name that is about to go; the file stays reachable under the log's folder. */
static uint64_t keep_file(const char *path) {
    char kept[PATH_MAX];
    snprintf(kept, sizeof kept, "%s/%d-%lu", log_folder, getpid(), ++links);
    return syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, kept, 0) == 0 ? links : 0;
}

static void record_name(char kind, const char *path, uint64_t kept) {
    record((struct entry){kind, {0}, parent(path), kept, getpid(), 0, strlen(path)}, path);
}

static ssize_t changed(int fd, long number, const struct iovec *parts, int count, off_t at) {
    struct stat status;
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    pthread_mutex_lock(&lock);
    ssize_t result = -1;
    enum verdict verdict = PASS;
    if (log_fd >= 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) planned(SEND);
    if (watched(fd, &status) && (verdict = planned(WRITE)) != FAIL) {
        int appends = syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
        uint64_t offset = at >= 0 ? at : appends ? status.st_size : syscall(SYS_lseek, fd, 0, SEEK_CUR);
        if (verdict == SHORT_WRITE) length = parts[0].iov_len > 1 ? parts[0].iov_len / 2 : parts[0].iov_len;
        keep_old(fd, &status, 'W', offset, offset + length, length);
    }
    if (verdict == SHORT_WRITE) {
        result = at >= 0 ? syscall(SYS_pwrite64, fd, parts[0].iov_base, length, at)
                         : syscall(SYS_write, fd, parts[0].iov_base, length);
    } else if (verdict == PASS) {
        result = at >= 0 ? syscall(number, fd, parts, count, at, 0) : syscall(number, fd, parts, count);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct iovec part = {(void *)bytes, length};
    return log_fd < 0 ? syscall(SYS_write, fd, bytes, length) : changed(fd, SYS_writev, &part, 1, -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return changed(fd, SYS_writev, parts, count, -1); }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    struct iovec part = {(void *)bytes, length};
    return changed(fd, SYS_pwritev, &part, 1, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

/* Something is about to leave the process. */
static void sending(void) {
    if (log_fd < 0) return;
    pthread_mutex_lock(&lock);
    planned(SEND);
    pthread_mutex_unlock(&lock);
}

ssize_t sendto(int fd, const void *bytes, size_t length, int flags, const struct sockaddr *to, socklen_t to_length) {
    sending();
    return syscall(SYS_sendto, fd, bytes, length, flags, to, to_length);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) { return sendto(fd, bytes, length, flags, NULL, 0); }

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    sending();
    return syscall(SYS_sendmsg, fd, message, flags);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    sending();
    return syscall(SYS_sendmmsg, fd, messages, count, flags);
}

static int resized(int fd, off_t size) {
    struct stat status;
    pthread_mutex_lock(&lock);
    int is_refused = 0;
    if (watched(fd, &status) && !(is_refused = planned(WRITE) == FAIL)) {
        keep_old(fd, &status, 'T', size < status.st_size ? size : status.st_size, status.st_size, size);
    }
    int result = is_refused ? -1 : syscall(SYS_ftruncate, fd, size);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off_t size) { return resized(fd, size); }
int ftruncate(int fd, off_t size) { return resized(fd, size); }

static int synced(int fd, long number) {
    struct stat status;
    uint64_t inode = watched(fd, &status);
    if (!inode) return syscall(number, fd);
    pthread_mutex_lock(&lock);
    int result = planned(SYNC) == FAIL ? -1 : 0, error = errno;
    if (result || !is_lying) record((struct entry){result ? 'F' : 'S', {0}, inode, 0, 0, 0, 0}, NULL);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int opened(int at, const char *path, int flags, mode_t mode) {
    int may_change = at == AT_FDCWD && (flags & (O_CREAT | O_TRUNC)) && path[0] == '/' && is_watched_path(path);
    if (!may_change) return syscall(SYS_openat, at, path, flags, mode);
    struct stat status;
    pthread_mutex_lock(&lock);
    int exists = stat(path, &status) == 0;
    if (!exists) record_name('C', path, 0);
    if (exists && (flags & O_TRUNC) && S_ISREG(status.st_mode)) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) keep_old(fd, &status, 'T', 0, status.st_size, 0), syscall(SYS_close, fd);
    }
    int fd = syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(name, ...)                                   \
    int name(__VA_ARGS__, int flags, ...) {               \
        va_list rest;                                     \
        va_start(rest, flags);                            \
        mode_t mode = va_arg(rest, mode_t);               \
        va_end(rest);                                     \
        return opened(OPEN_AT, path, flags, mode);        \
    }
#define OPEN_AT AT_FDCWD
OPEN(open, const char *path)
OPEN(open64, const char *path)
#undef OPEN_AT
#define OPEN_AT at
OPEN(openat, int at, const char *path)
OPEN(openat64, int at, const char *path)

static int renamed(const char *from, const char *to) {
    if (!is_watched_path(to)) return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    char both[2 * PATH_MAX];
    pthread_mutex_lock(&lock);
    uint64_t kept = keep_file(to);
    int length = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
    record((struct entry){'R', {0}, parent(to), kept, getpid(), 0, length}, both);
    int result = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) { return renamed(from, to); }

static int removed(int at, const char *path, int flags) {
    if (at != AT_FDCWD || !is_watched_path(path)) return syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&lock);
    record_name(flags & AT_REMOVEDIR ? 'X' : 'U', path, flags & AT_REMOVEDIR ? 0 : keep_file(path));
    int result = syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdir(const char *path, mode_t mode) {
    if (!is_watched_path(path)) return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    struct stat status;
    pthread_mutex_lock(&lock);
    if (stat(path, &status) != 0) record_name('M', path, 0);
    int result = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    pthread_mutex_unlock(&lock);
    return result;
}

/* What would copy behind our back: the program falls back to reading and writing. */
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    (void)in, (void)from, (void)out, (void)to, (void)length, (void)flags;
    return errno = ENOSYS, -1;
}

ssize_t sendfile64(int out, int in, off64_t *from, size_t length) {
    (void)out, (void)in, (void)from, (void)length;
    return errno = ENOSYS, -1;
}

ssize_t sendfile(int out, int in, off_t *from, size_t length) { return sendfile64(out, in, from, length); }
