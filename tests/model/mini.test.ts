/** ds4-mini against golden logits, streams and experts of an independent engine. The `fact` prompt is
 *  in the repository; the others run where the full goldens are. */
import { describe, expect, test } from "bun:test"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { sharedDir } from "../shared.ts"
import { MINI_Q2, MINI_Q8, openTest, ROOT, runAll } from "../support/models.ts"
import { argmax, quantile, readF32, relativeError } from "../support/numbers.ts"

interface GoldenPrompt {
  ids: number[]
  logits: string
  hidden: string
  hidden_positions: number[]
  drift_f32_vs_f64: {
    logits_max_over_max_median: number
    p90: number
    hidden_rel_l2_max_per_layer: number[]
  }
}

const folder = sharedDir() ? join(sharedDir()!, "mini/golden") : join(ROOT, "tests/golden/mini")
const index = JSON.parse(readFileSync(join(folder, "index.json"), "utf8"))
const models = { "ds4-mini-q8.gguf": MINI_Q8, "ds4-mini-q2.gguf": MINI_Q2 }

/** Largest difference over the largest logit, per position. */
function deviations(ours: Float32Array, theirs: Float32Array, vocab: number): number[] {
  return Array.from({ length: theirs.length / vocab }, (_, p) => {
    let difference = 0
    let largest = 0
    for (let i = p * vocab; i < (p + 1) * vocab; i++) {
      difference = Math.max(difference, Math.abs(ours[i]! - theirs[i]!))
      largest = Math.max(largest, Math.abs(theirs[i]!))
    }
    return difference / largest
  })
}

for (const [file, path] of Object.entries(models))
  describe(`reference on ${file}`, () => {
    const prompts = Object.entries(index.files[file].prompts) as [string, GoldenPrompt][]
    for (const [name, golden] of prompts) {
      if (!existsSync(join(folder, golden.logits))) continue
      test(`gives the golden logits and streams of "${name}"`, () => {
        const runtime = openTest(path, "reference")
        const { vocabSize: vocab, nLayers, hcMult, dim } = runtime.config
        const ours = runAll(runtime, golden.ids, [512], true)
        runtime.close()
        const theirs = readF32(join(folder, golden.logits))
        const drift = golden.drift_f32_vs_f64
        const off = deviations(ours.logits, theirs, vocab)
        expect(quantile(off, 0.5)).toBeLessThanOrEqual(
          Math.max(4 * drift.logits_max_over_max_median, 2e-6),
        )
        expect(quantile(off, 0.9)).toBeLessThanOrEqual(4 * drift.p90 + 2e-6)
        const row = (x: Float32Array, p: number) => x.subarray(p * vocab, (p + 1) * vocab)
        const same = off.filter((_, p) => argmax(row(ours.logits, p)) === argmax(row(theirs, p)))
        expect(same.length).toBeGreaterThanOrEqual(0.99 * off.length)

        const streams = readF32(join(folder, golden.hidden))
        const width = hcMult * dim
        for (let l = 0; l < nLayers; l++) {
          const errors = golden.hidden_positions.map((p, i) => {
            const a = (p * nLayers + l) * width
            const b = (i * nLayers + l) * width
            return relativeError(ours.hidden.subarray(a, a + width), streams.subarray(b, b + width))
          })
          const bound = 4 * drift.hidden_rel_l2_max_per_layer[l]! + 1e-6
          expect(quantile(errors, 0.9)).toBeLessThanOrEqual(bound)
        }
      })
    }
  })
