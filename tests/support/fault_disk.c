// SPDX-License-Identifier: Apache-2.0
//
// A disk that fails on command, for a program that was started with
//   LD_PRELOAD=.../libfault_disk.so
// and these in its environment:
//   FAULT_DISK_TRIGGER  a path: calls fail as long as there is a file. Required;
//                       without it nothing fails.
//   FAULT_DISK_CALLS    which calls, by name and comma: fsync, fdatasync, pwrite,
//                       write, writev, pwritev, fallocate. Default: fsync,fdatasync.
//   FAULT_DISK_PATH     only on files whose path contains this. Default: any.
//   FAULT_DISK_ERRNO    as a number. Default: 5, EIO.
// A call that fails does nothing. Each makes a line in FAULT_DISK_LOG, if that names
// a file: the call, a blank, the path.
// With the sanitizers' shared runtime set ASAN_OPTIONS=verify_asan_link_order=0.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_named(const char* call) {
  const char* calls = getenv("FAULT_DISK_CALLS");
  if (calls == NULL) calls = "fsync,fdatasync";
  const size_t length = strlen(call);
  for (const char* at = calls; (at = strstr(at, call)) != NULL; at += length) {
    const int begins = at == calls || at[-1] == ',';
    if (begins && (at[length] == ',' || at[length] == '\0')) return 1;
  }
  return 0;
}

static void record(const char* call, const char* path) {
  const char* log = getenv("FAULT_DISK_LOG");
  if (log == NULL) return;
  const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  dprintf(fd, "%s %s\n", call, path);
  close(fd);
}

// Whether this call on `fd` is to fail; then errno is set.
static int fails(const char* call, int fd) {
  const char* trigger = getenv("FAULT_DISK_TRIGGER");
  if (trigger == NULL || !is_named(call) || access(trigger, F_OK) != 0) return 0;
  char link[64];
  char path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = '\0';
  const char* wanted = getenv("FAULT_DISK_PATH");
  if (wanted != NULL && strstr(path, wanted) == NULL) return 0;
  // Not the file that this would be written to itself.
  const char* log = getenv("FAULT_DISK_LOG");
  if (log != NULL && strcmp(path, log) == 0) return 0;
  record(call, path);
  const char* number = getenv("FAULT_DISK_ERRNO");
  errno = number == NULL ? EIO : atoi(number);
  return 1;
}

// The C library's own, whatever it is called there. A cast of the pointer's bytes:
// ISO C knows none from an object's to a function's.
#define NEXT(name)                                    \
  static __typeof__(&name) next;                      \
  if (next == NULL) {                                 \
    void* symbol = dlsym(RTLD_NEXT, #name);           \
    memcpy(&next, &symbol, sizeof next);              \
  }

int fsync(int fd) {
  NEXT(fsync)
  return fails("fsync", fd) ? -1 : next(fd);
}

int fdatasync(int fd) {
  NEXT(fdatasync)
  return fails("fdatasync", fd) ? -1 : next(fd);
}

ssize_t write(int fd, const void* from, size_t count) {
  NEXT(write)
  return fails("write", fd) ? -1 : next(fd, from, count);
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
  NEXT(writev)
  return fails("writev", fd) ? -1 : next(fd, parts, count);
}

ssize_t pwrite(int fd, const void* from, size_t count, off_t offset) {
  NEXT(pwrite)
  return fails("pwrite", fd) ? -1 : next(fd, from, count, offset);
}

ssize_t pwrite64(int fd, const void* from, size_t count, off64_t offset) {
  NEXT(pwrite64)
  return fails("pwrite", fd) ? -1 : next(fd, from, count, offset);
}

ssize_t pwritev(int fd, const struct iovec* parts, int count, off_t offset) {
  NEXT(pwritev)
  return fails("pwritev", fd) ? -1 : next(fd, parts, count, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t count) {
  NEXT(fallocate)
  return fails("fallocate", fd) ? -1 : next(fd, mode, offset, count);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t count) {
  NEXT(fallocate64)
  return fails("fallocate", fd) ? -1 : next(fd, mode, offset, count);
}
