/* Memory and files of the host. */
#include "cpu.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

/* --- memory --- */

#define LARGE_BYTES (32u << 20)

/* Pages of an anonymous mapping are zero, aligned beyond 64 bytes, and free until touched. */
void *ds4_alloc(uint64_t bytes) {
  if (bytes == 0 || bytes > (uint64_t)PTRDIFF_MAX) return NULL;
  void *p =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return NULL;
#if defined(MADV_HUGEPAGE) /* first touches cost a fault for 2 MiB, not for 4 KiB */
  if (bytes >= LARGE_BYTES) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

void ds4_free(void *p, uint64_t bytes) {
  if (p) munmap(p, bytes);
}

void ds4_copy(void *dst, const void *src, uint64_t bytes) { memmove(dst, src, bytes); }

/* --- files that shrink while mapped --- */

#define MAX_MAPS 64
typedef struct {
  _Atomic uintptr_t begin, end;
} map_range;
static map_range maps[MAX_MAPS];
static struct sigaction old_action;
static atomic_flag handler_set = ATOMIC_FLAG_INIT;

static bool in_our_maps(uintptr_t at) {
  for (int i = 0; i < MAX_MAPS; i++)
    if (at >= atomic_load(&maps[i].begin) && at < atomic_load(&maps[i].end)) return true;
  return false;
}

/* A page of a mapped file that is no longer in the file: the weights are gone, so the process ends.
 * Any other bus error is none of ours: the handler from before gets it when the access repeats. */
static void on_bus_error(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  static const char text[] = "ds4: model file changed on disk\n";
  if (in_our_maps((uintptr_t)info->si_addr)) {
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(74);
    _exit(74);
  }
  sigaction(SIGBUS, &old_action, NULL);
}

static void watch_map(void *p, uint64_t bytes) {
  for (int i = 0; i < MAX_MAPS; i++) {
    uintptr_t free_slot = 0;
    if (!atomic_compare_exchange_strong(&maps[i].begin, &free_slot, (uintptr_t)p)) continue;
    atomic_store(&maps[i].end, (uintptr_t)p + bytes);
    break;
  }
  if (atomic_flag_test_and_set(&handler_set)) return;
  struct sigaction action = {0};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &old_action);
}

static void unwatch_map(void *p) {
  for (int i = 0; i < MAX_MAPS; i++) {
    if (atomic_load(&maps[i].begin) != (uintptr_t)p) continue;
    atomic_store(&maps[i].end, 0);
    atomic_store(&maps[i].begin, 0);
    return;
  }
}

/* --- files --- */

static ds4_status map_descriptor(int fd, const char *path, void **out, uint64_t *bytes) {
  struct stat st;
  if (fstat(fd, &st) != 0)
    return ds4_fail(NULL, DS4_IO, "Cannot open %s: %s", path, strerror(errno));
  if (S_ISDIR(st.st_mode)) return ds4_fail(NULL, DS4_IO, "Cannot open %s: it is a directory", path);
  if (!S_ISREG(st.st_mode)) return ds4_fail(NULL, DS4_IO, "Cannot map %s: it is not a file", path);
  if (st.st_size == 0) return ds4_fail(NULL, DS4_IO, "Cannot map %s: it is empty", path);
  void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (p == MAP_FAILED) return ds4_fail(NULL, DS4_IO, "Cannot map %s: %s", path, strerror(errno));
  watch_map(p, (uint64_t)st.st_size);
  *out = p;
  *bytes = (uint64_t)st.st_size;
  return DS4_OK;
}

ds4_status ds4_map_file(void **out, uint64_t *bytes, const char *path, uint32_t path_len) {
  if (!out || !bytes || !path) return ds4_fail(NULL, DS4_BAD_ARG, "map_file: a null argument");
  *out = NULL;
  *bytes = 0;
  char name[PATH_MAX];
  if (path_len >= sizeof name || memchr(path, 0, path_len))
    return ds4_fail(NULL, DS4_IO, "Cannot open a file: its path is too long or holds a zero byte");
  memcpy(name, path, path_len);
  name[path_len] = 0;
  /* O_NONBLOCK: a pipe without a writer must fail, not wait. */
  const int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ds4_fail(NULL, DS4_IO, "Cannot open %s: %s", name, strerror(errno));
  const ds4_status status = map_descriptor(fd, name, out, bytes);
  close(fd);
  return status;
}

ds4_status ds4_unmap(void *p, uint64_t bytes) {
  unwatch_map(p);
  if (munmap(p, bytes) != 0) return ds4_fail(NULL, DS4_IO, "Cannot unmap: %s", strerror(errno));
  return DS4_OK;
}

ds4_status ds4_advise(void *p, uint64_t bytes, uint32_t kind) {
  static const int advice[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
                               MADV_DONTNEED};
  if (kind >= sizeof advice / sizeof advice[0])
    return ds4_fail(NULL, DS4_BAD_ARG, "advise: kind is %u, at most 4", kind);
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)p / page * page;
  if (madvise((void *)begin, (uintptr_t)p + bytes - begin, advice[kind]) != 0)
    return ds4_fail(NULL, DS4_IO, "Cannot advise: %s", strerror(errno));
  return DS4_OK;
}

/* --- cores --- */

#if defined(__linux__)

static int topology(int cpu, const char *what) {
  char path[96];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, what);
  FILE *f = fopen(path, "r");
  int value = -1;
  if (!f) return -1;
  if (fscanf(f, "%d", &value) != 1) value = -1;
  fclose(f);
  return value;
}

/* Cores, not hardware threads, among the CPUs that this process may use. */
uint32_t ds4_physical_cores(void) {
  cpu_set_t may;
  static int64_t seen[CPU_SETSIZE];
  uint32_t n = 0;
  if (sched_getaffinity(0, sizeof may, &may) != 0) return 1;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &may)) continue;
    const int core = topology(cpu, "core_id"), package = topology(cpu, "physical_package_id");
    const int64_t id = core < 0 ? -1 - cpu : (int64_t)package << 32 | core;
    uint32_t i = 0;
    while (i < n && seen[i] != id) i++;
    if (i == n) seen[n++] = id;
  }
  return n ? n : 1;
}

#else

/* Performance cores only: a slow core at the end of a fixed range would make all others wait. */
uint32_t ds4_physical_cores(void) {
  int n = 0;
  size_t size = sizeof n;
#if defined(__APPLE__)
  if (sysctlbyname("hw.perflevel0.physicalcpu", &n, &size, NULL, 0) == 0 && n > 0)
    return (uint32_t)n;
#endif
  (void)size;
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (uint32_t)online : 1;
}

#endif
