/** Memory accounting against what is really taken. */
import { expect, test } from "bun:test"
import { openBackend } from "../../src/ops/open.ts"
import type { Backend } from "../../src/ops/backend.ts"
import { openModelFile } from "../../src/session/open.ts"
import { Runtime } from "../../src/session/runtime.ts"
import { Scheduler } from "../../src/session/scheduler.ts"
import { Session } from "../../src/session/session.ts"
import { memoryReport } from "../../src/tools/inspect-memory.ts"
import { MINI_Q2 } from "../support/models.ts"

/** A backend that notes what it gives. */
function counting(backend: Backend) {
  const taken: { what: string; bytes: number }[] = []
  const alloc = (bytes: number, what: string) => {
    taken.push({ what, bytes })
    return backend.alloc(bytes, what)
  }
  return { taken, backend: { ...backend, alloc } }
}

test.each([
  [2048, 1],
  [5000, 3],
])("a context of %i tokens for %i sequences takes what inspect says", (context, sequences) => {
  const file = openModelFile({ path: MINI_Q2 })
  const { taken, backend } = counting(openBackend("cpu"))
  const runtime = new Runtime(file, backend, { context, nSeqs: sequences })
  const scheduler = new Scheduler(runtime)
  const m = memoryReport(file, runtime.config, { context, sequences })
  const sum = (pattern: RegExp) =>
    taken.reduce((all, { what, bytes }) => all + (pattern.test(what) ? bytes : 0), 0)
  expect(sum(/^KV pages/)).toBe(m.pages.bytes)
  expect(sum(/^page table/)).toBe(m.pageTable)
  expect(sum(/^(window ring|compressor frontier)/)).toBe(m.rings.bytes)
  expect(sum(/^window ring/)).toBe(m.rings.window)
  expect(sum(/^(activations|logits|rope|sampling)/)).toBe(m.scratch.bytes)
  expect(sum(/./) + m.resumePoints.bytes).toBe(m.total)
  scheduler.close()
  runtime.close()
})

test("resume points are as large and at most as many as inspect says", () => {
  const context = 128 * 40
  const file = openModelFile({ path: MINI_Q2 })
  const runtime = new Runtime(file, openBackend("cpu"), { context })
  const saved: number[] = []
  const save = runtime.saveResume.bind(runtime)
  runtime.saveResume = (slot, pos) => {
    const point = save(slot, pos)
    saved.push(point.bytes)
    return point
  }
  const session = new Session(runtime)
  session.sync(Array.from({ length: context - 1 }, (_, i) => 3 + (i % 1900)))
  const { resumePoints } = memoryReport(file, runtime.config, { context })
  expect(new Set(saved)).toEqual(new Set([resumePoints.bytesEach]))
  expect(saved.length).toBeLessThanOrEqual(resumePoints.count)
  expect(saved.length).toBeGreaterThanOrEqual(2 + Math.floor(40 / 16) - 1)
  session.close()
  runtime.close()
}, 20_000)
