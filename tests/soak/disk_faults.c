/* For LD_PRELOAD: counts every change of a file whose path (or former path) holds FAULT_UNDER, and

   FAULT_ONLY     counts those alone whose path holds this too; with a ! before it, those whose path does not
   FAULT_LOG      a file that gets a line for each: number, call, path, other path, size of the file after it
   FAULT_KILL     the number of the change after which the process is killed (SIGKILL)
   FAULT_TORN     1: if that change is a write, only half of its bytes reach the file
   FAULT_FIRST, FAULT_LAST, FAULT_ERRNO   changes with these numbers are not made but fail with this error
   FAULT_CLOCK    seconds that the clock of this process is ahead; counted or not

   Changes are made one after the other, so that the log has their true order and nothing is under way at a kill. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int count;

static long setting(const char *name) {
  const char *text = getenv(name);
  return text ? atol(text) : 0;
}

static int holds(const char *path, const char *other, const char *part) {
  return strstr(path, part) || strstr(other, part);
}

/* The number of a change, and the turn to make it; 0 where it is not counted, -1 where it is none of ours. */
static int begin(const char *path, const char *other) {
  const char *under = getenv("FAULT_UNDER"), *only = getenv("FAULT_ONLY");
  if (!under || !holds(path, other, under)) return -1;
  pthread_mutex_lock(&turn);
  if (only && (*only == '!' ? holds(path, other, only + 1) : !holds(path, other, only))) return 0;
  return ++count;
}

static int fails(int number) {
  return number && setting("FAULT_FIRST") <= number && number <= setting("FAULT_LAST");
}

static void end(int number, const char *call, const char *path, const char *other) {
  const char *log = getenv("FAULT_LOG");
  if (log) {
    char line[2 * PATH_MAX + 64];
    struct stat found;
    long size = stat(path, &found) == 0 ? (long)found.st_size : -1;
    int length = snprintf(line, sizeof line, "%d\t%s\t%s\t%s\t%ld\n", number, call, path, other, size);
    int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    syscall(SYS_write, file, line, length);
    syscall(SYS_close, file);
  }
  if (number && number == setting("FAULT_KILL")) kill(getpid(), SIGKILL), pause();
  pthread_mutex_unlock(&turn);
}

static const char *of_file(int file, char *room) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t size = readlink(link, room, PATH_MAX - 1);
  room[size < 0 ? 0 : size] = 0;
  return room;
}

static const char *in_folder(int folder, const char *name, char *room) {
  if (name[0] == '/') return name;
  if (folder != AT_FDCWD) of_file(folder, room);
  else if (!getcwd(room, PATH_MAX)) room[0] = 0;
  size_t used = strlen(room);
  snprintf(room + used, PATH_MAX - used, "/%s", name);
  return room;
}

#define REAL(type, call)                                       \
  static type (*real)();                                       \
  if (!real) real = (type(*)())dlsym(RTLD_NEXT, #call)

#define CHANGE(type, call, where, elsewhere, ...)              \
  REAL(type, call);                                            \
  if (!getenv("FAULT_UNDER")) return real(__VA_ARGS__);        \
  char room[PATH_MAX], other_room[PATH_MAX];                   \
  (void)room, (void)other_room;                                \
  const char *path = where, *other = elsewhere;                \
  int number = begin(path, other);                             \
  if (number < 0) return real(__VA_ARGS__);                    \
  int failing = fails(number);                                 \
  type result = failing ? -1 : real(__VA_ARGS__);              \
  int error = failing ? (int)setting("FAULT_ERRNO") : errno;   \
  end(number, failing ? #call " refused" : result < 0 ? #call " failed" : #call, path, other); \
  errno = error;                                               \
  return result

static int is_torn(const char *path) {
  const char *under = getenv("FAULT_UNDER");
  return setting("FAULT_TORN") && under && strstr(path, under) && count + 1 == setting("FAULT_KILL");
}

ssize_t write(int file, const void *content, size_t size) {
  char place[PATH_MAX];
  if (setting("FAULT_TORN") && is_torn(of_file(file, place))) size = (size + 1) / 2;
  CHANGE(ssize_t, write, of_file(file, room), "", file, content, size);
}

#define OPEN(call)                                                              \
  int call(const char *name, int flags, ...) {                                  \
    va_list rest;                                                               \
    va_start(rest, flags);                                                      \
    int mode = va_arg(rest, int);                                               \
    va_end(rest);                                                               \
    if (!(flags & O_CREAT) && setting("FAULT_ERRNO") != EMFILE) {               \
      REAL(int, call);                                                          \
      return real(name, flags, mode);                                           \
    }                                                                           \
    CHANGE(int, call, in_folder(AT_FDCWD, name, room), "", name, flags, mode);  \
  }
OPEN(open)
OPEN(open64)

#define ON_FILE(call) \
  int call(int file) { CHANGE(int, call, of_file(file, room), "", file); }
ON_FILE(fsync)
ON_FILE(fdatasync)

#define CUT(call) \
  int call(int file, off_t size) { CHANGE(int, call, of_file(file, room), "", file, size); }
CUT(ftruncate)
CUT(ftruncate64)

#define ON_NAME(call) \
  int call(const char *name) { CHANGE(int, call, in_folder(AT_FDCWD, name, room), "", name); }
ON_NAME(unlink)
ON_NAME(rmdir)

#define WITH_MODE(call) \
  int call(const char *name, mode_t mode) { CHANGE(int, call, in_folder(AT_FDCWD, name, room), "", name, mode); }
WITH_MODE(mkdir)
WITH_MODE(chmod)

int unlinkat(int folder, const char *name, int flags) {
  CHANGE(int, unlinkat, in_folder(folder, name, room), "", folder, name, flags);
}

int rename(const char *from, const char *to) {
  CHANGE(int, rename, in_folder(AT_FDCWD, to, room), in_folder(AT_FDCWD, from, other_room), from, to);
}

int renameat2(int one, const char *from, int two, const char *to, unsigned flags) {
  CHANGE(int, renameat2, in_folder(two, to, room), in_folder(one, from, other_room), one, from, two, to, flags);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  REAL(int, clock_gettime);
  int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += setting("FAULT_CLOCK");
  return result;
}

time_t time(time_t *now) {
  struct timespec found;
  clock_gettime(CLOCK_REALTIME, &found);
  if (now) *now = found.tv_sec;
  return found.tv_sec;
}
