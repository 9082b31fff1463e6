/** What the session promises: the same bits however a prompt is cut, whoever shares the step, and
 *  however far one went back. */
import { describe, expect, test } from "bun:test"
import { sharedDir } from "../shared.ts"
import { join } from "node:path"
import { MINI_Q2, MINI_Q8, openTest, runAll } from "../support/models.ts"
import { readIds } from "../support/numbers.ts"
import type { Runtime } from "../../src/session/runtime.ts"
import { Session } from "../../src/session/session.ts"

/** Deterministic ids below `vocab`, BOS first. */
function someIds(n: number, vocab: number, seed = 1): number[] {
  let x = seed
  return Array.from({ length: n }, (_, i) => {
    x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff
    return i === 0 ? 0 : 3 + (x % (vocab - 40))
  })
}

const rand6 = sharedDir() && join(sharedDir()!, "golden/rand6-q2.gguf")
const models: [string, string][] = [
  ["mini q8", MINI_Q8],
  ["mini q2", MINI_Q2],
  ...(rand6 ? ([["rand6 q2", rand6]] as [string, string][]) : []),
]

describe.each(models)("%s on cpu", (name, path) => {
  const n = name === "mini q8" ? 600 : 300

  test("gives the same bits for every chunk size", () => {
    const runtime = openTest(path, "cpu")
    const ids = someIds(n, runtime.config.vocabSize)
    const whole = runAll(runtime, ids, [512]).logits
    const sizes = [...Array.from({ length: 17 }, (_, i) => i + 1), 127, 128, 129]
    for (const size of sizes) expect(same(runAll(runtime, ids, [size]).logits, whole)).toBe(true)
    expect(same(runAll(runtime, ids, [3, 128, 1, 200, 64]).logits, whole)).toBe(true)
    runtime.close()
  }, 120_000)

  test("gives the same bits with one thread and with two", () => {
    const [one, two] = [1, 2].map((threads) => {
      const runtime = openTest(path, "cpu", { threads })
      const { logits } = runAll(runtime, someIds(200, runtime.config.vocabSize), [64])
      runtime.close()
      return logits
    })
    expect(same(one!, two!)).toBe(true)
  })

  test("gives the same bits when other sequences share the step", () => {
    const runtime = openTest(path, "cpu", { nSeqs: 3 })
    const vocab = runtime.config.vocabSize
    const all = [1, 2, 3].map((seed) => someIds(150 + 20 * seed, vocab, seed))
    const solo = all.map((ids) => runAll(runtime, ids, [64]).logits)
    const mixed = runMixed(runtime, all)
    mixed.forEach((logits, i) => expect(same(logits, solo[i]!)).toBe(true))
    runtime.close()
  })
})

/** Feeds several prompts at once, in pieces of uneven sizes. */
function runMixed(runtime: Runtime, prompts: number[][]): Float32Array[] {
  const vocab = runtime.config.vocabSize
  const out = prompts.map((ids) => new Float32Array(ids.length * vocab))
  const seqs = prompts.map(() => runtime.sequence())
  for (let step = 0; seqs.some((s, i) => s.length < prompts[i]!.length); step++) {
    const work = seqs.flatMap((seq, i) => {
      const size = 1 + ((step * 7 + i * 13) % 40)
      const ids = prompts[i]!.slice(seq.length, seq.length + size)
      return ids.length === 0 ? [] : [{ seq, ids, logits: "all" as const, i, start: seq.length }]
    })
    runtime.step(work, (logits, part) => {
      const rows = logits.f32()
      part.forEach((p, r) => {
        const { i, start } = work[p.work]!
        out[i]!.set(rows.subarray(r * vocab, (r + 1) * vocab), (start + p.at) * vocab)
      })
    })
    for (const { seq } of work) seq.verify()
  }
  for (const seq of seqs) runtime.release(seq)
  return out
}

describe("a session on mini", () => {
  const cold = (ids: number[]) => {
    const runtime = openTest(MINI_Q8, "cpu")
    const session = new Session(runtime)
    session.sync(ids)
    const { logits } = session
    runtime.close()
    return logits
  }

  test("goes back by up to 32 tokens at no cost and gives a cold run's bits", () => {
    const runtime = openTest(MINI_Q8, "cpu")
    const session = new Session(runtime)
    const ids = someIds(300, 2048)
    for (const back of [1, 4, 29]) {
      session.sync(ids)
      const other = [...ids.slice(0, 300 - back), 77, 78, 79]
      expect(session.sync(other)).toBe(300 - back)
      expect(same(session.logits, cold(other))).toBe(true)
    }
    runtime.close()
  })

  test("goes back across a page boundary without touching the shared page", () => {
    const runtime = openTest(MINI_Q8, "cpu", { nSeqs: 2 })
    const a = new Session(runtime)
    const b = new Session(runtime)
    const ids = someIds(270, 2048)
    a.sync(ids)
    b.sync([...ids, 5, 6, 7])
    const other = [...ids.slice(0, 250), 9, 9, 9]
    a.sync(other)
    expect(same(a.logits, cold(other))).toBe(true)
    b.sync([...ids, 5, 6, 7, 8])
    expect(same(b.logits, cold([...ids, 5, 6, 7, 8]))).toBe(true)
    runtime.close()
  })

  test("resumes at a page boundary and shares prefixes, with a cold run's bits", () => {
    const runtime = openTest(MINI_Q8, "cpu", { nSeqs: 2, context: 4096 })
    const session = new Session(runtime)
    const ids = someIds(700, 2048)
    session.sync(ids)
    for (const keep of [650, 600, 560]) {
      const other = [...ids.slice(0, keep), 11, 12, 13]
      const reused = session.sync(other)
      expect(reused).toBeGreaterThanOrEqual(512)
      expect(reused % 128 === 0 || reused === keep).toBe(true)
      expect(same(session.logits, cold(other))).toBe(true)
    }
    const second = new Session(runtime)
    expect(second.sync(ids)).toBeGreaterThanOrEqual(512)
    expect(same(second.logits, cold(ids))).toBe(true)
    runtime.close()
  }, 60_000)

  test("computes the last position again when everything is cached", () => {
    const runtime = openTest(MINI_Q8, "cpu")
    const session = new Session(runtime)
    const ids = someIds(256, 2048)
    session.sync(ids)
    const before = session.logits.slice()
    expect(session.sync(ids)).toBe(255)
    expect(same(session.logits, before)).toBe(true)
    runtime.close()
  })

  test("evicts unused pages when the cache is full, and says so when nothing can go", () => {
    const runtime = openTest(MINI_Q8, "cpu", { context: 512, nPages: 5, nSeqs: 2 })
    const session = new Session(runtime)
    for (const seed of [1, 2, 3, 4]) session.sync(someIds(400, 2048, seed))
    expect(runtime.tree.freePages + runtime.tree.cachedPages).toBeGreaterThan(0)
    const second = new Session(runtime)
    expect(() => second.sync(someIds(400, 2048, 9))).toThrow("KV cache is full")
    expect(() => session.sync(someIds(513, 2048, 9))).toThrow("context of 512 tokens is full")
    runtime.close()
  })
})

test("trace records the same ops for every position of a page", () => {
  const runtime = openTest(MINI_Q8, "trace", { context: 4096 })
  const trace = runtime.backend as unknown as { records: { op: string }[]; reset(): void }
  const seq = runtime.sequence()
  const lists = new Set<string>()
  for (let pos = 0; pos < 2180; pos++) {
    trace.reset()
    runtime.step([{ seq, ids: [5], logits: "last" }], () => {})
    seq.verify()
    if (pos >= 2052) lists.add(JSON.stringify(trace.records))
  }
  expect(lists.size).toBe(1)
  runtime.close()
}, 60_000)

test.skipIf(!rand6)("rand6's own ids give the same bits in chunks of 1, 7, 64, 127 and 300", () => {
  const ids = readIds(join(sharedDir()!, "golden/rand6.ids.txt")).slice(0, 300)
  const runtime = openTest(rand6!, "cpu")
  const whole = runAll(runtime, ids, [300]).logits
  for (const size of [1, 7, 64, 127])
    expect(same(runAll(runtime, ids, [size]).logits, whole)).toBe(true)
  runtime.close()
})

/** Bitwise equality. */
function same(a: Float32Array, b: Float32Array): boolean {
  const bytes = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength)
  return Buffer.compare(bytes(a), bytes(b)) === 0
}
