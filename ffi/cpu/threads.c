/* The thread pool of a context. A job is published by raising `epoch`; workers spin on it for a while
 * (longer than the gap between two ops of a step) and then sleep on a condition variable, so an
 * idle engine costs nothing. Ranges are fixed by the number of items and threads alone. */
#include "cpu.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define SPIN_NS 200000

struct ds4_pool {
  uint32_t n_threads;
  pthread_t *threads; /* [n_threads - 1] */
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  ds4_body *body;
  void *job;
  uint64_t n;
  uint32_t n_active; /* threads that have a range of this job */
  bool stop;
  _Alignas(DS4_CACHE_LINE) atomic_uint epoch;
  _Alignas(DS4_CACHE_LINE) atomic_uint pending; /* workers that have not finished the job */
};

typedef struct {
  ds4_pool *pool;
  uint32_t index;
} worker_start;

static inline void cpu_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Spins until *value differs from `from` (or equals 0 where from is 0); false after SPIN_NS. */
static bool spin_while(atomic_uint *value, uint32_t old, bool until_zero) {
  const uint64_t end = now_ns() + SPIN_NS;
  do {
    for (int i = 0; i < 64; i++) {
      const uint32_t v = atomic_load_explicit(value, memory_order_acquire);
      if (until_zero ? v == 0 : v != old) return true;
      cpu_relax();
    }
  } while (now_ns() < end);
  return false;
}

static void run_range(ds4_pool *p, uint32_t thread) {
  const uint64_t begin = p->n * thread / p->n_active, end = p->n * (thread + 1) / p->n_active;
  if (begin < end) p->body(p->job, thread, begin, end);
}

static void *worker_main(void *arg) {
  ds4_pool *p = ((worker_start *)arg)->pool;
  const uint32_t index = ((worker_start *)arg)->index;
  free(arg);
  uint32_t seen = 0;
  for (;;) {
    if (!spin_while(&p->epoch, seen, false)) {
      pthread_mutex_lock(&p->lock);
      while (atomic_load(&p->epoch) == seen) pthread_cond_wait(&p->wake, &p->lock);
      pthread_mutex_unlock(&p->lock);
    }
    seen = atomic_load(&p->epoch);
    if (p->stop) return NULL;
    if (index < p->n_active) run_range(p, index);
    if (atomic_fetch_sub_explicit(&p->pending, 1, memory_order_acq_rel) == 1) {
      pthread_mutex_lock(&p->lock);
      pthread_cond_signal(&p->done);
      pthread_mutex_unlock(&p->lock);
    }
  }
}

/* Workers sleep on `wake` only after they found the epoch unchanged under the lock. */
static void publish(ds4_pool *p) {
  atomic_store(&p->pending, p->n_threads - 1);
  pthread_mutex_lock(&p->lock);
  atomic_fetch_add_explicit(&p->epoch, 1, memory_order_acq_rel);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

void ds4_parallel(ds4_ctx *ctx, uint64_t n, uint64_t grain, ds4_body *body, void *job) {
  ds4_pool *p = ctx->pool;
  const uint64_t wanted = grain == 0 ? n : n / grain;
  if (n == 0) return;
  if (p->n_threads == 1 || wanted < 2) {
    body(job, 0, 0, n);
    return;
  }
  p->body = body;
  p->job = job;
  p->n = n;
  p->n_active = (uint32_t)DS4_MIN(wanted, p->n_threads);
  publish(p);
  run_range(p, 0);
  if (spin_while(&p->pending, 0, true)) return;
  pthread_mutex_lock(&p->lock);
  while (atomic_load(&p->pending) != 0) pthread_cond_wait(&p->done, &p->lock);
  pthread_mutex_unlock(&p->lock);
}

static bool start_worker(ds4_pool *p, uint32_t index) {
  worker_start *start = malloc(sizeof *start);
  if (!start) return false;
  *start = (worker_start){p, index};
  /* Signals belong to the runtime's own threads; faults are delivered to the thread that faults. */
  sigset_t all, old;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);
  sigdelset(&all, SIGSEGV);
  sigdelset(&all, SIGILL);
  sigdelset(&all, SIGFPE);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  const int failed = pthread_create(&p->threads[index - 1], NULL, worker_main, start);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (failed) free(start);
  return !failed;
}

ds4_pool *ds4_pool_open(uint32_t n_threads) {
  ds4_pool *p = NULL;
  if (posix_memalign((void **)&p, DS4_CACHE_LINE, sizeof *p) != 0) return NULL;
  memset(p, 0, sizeof *p);
  p->n_threads = 1;
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->done, NULL);
  p->threads = calloc(n_threads, sizeof *p->threads);
  bool ok = p->threads != NULL;
  for (uint32_t i = 1; ok && i < n_threads; i++) {
    ok = start_worker(p, i);
    if (ok) p->n_threads = i + 1;
  }
  if (ok) return p;
  ds4_pool_close(p);
  return NULL;
}

void ds4_pool_close(ds4_pool *p) {
  if (!p) return;
  p->stop = true;
  publish(p);
  for (uint32_t i = 1; i < p->n_threads; i++) pthread_join(p->threads[i - 1], NULL);
  pthread_cond_destroy(&p->done);
  pthread_cond_destroy(&p->wake);
  pthread_mutex_destroy(&p->lock);
  free(p->threads);
  free(p);
}
