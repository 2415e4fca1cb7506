/* Ends the process after its KILL_AT-th change of a file whose path holds KILL_UNDER, or lets it fail with KILL_ERROR.
   For LD_PRELOAD. Each such call is a line in KILL_LOG. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int number(const char *name) {
  const char *text = getenv(name);
  return text ? atoi(text) : 0;
}

/* Whether a call is to fail; counts it, and says what it is. */
static int counts(const char *call, const char *path) {
  const char *under = getenv("KILL_UNDER"), *log = getenv("KILL_LOG");
  if (!under || !path || !strstr(path, under) || (log && !strcmp(path, log))) return 0;
  pthread_mutex_lock(&lock);
  int mine = ++count;
  pthread_mutex_unlock(&lock);
  if (log) {
    char line[PATH_MAX + 64];
    int size = snprintf(line, sizeof line, "%d %s %s\n", mine, call, path);
    int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    syscall(SYS_write, file, line, size);
    syscall(SYS_close, file);
  }
  int from = number("FAIL_FROM"), to = number("FAIL_TO");
  if (from && mine >= from && (!to || mine < to)) {
    errno = number("FAIL_WITH");
    return 1;
  }
  return 0;
}

static void end_here(const char *path) {
  const char *under = getenv("KILL_UNDER");
  if (under && path && strstr(path, under) && number("KILL_AT") && count == number("KILL_AT")) kill(getpid(), SIGKILL);
}

static const char *path_of(int file, char *room) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t size = readlink(link, room, PATH_MAX - 1);
  room[size < 0 ? 0 : size] = 0;
  return room;
}

static const char *path_in(int folder, const char *name, char *room) {
  if (name[0] == '/') return name;
  if (folder == AT_FDCWD) {
    if (!getcwd(room, PATH_MAX)) room[0] = 0;
  } else {
    path_of(folder, room);
  }
  strncat(room, "/", PATH_MAX - strlen(room) - 1);
  strncat(room, name, PATH_MAX - strlen(room) - 1);
  return room;
}

#define AROUND(call, place, type, ...)                                         \
  const char *path = place;                                                    \
  if (counts(#call, path)) return -1;                                          \
  static type (*real)();                                                       \
  if (!real) real = (type(*)())dlsym(RTLD_NEXT, #call);                        \
  type result = real(__VA_ARGS__);                                             \
  int kept = errno;                                                            \
  end_here(path);                                                              \
  errno = kept;                                                                \
  return result;

ssize_t write(int file, const void *content, size_t size) {
  char room[PATH_MAX];
  AROUND(write, path_of(file, room), ssize_t, file, content, size)
}
int fsync(int file) {
  char room[PATH_MAX];
  AROUND(fsync, path_of(file, room), int, file)
}
int rename(const char *from, const char *to) {
  char room[PATH_MAX];
  AROUND(rename, path_in(AT_FDCWD, to, room), int, from, to)
}
int renameat2(int one, const char *from, int two, const char *to, unsigned flags) {
  char room[PATH_MAX];
  AROUND(renameat2, path_in(two, to, room), int, one, from, two, to, flags)
}
int mkdir(const char *name, mode_t mode) {
  char room[PATH_MAX];
  AROUND(mkdir, path_in(AT_FDCWD, name, room), int, name, mode)
}
int unlink(const char *name) {
  char room[PATH_MAX];
  AROUND(unlink, path_in(AT_FDCWD, name, room), int, name)
}
int unlinkat(int folder, const char *name, int flags) {
  char room[PATH_MAX];
  AROUND(unlinkat, path_in(folder, name, room), int, folder, name, flags)
}
int rmdir(const char *name) {
  char room[PATH_MAX];
  AROUND(rmdir, path_in(AT_FDCWD, name, room), int, name)
}
