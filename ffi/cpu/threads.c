/* The thread pool of a context. A job is cut into chunks, which threads take one after the other:
 * processors are seldom equally fast, be it by design or for what else runs on them, and it cannot
 * matter who computes what (design D9). A job is published by a new ticket; workers spin on it for a
 * while (longer than the gap between two ops of a step) and then sleep on a condition variable, so
 * an idle engine costs nothing. Who comes when all chunks are taken finds the job closed: the caller
 * never waits for a worker that has not begun. */
#include "cpu.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define SPIN_NS 200000
#define YIELD_NS 10000

/* Chunks a thread, where the work is enough for it. */
#define CHUNKS 8

/* A ticket is job << 16 | CLOSED? | workers that take part. */
#define CLOSED 0x8000u
#define JOINED(ticket) ((uint32_t)(ticket) & (CLOSED - 1))
#define JOB(ticket) ((ticket) >> 16)

struct ds4_pool {
  uint32_t n_threads;
  pthread_t *threads; /* [n_threads - 1] */
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  ds4_body *body;
  void *job;
  uint64_t n, chunk;
  atomic_uint n_helpers; /* workers that may take part; a late one may still look */
  bool stop;
  int caller_cpu; /* -1 if unknown */
#if defined(__linux__)
  cpu_set_t allowed;
#endif
  atomic_uint n_asleep;   /* workers that wait for `wake` */
  atomic_bool is_waiting; /* the caller waits for `done` */
  _Alignas(DS4_CACHE_LINE) _Atomic uint64_t ticket;
  _Alignas(DS4_CACHE_LINE) _Atomic uint64_t next;  /* first item that nobody has taken */
  _Alignas(DS4_CACHE_LINE) atomic_uint n_finished; /* workers that took part and are done */
};

typedef struct {
  ds4_pool *pool;
  uint32_t index;
} worker_start;

/* --- where threads run --- */

/* A worker that the system has put beside the caller can only run when that one waits, and systems
 * take milliseconds to see it. It moves away by itself, to any other processor it may use. */
#if defined(__linux__)
static int this_cpu(void) { return sched_getcpu(); }
static void leave_cpu(const ds4_pool *p, int cpu) {
  cpu_set_t others = p->allowed;
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) > 0) sched_setaffinity(0, sizeof others, &others);
}
static void find_allowed(ds4_pool *p) { sched_getaffinity(0, sizeof p->allowed, &p->allowed); }
#else
static int this_cpu(void) { return -1; }
static void leave_cpu(const ds4_pool *p, int cpu) { (void)p, (void)cpu; }
static void find_allowed(ds4_pool *p) { (void)p; }
#endif

/* --- waiting --- */

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

static bool is_new(ds4_pool *p, uint64_t seen) { return JOB(atomic_load(&p->ticket)) != seen; }
static bool are_finished(ds4_pool *p, uint64_t n) { return atomic_load(&p->n_finished) == n; }

/* Spins until ready(p, arg); false after SPIN_NS. After YIELD_NS other threads get the processor if
 * they want it: it may be the very thread that is awaited. */
static inline bool spin_until(ds4_pool *p, bool (*ready)(ds4_pool *, uint64_t), uint64_t arg) {
  const uint64_t start = now_ns();
  for (;;) {
    for (int i = 0; i < 64; i++) {
      if (ready(p, arg)) return true;
      cpu_relax();
    }
    const uint64_t spent = now_ns() - start;
    if (spent > SPIN_NS) return false;
    if (spent > YIELD_NS) sched_yield();
  }
}

static void run_chunks(ds4_pool *p, uint32_t thread) {
  const uint64_t n = p->n, chunk = p->chunk;
  for (;;) {
    const uint64_t begin = atomic_fetch_add_explicit(&p->next, chunk, memory_order_relaxed);
    if (begin >= n) return;
    p->body(p->job, thread, begin, DS4_MIN(begin + chunk, n));
  }
}

/* Takes part in job `seen` unless it is closed or has enough helpers. */
static bool join_job(ds4_pool *p, uint64_t seen) {
  uint64_t ticket = atomic_load(&p->ticket);
  while (JOB(ticket) == seen && !(ticket & CLOSED) && JOINED(ticket) < p->n_helpers)
    if (atomic_compare_exchange_weak(&p->ticket, &ticket, ticket + 1)) return true;
  return false;
}

static void *worker_main(void *arg) {
  ds4_pool *p = ((worker_start *)arg)->pool;
  const uint32_t index = ((worker_start *)arg)->index;
  free(arg);
  uint64_t seen = 0;
  for (;;) {
    if (!spin_until(p, is_new, seen)) {
      pthread_mutex_lock(&p->lock);
      atomic_fetch_add(&p->n_asleep, 1);
      while (!is_new(p, seen)) pthread_cond_wait(&p->wake, &p->lock);
      atomic_fetch_sub(&p->n_asleep, 1);
      pthread_mutex_unlock(&p->lock);
    }
    seen = JOB(atomic_load(&p->ticket));
    if (p->stop) return NULL;
    if (!join_job(p, seen)) continue;
    if (p->caller_cpu >= 0 && p->caller_cpu == this_cpu()) leave_cpu(p, p->caller_cpu);
    run_chunks(p, index);
    atomic_fetch_add(&p->n_finished, 1);
    if (atomic_load(&p->is_waiting)) {
      pthread_mutex_lock(&p->lock);
      pthread_cond_signal(&p->done);
      pthread_mutex_unlock(&p->lock);
    }
  }
}

/* The lock is only taken for sleepers. None is missed: a sleeper first says that it is one and then
 * looks at the ticket, and this the other way round. */
static void publish(ds4_pool *p) {
  atomic_store(&p->next, 0);
  atomic_store(&p->n_finished, 0);
  atomic_store(&p->ticket, (JOB(atomic_load(&p->ticket)) + 1) << 16);
  if (atomic_load(&p->n_asleep) == 0) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

/* Closes the job to those who have not begun, and waits for the others. */
static void finish(ds4_pool *p) {
  const uint32_t joined = JOINED(atomic_fetch_or(&p->ticket, CLOSED));
  if (spin_until(p, are_finished, joined)) return;
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->is_waiting, true);
  while (!are_finished(p, joined)) pthread_cond_wait(&p->done, &p->lock);
  atomic_store(&p->is_waiting, false);
  pthread_mutex_unlock(&p->lock);
}

void ds4_parallel(ds4_ctx *ctx, uint64_t n, uint64_t grain, ds4_body *body, void *job) {
  ds4_pool *p = ctx->pool;
  const uint64_t parts = grain == 0 ? n : n / grain;
  if (n == 0) return;
  if (p->n_threads == 1 || parts < 2) {
    body(job, 0, 0, n);
    return;
  }
  p->body = body;
  p->job = job;
  p->n = n;
  p->n_helpers = (uint32_t)DS4_MIN(parts, p->n_threads) - 1;
  const uint64_t n_chunks = DS4_MIN(parts, (uint64_t)CHUNKS * (p->n_helpers + 1));
  p->chunk = (n + n_chunks - 1) / n_chunks;
  p->caller_cpu = this_cpu();
  publish(p);
  run_chunks(p, 0);
  finish(p);
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
  find_allowed(p);
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
