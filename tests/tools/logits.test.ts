/** `logits` and `perplexity`: what they compute, in which form, and that chunks do not matter. */
import { mkdtempSync, readFileSync, rmSync, existsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { Runtime } from "../../src/session/runtime.ts"
import { FloatFile } from "../../src/tools/logits-file.ts"
import { runLogits } from "../../src/tools/logits-run.ts"
import { perplexity, scoreWindow, windowsOf } from "../../src/tools/perplexity-run.ts"
import { tokenizerOf } from "../../src/generate/vocabulary.ts"
import { MINI_Q2, openTest, runAll } from "../support/models.ts"

const ids = Array.from({ length: 140 }, (_, i) => (i === 0 ? 0 : 3 + ((i * i * 7) % 1900)))
let runtime: Runtime
let folder: string

beforeAll(() => {
  runtime = openTest(MINI_Q2, "cpu", { context: 512 })
  folder = mkdtempSync(join(tmpdir(), "ds4-logits-"))
})

afterAll(() => {
  runtime.close()
  rmSync(folder, { recursive: true })
})

describe("runLogits()", () => {
  test("writes logits [position][vocab] and streams [position][layer][stream][dim]", () => {
    const { vocabSize, nLayers, hcMult, dim } = runtime.config
    const width = hcMult * dim
    const logits: Float32Array = new Float32Array(ids.length * vocabSize)
    const hidden: Float32Array = new Float32Array(ids.length * nLayers * width)
    const sink = {
      logits: (position: number, rows: Float32Array) => logits.set(rows, position * vocabSize),
      hidden(position: number, layer: number, rows: Float32Array) {
        for (let r = 0; r * width < rows.length; r++)
          hidden.set(
            rows.subarray(r * width, (r + 1) * width),
            ((position + r) * nLayers + layer) * width,
          )
      },
    }
    const done = [...runLogits(runtime, ids, 50, sink)]
    expect(done.at(-1)).toBe(ids.length)
    expect(done).toEqual(done.toSorted((a, b) => a - b))
    const whole = runAll(runtime, ids, [512], true)
    expect(logits).toEqual(whole.logits)
    expect(hidden).toEqual(whole.hidden)
  })

  test("gives its sequence back, also when it is left early", () => {
    const before = runtime.freeSequences
    for (const done of runLogits(runtime, ids, 50, { logits: () => {} })) if (done > 10) break
    expect(runtime.freeSequences).toBe(before)
  })
})

describe("FloatFile", () => {
  test("appears whole under its name, or not at all", () => {
    const path = join(folder, "x.f32")
    const file = new FloatFile(path)
    file.write(2, Float32Array.of(3, 4))
    file.write(0, Float32Array.of(1, 2))
    expect(existsSync(path)).toBe(false)
    file.finish()
    expect(new Float32Array(readFileSync(path).buffer.slice(0))).toEqual(
      Float32Array.of(1, 2, 3, 4),
    )
    const other = new FloatFile(join(folder, "y.f32"))
    other.write(0, Float32Array.of(1))
    other.discard()
    expect([existsSync(join(folder, "y.f32")), existsSync(join(folder, "y.f32.part"))]).toEqual([
      false,
      false,
    ])
  })

  test("says where it cannot write", () => {
    expect(() => new FloatFile(join(folder, "no/such/x.f32"))).toThrow(/Cannot write .*no\/such/)
  })
})

describe("scoreWindow()", () => {
  const score = (window: readonly number[], chunk: number) => {
    const steps = scoreWindow(runtime, window, chunk)
    for (;;) {
      const { done, value } = steps.next()
      if (done) return value
    }
  }

  test("is the same for every chunk size, and better for English than for noise", () => {
    const tokenizer = tokenizerOf(runtime.file)
    const text = "The capital of France is Paris. The sky is blue. Two and two is four. "
    const [window] = windowsOf(tokenizer.encode(text.repeat(3)), 512, tokenizer.bosId)
    const whole = score(window!, 512)
    expect(whole.tokens).toBe(window!.length - 1)
    for (const chunk of [1, 7, 64]) expect(score(window!, chunk)).toEqual(whole)
    expect(perplexity(whole)).toBeGreaterThan(1)
    expect(perplexity(whole)).toBeLessThan(perplexity(score(ids, 512)))
  })

  test("is the sum of -log softmax", () => {
    const { logits } = runAll(runtime, [0, 5, 9])
    const p = [5, 9].map((id, i) => {
      const row = [...logits.subarray(i * 2048, (i + 1) * 2048)]
      const all = row.reduce((sum, v) => sum + Math.exp(v), 0)
      return Math.exp(row[id]!) / all
    })
    expect(score([0, 5, 9], 512).nll).toBeCloseTo(-Math.log(p[0]! * p[1]!), 6)
  })
})

test("windowsOf() loses no id and begins every window with BOS", () => {
  const text = Array.from({ length: 23 }, (_, i) => 100 + i)
  const windows = windowsOf(text, 8, 0)
  expect(windows.every((w) => w.length <= 8 && w[0] === 0)).toBe(true)
  expect(windows.flatMap((w) => w.slice(1))).toEqual(text)
  expect(windowsOf(text, 8, undefined).flat()).toEqual(text)
  expect(windowsOf([], 8, 0)).toEqual([])
})
